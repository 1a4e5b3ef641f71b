//! The policy with tokens that another implementation signed (`tests.json`: PyJWT, keys made for it and thrown away).

use super::*;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("tests.json")).expect("the vectors are JSON")
}

fn token(name: &str) -> String {
    vectors()["tokens"][name].as_str().unwrap_or_else(|| panic!("no token {name}")).to_owned()
}

fn policy() -> Policy {
    let text = json!({
        "realm": "api",
        "static": [{ "token": "s3cret-token", "claims": { "sub": "robot", "scope": "read" } }],
        "jwt": { "issuer": "https://id.test", "audiences": ["api"], "keys": vectors()["keys"] },
        "claims_to_headers": { "X-Auth-Subject": "sub", "x-level": "level", "x-groups": "groups", "x-none": "none" },
        "require_scopes": ["read"],
        "public": ["/health", "/assets/"]
    });
    Policy::read(text.to_string().as_bytes()).expect("the configuration is right")
}

fn with(authorization: &str) -> Verdict {
    policy().decide("/x?y=1", &[authorization.as_bytes()], NOW)
}

fn refused(verdict: &Verdict) -> &Refusal {
    match verdict {
        Verdict::Refuse(refusal) => refusal,
        Verdict::Pass(_) => panic!("it passed"),
    }
}

#[test]
fn each_algorithm_is_believed() {
    for name in ["rs256", "es256", "hs256", "no_kid"] {
        let Verdict::Pass(headers) = with(&format!("Bearer {}", token(name))) else { panic!("{name}") };
        let expected = [("x-groups", "a,b"), ("x-level", "7"), ("x-auth-subject", "alice")];
        for (header, value) in expected {
            assert!(headers.contains(&(header.to_owned(), value.to_owned())), "{name}: {headers:?}");
        }
        assert_eq!(headers.len(), 3);
    }
}

#[test]
fn what_is_wrong_is_said_and_nothing_else() {
    for (name, words) in [
        ("expired", "has expired"),
        ("no_exp", "never expires"),
        ("not_yet", "not valid yet"),
        ("issuer", "another issuer"),
        ("audience", "another audience"),
        ("critical", "critical"),
        ("wrong_key", "signature is wrong"),
        ("none", "no key fits"),
        ("unknown_kid", "no key fits"),
        ("confused", "no key fits"),
    ] {
        let verdict = with(&format!("Bearer {}", token(name)));
        let refusal = refused(&verdict);
        assert_eq!(refusal.status, 401, "{name}");
        assert!(
            refusal.challenge.starts_with("Bearer realm=\"api\", error=\"invalid_token\""),
            "{}",
            refusal.challenge
        );
        assert!(refusal.challenge.contains(words), "{name}: {}", refusal.challenge);
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    for name in ["rs256", "es256", "hs256"] {
        let good = token(name);
        for at in (0..good.len()).step_by(7) {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bytes).expect("ASCII stays ASCII");
            // The last character of base64 has bits that mean nothing; the decoder refuses them too.
            assert!(matches!(with(&format!("Bearer {bad}")), Verdict::Refuse(_)), "{name} at {at}");
        }
    }
}

#[test]
fn prefixes_and_rubbish_are_refused() {
    let good = token("es256");
    for length in 0..good.len() {
        assert!(matches!(with(&format!("Bearer {}", &good[..length])), Verdict::Refuse(_)), "{length}");
    }
    for rubbish in [
        "Bearer .",
        "Bearer ..",
        "Bearer a.b.c",
        "Bearer e30.e30.",
        "Bearer =",
        &format!("Bearer {}", "a".repeat(99_999)),
    ] {
        assert!(matches!(with(rubbish), Verdict::Refuse(_)), "{rubbish}");
    }
}

#[test]
fn without_a_token_no_error_is_named() {
    for verdict in [policy().decide("/x", &[], NOW), with("Basic YTpi"), with("Bearer"), with("Bearer two words")] {
        let refusal = refused(&verdict);
        assert_eq!((refusal.status, refusal.challenge.as_str()), (401, "Bearer realm=\"api\""));
    }
    let twice = policy().decide("/x", &[b"Bearer s3cret-token", b"Bearer s3cret-token"], NOW);
    assert!(refused(&twice).challenge.contains("invalid_request"));
}

#[test]
fn static_tokens_pass_with_their_claims() {
    let Verdict::Pass(headers) = with("bearer  s3cret-token") else { panic!("it is known") };
    assert_eq!(headers, [("x-auth-subject".to_owned(), "robot".to_owned())]);
    for wrong in ["Bearer s3cret-toke", "Bearer s3cret-token1", "Bearer S3cret-token"] {
        assert_eq!(refused(&with(wrong)).status, 401);
    }
}

