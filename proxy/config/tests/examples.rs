//! The files in `examples/` load, say what they seem to say, and stay readable however they are cut.

use pillion_config::{
    Loaded, SourceName, load,
    model::{Action, BodyBuffer, Config, EndpointAddress, FilterIndex, FilterKind, HostPattern, PathMatch, Workers},
    parse, simple,
};
use std::{fs, io, path::Path, time::Duration};

fn example(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    load(&path).unwrap_or_else(|errors| panic!("{errors}"))
}

fn from_text(text: &str) -> Config {
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    parse(&SourceName::new("test.yaml"), text, &none).unwrap_or_else(|errors| panic!("{errors}")).config
}

#[test]
fn every_example_loads_without_a_warning() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".yaml") {
            let loaded = example(&name);
            assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
            assert!(loaded.files[0].ends_with(&name));
        }
    }
}

#[test]
fn minimal_means_the_defaults() {
    let minimal = example("minimal.yaml").config;
    assert_eq!(minimal.workers, Workers::Auto);
    assert_eq!(minimal.access_log, None);
    assert_eq!(minimal.admin.address, None);
    let listener = &minimal.listeners[0];
    assert_eq!(listener.max_connection_age, None);
    assert_eq!(listener.http.timeouts.header, Duration::from_secs(10));
    let http2 = &listener.http.http2;
    assert_eq!((http2.stream_window, http2.connection_window), (65_535, 6_553_500), "room for each of its streams");
    assert_eq!(http2.connection_most, 4 * 6_553_500, "and for what some hold of more");
    let route = &listener.routes[0];
    assert_eq!(route.name.as_str(), "web/0");
    assert_eq!(route.timeout, Some(Duration::from_secs(15)));
    assert_eq!(route.upgrades, ["websocket"]);
    assert_eq!(route.matcher.path, PathMatch::Prefix("/".into()));
    let cluster = &minimal.clusters[0];
    assert_eq!(cluster.idle_timeout, Duration::from_secs(4));
    assert_eq!(cluster.tcp_keepalive.unwrap().probes, 6);
}

/// What the comments of full.yaml claim: values without a comment are the defaults.
#[test]
fn full_writes_the_defaults_out() {
    let (full, minimal) = (example("full.yaml").config, example("minimal.yaml").config);
    assert_eq!(full.limits, minimal.limits);
    assert_eq!(full.drain, minimal.drain);
    let (a, b) = (&full.listeners[0].http, &minimal.listeners[0].http);
    assert_eq!((&a.limits, &a.timeouts, &a.http2, &a.path), (&b.limits, &b.timeouts, &b.http2, &b.path));
    assert_eq!(
        (a.underscores, a.connect, a.forwarding.request_id),
        (b.underscores, b.connect, b.forwarding.request_id)
    );
    assert_eq!(full.listeners[0].backlog, minimal.listeners[0].backlog);
    let (a, b) = (&full.clusters[0], &minimal.clusters[0]);
    assert_eq!((a.circuit, a.tcp_keepalive, a.idle_timeout), (b.circuit, b.tcp_keepalive, b.idle_timeout));
    assert_eq!((a.headers, a.header_bytes, a.balance), (b.headers, b.header_bytes, b.balance));
    assert_eq!((full.dns.min_refresh, full.dns.max_refresh), (minimal.dns.min_refresh, minimal.dns.max_refresh));
}

#[test]
fn referenced_files_are_read_and_named() {
    let full = example("full.yaml");
    assert!(full.files[1].ends_with("nothing.wasm") && full.files[2].ends_with("closed.txt"), "{:?}", full.files);
    let closed = full.config.listeners[0].routes.iter().find_map(|route| match &route.action {
        Action::Respond(answer) if answer.status == 503 => Some(answer.body.clone()),
        _ => None,
    });
    assert_eq!(closed.unwrap(), b"The shop is closed.\n");
}

#[test]
fn the_same_text_is_the_same_model() {
    assert_eq!(example("full.yaml").config, example("full.yaml").config);
    assert_ne!(example("full.yaml").config, example("reverse-proxy.yaml").config);
}

