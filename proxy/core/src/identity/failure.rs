//! Why a handshake failed: one word for the counter, the alert for the log.

use super::verify::Refusal;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::fmt;

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub cause: Cause,
    /// The alert, if one was sent or came.
    pub alert: Option<Alert>,
}

/// An alert (RFC 8446 §6), and its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// We told the peer.
    Sent(AlertDescription),
    /// The peer told us.
    Received(AlertDescription),
}

/// The cause. Bounded: its names are label values of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No certificate of ours is loaded yet.
    NotReady,
    /// Too many handshakes are under way.
    Shed,
    /// What came is no ClientHello, on a listener that speaks TLS only.
    NotTls,
    /// The application's own TLS, on a listener that serves the mesh's and what is not TLS.
    ApplicationTls,
    /// A ClientHello beyond its bound.
    HelloTooLarge,
    /// A flight of the handshake beyond its bound.
    FlightTooLarge,
    /// It took longer than it may.
    Timeout,
    /// The peer went away.
    Closed,
    /// The connection failed.
    Io,
    /// A client without a certificate where one is required.
    NoCertificate,
    /// The peer's certificate was refused.
    Refused(Refusal),
    /// The peer refused with an alert about our certificate.
    PeerRefusedUs,
    /// The peer refused with another alert.
    PeerAlert,
    /// No version of TLS in common.
    NoVersion,
    /// No cipher suite, group or signature scheme in common.
    NoCipher,
    /// No application protocol in common.
    NoProtocol,
    /// The peer broke the protocol.
    Misbehaved,
    /// A message that cannot be read.
    Malformed,
    /// A record or signature that is wrong.
    Decrypt,
    /// A fault on our side.
    Internal,
}

impl Failure {
    /// A failure without an alert.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        Self { cause, alert: None }
    }

    /// What rustls says.
    #[must_use]
    pub fn from_tls(error: &Error) -> Self {
        let cause = match error {
            Error::NoCertificatesPresented => Cause::NoCertificate,
            Error::InvalidCertificate(error) => Cause::Refused(refusal(error)),
            Error::AlertReceived(alert) => return Self::received(*alert),
            Error::PeerIncompatible(why) => match why {
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => Cause::NoVersion,
                _ => Cause::NoCipher,
            },
            Error::NoApplicationProtocol => Cause::NoProtocol,
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Cause::Misbehaved,
            Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => Cause::Malformed,
            Error::DecryptError => Cause::Decrypt,
            // rustls' list is open: what is not the peer's fault is ours.
            _ => Cause::Internal,
        };
        let alert = match error {
            Error::InvalidCertificate(error) => Some(Alert::Sent(AlertDescription::from(error.clone()))),
            Error::NoCertificatesPresented => Some(Alert::Sent(AlertDescription::CertificateRequired)),
            Error::NoApplicationProtocol => Some(Alert::Sent(AlertDescription::NoApplicationProtocol)),
            _ => None,
        };
        Self { cause, alert }
    }

    fn received(alert: AlertDescription) -> Self {
        let cause = match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Cause::PeerRefusedUs,
            AlertDescription::NoApplicationProtocol => Cause::NoProtocol,
            AlertDescription::ProtocolVersion => Cause::NoVersion,
            _ => Cause::PeerAlert,
        };
        Self { cause, alert: Some(Alert::Received(alert)) }
    }

    /// The cause's name among the reasons for which a connection to a cluster failed.
    #[must_use]
    pub fn upstream_name(&self) -> &'static str {
        match self.cause {
            Cause::Timeout | Cause::Io | Cause::Closed => "tls_closed",
            _ => self.name(),
        }
    }

    /// The cause's name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.cause {
            Cause::NotReady => "not_ready",
            Cause::Shed => "shed",
            Cause::NotTls => "not_tls",
            Cause::ApplicationTls => "application_tls",
            Cause::HelloTooLarge => "hello_too_large",
            Cause::FlightTooLarge => "flight_too_large",
            Cause::Timeout => "timeout",
            Cause::Closed => "closed",
            Cause::Io => "io",
            Cause::NoCertificate => "no_certificate",
            Cause::Refused(refusal) => refusal.name(),
            Cause::PeerRefusedUs => "peer_refused_us",
            Cause::PeerAlert => "peer_alert",
            Cause::NoVersion => "no_version",
            Cause::NoCipher => "no_cipher",
            Cause::NoProtocol => "no_protocol",
            Cause::Misbehaved => "misbehaved",
            Cause::Malformed => "malformed",
            Cause::Decrypt => "decrypt",
            Cause::Internal => "internal",
        }
    }
}

/// Our own word for it, where it came from us.
fn refusal(error: &CertificateError) -> Refusal {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Refusal::NotYetValid,
        CertificateError::UnknownIssuer => Refusal::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Refusal::NameMismatch,
        CertificateError::BadEncoding => Refusal::Malformed,
        CertificateError::BadSignature => Refusal::BadSignature,
        // The one place where rustls hands back what was handed to it.
        CertificateError::Other(error) => error.0.downcast_ref::<Refusal>().copied().unwrap_or(Refusal::BadChain),
        _ => Refusal::BadChain,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.alert {
            Some(Alert::Sent(alert)) => write!(f, ", alert {alert:?} sent"),
            Some(Alert::Received(alert)) => write!(f, ", alert {alert:?} received"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
