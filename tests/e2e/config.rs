//! Configuration: what is wrong is told with its place; what changes is changed live; nothing is lost by it.

use pillion_tests::{
    client,
    load::Load,
    origin::Origin,
    proxy::{self, Proxy},
    tempdir::TempDir,
    wait,
};
use rustix::process::Signal;
use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
    time::Duration,
};

fn check(file: &Path) -> Output {
    Command::new(proxy::program()).args(["check", "--config"]).arg(file).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn check_accepts_what_is_right() {
    let dir = TempDir::new();
    let yaml = "listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    routes:\n      - match: { prefix: / }\n        \
                cluster: c\nclusters:\n  - name: c\n    endpoints: [127.0.0.1:3000]\n";
    let output = check(&dir.write("good.yaml", yaml));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn check_tells_every_fault_with_its_place_and_remedy() {
    let dir = TempDir::new();
    let yaml = "listeners:\n  - name: web\n    address: 127.0.0.1\n    rutes: []\n    routes:\n      \
                - match: { prefix: / }\n        cluster: sitee\n        timeout: 5 parsecs\nclusters:\n  - name: site\n    \
                endpoints: [127.0.0.1:3000]\n";
    let file = dir.write("bad.yaml", yaml);
    let output = check(&file);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let text = text(&output);
    let name = file.display();
    for (place, words) in [("3:14", "port"), ("4:5", "routes"), ("7:18", "site"), ("8:18", "parsecs")] {
        let line = text.lines().find(|line| line.contains(&format!("{name}:{place}:")));
        assert!(line.is_some_and(|line| line.contains(words)), "no `{words}` at {place}:\n{text}");
    }
}

#[test]
fn check_loads_the_filters_it_can_have_here() {
    let dir = TempDir::new();
    // `(module)`: it exports no marker of the ABI.
    dir.write("empty.wasm", b"\0asm\x01\0\0\0");
    let good = format!("{}/filters/prebuilt/header-policy.wasm", env!("CARGO_MANIFEST_DIR").trim_end_matches("/tests"));
    let checked = |filters: &str| {
        let routes = "routes: [{ match: { prefix: / }, redirect: { host: a.example } }]";
        let yaml = format!(
            "listeners: [{{ name: web, address: 127.0.0.1:8080, filters: [one], {routes} }}]\nfilters:\n  {filters}\n"
        );
        check(&dir.write("filters.yaml", yaml))
    };
    let output = checked("- { name: one, wasm: { file: empty.wasm } }");
    let words = text(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("filters.yaml:3:5: filters[0]: filter one: it exports no proxy_abi_version_0_2_1"),
        "{words}"
    );
    let sha256 = "0".repeat(64);
    let output = checked(&format!("- {{ name: one, wasm: {{ url: 'http://127.0.0.1:1/m', sha256: {sha256} }} }}"));
    let words = text(&output);
    assert!(output.status.success() && words.contains("filters: one: not loaded: its module is fetched"), "{words}");
    let output = checked(&format!(
        "- {{ name: one, wasm: {{ file: {good:?}, configuration: {{ response: {{ security: true }} }} }} }}"
    ));
    let words = text(&output);
    assert!(output.status.success() && words.contains("1 filters loaded"), "{words}");
    let words = text(&checked(&format!("- {{ name: one, wasm: {{ file: {good:?}, allowed_capabilities: [] }} }}")));
    assert!(words.contains("an empty list lets the filter do nothing"), "{words}");
    // The guest's own words.
    let refused = "configuration: { request: { remove: ['x y'] } }";
    let words = text(&checked(&format!("- {{ name: one, wasm: {{ file: {good:?}, {refused} }} }}")));
    let said = ": filters[0].wasm.configuration: filter one: proxy_on_configure answered false: the filter does not accept its configuration; it logged: \
                header-policy: request.remove: \"x y\" is no header name";
    assert!(words.contains(said), "{words}");
    let restricted = format!("- {{ name: one, wasm: {{ file: {good:?}, allowed_capabilities: [proxy_lgo] }} }}");
    let words = text(&checked(&restricted));
    let said = ": filters[0].wasm.allowed_capabilities: filter one: allowed_capabilities: \"proxy_lgo\" is no function";
    assert!(words.contains(said) && words.contains(": did you mean proxy_log?"), "{words}");
}

/// Several routes may configure a filter: it is told which one is refused.
#[test]
fn a_routes_configuration_that_a_guest_refuses_is_told_with_its_route() {
    let dir = TempDir::new();
    let good = format!("{}/filters/prebuilt/rate-limit.wasm", env!("CARGO_MANIFEST_DIR").trim_end_matches("/tests"));
    let route = |name: &str, requests: u32| {
        format!(
            "      - name: {name}\n        match: {{ prefix: /{name} }}\n        redirect: {{ host: a.example }}\n        \
             filters:\n          - name: limit\n            configuration: {{ requests: {requests}, key: {{ header: x }} }}\n"
        )
    };
    let yaml = format!(
        "filters:\n  - {{ name: limit, wasm: {{ file: {good:?}, configuration: {{ requests: 1 }} }} }}\n\
         listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    routes:\n{}{}",
        route("a", 5),
        route("b", 0)
    );
    let words = text(&check(&dir.write("routes.yaml", yaml)));
    let at = "routes.yaml:18:28: listeners[0].routes[1].filters[0].configuration: filter limit, as the route b configures it: \
              proxy_on_configure answered false";
    assert!(words.contains(at), "{words}");
}

#[test]
fn check_says_that_a_cache_is_passed_over_as_run_does() {
    let dir = TempDir::new();
    let good = format!("{}/filters/prebuilt/header-policy.wasm", env!("CARGO_MANIFEST_DIR").trim_end_matches("/tests"));
    let file = dir.write(
        "filters.yaml",
        format!(
            "listeners: [{{ name: web, address: 127.0.0.1:8080, filters: [one], routes: [{{ match: {{}}, redirect: {{ host: a.example }} }}] }}]\n\
             filters: [{{ name: one, wasm: {{ file: {good:?} }} }}]\n"
        ),
    );
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let warned = |mode: u32| {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
        let mut check = Command::new(proxy::program());
        check.args(["check", "--config"]).arg(&file).env("PILLION_WASM_CACHE", &cache);
        let output = check.output().expect("the program runs");
        let words = text(&output);
        assert!(output.status.success() && words.contains("1 filters loaded"), "{words}");
        words.contains(&format!("{}: not used for compiled wasm modules", cache.display()))
    };
    assert!(warned(0o777));
    assert!(!warned(0o700));
}

#[test]
fn check_refuses_a_module_that_is_no_regular_file_and_waits_for_nobody() {
    let dir = TempDir::new();
    let made = Command::new("mkfifo").arg(dir.path().join("pipe.wasm")).status().expect("mkfifo is part of coreutils");
    assert!(made.success());
    fs::create_dir(dir.path().join("directory.wasm")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("device.wasm")).unwrap();
    for (file, words) in [
        ("pipe.wasm", "it is a named pipe; write the path of a regular file"),
        ("directory.wasm", "it is a directory; write the path of a regular file"),
        ("device.wasm", "it is a device; write the path of a regular file"),
    ] {
        let routes = "routes: [{ match: { prefix: / }, redirect: { host: a.example } }]";
        let yaml = format!(
            "listeners: [{{ name: web, address: 127.0.0.1:8080, filters: [one], {routes} }}]\nfilters:\n  \
             - {{ name: one, wasm: {{ file: {file} }} }}\n"
        );
        let output = check(&dir.write("filters.yaml", yaml));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let place = said.lines().find(|line| line.contains("filters.yaml:3:"));
        assert!(place.is_some_and(|line| line.contains("filters[0].wasm.file") && line.contains(words)), "{said}");
    }
}

#[test]
fn check_refuses_what_is_no_yaml_and_what_is_not_there() {
    let dir = TempDir::new();
    for content in ["listeners: [", "\tx: y", "- 1\n- 2\n", "{{{{", "", "a: &a [*a]"] {
        let output = check(&dir.write("bad.yaml", content));
        assert_eq!(output.status.code(), Some(1), "{content:?}: {}", text(&output));
    }
    let output = check(&dir.path().join("absent.yaml"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("absent.yaml"), "{}", text(&output));
}

#[test]
fn run_refuses_what_check_refuses() {
    let dir = TempDir::new();
    let file = dir.write("bad.yaml", "listeners: 5\n");
    let output = Command::new(proxy::program()).args(["run", "--config"]).arg(file).output().expect("the program runs");
    assert!(!output.status.success());
    assert!(text(&output).contains("bad.yaml:1:12"), "{}", text(&output));
}

#[test]
fn schema_is_json_and_names_the_fields() {
    let output = Command::new(proxy::program()).arg("schema").output().expect("the program runs");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the schema is JSON");
    for field in ["listeners", "clusters", "admin", "workers"] {
        assert!(schema["properties"][field].is_object(), "no {field}");
    }
}

#[test]
fn run_without_a_file_proxies() {
    let origin = Origin::start();
    let address = pillion_tests::port::free();
    let mut command = Command::new(proxy::program());
    command.args(["run", "--listen", &address.to_string(), "--upstream", &origin.address.to_string()]);
    command.args(["--admin", "none"]);
    let process = pillion_tests::process::Process::start(&mut command);
    wait::until_true("the proxy to listen", || std::net::TcpStream::connect(address).is_ok());
    assert_eq!(client::get(address, "/").status, 200, "{}", process.stderr());
}

/// The configuration that answers with this text, and its load and health paths from a cluster.
fn answering(text: &str, origin: SocketAddr) -> String {
    format!(
        "admin: {{ address: {{admin}} }}\nlisteners:\n  - name: web\n    address: {{listen}}\n    routes:\n      \
         - {{ match: {{ path: /who }}, respond: {{ status: 200, body: '{text}' }} }}\n      \
         - {{ match: {{ prefix: / }}, cluster: origin }}\nclusters:\n  - name: origin\n    endpoints: [\"{origin}\"]\n"
    )
}

fn await_text(proxy: &Proxy, text: &str) {
    wait::until_true(&format!("the answer {text}"), || proxy.get("/who").text() == text);
}

#[test]
fn sighup_reloads() {
    let origin = Origin::start();
    let proxy = Proxy::start(&answering("one", origin.address));
    assert_eq!(proxy.get("/who").text(), "one");
    fs::write(proxy.config_file(), proxy.filled(&answering("two", origin.address))).expect("the file can be written");
    proxy.signal(Signal::HUP);
    await_text(&proxy, "two");
    proxy.await_metric("pillion_config_reloads_total", &["outcome=\"applied\""], |count| count >= 1.0);
}

#[test]
fn a_file_that_is_replaced_is_reloaded_by_itself() {
    let origin = Origin::start();
    let proxy = Proxy::start(&answering("one", origin.address));
    proxy.replace_config(&answering("two", origin.address));
    await_text(&proxy, "two");
}

#[test]
fn a_symlink_swap_as_kubernetes_does_it_is_reloaded() {
    let origin = Origin::start();
    let yaml = answering("one", origin.address);
    // pillion.yaml → ..data/pillion.yaml, ..data → a directory of its own for each version.
    let mut proxy = Proxy::spawn(&yaml, |program| {
        let mut command = Command::new("sh");
        let script = "f=\"$3\"; d=$(dirname \"$f\"); mkdir \"$d/v1\" && mv \"$f\" \"$d/v1/pillion.yaml\" && \
                      ln -s v1 \"$d/..data\" && ln -s ..data/pillion.yaml \"$f\" && exec \"$0\" \"$@\"";
        command.arg("-c").arg(script).arg(program);
        command
    });
    proxy.await_ready().expect("the proxy becomes ready");
    assert_eq!(proxy.get("/who").text(), "one");
    for (version, text) in [("v2", "two"), ("v3", "three")] {
        let folder = proxy.dir().join(version);
        fs::create_dir(&folder).expect("a directory can be made");
        fs::write(folder.join("pillion.yaml"), proxy.filled(&answering(text, origin.address))).expect("a file");
        symlink(version, proxy.dir().join("..data_tmp")).expect("a link can be made");
        fs::rename(proxy.dir().join("..data_tmp"), proxy.dir().join("..data")).expect("a link can be renamed");
        await_text(&proxy, text);
    }
}

#[test]
fn the_last_good_configuration_stays_when_a_new_one_is_wrong() {
    let origin = Origin::start();
    let proxy = Proxy::start(&answering("good", origin.address));
    proxy.replace_config("listeners: [nonsense\n");
    proxy.signal(Signal::HUP);
    proxy.await_metric("pillion_config_reloads_total", &["outcome=\"rejected\""], |count| count >= 1.0);
    proxy.await_metric("pillion_config_last_reload_success", &[], |value| value == 0.0);
    assert_eq!(proxy.get("/who").text(), "good");
    assert!(proxy.is_ready());
    assert!(proxy.stderr().contains("pillion.yaml:"), "{}", proxy.stderr());
    proxy.replace_config(&answering("better", origin.address));
    await_text(&proxy, "better");
    proxy.await_metric("pillion_config_last_reload_success", &[], |value| value == 1.0);
}

#[test]
fn listeners_come_and_go_and_their_connections_finish() {
    let origin = Origin::start();
    let one = answering("one", origin.address);
    let proxy = Proxy::start(&one);
    let second = "  - name: second\n    address: {listen2}\n    routes:\n      - { match: { prefix: / }, cluster: origin }\nclusters:";
    proxy.replace_config(&one.replace("clusters:", second));
    wait::until_true("the second listener", || std::net::TcpStream::connect(proxy.second).is_ok());
    let mut slow = client::Client::connect(proxy.second);
    slow.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the slow request to arrive", || origin.requests() >= 1);
    proxy.replace_config(&one);
    wait::until_true("the second listener to go", || std::net::TcpStream::connect(proxy.second).is_err());
    origin.release();
    assert_eq!(slow.receive().status, 200);
    proxy.assert_healthy();
}

#[test]
fn listeners_that_are_renamed_or_swap_addresses_are_reached_as_before() {
    let origin = Origin::start();
    let shape = |names: [&str; 2], places: [&str; 2]| {
        let listener = |at: usize| {
            format!(
                "  - name: {name}\n    address: {{{place}}}\n    routes:\n      - {{ match: {{ path: /who }}, respond: {{ status: \
                 200, body: {name} }} }}\n      - {{ match: {{ prefix: / }}, cluster: origin }}\n",
                name = names[at],
                place = places[at]
            )
        };
        let (one, two, origin) = (listener(0), listener(1), origin.address);
        format!(
            "admin: {{ address: {{admin}} }}\nlisteners:\n{one}{two}clusters:\n  - name: origin\n    endpoints: [\"{origin}\"]\n"
        )
    };
    let proxy = Proxy::start(&shape(["a", "b"], ["listen", "listen2"]));
    let who = |address| client::get(address, "/who").text();
    assert_eq!((who(proxy.address).as_str(), who(proxy.second).as_str()), ("a", "b"));
    // A request that is under way meanwhile.
    let mut held = proxy.connect();
    held.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the request to arrive", || origin.requests() == 1);
    for (round, (names, places, first, second)) in [
        (["c", "b"], ["listen", "listen2"], "c", "b"),
        (["c", "b"], ["listen2", "listen"], "b", "c"),
        (["b", "c"], ["listen2", "listen"], "c", "b"),
        (["a", "b"], ["listen", "listen2"], "a", "b"),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.replace_config(&shape(names, places));
        proxy.await_metric("pillion_config_reloads_total", &["outcome=\"applied\""], |count| count > round as f64);
        // Every worker's socket is reached by some of so many connections.
        for _ in 0..20 {
            assert_eq!((who(proxy.address).as_str(), who(proxy.second).as_str()), (first, second), "round {round}");
        }
    }
    origin.release();
    assert_eq!(held.receive().status, 200);
    proxy.assert_healthy();
}

#[test]
fn what_did_not_change_keeps_its_connections() {
    let origin = Origin::start();
    let proxy = Proxy::start(&answering("one", origin.address));
    let mut client = proxy.connect();
    assert_eq!(client.get("/").status, 200);
    proxy.replace_config(&answering("two", origin.address));
    await_text(&proxy, "two");
    // The downstream connection lives on with the new routes, over the same upstream connection. Each worker takes the
    // new configuration in its own time, and this connection's may not be the one that answered.
    wait::until_true("the new routes on the old connection", || client.get("/who").text() == "two");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.connections(), 1);
}

/// So many reloads under load: no request fails, no connection is dropped, nothing grows.
fn reload(times: usize) {
    let origin = Origin::start();
    let proxy = Proxy::start(&answering("0", origin.address));
    let mut idle = proxy.connect();
    assert_eq!(idle.get("/").status, 200);
    let load = Load::gets(proxy.address, 4, Duration::from_millis(1));
    load.await_more(100);
    let mut warm = (0, 0);
    for number in 1..=times {
        // Every other one changes the routes, every tenth the cluster as well.
        let yaml = answering(&(number / 2).to_string(), origin.address);
        let yaml = if number % 10 == 0 { format!("{yaml}    connect_timeout: {}s\n", number % 7 + 1) } else { yaml };
        proxy.replace_config(&yaml);
        proxy.signal(Signal::HUP);
        if number % 20 == 0 || number == times {
            await_text(&proxy, &(number / 2).to_string());
        }
        if number == times / 4 {
            warm = (proxy.resident(), proxy.descriptors());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let figures = load.stop();
    figures.assert_clean();
    assert_eq!(figures.refused, 0, "connections were refused");
    assert_eq!(idle.get("/").status, 200, "the connection that rested through all of it");
    let (resident, descriptors) = (proxy.resident(), proxy.descriptors());
    println!(
        "{times} reloads, {} requests; resident {} -> {resident}, descriptors {} -> {descriptors}",
        figures.answered, warm.0, warm.1
    );
    assert!(resident < warm.0 + (3 << 20), "resident memory grew from {} to {resident}", warm.0);
    assert!(descriptors <= warm.1 + 4, "descriptors grew from {} to {descriptors}", warm.1);
}

#[test]
fn reloads_under_load_fail_nothing() {
    let times = env::var("PILLION_RELOADS").ok().and_then(|times| times.parse().ok()).unwrap_or(200);
    reload(times);
}

#[test]
#[ignore = "a minute and more; run by name"]
fn ten_thousand_reloads_under_load_fail_nothing() {
    reload(10_000);
}