#[test]
fn simple_is_what_a_document_would_be() {
    let listen = "127.0.0.1:8080".parse().unwrap();
    let written = from_text(
        "listeners: [{name: listener, address: 127.0.0.1:8080, routes: [{match: {}, cluster: upstream}]}]\n\
         clusters: [{name: upstream, endpoints: [app.local:80]}]\n",
    );
    assert_eq!(simple(listen, "http://app.local").unwrap(), written);
    assert_eq!(simple(listen, "http://app.local:80/").unwrap(), written);
    assert_eq!(simple(listen, "app.local:80").unwrap(), written);
    assert_eq!(simple(listen, "http://[::1]").unwrap(), simple(listen, "[::1]:80").unwrap());
    for (upstream, error) in [
        (
            "app.local",
            "--upstream: expected a host and a port such as 10.0.0.7:8080, [2001:db8::7]:8080 or api.local:8080, found \"app.local\"; a port is missing",
        ),
        (
            "https://app.local",
            "--upstream: https://app.local wants TLS, and nothing here says whom to trust: write a configuration with `tls: { mode: tls, trusted_ca: FILE }` at its cluster",
        ),
        (
            "127.0.0.1:8080",
            "--upstream: 127.0.0.1:8080 is where this proxy listens; requests would go round in circles",
        ),
    ] {
        assert_eq!(simple(listen, upstream).unwrap_err().to_string(), error);
    }
}

#[test]
fn a_name_may_be_absolute() {
    let config = from_text(
        "listeners: [{name: a, address: 0.0.0.0:1, routes: [{match: {}, cluster: up}]}]\n\
         clusters: [{name: up, endpoints: ['App.Local.:80']}]",
    );
    assert_eq!(config.clusters[0].endpoints[0].address, EndpointAddress::Name("app.local.".into(), 80));
}

#[test]
fn a_targets_limit_that_is_not_written_follows_that_of_the_head() {
    for (limits, expected) in [
        ("{}", (32 << 10, 8 << 10)),
        ("{header_bytes: 1KiB}", (1 << 10, 1 << 10)),
        ("{header_bytes: 64KiB}", (64 << 10, 8 << 10)),
        ("{header_bytes: 4KiB, target_bytes: 2KiB}", (4 << 10, 2 << 10)),
    ] {
        let config = from_text(&format!(
            "listeners: [{{name: a, address: 0.0.0.0:1, limits: {limits}, routes: [{{match: {{}}, respond: {{status: 200}}}}]}}]"
        ));
        let limits = &config.listeners[0].http.limits;
        assert_eq!((limits.header_bytes, limits.target_bytes), expected, "{limits:?}");
    }
}

#[test]
fn hosts_are_lower_cased_and_expressions_match_the_whole() {
    let config = from_text(
        "listeners: [{name: a, address: 0.0.0.0:1, routes: [\
           {match: {host: [API.Example.COM, '*.X', '[::0:1]', '*-Canary', 'Api-*', 'a.b.*', '10.*', '*.0.0.1', '10*'], regex: '/a|/b'}, respond: {status: 200}}]}]",
    );
    let matcher = &config.listeners[0].routes[0].matcher;
    let hosts = [
        HostPattern::Exact("api.example.com".into()),
        HostPattern::Suffix(".x".into()),
        HostPattern::Exact("[::1]".into()),
        HostPattern::Suffix("-canary".into()),
        HostPattern::Prefix("api-".into()),
        HostPattern::Prefix("a.b.".into()),
        HostPattern::Prefix("10.".into()),
        HostPattern::Suffix(".0.0.1".into()),
        HostPattern::Prefix("10".into()),
    ];
    assert_eq!(matcher.hosts, hosts);
    let PathMatch::Regex(regex) = &matcher.path else { panic!("{:?}", matcher.path) };
    assert!(regex.is_match("/a") && regex.is_match("/b"));
    assert!(!regex.is_match("/ab") && !regex.is_match("/b\n") && !regex.is_match("/x/b"));
}

#[test]
fn aliases_stand_for_what_they_name() {
    let config = from_text(
        "listeners:\n  - {name: a, address: 0.0.0.0:1, timeouts: &t {idle: 7s}, routes: &r [{match: {}, respond: {status: 200}}]}\n  \
         - {name: b, address: 0.0.0.0:2, timeouts: *t, routes: *r}\n",
    );
    assert_eq!(config.listeners[1].http.timeouts.idle, Duration::from_secs(7));
    assert_eq!(config.listeners[1].routes.len(), 1);
}

#[test]
fn an_empty_value_is_a_field_left_out() {
    let config = from_text(
        "limits:\nlisteners: [{name: a, address: 0.0.0.0:1, timeouts: ~, max_connection_age: none, routes: [\
           {match: {}, respond: {status: 200}, timeout: 0s, idle_timeout: none, upgrades: []}]}]",
    );
    assert_eq!(config.limits.connections, 8000);
    assert_eq!(config.listeners[0].max_connection_age, None);
    let route = &config.listeners[0].routes[0];
    assert_eq!((route.timeout, route.idle_timeout, route.upgrades.len()), (None, None, 0));
}