#[test]
fn scopes_that_lack_are_forbidden() {
    let verdict = with(&format!("Bearer {}", token("no_scope")));
    let refusal = refused(&verdict);
    assert_eq!(refusal.status, 403);
    assert!(refusal.challenge.contains("error=\"insufficient_scope\""));
    assert!(refusal.challenge.ends_with("scope=\"read\""));
}

#[test]
fn public_paths_by_whole_segments() {
    for path in ["/health", "/health/live", "/health?x=1", "/assets/a.js"] {
        assert_eq!(policy().decide(path, &[], NOW), Verdict::Pass(vec![]), "{path}");
    }
    for path in [
        "/healthy",
        "/assets",
        "/",
        "/health/../x",
        "/health/%2e%2e/x",
        "/health/..;/x",
        "/health/..;a=b/x",
        "/health/..",
        "/x/health",
    ] {
        assert!(matches!(policy().decide(path, &[], NOW), Verdict::Refuse(_)), "{path}");
    }
}

#[test]
fn leeway_holds_both_ways() {
    let policy = policy();
    let bearer = format!("Bearer {}", token("expired"));
    assert!(matches!(policy.decide("/x", &[bearer.as_bytes()], 1_500_000_029), Verdict::Pass(_)));
    assert!(matches!(policy.decide("/x", &[bearer.as_bytes()], 1_500_000_030), Verdict::Refuse(_)));
    let bearer = format!("Bearer {}", token("not_yet"));
    assert!(matches!(policy.decide("/x", &[bearer.as_bytes()], 1_899_999_970), Verdict::Pass(_)));
    assert!(matches!(policy.decide("/x", &[bearer.as_bytes()], 1_899_999_969), Verdict::Refuse(_)));
}

#[test]
fn claims_cannot_break_out_of_a_header() {
    let text = |claim: Value| {
        let claims: Claims = serde_json::from_value(json!({ "c": claim })).expect("claims");
        claims.text("c")
    };
    // As the proxy's own filter `jwt` has them.
    for whole in ["Mikołaj Ö. 李", "a b", "\u{1f600}", "\"quoted\"", "a\\r\\n"] {
        assert_eq!(text(json!(whole)).as_deref(), Some(whole));
    }
    assert_eq!(text(json!({ "name": "a\nb" })).as_deref(), Some("{\"name\":\"a\\nb\"}"), "JSON says it in its own way");
    assert_eq!(text(json!(true)).as_deref(), Some("true"));
    for broken in [
        "a\r\nx-user: root",
        "a\nb",
        "a\0",
        "a\tb",
        "\u{7f}",
        "a\u{85}",
        " admin",
        "admin ",
        "\tadmin",
        "admin\u{a0}",
        " ",
        "",
    ] {
        assert_eq!(text(json!(broken)), None, "{broken:?}");
    }
    for list in [json!(["a", " b"]), json!(["a ", "b"]), json!(["a", "b\n"]), json!([]), json!(null)] {
        assert_eq!(text(list.clone()), None, "{list}");
    }
    assert_eq!(text(json!("x".repeat(4096))).map(|value| value.len()), Some(4096));
    assert_eq!(text(json!("x".repeat(4097))), None);
}

#[test]
fn a_claim_within_another_is_named_by_both() {
    let claims: Claims = serde_json::from_value(json!({
        "realm": { "groups": ["a", "b"], "deep": { "x": 1 } }, "realm.groups": "not this one", "list": [1],
    }))
    .expect("claims");
    for (path, value) in [
        ("realm.groups", Some("a,b")),
        ("realm.deep.x", Some("1")),
        ("realm.deep", Some("{\"x\":1}")),
        ("realm.none", None),
        ("list.0", None),
        ("none.x", None),
    ] {
        assert_eq!(claims.text(path).as_deref(), value, "{path}");
    }
}

/// As the proxy's own filter `jwt` has it.
#[test]
fn a_member_of_a_list_cannot_be_read_as_several() {
    let claims: Claims = serde_json::from_value(json!({
        "groups": ["a", "b"], "forged": ["a", "b,admin"], "object": [{ "x": 1, "y": 2 }], "numbers": [7, true, "c"], "none": [],
    }))
    .expect("claims");
    for (name, value) in
        [("groups", Some("a,b")), ("forged", None), ("object", None), ("numbers", Some("7,true,c")), ("none", None)]
    {
        assert_eq!(claims.text(name).as_deref(), value, "{name}");
    }
}

