//! Pillion's configuration: the same listeners and clusters.

use super::{Filter, Handed, Loaded, METADATA, NAMESPACES, Running, TOKENS, Tokens};
use crate::{case::Case, secure::SERVER, upstream::Upstream};
use pillion_tests::{client::Client, port, process::Process, tempdir::TempDir, wait::SOON};
use serde_json::json;
use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

pub(super) fn start(program: &Path, cases: &[Loaded<'_>], upstream: &Upstream) -> Result<Running, String> {
    let folder = TempDir::new();
    let admin = port::free();
    folder.write("secret", TOKENS.secret);
    let file = folder.write("pillion.yaml", yaml(cases, upstream, admin));
    if let Some(copy) = std::env::var_os("KIT_KEEP") {
        drop(std::fs::copy(&file, Path::new(&copy).join("pillion.yaml")));
    }
    let mut process = Process::start(
        Command::new(program)
            .args(["run", "--config"])
            .arg(file)
            .env("KIT_SHOWN", "shown")
            // What it keeps of compiled modules is this run's own.
            .env("XDG_CACHE_HOME", folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .current_dir(folder.path()),
    );
    // A hundred modules are compiled by a child that is not optimised in tests.
    let end = Instant::now() + SOON * 20;
    loop {
        if let Some(status) = process.ended() {
            std::thread::sleep(Duration::from_millis(30));
            return Err(format!("ended with {status}: {}{}", process.stderr(), process.stdout()));
        }
        if ready(admin) {
            return Ok(Running::new(process, folder, words));
        }
        if Instant::now() > end {
            return Err(format!("not ready in time: {}", process.stderr()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ready(admin: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect(admin) else { return false };
    let mut client = Client::over(stream);
    client.try_send(format!("GET /ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")).is_ok()
        && client.try_receive("GET").is_ok_and(|response| response.status == 200)
}

fn yaml(cases: &[Loaded<'_>], upstream: &Upstream, admin: SocketAddr) -> String {
    let mut text = format!(
        "admin: {{ address: {admin} }}\nworkers: 1\nnode: {{ id: kit-node, cluster: kit-cluster, metadata: {METADATA} }}\n\
         {}\nlisteners:\n",
        upstream.secure.identity
    );
    for loaded in cases {
        let (name, address) = (&loaded.case.name, loaded.address);
        let guard = loaded.case.has("jwt").then(|| "tokens".to_owned());
        let filters = guard.into_iter().chain(loaded.case.filters().into_iter().map(|filter| filter.name));
        let filters = filters.collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  - name: {name}\n    address: {address}");
        if loaded.case.has("metadata") {
            let _ = writeln!(text, "    metadata: {}", NAMESPACES.listener);
        }
        if loaded.case.has("tcp") {
            let _ = writeln!(text, "    tcp: {{ cluster: bytes, filters: [{filters}] }}");
        } else {
            // Envoy's listeners make no ids either.
            let _ = write!(
                text,
                "    forwarding: {{ request_id: pass }}\n    filters: [{filters}]\n{}",
                ROUTES.replace("METADATA", NAMESPACES.route)
            );
        }
    }
    text.push_str("filters:\n");
    if cases.iter().any(|loaded| loaded.case.has("jwt")) {
        let Tokens { issuer, key, .. } = TOKENS;
        let _ = writeln!(
            text,
            "  - {{ name: tokens, jwt: {{ presence: optional, expiry: optional, issuers: [{issuer}], keys: {{ secret_file: secret }}, \
             payload_in_metadata: {key} }} }}"
        );
    }
    for loaded in cases {
        for filter in loaded.case.filters() {
            let _ = writeln!(text, "  - {}", model(loaded, &filter));
        }
    }
    // Port 1 on loopback: nobody listens.
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    text.push_str("clusters:\n");
    for (name, address, more) in [
        ("origin", upstream.address, ""),
        ("origin-h2", upstream.address, ", protocol: http2"),
        ("\"origin:h2\"", upstream.address, ", protocol: http2"),
        ("bytes", upstream.bytes, ""),
        ("dead", dead, ", protocol: http2"),
        ("httpbin", upstream.address, ""),
    ] {
        let _ = writeln!(text, "  - {{ name: {name}, endpoints: [\"{address}\"], connect_timeout: 2s{more} }}");
    }
    let _ = writeln!(
        text,
        "  - {{ name: meta, endpoints: [{{ address: \"{}\", metadata: {} }}], connect_timeout: 2s, metadata: {} }}",
        upstream.address, NAMESPACES.endpoint, NAMESPACES.cluster
    );
    let secure = &upstream.secure;
    let other = secure.folder.path().join("other.pem");
    let (known, unknown) =
        (format!("spiffe_ids: [\"{SERVER}\"]"), format!("trusted_ca: {other:?}, danger_ignore_names: true"));
    for (name, address, trust) in [
        ("origin-tls", secure.address, &known),
        ("untrusted", secure.address, &unknown),
        ("no-tls", upstream.bytes, &known),
    ] {
        let _ = writeln!(
            text,
            "  - {{ name: {name}, endpoints: [\"{address}\"], connect_timeout: 2s, tls: {{ mode: mutual, server_name: \
             server.example, {trust} }} }}"
        );
    }
    text
}

const ROUTES: &str = "    routes:
      - { name: by-header, match: { prefix: /, headers: { x-kit-route: other } }, respond: { status: 210, body: other, content_type: text/plain } }
      - { name: canary-route, match: { host: ['*-canary', 'canary-*'] }, respond: { status: 211, body: canary, content_type: text/plain } }
      - { name: h2-route, match: { prefix: /h2/ }, rewrite: { prefix: / }, cluster: origin-h2 }
      - { name: dead-route, match: { prefix: /dead }, cluster: dead }
      - { name: tls-route, match: { prefix: /tls }, cluster: origin-tls }
      - { name: untrusted-route, match: { prefix: /untrusted }, cluster: untrusted }
      - { name: no-tls-route, match: { prefix: /no-tls }, cluster: no-tls }
      - { name: meta-route, match: { prefix: /meta }, cluster: meta, metadata: METADATA }
      - { name: main-route, match: { prefix: /, headers: { x-kit-nowhere: { present: false } } }, cluster: origin }
";

fn handed(case: &Case, text: &str) -> serde_json::Value {
    match Handed::of(case, text) {
        Handed::Text(text) => json!(text),
        Handed::Bytes(base64) => json!({ "base64": base64 }),
        Handed::Parts(value) => value,
    }
}

/// JSON is YAML.
fn model(loaded: &Loaded<'_>, filter: &Filter) -> serde_json::Value {
    let case = loaded.case;
    let mut wasm = json!({
        "file": loaded.module,
        "vm_id": filter.vm_id,
        "root_id": case.root,
        // The callbacks of a build that is not optimised, on a machine that does other things.
        "limits": { "callback": "2s", "start": "10s", "restarts": 1000 },
    });
    if !filter.plugin.is_empty() {
        wasm["configuration"] = handed(case, &filter.plugin);
    }
    if !case.vm.is_empty() {
        wasm["vm_configuration"] = handed(case, &case.vm);
    }
    if case.has("stop_iteration") {
        wasm["allow_on_headers_stop_iteration"] = json!(true);
    }
    if case.has("restricted") {
        wasm["allowed_capabilities"] = json!([
            "proxy_log",
            "proxy_on_memory_allocate",
            "proxy_on_request_headers",
            "proxy_on_context_create",
            "proxy_on_vm_start",
            "proxy_on_configure",
        ]);
    }
    if case.has("env") {
        wasm["host_environment"] = json!(["KIT_SHOWN"]);
        wasm["environment"] = json!({ "KIT_SET": "set" });
    }
    let fail = if case.has("fail_open") { "open" } else { "closed" };
    json!({ "name": filter.name, "fail": fail, "wasm": wasm })
}

/// `time level words filter=PLUGIN`, and `vm_id=VM` while the module starts itself.
fn words(case: &Case, line: &str) -> Option<String> {
    case.filters().iter().find_map(|filter| {
        let line = line
            .strip_suffix(&format!(" filter={}", filter.name))
            .or_else(|| line.strip_suffix(&format!(" vm_id={}", filter.vm_id)))?;
        let words = match case.module {
            Some(_) => line.splitn(3, ' ').nth(2)?,
            None => super::after_mark(case, line)?,
        };
        Some(format!("{}{words}", filter.mark))
    })
}
