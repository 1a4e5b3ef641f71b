//! TLS on listeners and clusters, and the identity of the workload.

use super::{Field, FromText, Int, List, Period, Scalar, Text, fields, words};
use crate::model::{SpiffeId, SpiffeMatch, TrustDomain};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::{borrow::Cow, path::PathBuf, time::Duration};

/// Who this workload is to its peers, and whom it believes: SPIFFE X.509-SVIDs. Renewed without a reload; the last good one stays in use when a new one cannot be read, or peers would refuse it: it is judged as theirs are (X509-SVID: `digitalSignature`, no authority, `serverAuth` where listeners show it and `clientAuth` where clusters do, if any purpose is named), by the bundle of its own trust domain where there is one. The proxy is not ready before the first, be it after a start or after a reload, nor with one that has ended where every inbound listener is `strict` and shows it. It has one of `files` and `workload_api`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Identity {
    /// Files that something else renews: cert-manager's CSI driver, spiffe-helper, a mounted secret. Watched, symbolic links on the way included.
    pub files: Field<IdentityFiles>,
    /// The SPIFFE Workload API, as SPIRE's agent serves it: certificate and trust bundles come by a stream, whenever they change.
    pub workload_api: Field<WorkloadApi>,
    /// Remaining life of the certificate below which its expiry is warned of. 10m: SVIDs live an hour and are renewed at half of it, so this is late enough to be an accident and early enough to act. That it has ended is an error in the log, and `/ready` says so.
    pub expiry_warning: Text<Period>,
}

fields! { Identity { files, workload_api, expiry_warning } }

impl Default for Identity {
    fn default() -> Self {
        Self {
            files: Field::ABSENT,
            workload_api: Field::ABSENT,
            expiry_warning: Text::scalar(Period(Duration::from_secs(600))),
        }
    }
}

/// An agent on this machine that tells workloads who they are.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["address"])))]
pub(crate) struct WorkloadApi {
    /// Its socket, as others write it in SPIFFE_ENDPOINT_SOCKET: `unix:///run/spire/sockets/agent.sock`.
    pub address: Text<UnixSocket>,
    /// Which identity, where the agent has several for this workload. Absent: its default, the first.
    pub spiffe_id: Text<SpiffeId>,
}

fields! { WorkloadApi { address, spiffe_id } }

/// The address of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnixSocket(pub(crate) PathBuf);

impl FromText for UnixSocket {
    fn words() -> Cow<'static, str> {
        "the address of a Unix socket such as unix:///run/spire/sockets/agent.sock".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        // SPIFFE Workload Endpoint §4: a URI of scheme unix without authority.
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or_default();
        // sun_path holds 108 bytes with its final zero (unix(7)).
        let good = path.starts_with('/') && path.len() <= 107 && !path.contains(['\0', '?', '#']);
        match text {
            _ if good => Ok(Self(path.into())),
            text if text.starts_with('/') => Err(Self::expected(text, &format!("write unix://{text}"))),
            text if text.starts_with("tcp:") => {
                Err(Self::expected(text, "over TCP anybody on the machine could ask for this workload's identity"))
            }
            text => Err(Self::expected(text, "")),
        }
    }
}

/// An identity in files.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["certificate_chain", "private_key", "trust_bundles"])))]
pub(crate) struct IdentityFiles {
    /// The certificate, then what leads to a root, PEM. Paths are relative to this document.
    pub certificate_chain: Text<FilePath>,
    /// The certificate's private key, PEM (PKCS#8, PKCS#1 or SEC1).
    pub private_key: Text<FilePath>,
    /// Whom to believe, by trust domain. A peer is judged by the roots of its own domain alone.
    pub trust_bundles: List<TrustBundle>,
}

fields! { IdentityFiles { certificate_chain, private_key, trust_bundles } }

/// The roots of a trust domain.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["trust_domain", "path"])))]
pub(crate) struct TrustBundle {
    /// The domain, such as `example.org`.
    pub trust_domain: Text<TrustDomain>,
    /// Its roots, PEM.
    pub path: Text<FilePath>,
}

fields! { TrustBundle { trust_domain, path } }

