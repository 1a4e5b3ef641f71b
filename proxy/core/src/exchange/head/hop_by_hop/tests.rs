use super::*;
use http::HeaderName;
use proptest::prelude::*;
use std::{hint::black_box, time::Instant};

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

fn stripped(fields: &[(&str, &str)], upgrade: UpgradeField) -> Result<HeaderMap, HeadRefusal> {
    let mut headers = headers(fields);
    let survey = Survey::of(&headers);
    request(&mut headers, survey, upgrade).map(|()| headers)
}

#[test]
fn what_goes_and_what_stays() {
    use UpgradeField::{Keep, Strip};
    for (fields, upgrade, expected) in [
        (&[("host", "a"), ("accept", "x")][..], Strip, &[("host", "a"), ("accept", "x")][..]),
        (&[("connection", "keep-alive"), ("keep-alive", "timeout=5"), ("a", "1")], Strip, &[("a", "1")]),
        (
            &[("connection", "X-Hop, close"), ("connection", "y-hop"), ("x-hop", "1"), ("y-hop", "2"), ("a", "1")],
            Strip,
            &[("a", "1")],
        ),
        (&[("proxy-connection", "close"), ("http2-settings", "AAM"), ("transfer-encoding", "chunked")], Strip, &[]),
        (&[("proxy-authorization", "Basic x"), ("authorization", "Basic y")], Strip, &[("authorization", "Basic y")]),
        (&[("te", "gzip, trailers;q=0.5"), ("connection", "te")], Strip, &[("te", "trailers")]),
        (&[("te", "gzip")], Strip, &[]),
        (&[("te", "")], Strip, &[]),
        (&[("trailer", "x-sum"), ("connection", "trailer")], Strip, &[("trailer", "x-sum")]),
        (&[("upgrade", "websocket"), ("connection", "Upgrade")], Strip, &[]),
        (
            &[("upgrade", "websocket"), ("connection", "Upgrade")],
            Keep,
            &[("upgrade", "websocket"), ("connection", "upgrade")],
        ),
        (&[("upgrade", "h2c"), ("connection", "upgrade, http2-settings"), ("http2-settings", "x")], Keep, &[]),
        (
            &[("upgrade", "h2c, websocket, x/1"), ("connection", "upgrade")],
            Keep,
            &[("upgrade", "websocket, x/1"), ("connection", "upgrade")],
        ),
        (&[("connection", ",, ,\u{fc}, not a token, "), ("a", "1")], Strip, &[("a", "1")]),
    ] {
        assert_eq!(stripped(fields, upgrade), Ok(headers(expected)), "{fields:?}");
    }
}

#[test]
fn a_response_says_nothing_of_what_its_server_takes() {
    let mut headers = headers(&[("te", "trailers"), ("trailer", "x-sum")]);
    let survey = Survey::of(&headers);
    response(&mut headers, survey, UpgradeField::Strip).expect("a response");
    assert_eq!(headers, self::headers(&[("trailer", "x-sum")]));
}

#[test]
fn connection_takes_nothing_away_that_the_next_server_must_see() {
    for name in [
        "host",
        "Content-Length",
        "X-Forwarded-For",
        "x-forwarded-anything",
        "Authorization",
        "cookie",
        "x-envoy-internal",
        "X-Request-Id",
        "Forwarded",
        "via",
        "x-real-ip",
    ] {
        let connection = format!("keep-alive, {name}");
        let fields = [("connection", connection.as_str()), (name, "1")];
        let refused = stripped(&fields, UpgradeField::Strip);
        assert_eq!(refused, Err(HeadRefusal::ConnectionNamesEndToEnd), "{name}");

        let mut answer = headers(&fields);
        let survey = Survey::of(&answer);
        response(&mut answer, survey, UpgradeField::Strip).expect("a response");
        assert_eq!(answer, headers(&[(name, "1")]));
    }
}

