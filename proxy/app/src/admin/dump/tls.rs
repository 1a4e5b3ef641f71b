//! TLS and identity as JSON: what is configured, by the names of files. What stands in them is never here.

use super::time;
use pillion_config::model::*;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn identity(Identity { source, expiry_warning }: &Identity) -> Value {
    let bundle =
        |TrustBundle { domain, path }: &TrustBundle| json!({ "trust_domain": domain.as_str(), "path": shown(path) });
    match source {
        IdentitySource::Files(IdentityFiles { certificate, trust_bundles }) => json!({
            "files": {
                "certificate": self::certificate(certificate),
                "trust_bundles": trust_bundles.iter().map(bundle).collect::<Vec<_>>(),
            },
            "expiry_warning": time(*expiry_warning),
        }),
        IdentitySource::WorkloadApi(WorkloadApi { socket, spiffe_id }) => json!({
            "workload_api": { "socket": shown(socket), "spiffe_id": spiffe_id.as_ref().map(ToString::to_string) },
            "expiry_warning": time(*expiry_warning),
        }),
    }
}

pub(super) fn listener(tls: &ListenerTls) -> Value {
    let ListenerTls { mode, exceptions, certificates, clients, client_roots, versions, alpn, handshake_timeout } = tls;
    let word = |mode: &ListenerTlsMode| match mode {
        ListenerTlsMode::Strict => "strict",
        ListenerTlsMode::Permissive => "permissive",
        ListenerTlsMode::Off => "off",
    };
    let exception = |(port, mode): &(u16, ListenerTlsMode)| json!({ "ports": [port], "mode": word(mode) });
    json!({
        "mode": word(mode),
        "exceptions": exceptions.iter().map(exception).collect::<Vec<_>>(),
        "certificates": certificates.iter().map(certificate).collect::<Vec<_>>(),
        "client_certificates": match clients {
            ClientCertificates::Off => "off",
            ClientCertificates::Optional => "optional",
            ClientCertificates::Required => "required",
        },
        "client_trusted_ca": client_roots.as_deref().map(shown),
        "versions": self::versions(*versions),
        "alpn": alpn.iter().map(|protocol| match protocol {
            Alpn::Http2 => "h2",
            Alpn::Http1 => "http/1.1",
        }).collect::<Vec<_>>(),
        "handshake_timeout": time(*handshake_timeout),
    })
}

pub(super) fn cluster(ClusterTls { mode, server_name, verification, versions }: &ClusterTls) -> Value {
    let verification = match verification {
        ServerVerification::SpiffeIds(ids) => {
            json!({ "spiffe_ids": ids.iter().map(ToString::to_string).collect::<Vec<_>>() })
        }
        ServerVerification::Names { roots, names } => {
            json!({ "trusted_ca": shown(roots), "names": names.iter().map(AsRef::as_ref).collect::<Vec<&str>>() })
        }
        ServerVerification::DangerAnyName { roots } => {
            json!({ "trusted_ca": shown(roots), "danger_ignore_names": true })
        }
        ServerVerification::DangerAnyone => json!({ "danger_accept_any_certificate": true }),
    };
    json!({
        "mode": match mode {
            ClusterTlsMode::Tls => "tls",
            ClusterTlsMode::Mutual => "mutual",
            ClusterTlsMode::MutualIfIdentity => "mutual-if-identity",
        },
        "server_name": server_name.as_deref(),
        "verification": verification,
        "versions": self::versions(*versions),
    })
}

fn certificate(CertificateFiles { chain, key }: &CertificateFiles) -> Value {
    json!({ "certificate_chain": shown(chain), "private_key": shown(key) })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn versions(versions: TlsVersions) -> Value {
    match versions {
        TlsVersions::Only12 => json!(["TLSv1.2"]),
        TlsVersions::Both => json!(["TLSv1.2", "TLSv1.3"]),
        TlsVersions::Only13 => json!(["TLSv1.3"]),
    }
}