/// How a listener speaks TLS.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct ListenerTls {
    /// Whether connections without TLS are served. `strict`: what is meant to be protected is not served without.
    pub mode: Field<ListenerTlsMode>,
    /// Other modes of some ports: those that clients connect to, of which a listener that captures has many. One that can do nothing is warned of: another port than the own of a listener without `capture` and `proxy_protocol`, and `off` where `authorization` allows peers alone.
    pub exceptions: List<TlsException>,
    /// What is presented. Several: the first that has the server name asked for (SNI), otherwise the first of all. None: the identity.
    pub certificates: List<Certificate>,
    /// Whether clients show a certificate: `off`, `optional` (what they show must be good), `required`. Absent: `required` where the identity is presented, `off` where `certificates` are.
    pub client_certificates: Field<ClientCertificates>,
    /// Roots that vouch for clients, PEM. Absent: clients are peers of the mesh; they show SPIFFE IDs, and the identity's trust bundles vouch for them.
    pub client_trusted_ca: Text<FilePath>,
    /// The oldest version of TLS spoken. 1.2: older ones are broken.
    pub minimum_version: Field<TlsVersion>,
    /// The newest version of TLS spoken.
    pub maximum_version: Field<TlsVersion>,
    /// Application protocols offered, the preferred one first.
    pub alpn: List<Alpn>,
    /// Time from a connection's first byte to the end of the handshake. 10s: as for a request's head.
    pub handshake_timeout: Text<Period>,
}

fields! { ListenerTls { mode, exceptions, certificates, client_certificates, client_trusted_ca, minimum_version, maximum_version, alpn, handshake_timeout } }

impl Default for ListenerTls {
    fn default() -> Self {
        Self {
            mode: Field::of(ListenerTlsMode::Strict),
            exceptions: Field::ABSENT,
            certificates: Field::ABSENT,
            client_certificates: Field::ABSENT,
            client_trusted_ca: Field::ABSENT,
            minimum_version: Field::of(TlsVersion::Tls12),
            maximum_version: Field::of(TlsVersion::Tls13),
            alpn: Field::of(vec![Field::of(Alpn::Http2), Field::of(Alpn::Http1)]),
            handshake_timeout: Text::scalar(Period(Duration::from_secs(10))),
        }
    }
}

/// The mode of some ports.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["ports", "mode"])))]
pub(crate) struct TlsException {
    /// The ports that clients connect to, before any capture; with `proxy_protocol` as the header says, but with `capture`, whose bytes go where the kernel says, as it says.
    pub ports: List<Scalar<Int<1, 65_535>>>,
    /// Whether connections without TLS are served there.
    pub mode: Field<ListenerTlsMode>,
}

fields! { TlsException { ports, mode } }

/// A certificate to present.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["certificate_chain", "private_key"])))]
pub(crate) struct Certificate {
    /// The certificate, then what leads to a root, PEM.
    pub certificate_chain: Text<FilePath>,
    /// Its private key, PEM.
    pub private_key: Text<FilePath>,
}

fields! { Certificate { certificate_chain, private_key } }

/// Whether connections without TLS are served.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum ListenerTlsMode {
    /// TLS only.
    Strict,
    /// TLS, and what is not TLS as it is: for the time in which a mesh is being joined.
    Permissive,
    /// No TLS, as if `tls` were not written.
    Off,
}

words! { ListenerTlsMode { "strict" => Strict, "permissive" => Permissive, "off" => Off } }

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum ClientCertificates {
    /// They are not asked.
    Off,
    /// They are asked; what they show must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

words! { ClientCertificates { "off" => Off, "optional" => Optional, "required" => Required } }

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(JsonSchema, Serialize), schemars(inline))]
pub(crate) enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[cfg_attr(test, serde(rename = "TLSv1.2"))]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[cfg_attr(test, serde(rename = "TLSv1.3"))]
    Tls13,
}

words! { TlsVersion { "TLSv1.2" => Tls12, "TLSv1.3" => Tls13 } }

/// An application protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), schemars(inline))]
pub(crate) enum Alpn {
    /// HTTP/2.
    #[cfg_attr(test, serde(rename = "h2"))]
    Http2,
    /// HTTP/1.1.
    #[cfg_attr(test, serde(rename = "http/1.1"))]
    Http1,
}

words! { Alpn { "h2" => Http2, "http/1.1" => Http1 } }

