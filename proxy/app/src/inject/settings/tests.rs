use super::*;

fn set(name: &str, text: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    settings.set(key(name).unwrap(), text).map(|()| settings)
}

#[test]
fn what_is_right_is_read() {
    assert_eq!(
        set("skip-inbound-ports", "22, 9000-9010").unwrap().skip_inbound_ports,
        [Ports(22, 22), Ports(9000, 9010)]
    );
    assert_eq!(set("identity", "csi").unwrap().identity, Identity::Csi("spiffe.csi.cert-manager.io".into()));
    let upstreams = set("upstreams", "15432:db.shop:5432=spiffe://x/y,api.shop:80").unwrap().upstreams;
    assert_eq!((upstreams[0].local, upstreams[1].local), (Some(15432), None));
    assert_eq!(upstreams[0].identity.as_deref(), Some("spiffe://x/y"));
    assert_eq!(set("image-pull-secrets", "registry, mirror.example").unwrap().image_pull_secrets.len(), 2);
    assert_eq!(set("drain-deadline", "1m30s").unwrap().drain_deadline, Some(Duration::from_secs(90)));
    assert_eq!(set("drain-delay", "250ms").unwrap().drain_delay, Duration::from_millis(250));
    let rules = |name: &str, text: &str| set(name, text).unwrap().init_image().unwrap().to_string();
    assert_eq!(rules("image", "r.io:5000/p:1"), "r.io:5000/p:1-init");
    assert_eq!(rules("init-image", "r.io/rules:2"), "r.io/rules:2");
    assert_eq!(
        set("skip-outbound-cidrs", "10.0.0.1,fd00::/8").unwrap().skip_outbound_cidrs,
        ["10.0.0.1/32", "fd00::/8"]
    );
}

#[test]
fn what_is_wrong_is_told_with_the_remedy() {
    for (name, text, words) in [
        ("mode", "sidecar", "not one of native, container"),
        ("capture", "", "not one of"),
        ("skip-inbound-ports", "0", "1 to 65535"),
        ("skip-inbound-ports", "9-8", "8-9"),
        ("skip-outbound-cidrs", "10.0.0.0/33", "10.0.0.0/8"),
        ("upstreams", "api:80", "NAME.NAMESPACE:PORT"),
        ("upstreams", "api.shop.svc:80", "NAME.NAMESPACE:PORT"),
        ("inbound-ports", "8080", "LISTEN:APP"),
        ("identity", "secret:", "secret:NAME"),
        ("identity", "secret:A_b", "no name"),
        ("image", "a b", "no image"),
        ("image", "p@sha256:00:0.1.0", "64 digits"),
        ("init-image", "p@sha256:00", "64 digits"),
        ("cpu-request", "ten", "quantity"),
        ("cpu-request", "1e3Mi", "quantity"),
        (
            "cpu-request",
            "100Mi",
            "\"100Mi\" is 104857600 cores of CPU, which is written as a number of them or with m, milli: 100m?",
        ),
        ("cpu-limit", "0.5Ki", "0.5m?"),
        ("cpu-limit", "200k", "200m?"),
        ("cpu-limit", "4000000", "10m?"),
        ("not-http", "close", "not one of refuse, pass"),
        ("memory-limit", "128m", "\"128m\" is 0.128 bytes, and the proxy needs 16Mi at least: m is milli; 128Mi?"),
        ("memory-limit", "128", "128Mi?"),
        ("memory-limit", "8Mi", "16Mi?"),
        ("memory-limit", "15Mi", "16Mi?"),
        ("memory-request", "32m", "m is milli; 32Mi?"),
        ("memory-request", "32K", "quantity"),
        ("memory-request", "32k", "32Mi?"),
        ("workers", "0", "1 to 256"),
        ("drain-delay", "5", "5s"),
        ("drain-delay", "", "duration"),
        ("drain-delay", "9999999999999h", "duration"),
        ("config", "Über", "no name"),
        ("image-pull-secrets", "registry,Registry", "no name"),
        ("image-pull-secrets", "a/b", "no name"),
    ] {
        let error = set(name, text).unwrap_err();
        assert!(error.contains(words), "{name}={text}: {error}");
    }
}

