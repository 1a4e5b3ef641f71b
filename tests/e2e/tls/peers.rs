//! Other people's TLS: curl, openssl, nginx and Envoy, as clients and as servers.

use super::*;

fn run(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    stdin.write_all(input.as_bytes()).expect("it reads");
    // s_client leaves when its input ends; the answer must be there by then.
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(3));
        drop(stdin);
    });
    child.wait_with_output().expect("it ends")
}

#[test]
fn curl_and_openssl_are_served_by_either_version() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let openssl = some_or_return!(need::program("openssl", "openssl"));
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, identity) = pki::identity(&authority, WEB);
    authority.svid(CLIENT).write(dir.path(), "client");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let proxy = strict(&identity, origin.address);
    let port = proxy.address.port();
    for (version, most) in [("--tlsv1.2", "1.2"), ("--tlsv1.3", "1.3")] {
        for http in ["--http1.1", "--http2"] {
            let url = format!("https://localhost:{port}/");
            let output = Command::new(&curl)
                .args(["-sS", "--max-time", "20", version, "--tls-max", most, http, "--cacert", &file("ca.pem")])
                .args(["--cert", &file("client.pem"), "--key", &file("client.key"), "--resolve"])
                .args([&format!("localhost:{port}:127.0.0.1"), &url])
                .output()
                .unwrap();
            assert!(output.status.success(), "{version} {http}: {}", String::from_utf8_lossy(&output.stderr));
            let described: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(header(&described, "x-forwarded-client-cert").is_some_and(|told| told.ends_with(CLIENT)));
        }
        let versions = [format!("version=\"TLSv{most}\"")];
        proxy.await_metric("pillion_tls_handshakes_total", &[&versions[0]], |count| count == 2.0);
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let output = run(
            Command::new(&openssl)
                .args(["s_client", "-quiet", "-verify_return_error", version, "-CAfile", &file("ca.pem")])
                .args(["-cert", &file("client.pem"), "-key", &file("client.key"), "-connect"])
                .arg(proxy.address.to_string()),
            "GET /status/204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("HTTP/1.1 204"), "{version}: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Ingress controllers, gateways and curl offer HTTP/2 to whoever ends TLS, which says nothing of the application behind.
#[test]
fn clients_that_agree_upon_http2_are_served_by_applications_of_http1_alone() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let python = some_or_return!(need::program("python3", "python3"));
    let (authority, pages) = (Authority::new("root"), TempDir::new());
    fs::write(pages.path().join("page"), "an old page").unwrap();
    let served = port::free();
    let server = nginx(
        pages.path(),
        served,
        &format!("listen {served}; location = /page {{ root {}; }}", pages.path().display()),
    );
    let _nginx = some_or_return!(server);
    let simple = port::free();
    let mut command = Command::new(python);
    command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(pages.path());
    let _python = Process::start(command.arg(simple.port().to_string()));
    wait::until_true("http.server to listen", || TcpStream::connect(simple).is_ok());
    let (dir, identity) = pki::identity(&authority, WEB);
    authority.svid(CLIENT).write(dir.path(), "client");
    let file = |name: &str| dir.path().join(name).display().to_string();
    for application in [served, simple] {
        let proxy =
            Shape { top: &identity, listener: "tls: {}", cluster: "protocol: same-as-downstream", ..Shape::default() }
                .start(application);
        let port = proxy.address.port();
        for http in ["--http2", "--http1.1", "--http2"] {
            let output = Command::new(&curl)
                .args(["-sS", "--max-time", "20", http, "--cacert", &file("ca.pem"), "-w", " by HTTP/%{http_version}"])
                .args(["--cert", &file("client.pem"), "--key", &file("client.key"), "--resolve"])
                .args([format!("localhost:{port}:127.0.0.1"), format!("https://localhost:{port}/page")])
                .output()
                .unwrap();
            let spoken = if http == "--http2" { "2" } else { "1.1" };
            let got = String::from_utf8_lossy(&output.stdout);
            assert_eq!(got, format!("an old page by HTTP/{spoken}"), "{}", String::from_utf8_lossy(&output.stderr));
        }
        // It was asked once.
        proxy.await_metric("pillion_connect_failures_total", &["reason=\"not_http2\""], |count| count == 1.0);
    }
}

fn nginx(dir: &Path, address: SocketAddr, server: &str) -> Option<Process> {
    let program = need::program("nginx", "nginx-light")?;
    let root = dir.display();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         server {{ {server} }} }}\n"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config).expect("a file can be written");
    let mut process = Process::start(Command::new(program).arg("-p").arg(dir).arg("-c").arg(file));
    wait::until_true("nginx to listen", || {
        assert!(process.ended().is_none(), "nginx ended: {}", process.stderr());
        TcpStream::connect(address).is_ok()
    });
    Some(process)
}