/// What it costs is for the client to choose, who may leave `kid` out.
#[test]
fn a_token_that_names_no_key_is_tried_with_a_few() {
    let (es256, rs256) = (vectors()["keys"][1].clone(), vectors()["keys"][0].clone());
    // Another point of the curve.
    let other = json!({
        "kty": "EC", "crv": "P-256",
        "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    });
    let keys = |others: usize, last: &[&Value]| {
        let keys: Vec<&Value> = std::iter::repeat_n(&other, others).chain(last.iter().copied()).collect();
        Policy::read(json!({ "jwt": { "keys": keys } }).to_string().as_bytes()).expect("right")
    };
    let bearer = |name| format!("Bearer {}", token(name)).into_bytes();
    let es = bearer("es256");
    assert!(matches!(keys(3, &[&es256]).decide("/", &[&es], NOW), Verdict::Pass(_)));
    assert!(keys(3, &[&es256]).warnings().is_empty());
    let many = keys(4, &[&es256, &rs256]);
    assert!(refused(&many.decide("/", &[&es], NOW)).challenge.contains("more keys fit the token than are tried"));
    assert!(matches!(many.decide("/", &[&bearer("rs256")], NOW), Verdict::Pass(_)), "of another algorithm");
    let words = many.warnings();
    assert!(words.len() == 1 && words[0].contains("ES256") && words[0].contains("`kid`"), "{words:?}");
    let named = json!({ "kid": "other", "kty": "EC", "crv": "P-256", "x": other["x"], "y": other["y"] });
    let keys: Vec<&Value> = std::iter::repeat_n(&named, 9).chain([&es256]).collect();
    let policy = Policy::read(json!({ "jwt": { "keys": keys } }).to_string().as_bytes()).expect("right");
    assert!(matches!(policy.decide("/", &[&es], NOW), Verdict::Pass(_)), "it names its key");
}

#[test]
fn critical_fields_are_refused_whatever_they_are() {
    for crit in [json!(null), json!([]), json!(["exp"]), json!(false)] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "crit": crit }).to_string());
        let verdict = with(&format!("Bearer {header}.e30.AAAA"));
        assert!(refused(&verdict).challenge.contains("critical fields"), "{crit}: {verdict:?}");
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let key = |key: Value| json!({ "jwt": { "keys": [key] } }).to_string();
    let scopes = |scopes: Value| json!({ "static": [{ "token": "abcd" }], "require_scopes": scopes }).to_string();
    let leeway = |seconds: u64| json!({ "jwt": { "leeway_seconds": seconds, "keys": vectors()["keys"] } }).to_string();
    let header = |claims: Value| json!({ "static": [{ "token": "abcd" }], "claims_to_headers": claims }).to_string();
    for (text, words) in [
        ("{}".to_owned(), "neither `static` nor `jwt`"),
        (r#"{"static": [{"token": "abc"}]}"#.to_owned(), "static[0].token: is shorter"),
        (r#"{"jwt": {"keys": []}}"#.to_owned(), "jwt.keys: is empty"),
        (key(json!({ "kty": "oct", "k": "AAAA" })), "jwt.keys[0]: k: has 3 bytes, HS256 needs 32"),
        (key(json!({ "kty": "OKP" })), "kty: \"OKP\" is none of"),
        (key(json!({ "kty": "EC", "crv": "P-521" })), "only \"P-256\""),
        (key(json!({ "kty": "EC", "crv": "P-256", "x": "AAAA" })), "y: is missing"),
        (key(json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })), "2048 to 4096"),
        (
            key(json!({ "kty": "oct", "alg": "RS256", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" })),
            "does not go with the key",
        ),
        (r#"{"static": [{"token": "abcd"}], "realm": "a\"b"}"#.to_owned(), "realm"),
        (header(json!({ "sub": "x-auth-subject" })), "the header comes first, then the claim"),
        (header(json!({ "groups": "X-Groups" })), "the header comes first, then the claim"),
        (header(json!({ "x y": "sub" })), "\"x y\" is no header name"),
        (header(json!({ "Host": "sub" })), "means something else"),
        (header(json!({ "te": "sub" })), "\"te\" means something else"),
        (header(json!({ "Upgrade": "sub" })), "\"Upgrade\" means something else"),
        (header(json!({ "proxy-connection": "sub" })), "means something else"),
        (header(json!({ "X-U": "sub", "x-u": "email" })), "\"x-u\": the same header is there in other letters"),
        (json!({ "static": [{ "token": "p@ss!word" }] }).to_string(), "static[0].token: no request can present it"),
        (
            json!({ "static": [{ "token": "good-one" }, { "token": "two words" }] }).to_string(),
            "static[1].token: no request can present it",
        ),
        (scopes(json!(["read", "a\"b"])), "require_scopes: \"a\\\"b\" is no scope"),
        (scopes(json!(["c\r\nx-inj: y"])), "require_scopes"),
        (scopes(json!(["read write"])), "require_scopes: \"read write\" is no scope"),
        (scopes(json!([""])), "require_scopes: \"\" is no scope"),
        (leeway(u64::MAX), "jwt.leeway_seconds: 18446744073709551615 is more than 86400"),
        (leeway(86_401), "jwt.leeway_seconds"),
        (header(json!({ "x-a": "realm..a" })), "expected a claim such as sub or realm.groups, found \"realm..a\""),
    ] {
        let error = Policy::read(text.as_bytes()).expect_err(&text);
        assert!(error.contains(words), "{error}");
    }
}
