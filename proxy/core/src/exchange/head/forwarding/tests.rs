use super::*;
use proptest::prelude::*;

fn model() -> Forwarding {
    let network = |address: &str, prefix| Cidr { address: address.parse().expect("an address"), prefix };
    Forwarding {
        x_forwarded: ForwardingMode::Append,
        forwarded: ForwardingMode::Off,
        via: None,
        request_id: RequestId::Pass,
        trusted: vec![network("10.0.0.0", 8), network("2001:db8::", 32)],
        trusted_hops: 0,
        strip_identity: true,
    }
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::try_from(*name).expect("a name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    headers
}

/// What the request looks like afterwards, and who the client is.
fn told(model: &Forwarding, peer: &str, fields: &[(&str, &str)]) -> (HeaderMap, Client) {
    let rules = ForwardingRules::compile(model);
    let peer = rules.peer(peer.parse().expect("an address"), Scheme::Http);
    let mut headers = headers(fields);
    let survey = Survey::of(&headers);
    let host = HeaderValue::from_static("a.example:81");
    let client =
        rules.request(&mut headers, survey, &peer, Version::HTTP_11, Some(&host), || u128::MAX).expect("a head");
    (headers, client)
}

#[test]
fn a_stranger_is_not_believed() {
    let lies = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=1.1.1.1"),
        ("x-forwarded-client-cert", "Subject=admin"),
        ("x-envoy-internal", "true"),
        ("x-envoy-original-path", "/"),
        ("accept", "*/*"),
    ];
    let (seen, client) = told(&model(), "192.0.2.7", &lies);
    let expected = headers(&[
        ("accept", "*/*"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example:81"),
    ]);
    assert_eq!(seen, expected);
    assert_eq!(client.address.to_string(), "192.0.2.7");
    assert_eq!((client.scheme, client.trust), (Scheme::Http, Trust::Replaced));

    let off = Forwarding { x_forwarded: ForwardingMode::Off, ..model() };
    assert_eq!(told(&off, "192.0.2.7", &lies).0, headers(&[("accept", "*/*")]));
}

#[test]
fn a_trusted_peer_is_believed_and_appended_to() {
    let (seen, client) = told(
        &model(),
        "::ffff:10.0.0.9",
        &[
            ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example"),
            ("forwarded", "for=6.6.6.6"),
        ],
    );
    let expected = headers(&[
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.1, 10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b.example"),
        ("forwarded", "for=6.6.6.6"),
    ]);
    assert_eq!(seen, expected);
    assert_eq!(client.address.to_string(), "192.0.2.7");
    assert_eq!((client.scheme, client.trust), (Scheme::Https, Trust::Believed));
}

#[test]
fn the_client_behind_trusted_networks() {
    for (forwarded_for, expected) in [
        (None, "10.0.0.9"),
        (Some("192.0.2.7"), "192.0.2.7"),
        (Some("10.0.0.1, 10.0.0.2"), "10.0.0.1"),
        (Some("6.6.6.6, 192.0.2.7, 2001:db8::5"), "192.0.2.7"),
        (Some("6.6.6.6, rubbish, 10.0.0.3"), "10.0.0.3"),
        (Some("6.6.6.6, rubbish"), "10.0.0.9"),
        (Some(", ,"), "10.0.0.9"),
        (Some("[2001:db9::7]:80, 10.0.0.3:5"), "2001:db9::7"),
    ] {
        let fields: Vec<_> = forwarded_for.iter().map(|&value| ("x-forwarded-for", value)).collect();
        let (_, client) = told(&model(), "10.0.0.9", &fields);
        assert_eq!(client.address.to_string(), expected, "{forwarded_for:?}");
        assert_eq!(client.trust, Trust::Believed);
    }
}

#[test]
fn the_client_behind_so_many_proxies() {
    for (hops, forwarded_for, expected, seen) in [
        (1, "6.6.6.6, 192.0.2.7", "192.0.2.7", "6.6.6.6, 192.0.2.7, 203.0.113.1"),
        (2, "6.6.6.6, 192.0.2.7, 198.51.100.1", "192.0.2.7", "6.6.6.6, 192.0.2.7, 198.51.100.1, 203.0.113.1"),
        (2, "192.0.2.7", "203.0.113.1", "203.0.113.1"),
        (1, "rubbish", "203.0.113.1", "203.0.113.1"),
        (1, "", "203.0.113.1", "203.0.113.1"),
        (0, "192.0.2.7", "203.0.113.1", "203.0.113.1"),
        (255, "192.0.2.7", "203.0.113.1", "203.0.113.1"),
    ] {
        let model = Forwarding { trusted_hops: hops, ..model() };
        let (headers, client) = told(&model, "203.0.113.1", &[("x-forwarded-for", forwarded_for)]);
        assert_eq!(client.address.to_string(), expected, "{hops} {forwarded_for}");
        assert_eq!(headers["x-forwarded-for"], seen, "{hops} {forwarded_for}");
    }
}

#[test]
fn forwarded() {
    let model = Forwarding { x_forwarded: ForwardingMode::Off, forwarded: ForwardingMode::Append, ..model() };
    for (peer, sent, expected, client) in [
        ("192.0.2.7", Some("for=1.1.1.1"), "for=192.0.2.7;host=\"a.example:81\";proto=http", "192.0.2.7"),
        ("2001:db9::1", None, "for=\"[2001:db9::1]\";host=\"a.example:81\";proto=http", "2001:db9::1"),
        ("::ffff:192.0.2.7", None, "for=192.0.2.7;host=\"a.example:81\";proto=http", "192.0.2.7"),
        (
            "10.0.0.9",
            Some("for=\"[2001:db9::1]:7\";proto=https"),
            "for=\"[2001:db9::1]:7\";proto=https, for=10.0.0.9;host=\"a.example:81\";proto=http",
            "2001:db9::1",
        ),
    ] {
        let mut fields = vec![("x-forwarded-for", "9.9.9.9")];
        fields.extend(sent.map(|sent| ("forwarded", sent)));
        let (headers, found) = told(&model, peer, &fields);
        assert_eq!(headers["forwarded"], expected, "{peer}");
        assert_eq!(found.address.to_string(), client, "{peer}");
        let https = sent.is_some_and(|sent| sent.contains("https"));
        assert_eq!(found.scheme == Scheme::Https, https, "{peer}");
        assert_eq!(headers.contains_key("x-forwarded-for"), found.trust == Trust::Believed);
    }
}

#[test]
fn request_identifiers() {
    let made = "ffffffff-ffff-4fff-bfff-ffffffffffff";
    let generate = Forwarding { request_id: RequestId::Generate, ..model() };
    let id = |model: &Forwarding, peer: &str, fields: &[(&str, &str)]| {
        let headers = told(model, peer, fields).0;
        headers.get("x-request-id").map(|id| id.to_str().expect("text").to_owned())
    };
    let own = [("x-request-id", "own")];
    assert_eq!(id(&generate, "192.0.2.7", &[]).as_deref(), Some(made));
    assert_eq!(id(&generate, "192.0.2.7", &own).as_deref(), Some(made));
    assert_eq!(id(&generate, "10.0.0.9", &own).as_deref(), Some("own"));
    assert_eq!(id(&generate, "10.0.0.9", &[]).as_deref(), Some(made));
    assert_eq!(id(&model(), "192.0.2.7", &own).as_deref(), Some("own"));
    assert_eq!(id(&model(), "192.0.2.7", &[]), None);
    assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    assert_eq!(uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
}

#[test]
fn via_is_appended() {
    let model = Forwarding { via: Some("pillion".into()), ..model() };
    let rules = ForwardingRules::compile(&model);
    let mut answer = headers(&[("via", "1.0 fred")]);
    rules.response(&mut answer, Version::HTTP_2).expect("a response");
    rules.response(&mut answer, Version::HTTP_11).expect("a response");
    assert_eq!(answer, headers(&[("via", "1.0 fred"), ("via", "2.0 pillion"), ("via", "1.1 pillion")]));
    assert_eq!(told(&model, "192.0.2.7", &[]).0["via"], "1.1 pillion");
}

#[test]
fn networks() {
    for (network, prefix, address, expected) in [
        ("10.0.0.0", 8, "10.255.0.1", true),
        ("10.0.0.0", 8, "11.0.0.1", false),
        ("0.0.0.0", 0, "1.2.3.4", true),
        ("0.0.0.0", 0, "::1", false),
        ("1.2.3.4", 32, "1.2.3.4", true),
        ("1.2.3.4", 32, "1.2.3.5", false),
        ("::", 0, "::1", true),
        ("2001:db8::", 33, "2001:db8:7fff::1", true),
        ("2001:db8::", 33, "2001:db8:8000::1", false),
        ("::ffff:10.0.0.0", 104, "10.1.1.1", true),
        ("::ffff:10.0.0.0", 104, "11.1.1.1", false),
    ] {
        let cidr = Cidr { address: network.parse().expect("an address"), prefix };
        let address = address.parse().expect("an address");
        assert_eq!(cidr.contains(address), expected, "{network}/{prefix} {address}");
    }
}

proptest! {
    #[test]
    fn a_stranger_never_chooses_what_upstream_sees(
        fields in prop::collection::vec((
            prop_oneof![
                Just("x-forwarded-for"), Just("x-forwarded-proto"), Just("x-forwarded-host"), Just("forwarded"),
                Just("x-forwarded-client-cert"), Just("x-envoy-peer-metadata"), Just("x-request-id"),
            ],
            "[ -~]{0,20}",
        ), 0..8),
        hops in 0u8..3,
        append: bool,
    ) {
        let mode = |on| if on { ForwardingMode::Append } else { ForwardingMode::Off };
        let model = Forwarding {
            x_forwarded: mode(append), forwarded: mode(!append), trusted_hops: hops,
            request_id: RequestId::Generate, ..model()
        };
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (headers, client) = told(&model, "192.0.2.7", &fields);
        prop_assert!(!headers.keys().any(|name| is_identity(name.as_str())));
        if hops == 0 {
            prop_assert_eq!(client.trust, Trust::Replaced);
        }
        if client.trust == Trust::Replaced {
            prop_assert_eq!(client.address.to_string(), "192.0.2.7");
            if append {
                prop_assert_eq!(&headers["x-forwarded-for"], "192.0.2.7");
                prop_assert_eq!(&headers["x-forwarded-host"], "a.example:81");
                prop_assert!(!headers.contains_key("forwarded"));
            } else {
                prop_assert_eq!(&headers["forwarded"], "for=192.0.2.7;host=\"a.example:81\";proto=http");
                prop_assert!(!headers.contains_key("x-forwarded-for"));
            }
            prop_assert_eq!(&headers["x-request-id"], "ffffffff-ffff-4fff-bfff-ffffffffffff");
        } else {
            let name = if append { "x-forwarded-for" } else { "forwarded" };
            let last = headers[name].to_str().expect("text").rsplit(", ").next().expect("one");
            prop_assert!(last.contains("192.0.2.7"));
            prop_assert_eq!(headers.get_all(name).iter().count(), 1);
        }
    }
}