#[test]
fn nginx_is_a_peer_on_either_side() {
    let authority = Authority::new("root");
    let (dir, identity) = pki::identity(&authority, CLIENT);
    authority.svid(WEB).write(dir.path(), "web");
    let root = dir.path().display();
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let folder = TempDir::new();
        let address = port::free();
        let server = format!(
            "listen {address} ssl; ssl_certificate {root}/web.pem; ssl_certificate_key {root}/web.key;\n\
             ssl_protocols {versions}; ssl_client_certificate {root}/ca.pem; ssl_verify_client on;\n\
             location / {{ return 200 \"$ssl_protocol $ssl_client_verify\"; }}"
        );
        let _nginx = some_or_return!(nginx(folder.path(), address, &server));
        let cluster = format!("tls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
        let proxy = Shape { top: &identity, cluster: &cluster, ..Shape::default() }.start(address);
        for _ in 0..3 {
            let response = proxy.get("/");
            assert_eq!(response.text(), format!("{versions} SUCCESS"), "{}", proxy.stderr());
        }
        // By name, and pinned to another root: refused with its cause.
        dir.write("other.pem", Authority::new("other").pem());
        let cluster = format!("tls: {{ mode: mutual, server_name: localhost, trusted_ca: {root}/ca.pem }}");
        let named = Shape { top: &identity, cluster: &cluster, ..Shape::default() }.start(address);
        assert_eq!(named.get("/").status, 200, "{}", named.stderr());
        for (tls, reason) in [
            (format!("server_name: elsewhere.example, trusted_ca: {root}/ca.pem"), "name_mismatch"),
            (format!("server_name: localhost, trusted_ca: {root}/other.pem"), "unknown_issuer"),
        ] {
            let cluster = format!("tls: {{ mode: mutual, {tls} }}");
            let proxy = Shape { top: &identity, cluster: &cluster, ..Shape::default() }.start(address);
            assert_eq!(proxy.get("/").status, 503);
            let reason = format!("reason=\"{reason}\"");
            assert!(proxy.metrics().sum("pillion_connect_failures_total", &[&reason]) > 0.0, "{}", proxy.stderr());
        }
        // The other way round: nginx before a listener of ours.
        let origin = Origin::start();
        let ours = strict(&identity, origin.address);
        let (folder, front) = (TempDir::new(), port::free());
        let server = format!(
            "listen {front}; location / {{ proxy_pass https://{}; proxy_ssl_protocols {versions};\n\
             proxy_ssl_certificate {root}/web.pem; proxy_ssl_certificate_key {root}/web.key;\n\
             proxy_ssl_trusted_certificate {root}/ca.pem; proxy_ssl_verify on; proxy_ssl_name localhost; }}",
            ours.address
        );
        let _front = some_or_return!(nginx(folder.path(), front, &server));
        let described = pillion_tests::client::get(front, "/").json();
        assert!(header(&described, "x-forwarded-client-cert").is_some_and(|told| told.ends_with(WEB)));
    }
}

/// Envoy with the same certificates and its own SPIFFE validator, before us and behind us.
#[test]
fn envoy_is_a_peer_on_either_side() {
    let program = some_or_return!(envoy::program());
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, identity) = pki::identity(&authority, WEB);
    authority.svid(CLIENT).write(dir.path(), "client");
    let root = dir.path().display();
    let ours = strict(&identity, origin.address);
    let (front, back) = (port::free(), port::free());
    let context = |name: &str| {
        format!(
            "common_tls_context: {{ tls_certificates: [{{ certificate_chain: {{ filename: {root}/{name}.pem }}, \
             private_key: {{ filename: {root}/{name}.key }} }}], validation_context: {{ custom_validator_config: {{ \
             name: envoy.tls.cert_validator.spiffe, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig, \
             trust_domains: [{{ name: example.org, trust_bundle: {{ filename: {root}/ca.pem }} }}] }} }} }} }}"
        )
    };
    let manager = |route: &str| {
        format!(
            "filters: [{{ name: http, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
             stat_prefix: a, codec_type: AUTO, route_config: {{ virtual_hosts: [{{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: / }}, {route} }}] }}] }}, \
             http_filters: [{{ name: router, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}] }} }}]"
        )
    };
    let socket = |address: SocketAddr| {
        format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", address.ip(), address.port())
    };
    let config = format!(
        "static_resources:\n  listeners:\n  - {{ name: front, address: {}, filter_chains: [{{ {} }}] }}\n  \
         - {{ name: back, address: {}, filter_chains: [{{ {}, transport_socket: {{ name: tls, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         require_client_certificate: true, {} }} }} }}] }}\n  clusters:\n  - {{ name: ours, connect_timeout: 5s, \
         load_assignment: {{ cluster_name: ours, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {} }} }}] }}] }}, \
         transport_socket: {{ name: tls, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: localhost, {} }} }} }}\n",
        socket(front),
        manager("route: { cluster: ours }"),
        socket(back),
        manager("direct_response: { status: 200, body: { inline_string: envoy } }"),
        context("svid"),
        socket(ours.address),
        context("client"),
    );
    let file = dir.write("envoy.yaml", config);
    let mut envoy = Process::start(Command::new(program).arg("-c").arg(file).args([
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "warn",
    ]));
    for address in [front, back] {
        wait::until("Envoy to listen", wait::SOON * 6, || {
            assert!(envoy.ended().is_none(), "Envoy ended: {}", envoy.stderr());
            TcpStream::connect(address).ok()
        });
    }
    let described = pillion_tests::client::get(front, "/").json();
    assert!(header(&described, "x-forwarded-client-cert").is_some_and(|told| told.ends_with(CLIENT)), "{described}");
    for protocol in ["http1", "http2"] {
        let cluster = format!("protocol: {protocol}\ntls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
        let proxy = Shape { top: &identity, cluster: &cluster, ..Shape::default() }.start(back);
        for _ in 0..3 {
            assert_eq!(proxy.get("/").text(), "envoy", "{}", proxy.stderr());
        }
    }
    let stranger =
        Shape { top: &identity, cluster: "tls: { danger_accept_any_certificate: true }", ..Shape::default() };
    assert!(stranger.start(back).get("/").status >= 502, "Envoy asks for a certificate");
}