#[test]
fn the_protocol_asked_for() {
    for (fields, expected) in [
        (&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")][..], Some("websocket")),
        (&[("upgrade", "websocket")], None),
        (&[("upgrade", "h2c"), ("connection", "upgrade")], None),
        (&[("upgrade", "a, b"), ("connection", "upgrade")], None),
        (&[("upgrade", "a"), ("upgrade", "b"), ("connection", "upgrade")], None),
        (&[("connection", "upgrade")], None),
        (&[], None),
    ] {
        let headers = headers(fields);
        assert_eq!(upgrade(&headers, Survey::of(&headers)), expected, "{fields:?}");
    }
}

proptest! {
    #[test]
    fn nothing_of_the_connection_is_left(
        fields in prop::collection::vec((
            prop_oneof![
                Just("connection"), Just("te"), Just("upgrade"), Just("keep-alive"), Just("x-a"), Just("x-b"),
                Just("transfer-encoding"), Just("proxy-authorization"), Just("host"),
            ],
            prop_oneof![
                Just("x-a"), Just("close, X-B"), Just("te"), Just("trailers"), Just("upgrade"), Just("h2c"),
                Just(""), Just(","), Just("host"),
            ],
        ), 0..10),
        keep: bool,
    ) {
        let upgrade = if keep { UpgradeField::Keep } else { UpgradeField::Strip };
        let before = headers(&fields);
        if let Ok(after) = stripped(&fields, upgrade) {
            for name in ["keep-alive", "transfer-encoding", "proxy-authorization"] {
                prop_assert!(!after.contains_key(name));
            }
            let connection: Vec<_> = named(&after).collect();
            prop_assert_eq!(after.contains_key("upgrade"), connection == ["upgrade"]);
            prop_assert!(after.get("te").is_none_or(|te| te == "trailers"));
            for name in named(&before) {
                if name.to_ascii_lowercase().starts_with("x-") {
                    prop_assert!(!after.contains_key(name));
                }
            }
            prop_assert_eq!(after.get("host"), before.get("host"));
        } else {
            prop_assert!(named(&before).any(|name| name == "host"));
        }
    }
}

/// Nanoseconds a common head costs. To be run with optimisation:
/// `cargo test -p pillion-core --profile profiling -- --ignored --nocapture cost_of_a_common_head`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_a_common_head() {
    let common = headers(&[
        ("host", "www.example.com"),
        ("user-agent", "Mozilla/5.0"),
        ("accept", "text/html"),
        ("accept-language", "en"),
        ("accept-encoding", "gzip, deflate, br"),
        ("referer", "https://www.example.com/"),
        ("cookie", "session=1"),
        ("cache-control", "max-age=0"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("x-trace", "1"),
        ("if-none-match", "\"1\""),
    ]);
    let mut with_connection = common.clone();
    with_connection.insert("connection", HeaderValue::from_static("keep-alive"));
    let rounds = 20_000u32;
    for (what, head) in [("nothing to do", &common), ("keep-alive", &with_connection)] {
        let time = |work: &dyn Fn(&mut HeaderMap)| {
            // The same map again and again: what it costs to put the field back is in both figures.
            let mut headers = head.clone();
            let batch = |_| {
                let before = Instant::now();
                for _ in 0..rounds {
                    if let Some(value) = head.get("connection") {
                        headers.insert("connection", value.clone());
                    }
                    work(black_box(&mut headers));
                }
                before.elapsed().as_nanos() / u128::from(rounds)
            };
            // The best of many: the machine does other things too.
            (0..50).map(batch).min().unwrap_or_default()
        };
        let surveyed = time(&|headers| {
            let survey = Survey::of(headers);
            let _ = request(headers, survey, UpgradeField::Strip);
        });
        let one_by_one = time(&|headers| {
            for name in [
                "connection",
                "keep-alive",
                "proxy-connection",
                "te",
                "transfer-encoding",
                "upgrade",
                "http2-settings",
                "proxy-authenticate",
                "proxy-authorization",
                "proxy-authentication-info",
            ] {
                headers.remove(name);
            }
        });
        let nothing = time(&|_| {});
        println!("{what}: survey {surveyed} ns, ten removals {one_by_one} ns, the harness alone {nothing} ns");
    }
}