/// Whatever an editor has saved half of: an answer, never a panic.
#[test]
fn every_prefix_and_every_gap_of_an_example_gets_an_answer() {
    let none = |_: &Path| Ok(b"x".to_vec());
    // The long one is cut at every fifth byte: the whole would take half a minute unoptimised.
    for (name, step) in [("full.yaml", 5), ("reverse-proxy.yaml", 1)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let text = fs::read_to_string(path).unwrap();
        for end in (0..text.len()).step_by(step).filter(|end| text.is_char_boundary(*end)) {
            let _ = parse(&SourceName::new(name), &text[..end], &none);
        }
        let lines: Vec<&str> = text.lines().collect();
        for gap in 0..lines.len() {
            let without: Vec<&str> =
                lines.iter().enumerate().filter(|(n, _)| *n != gap).map(|(_, line)| *line).collect();
            let _ = parse(&SourceName::new(name), &without.join("\n"), &none);
        }
    }
}

/// A route's chain is the listener's as it changes it, then its own filters.
#[test]
fn chains_are_what_listener_and_route_say_together() {
    let config = from_text(
        "filters:\n  - { name: a, wasm: { inline: AGFzbQEAAAA=, configuration: { deep: [1, x, true, ~, '2'] } } }\n  \
         - { name: b, rate_limit: { requests: 5 } }\n\
         listeners:\n  - name: web\n    address: 127.0.0.1:1\n    filters: [a, b]\n    routes:\n      \
         - { match: { path: /1 }, respond: { status: 200 } }\n      \
         - { match: { path: /2 }, respond: { status: 200 }, filters: [{ name: a, disabled: true }] }\n      \
         - { match: { path: /3 }, respond: { status: 200 }, filters: [{ name: a, configuration: own }, { name: c, headers: [] }] }\n      \
         - { match: { path: /4 }, respond: { status: 200 } }\n      \
         - { match: { path: /5 }, respond: { status: 200 }, filters: [{ name: a, configuration: { base64: AAH/ } }] }\n      \
         - { match: { path: /6 }, respond: { status: 200 }, filters: [{ name: a, configuration: { base64: AAH/, x: 1 } }] }\n",
    );
    let name = |index: &FilterIndex| config.filters[index.0].name.as_str();
    let chains: Vec<Vec<&str>> = config.listeners[0]
        .routes
        .iter()
        .map(|route| route.filters.iter().flat_map(|chain| chain.iter()).map(name).collect())
        .collect();
    assert_eq!(
        chains,
        [vec!["a", "b"], vec!["b"], vec!["a", "b", "c"], vec!["a", "b"], vec!["a", "b"], vec!["a", "b"]]
    );
    let configuration = |route: usize| {
        let chain = config.listeners[0].routes[route].filters.as_ref().unwrap();
        match &config.filters[chain[0].0].kind {
            FilterKind::Wasm(wasm) => &wasm.configuration[..],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(configuration(0), br#"{"deep":[1,"x",true,null,"2"]}"#);
    assert_eq!(configuration(2), b"own");
    assert_eq!(configuration(4), b"\x00\x01\xff");
    assert_eq!(configuration(5), br#"{"base64":"AAH/","x":1}"#);
    let limit = config.filters.iter().find_map(|filter| match &filter.kind {
        FilterKind::RateLimit(limit) => Some(limit),
        _ => None,
    });
    assert_eq!(limit.unwrap().burst.get(), 5);
}

/// What a filter may hold of a body follows its client's protocol until somebody says a size.
#[test]
fn a_filters_bound_is_envoys_unless_it_is_written() {
    let config = from_text(
        "filters:\n  - { name: a, headers: [] }\n  - { name: b, headers: [], body_buffer: 4MiB }\n\
         listeners:\n  - { name: web, address: \"127.0.0.1:1\", filters: [a, b], routes: [{ match: { prefix: / }, \
         respond: { status: 200 } }] }\n",
    );
    let bounds: Vec<_> = config.filters.iter().map(|filter| filter.body_buffer).collect();
    assert_eq!(bounds, [BodyBuffer { http1: 1 << 20, http2: 16 << 20 }, BodyBuffer { http1: 4 << 20, http2: 4 << 20 }]);
}
