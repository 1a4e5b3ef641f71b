//! Our judgement as rustls asks for it: for clients' certificates and for servers'.
//!
//! Thin: who is right is decided in [`verify`](mod@super::verify); signatures of the handshake are rustls' own business.

use super::{
    certificate::Facts,
    client::Sessions,
    provider::provider,
    verify::{Judge, Refusal, Side, verify},
};
use pillion_config::model::ClientCertificates;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::sync::Arc;

/// Judges clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) judge: Judge,
    pub(super) demand: ClientCertificates,
}

/// Judges servers; `None`: any server is accepted.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) judge: Option<Judge>,
    pub(super) sessions: Arc<Sessions>,
}

/// As rustls carries it; it decides the alert (RFC 8446 §6.2). What it has no word for goes as it is.
fn error(refusal: Refusal) -> Error {
    Error::InvalidCertificate(match refusal {
        Refusal::Expired => CertificateError::Expired,
        Refusal::NotYetValid => CertificateError::NotValidYet,
        Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
        Refusal::NameMismatch => CertificateError::NotValidForName,
        Refusal::Malformed => CertificateError::BadEncoding,
        Refusal::BadSignature => CertificateError::BadSignature,
        Refusal::ChainTooLong
        | Refusal::ChainTooLarge
        | Refusal::NoSpiffeId
        | Refusal::SeveralUris
        | Refusal::BadSpiffeId
        | Refusal::UnknownTrustDomain
        | Refusal::UnexpectedId
        | Refusal::KeyUsage
        | Refusal::ExtendedKeyUsage
        | Refusal::BadChain => CertificateError::Other(OtherError(Arc::new(refusal))),
    })
}

/// Signatures in a handshake: the same demand of clients and servers, whose traits name it twice.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, leaf, signed, &provider().signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, leaf, signed, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.demand != ClientCertificates::Off
    }

    fn client_auth_mandatory(&self) -> bool {
        self.demand == ClientCertificates::Required
    }

    /// None: peers of the mesh have one certificate, and the names of our roots are nobody's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let algorithms = provider().signature_verification_algorithms.all;
        match verify(&self.judge, Side::Client, (leaf, above), None, algorithms, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(error(refusal)),
        }
    }

    signatures!();
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(judge) = &self.judge else { return Ok(ServerCertVerified::assertion()) };
        let algorithms = provider().signature_verification_algorithms.all;
        match verify(judge, Side::Server, (leaf, above), Some(asked), algorithms, now) {
            Ok(()) => {
                let ends =
                    [leaf].into_iter().chain(above).filter_map(|der| Facts::read(der)).map(|facts| facts.not_after);
                self.sessions.seen(ends.min().unwrap_or(0));
                Ok(ServerCertVerified::assertion())
            }
            Err(refusal) => Err(error(refusal)),
        }
    }

    signatures!();
}