/// How a cluster is spoken to by TLS. One of `spiffe_ids`, `trusted_ca` and `danger_accept_any_certificate` says what makes a server the right one.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct ClusterTls {
    /// Whether its servers get to see the identity. `tls`: only who must know who we are is told.
    pub mode: Field<ClusterTlsMode>,
    /// The server name asked for (SNI) and, under `trusted_ca`, demanded. Absent: the endpoint's own host name; for an endpoint that is an address none is asked for, and the address is demanded.
    pub server_name: Text<ServerName>,
    /// SPIFFE IDs of which the server must have one: `spiffe://example.org/ns/shop/sa/api`, all below a path as `spiffe://example.org/ns/shop/*`, all of a trust domain as `spiffe://example.org/*`. The identity's trust bundle of that domain vouches for it.
    pub spiffe_ids: List<Scalar<SpiffeMatch>>,
    /// Roots that vouch for the server, PEM: a single one pins it; `/etc/ssl/certs/ca-certificates.crt` is what browsers trust.
    pub trusted_ca: Text<FilePath>,
    /// Names of which the server must have one, in place of `server_name`.
    pub names: List<Scalar<ServerName>>,
    /// Accept any server that `trusted_ca` vouches for, whatever its name. Whoever has a certificate of theirs can pose as the server.
    pub danger_ignore_names: Field<bool>,
    /// Accept any certificate at all. Whoever is on the way can read and change what is said.
    pub danger_accept_any_certificate: Field<bool>,
    /// The oldest version of TLS spoken. 1.2: older ones are broken.
    pub minimum_version: Field<TlsVersion>,
    /// The newest version of TLS spoken.
    pub maximum_version: Field<TlsVersion>,
}

fields! { ClusterTls { mode, server_name, spiffe_ids, trusted_ca, names, danger_ignore_names, danger_accept_any_certificate, minimum_version, maximum_version } }

impl Default for ClusterTls {
    fn default() -> Self {
        Self {
            mode: Field::of(ClusterTlsMode::Tls),
            server_name: Field::ABSENT,
            spiffe_ids: Field::ABSENT,
            trusted_ca: Field::ABSENT,
            names: Field::ABSENT,
            danger_ignore_names: Field::of(false),
            danger_accept_any_certificate: Field::of(false),
            minimum_version: Field::of(TlsVersion::Tls12),
            maximum_version: Field::of(TlsVersion::Tls13),
        }
    }
}

/// How a cluster is spoken to.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum ClusterTlsMode {
    /// In the clear, as if `tls` were not written.
    Off,
    /// The server shows a certificate.
    Tls,
    /// Both do: servers that ask are shown the identity.
    Mutual,
    /// `mutual` to endpoints that have an `identity`, which then must be theirs; in the clear to the others.
    MutualIfIdentity,
}

words! { ClusterTlsMode { "off" => Off, "tls" => Tls, "mutual" => Mutual, "mutual-if-identity" => MutualIfIdentity } }

/// The path of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) PathBuf);

impl FromText for FilePath {
    fn words() -> Cow<'static, str> {
        "the path of a file".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with("-----BEGIN") {
            // Not quoted: it may be a key.
            return Err("expected the path of a file, found PEM text; put it into a file and write its path".into());
        }
        if text.is_empty() || text.contains('\0') {
            return Err(Self::expected(text, ""));
        }
        Ok(Self(text.into()))
    }
}

impl FromText for TrustDomain {
    fn words() -> Cow<'static, str> {
        "a trust domain such as example.org".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| match text.strip_prefix("spiffe://") {
            Some(rest) => Self::expected(text, &format!("write {}", rest.split('/').next().unwrap_or(rest))),
            None => Self::expected(text, "lower-case letters, digits, dots, hyphens and underscores"),
        })
    }
}

impl FromText for SpiffeId {
    fn words() -> Cow<'static, str> {
        "a SPIFFE ID such as spiffe://example.org/ns/shop/sa/api".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let remedy = "letters, digits and .-_ between slashes, the trust domain in lower case";
        Self::parse(text).filter(Self::names_a_workload).ok_or_else(|| Self::expected(text, remedy))
    }
}

impl FromText for SpiffeMatch {
    fn words() -> Cow<'static, str> {
        "a SPIFFE ID such as spiffe://example.org/ns/shop/sa/api, or spiffe://example.org/* for a trust domain".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let (id, all) = text.strip_suffix("/*").map_or((text, false), |parent| (parent, true));
        let remedy = "letters, digits and .-_ between slashes, the trust domain in lower case";
        let id = SpiffeId::parse(id).ok_or_else(|| Self::expected(text, remedy))?;
        match (all, id.names_a_workload()) {
            (true, true) => Ok(Self::Below(id)),
            (true, false) => Ok(Self::Domain(id.domain().clone())),
            (false, true) => Ok(Self::Exact(id)),
            (false, false) => Err(Self::expected(text, &format!("for all of a trust domain write {id}/*"))),
        }
    }
}

/// The name of a server: a host name in lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerName(pub(crate) String);

impl FromText for ServerName {
    fn words() -> Cow<'static, str> {
        "a server's name such as api.example.com".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err(Self::expected(text, "an address is no server name (RFC 6066 §3); leave it out"));
        }
        if text.contains('*') {
            return Err(Self::expected(
                text,
                "the server's certificate may have a wildcard, the name asked for may not",
            ));
        }
        super::hosts::host_name(text).map_err(|remedy| Self::expected(text, &remedy))?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}
