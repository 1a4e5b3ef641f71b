//! TLS on listeners and clusters, and the identity of the workload.
//!
//! Reads no certificate and no key: those change without the configuration, and are judged when they are loaded.

use super::Lowering;
use crate::{
    document::{self, Field, FilePath, Period, Scalar, ServerName, Text, TlsVersion},
    model::{
        Alpn, Authorization, AuthorizationRule, CertificateFiles, ClientCertificates, ClusterTls, ClusterTlsMode,
        Enforcement, Identity, IdentityFiles, IdentitySource, ListenerTls, ListenerTlsMode, RuleAction,
        ServerVerification, SpiffeId, SpiffeMatch, TlsVersions, TrustBundle, TrustDomain, WorkloadApi,
    },
    tree::Place,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the rest of a document needs to know of the identity.
pub(super) enum Known {
    /// None is written.
    None,
    /// One is written, and bad: nothing more is said of it.
    Bad,
    /// Its trust domains.
    Domains(Vec<TrustDomain>),
    /// One that is told while running, with its trust domains.
    Told,
}

impl Known {
    pub(super) fn of(written: bool, identity: Option<&Identity>) -> Self {
        match identity {
            None if written => Self::Bad,
            None => Self::None,
            Some(identity) => {
                let files = match &identity.source {
                    IdentitySource::Files(files) => files,
                    IdentitySource::WorkloadApi(_) => return Self::Told,
                };
                Self::Domains(files.trust_bundles.iter().map(|bundle| bundle.domain.clone()).collect())
            }
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

pub(super) fn identity(cx: &mut Lowering<'_, '_>, identity: document::Identity, at: Place) -> Option<Identity> {
    let warning = identity.expiry_warning.value().map(|Period(period)| period);
    let sources = [("files", identity.files.place()), ("workload_api", identity.workload_api.place())];
    if cx.at_most_one(&sources) == 0 {
        cx.error(at, "an identity comes from somewhere; write files or workload_api");
        return None;
    }
    if identity.workload_api.is_written() {
        let (api, at) = identity.workload_api.at(at)?;
        let socket = cx.required_scalar(at, "address", api.address);
        let spiffe_id = if api.spiffe_id.is_written() { Some(api.spiffe_id.value()?) } else { None };
        let source = IdentitySource::WorkloadApi(WorkloadApi { socket: socket?.0.0, spiffe_id });
        return Some(Identity { source, expiry_warning: warning? });
    }
    let (files, at) = identity.files.at(at)?;
    let certificate = certificate(cx, at, files.certificate_chain, files.private_key);
    let bundles = match cx.required(at, "trust_bundles", files.trust_bundles) {
        Some((list, place)) if list.is_empty() => {
            cx.error(place, "no trust bundle: no peer could be believed; write at least the one of your own domain");
            None
        }
        Some((list, place)) => trust_bundles(cx, list, place),
        None => None,
    };
    Some(Identity {
        source: IdentitySource::Files(IdentityFiles { certificate: certificate?, trust_bundles: bundles? }),
        expiry_warning: warning?,
    })
}

fn trust_bundles(
    cx: &mut Lowering<'_, '_>,
    list: Vec<Field<document::TrustBundle>>,
    at: Place,
) -> Option<Vec<TrustBundle>> {
    let count = list.len();
    let mut bundles: Vec<TrustBundle> = Vec::with_capacity(count);
    for (bundle, place) in cx.elements(at, list) {
        let domain = cx.required_scalar(place, "trust_domain", bundle.trust_domain);
        let path = file(cx, place, "path", bundle.path);
        let (Some((domain, domain_at)), Some(path)) = (domain, path) else { continue };
        if bundles.iter().any(|known| known.domain == domain) {
            cx.error(domain_at, format!("the trust domain {domain} has a bundle already; put its roots into one file"));
        }
        bundles.push(TrustBundle { domain, path });
    }
    (bundles.len() == count).then_some(bundles)
}

pub(super) fn listener(
    cx: &mut Lowering<'_, '_>,
    field: Field<document::ListenerTls>,
    at: Place,
    known: &Known,
) -> Option<Option<ListenerTls>> {
    if !field.is_written() {
        return Some(None);
    }
    let (tls, at) = field.at(at)?;
    let mode_at = tls.mode.place().unwrap_or(at);
    let mode = tls.mode.take().map(listener_mode);
    let exceptions = exceptions(cx, tls.exceptions, at);
    let certificates_at = tls.certificates.place().unwrap_or(at);
    let list = tls.certificates.elements();
    let count = list.len();
    let mut certificates = Vec::with_capacity(count);
    for (written, place) in cx.elements(certificates_at, list) {
        certificates.extend(certificate(cx, place, written.certificate_chain, written.private_key));
    }
    let others = exceptions.iter().flatten().map(|exception| (Some(exception.mode), exception.mode_at));
    let modes: Vec<_> = others.chain([(mode, mode_at)]).collect();
    if count == 0 && known.is_none() && modes.iter().any(|(mode, _)| *mode != Some(ListenerTlsMode::Off)) {
        cx.error(
            at,
            "there is nothing to present: write `certificates` here, or `identity` at the top of the document",
        );
    }
    let clients_at = tls.client_certificates.place().unwrap_or(at);
    let clients = match tls.client_certificates {
        absent if !absent.is_written() && count == 0 => Some(ClientCertificates::Required),
        absent if !absent.is_written() => Some(ClientCertificates::Off),
        written => written.take().map(|clients| match clients {
            document::ClientCertificates::Off => ClientCertificates::Off,
            document::ClientCertificates::Optional => ClientCertificates::Optional,
            document::ClientCertificates::Required => ClientCertificates::Required,
        }),
    };
    let roots_at = tls.client_trusted_ca.place();
    let roots_bad = roots_at.is_some() && tls.client_trusted_ca.get().is_none();
    let client_roots = tls.client_trusted_ca.value().map(|FilePath(path)| beside(cx, path));
    match (clients, roots_at) {
        (Some(ClientCertificates::Off), Some(place)) => {
            cx.error(place, "nobody is asked for a certificate; write `client_certificates: required`, or remove this");
        }
        (Some(ClientCertificates::Optional | ClientCertificates::Required), None) if known.is_none() && count > 0 => {
            cx.error(
                clients_at,
                "no roots vouch for clients: write `client_trusted_ca` here, or `identity` at the top of the document",
            );
        }
        _ => {}
    }
    let versions = versions(cx, at, tls.minimum_version, tls.maximum_version);
    let alpn_at = tls.alpn.place().unwrap_or(at);
    let list = tls.alpn.elements();
    let mut alpn = Vec::with_capacity(list.len());
    for (protocol, place) in cx.elements(alpn_at, list) {
        let protocol = match protocol {
            document::Alpn::Http2 => Alpn::Http2,
            document::Alpn::Http1 => Alpn::Http1,
        };
        if alpn.contains(&protocol) {
            cx.error(place, "this protocol stands in the list already; write each once");
        }
        alpn.push(protocol);
    }
    if alpn.is_empty() {
        cx.error(alpn_at, "no protocol is left to speak; write [h2, http/1.1], or one of them");
    }
    let timeout = tls.handshake_timeout.value().map(|Period(period)| period);
    let permissive = modes.iter().filter(|(mode, _)| count > 0 && *mode == Some(ListenerTlsMode::Permissive));
    for (_, place) in permissive {
        cx.error(
            *place,
            "permissive is for peers of the mesh, which are shown the identity; remove `certificates`, or write strict",
        );
    }
    let speaks = modes.iter().any(|(mode, _)| *mode != Some(ListenerTlsMode::Off));
    if roots_bad || certificates.len() != count {
        return None;
    }
    let (mode, clients, versions, handshake_timeout) = (mode?, clients?, versions?, timeout?);
    let mut exceptions: Vec<_> = exceptions?.into_iter().map(|exception| (exception.port, exception.mode)).collect();
    exceptions.sort_unstable_by_key(|(port, _)| *port);
    let tls = ListenerTls { mode, exceptions, certificates, clients, client_roots, versions, alpn, handshake_timeout };
    Some(speaks.then_some(tls))
}

fn listener_mode(mode: document::ListenerTlsMode) -> ListenerTlsMode {
    match mode {
        document::ListenerTlsMode::Off => ListenerTlsMode::Off,
        document::ListenerTlsMode::Strict => ListenerTlsMode::Strict,
        document::ListenerTlsMode::Permissive => ListenerTlsMode::Permissive,
    }
}

/// The exceptions as they are written: each port and its place, and its mode. What is wrong with them is told elsewhere.
pub(super) fn written(tls: &Field<document::ListenerTls>) -> Vec<(u16, Place, ListenerTlsMode)> {
    let list = tls.get().and_then(|tls| tls.exceptions.get()).into_iter().flatten().filter_map(Field::get);
    let ports = list.filter_map(|exception| Some((exception.ports.get()?, listener_mode(*exception.mode.get()?))));
    let ports = ports.flat_map(|(ports, mode)| ports.iter().map(move |port| (port, mode)));
    ports.filter_map(|(port, mode)| Some((port.get()?.0.to(), port.place()?, mode))).collect()
}

/// Says which exceptions do nothing: of a port that is not the `only` one that clients can connect to, and those that let clients
/// come without TLS where every rule that could allow them asks who they are.
pub(super) fn judge_exceptions(
    cx: &mut Lowering<'_, '_>,
    exceptions: &[(u16, Place, ListenerTlsMode)],
    only: Option<u16>,
    rules: Option<&Authorization>,
) {
    for (port, place, mode) in exceptions {
        if let Some(only) = only.filter(|only| only != port) {
            cx.warn(
                *place,
                format!(
                    "nobody connects to port {port} here: without `capture` this listener has {only} alone; remove it"
                ),
            );
            continue;
        }
        let allow = |rule: &&AuthorizationRule| {
            rule.action == RuleAction::Allow
                && rule.enforcement == Enforcement::Enforced
                && (rule.ports.is_empty() || rule.ports.contains(port))
        };
        let mut allowing = rules.into_iter().flat_map(|rules| &rules.rules).filter(allow).peekable();
        let some = allowing.peek().is_some();
        if *mode == ListenerTlsMode::Off && some && allowing.all(|rule| !rule.peers.is_empty()) {
            cx.warn(
                *place,
                format!(
                    "port {port} is without TLS, so that nobody is a peer there, and the rules allow peers alone: \
                     everybody is refused; write a rule that allows it without `peers`, or remove this"
                ),
            );
        }
    }
}

/// The mode of one port.
struct Exception {
    port: u16,
    mode: ListenerTlsMode,
    mode_at: Place,
}

fn exceptions(
    cx: &mut Lowering<'_, '_>,
    list: document::List<document::TlsException>,
    at: Place,
) -> Option<Vec<Exception>> {
    let at = list.place().unwrap_or(at);
    let list = list.elements();
    let mut bad = false;
    let mut known: Vec<Exception> = Vec::new();
    let count = list.len();
    let usable = cx.elements(at, list);
    bad |= usable.len() != count;
    for (exception, place) in usable {
        let ports = cx.required(place, "ports", exception.ports);
        let mode = cx.required(place, "mode", exception.mode);
        let (Some((ports, ports_at)), Some((mode, mode_at))) = (ports, mode) else {
            bad = true;
            continue;
        };
        if ports.is_empty() {
            cx.error(ports_at, "an exception for no port; write at least one, or remove it");
        }
        let count = ports.len();
        let ports = cx.elements(ports_at, ports);
        bad |= ports.len() != count;
        for (Scalar(port), place) in ports {
            let (port, mode) = (port.to(), listener_mode(mode));
            if known.iter().any(|known| known.port == port) {
                cx.error(place, format!("port {port} is an exception already; write each port once"));
            } else {
                known.push(Exception { port, mode, mode_at });
            }
        }
    }
    (!bad).then_some(known)
}

pub(super) fn cluster(
    cx: &mut Lowering<'_, '_>,
    field: Field<document::ClusterTls>,
    at: Place,
    known: &Known,
    who: Vec<SpiffeId>,
) -> Option<Option<ClusterTls>> {
    if !field.is_written() {
        return Some(None);
    }
    let (tls, at) = field.at(at)?;
    let mode_at = tls.mode.place().unwrap_or(at);
    let mode = tls.mode.take();
    let by_endpoint = matches!(mode, Some(document::ClusterTlsMode::MutualIfIdentity));
    if (by_endpoint || matches!(mode, Some(document::ClusterTlsMode::Mutual))) && known.is_none() {
        cx.error(mode_at, "mutual TLS shows the identity; write `identity` at the top of the document");
    }
    let name_bad = tls.server_name.is_written() && tls.server_name.get().is_none();
    let server_name: Option<Arc<str>> = tls.server_name.value().map(|ServerName(name)| name.into());
    let versions = versions(cx, at, tls.minimum_version, tls.maximum_version);
    let off = matches!(mode, Some(document::ClusterTlsMode::Off));
    let what = Judged {
        spiffe_ids: tls.spiffe_ids,
        trusted_ca: tls.trusted_ca,
        names: tls.names,
        any_name: tls.danger_ignore_names,
        anyone: tls.danger_accept_any_certificate,
    };
    let verification = match (off, by_endpoint) {
        (true, _) => None,
        (false, true) => by_identity(cx, &what, who, mode_at, known),
        (false, false) => verification(cx, what, at, known),
    };
    let mode = match mode? {
        document::ClusterTlsMode::Off => return Some(None),
        document::ClusterTlsMode::Tls => ClusterTlsMode::Tls,
        document::ClusterTlsMode::Mutual => ClusterTlsMode::Mutual,
        document::ClusterTlsMode::MutualIfIdentity => ClusterTlsMode::MutualIfIdentity,
    };
    if name_bad {
        return None;
    }
    Some(Some(ClusterTls { mode, server_name, verification: verification?, versions: versions? }))
}

/// What a cluster's `tls` says of how a server is judged.
struct Judged {
    spiffe_ids: document::List<Scalar<SpiffeMatch>>,
    trusted_ca: Text<FilePath>,
    names: document::List<Scalar<ServerName>>,
    any_name: Field<bool>,
    anyone: Field<bool>,
}

/// Each endpoint's own identity says what makes its server the right one.
fn by_identity(
    cx: &mut Lowering<'_, '_>,
    what: &Judged,
    who: Vec<SpiffeId>,
    at: Place,
    known: &Known,
) -> Option<ServerVerification> {
    let written = [what.spiffe_ids.place(), what.trusted_ca.place(), what.names.place()];
    for place in written.into_iter().flatten() {
        cx.error(place, "under mutual-if-identity each endpoint's `identity` says who must be there; remove this");
    }
    if who.is_empty() {
        cx.warn(at, "no endpoint has an `identity`, so that all of them are spoken to in the clear");
    }
    if let Known::Domains(domains) = known {
        for id in who.iter().filter(|id| !domains.contains(id.domain())) {
            cx.error(
                at,
                format!("nothing vouches for {id}: there is no trust bundle of {} in `identity`", id.domain()),
            );
        }
    }
    Some(ServerVerification::SpiffeIds(who.into_iter().map(SpiffeMatch::Exact).collect()))
}

fn verification(cx: &mut Lowering<'_, '_>, what: Judged, at: Place, known: &Known) -> Option<ServerVerification> {
    let (any_name_at, anyone_at) = (what.any_name.place(), what.anyone.place());
    let (any_name, anyone) = (what.any_name.take()?, what.anyone.take()?);
    let danger_at = anyone_at.filter(|_| anyone);
    let (spiffe_at, ca_at, names_at) = (what.spiffe_ids.place(), what.trusted_ca.place(), what.names.place());
    let ways = [("spiffe_ids", spiffe_at), ("trusted_ca", ca_at), ("danger_accept_any_certificate", danger_at)];
    match cx.at_most_one(&ways) {
        0 => {
            cx.error(at, "nothing says what makes a server the right one: write `spiffe_ids` for peers of the mesh, or `trusted_ca` for others (/etc/ssl/certs/ca-certificates.crt is what browsers trust)");
            return None;
        }
        1 => {}
        _ => return None,
    }
    if ca_at.is_none() {
        for place in [names_at, any_name_at.filter(|_| any_name)].into_iter().flatten() {
            cx.error(place, "names are judged under `trusted_ca` only; write that, or remove this");
        }
    }
    if let (Some(names), true) = (names_at, any_name) {
        cx.error(names, "\"names\" cannot stand beside \"danger_ignore_names\"; keep one of them");
    }
    if danger_at.is_some() {
        cx.warn(
            danger_at.unwrap_or(at),
            "any server is accepted: whoever is on the way can read and change what is said",
        );
        return Some(ServerVerification::DangerAnyone);
    }
    if let Some(place) = spiffe_at {
        return spiffe_ids(cx, what.spiffe_ids.elements(), place, known).map(ServerVerification::SpiffeIds);
    }
    let roots = what.trusted_ca.value().map(|FilePath(path)| beside(cx, path));
    let list = what.names.elements();
    let count = list.len();
    let names: Vec<Arc<str>> = cx
        .elements(names_at.unwrap_or(at), list)
        .into_iter()
        .map(|(Scalar(ServerName(name)), _)| name.into())
        .collect();
    if names.len() != count {
        return None;
    }
    let roots = roots?;
    Some(if any_name {
        cx.warn(
            any_name_at.unwrap_or(at),
            "the server's name is not looked at: whoever has a certificate of these roots can pose as it",
        );
        ServerVerification::DangerAnyName { roots }
    } else {
        ServerVerification::Names { roots, names }
    })
}

fn spiffe_ids(
    cx: &mut Lowering<'_, '_>,
    list: Vec<Field<Scalar<SpiffeMatch>>>,
    at: Place,
    known: &Known,
) -> Option<Vec<SpiffeMatch>> {
    let count = list.len();
    if count == 0 {
        cx.error(at, "no SPIFFE ID: no server could be the right one; write at least one");
    }
    if known.is_none() {
        cx.error(
            at,
            "SPIFFE IDs are vouched for by the identity's trust bundles; write `identity` at the top of the document",
        );
    }
    let ids: Vec<(SpiffeMatch, Place)> =
        cx.elements(at, list).into_iter().map(|(Scalar(id), place)| (id, place)).collect();
    if let Known::Domains(domains) = known {
        for (id, place) in &ids {
            if !domains.contains(id.domain()) {
                cx.error(
                    *place,
                    format!("nothing vouches for {id}: there is no trust bundle of {} in `identity`", id.domain()),
                );
            }
        }
    }
    (ids.len() == count).then(|| ids.into_iter().map(|(id, _)| id).collect())
}

fn certificate(
    cx: &mut Lowering<'_, '_>,
    at: Place,
    chain: Text<FilePath>,
    key: Text<FilePath>,
) -> Option<CertificateFiles> {
    let chain = file(cx, at, "certificate_chain", chain);
    let key = file(cx, at, "private_key", key);
    Some(CertificateFiles { chain: chain?, key: key? })
}

fn file(cx: &mut Lowering<'_, '_>, at: Place, name: &str, field: Text<FilePath>) -> Option<PathBuf> {
    let (FilePath(path), _) = cx.required_scalar(at, name, field)?;
    Some(beside(cx, path))
}

/// Paths are relative to the document.
fn beside(cx: &Lowering<'_, '_>, path: PathBuf) -> PathBuf {
    cx.file.path().parent().unwrap_or(Path::new("")).join(path)
}

fn versions(
    cx: &mut Lowering<'_, '_>,
    at: Place,
    minimum: Field<TlsVersion>,
    maximum: Field<TlsVersion>,
) -> Option<TlsVersions> {
    let place = minimum.place().or(maximum.place()).unwrap_or(at);
    match (minimum.take()?, maximum.take()?) {
        (TlsVersion::Tls12, TlsVersion::Tls12) => Some(TlsVersions::Only12),
        (TlsVersion::Tls12, TlsVersion::Tls13) => Some(TlsVersions::Both),
        (TlsVersion::Tls13, TlsVersion::Tls13) => Some(TlsVersions::Only13),
        (TlsVersion::Tls13, TlsVersion::Tls12) => {
            cx.error(place, "minimum_version is newer than maximum_version, so no version is left; exchange them");
            None
        }
    }
}