#[test]
fn whatever_was_chosen_can_be_taken_back() {
    // What an injector may be told for all pods, and what a pod writes for the default.
    for (name, chosen, back) in [
        ("mode", "container", "native"),
        ("capture", "node", "init"),
        ("redirect", "agent", "none"),
        ("inbound-tls", "strict", ""),
        ("inbound-ports", "1:2", ""),
        ("skip-inbound-ports", "22", ""),
        ("skip-outbound-ports", "22", ""),
        ("skip-outbound-cidrs", "10.0.0.0/8", ""),
        ("opaque-ports", "3306", ""),
        ("upstreams", "api.shop:80", ""),
        ("discovery", "endpoint-slices", "dns"),
        ("zone", "a", ""),
        ("identity", "csi", "none"),
        ("trust-domain", "shop.example", "cluster.local"),
        ("cluster-domain", "shop.example", "cluster.local"),
        ("rewrite-probes", "false", "true"),
        ("image", "p:1", concat!("pillion:", env!("CARGO_PKG_VERSION"))),
        ("init-image", "i:1", ""),
        ("image-pull-policy", "Always", "IfNotPresent"),
        ("image-pull-secrets", "registry", ""),
        ("cpu-request", "1", "10m"),
        ("cpu-limit", "1", "none"),
        ("memory-request", "1Gi", "16Mi"),
        ("memory-limit", "none", "128Mi"),
        ("workers", "2", "1"),
        ("log-level", "debug", "info"),
        ("filters", "- csrf: {}", ""),
        ("not-http", "pass", ""),
        ("config", "c", ""),
        ("drain-delay", "1s", "5s"),
        ("drain-deadline", "1s", ""),
        ("ip-family", "ipv4", "dual"),
    ] {
        let mut settings = set(name, chosen).unwrap_or_else(|words| panic!("{name}: {words}"));
        assert_ne!(settings, Settings::default(), "{name}");
        settings.set(key(name).unwrap(), back).unwrap_or_else(|words| panic!("{name}: {words}"));
        assert_eq!(settings, Settings::default(), "{name}");
    }
    assert_eq!(KEYS.len(), 32, "one is missing above");
}

#[test]
fn contradictions_are_found() {
    let mut settings = Settings::default();
    assert_eq!(settings.contradictions(), []);
    for (name, text) in [
        ("inbound-tls", "strict"),
        ("capture", "none"),
        ("memory-request", "1Gi"),
        ("config", "c"),
        ("opaque-ports", "1"),
    ] {
        settings.set(key(name).unwrap(), text).unwrap();
    }
    settings.set(key("workers").unwrap(), "2").unwrap();
    let names: Vec<&str> = settings.contradictions().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["inbound-tls", "opaque-ports", "inbound-tls", "workers", "memory-limit"]);
}

/// A pod with such a container would wait for a program that is not in its image.
#[test]
fn a_digest_does_not_tell_which_image_installs_the_rules() {
    let pinned = format!("r.io/p@sha256:{}", "0".repeat(64));
    let mut settings = set("image", &pinned).unwrap();
    let told = settings.contradictions();
    let [("image", words)] = &told[..] else { panic!("{told:?}") };
    assert!(words.contains("init-image") && words.contains("capture node"), "{words}");
    for (name, text) in [("init-image", "r.io/p:1-init"), ("capture", "node")] {
        let mut settings = settings.clone();
        settings.set(key(name).unwrap(), text).unwrap();
        assert_eq!(settings.contradictions(), [], "{name}");
    }
    settings.set(key("init-image").unwrap(), &pinned).unwrap();
    assert_eq!(settings.init_image().unwrap().to_string(), pinned);
}

#[test]
fn an_upstream_that_cannot_be_secured_as_told_is_refused() {
    let refused = |all: &[(&str, &str)]| {
        let mut settings = Settings::default();
        all.iter().for_each(|(name, text)| settings.set(key(name).unwrap(), text).unwrap());
        settings.contradictions().into_iter().map(|(name, words)| format!("{name}: {words}")).collect::<Vec<_>>()
    };
    let pinned = ("upstreams", "api.shop:80=spiffe://x/y");
    let words = refused(&[pinned]);
    assert!(words[0].starts_with("upstreams: ") && words[0].contains("spiffe://x/y"), "{words:?}");
    assert_eq!(refused(&[pinned, ("identity", "csi")]), [""; 0]);
    let database = ("upstreams", "db.shop:5432");
    let words = refused(&[database, ("identity", "csi"), ("opaque-ports", "5400-5500")]);
    assert!(words[0].starts_with("upstreams: ") && words[0].contains("opaque port 5432"), "{words:?}");
    assert_eq!(refused(&[database, ("opaque-ports", "3306")]), [""; 0]);
    let explicit = [("capture", "none"), ("upstreams", "15432:db.shop:5432"), ("opaque-ports", "5432")];
    assert_eq!(refused(&explicit), [""; 0]);
}
