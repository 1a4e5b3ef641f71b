//! Tokens, good and bad, signed by hand with keys of every kind.

use super::{
    Guard, MAX_REMEMBERED,
    keys::{KeySet, KeysError},
    verify::{Unfit, Verified, Verifier, now},
};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::HeaderName;
use pillion_config::model::{Jwt, JwtAlgorithm, JwtForward, JwtKeys, JwtPlace, JwtPresence, Secret};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// One key of each kind.
struct Ring {
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

static RING: LazyLock<Ring> = LazyLock::new(|| Ring {
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed: Ed25519KeyPair::generate().unwrap(),
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
});

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";

fn jwks() -> Value {
    let ring = &*RING;
    let ec = |pair: &EcdsaKeyPair, curve: &str, id: &str| {
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": curve, "kid": id, "x": BASE64.encode(x), "y": BASE64.encode(y) })
    };
    let rsa = ring.rsa.public_key();
    json!({ "keys": [
        { "kty": "unheard-of", "kid": "x" },
        ec(&ring.p256, "P-256", "p256"),
        ec(&ring.p384, "P-384", "p384"),
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": BASE64.encode(ring.ed.public_key().as_ref()) },
        {
            "kty": "RSA", "kid": "rsa", "n": BASE64.encode(rsa.modulus().big_endian_without_leading_zero()),
            "e": BASE64.encode(rsa.exponent().big_endian_without_leading_zero()),
        },
    ] })
}

fn keys() -> KeySet {
    KeySet::read(jwks().to_string().as_bytes()).unwrap()
}

fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let (ring, random) = (&*RING, SystemRandom::new());
    let rsa = |how| {
        let mut signature = vec![0; ring.rsa.public_modulus_len()];
        ring.rsa.sign(how, &random, message, &mut signature).unwrap();
        signature
    };
    let secret = |how| hmac::sign(&hmac::Key::new(how, SECRET), message).as_ref().to_vec();
    match algorithm {
        "ES256" => ring.p256.sign(&random, message).unwrap().as_ref().to_vec(),
        "ES384" => ring.p384.sign(&random, message).unwrap().as_ref().to_vec(),
        "EdDSA" => ring.ed.sign(message).as_ref().to_vec(),
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "PS384" => rsa(&RSA_PSS_SHA384),
        "PS512" => rsa(&RSA_PSS_SHA512),
        "HS256" => secret(hmac::HMAC_SHA256),
        "HS384" => secret(hmac::HMAC_SHA384),
        "HS512" => secret(hmac::HMAC_SHA512),
        _ => Vec::new(),
    }
}

fn token(head: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
    let signature = sign(head["alg"].as_str().unwrap_or_default(), message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn model(algorithms: &[JwtAlgorithm]) -> Jwt {
    Jwt {
        presence: JwtPresence::Required,
        issuers: vec!["https://issuer".into()],
        audiences: vec!["api".into()],
        scopes: Vec::new(),
        algorithms: algorithms.to_vec(),
        keys: JwtKeys::Secret(Secret(SECRET.into())),
        clock_skew: Duration::from_secs(30),
        expiry: JwtPresence::Required,
        places: vec![JwtPlace::Query("t".into())],
        forward: JwtForward::Keep,
        claims: vec![
            (HeaderName::from_static("x-user"), vec!["sub".into()]),
            (HeaderName::from_static("x-groups"), vec!["realm".into(), "groups".into()]),
            (HeaderName::from_static("x-level"), vec!["level".into()]),
            (HeaderName::from_static("x-bad"), vec!["bad".into()]),
        ],
        payload_in_metadata: None,
    }
}

const PUBLIC: [JwtAlgorithm; 9] = [
    JwtAlgorithm::Rs256,
    JwtAlgorithm::Rs384,
    JwtAlgorithm::Rs512,
    JwtAlgorithm::Ps256,
    JwtAlgorithm::Ps384,
    JwtAlgorithm::Ps512,
    JwtAlgorithm::Es256,
    JwtAlgorithm::Es384,
    JwtAlgorithm::EdDsa,
];

fn claims() -> Value {
    json!({
        "iss": "https://issuer", "aud": ["other", "api"], "exp": now() + 60, "sub": "alice", "level": 7,
        "realm": { "groups": ["a", "b"] }, "bad": "line\nbreak", "scope": "read write",
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn verify(model: &Jwt, token: &str) -> Result<Verified, Unfit> {
    Verifier::new(model).verify(&keys(), token)
}

#[test]
fn every_algorithm_that_is_let_in_is_understood() {
    for (algorithm, id) in [
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
    ] {
        for head in [json!({ "alg": algorithm, "kid": id }), json!({ "alg": algorithm })] {
            let verified =
                verify(&model(&PUBLIC), &token(&head, &claims())).unwrap_or_else(|unfit| panic!("{head} {unfit:?}"));
            let told: Vec<_> =
                verified.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(told, [("x-user", "alice"), ("x-groups", "a,b"), ("x-level", "7")]);
        }
    }
    for (model_of, algorithm) in
        [(JwtAlgorithm::Hs256, "HS256"), (JwtAlgorithm::Hs384, "HS384"), (JwtAlgorithm::Hs512, "HS512")]
    {
        let token = token(&json!({ "alg": algorithm }), &claims());
        assert!(Verifier::new(&model(&[model_of])).verify(&KeySet::secret(SECRET), &token).is_ok());
        let other = Verifier::new(&model(&[model_of])).verify(&KeySet::secret(b"another"), &token);
        assert_eq!(other, Err(Unfit::Signature));
    }
}

#[test]
fn a_token_that_is_not_good_is_told_why() {
    let es = json!({ "alg": "ES256", "kid": "p256" });
    let all = model(&PUBLIC);
    let good = token(&es, &claims());
    for (what, token, unfit) in [
        ("none", token(&json!({ "alg": "none" }), &claims()), Unfit::Malformed),
        ("None", token(&json!({ "alg": "nOnE" }), &claims()), Unfit::Malformed),
        ("no algorithm", token(&json!({ "kid": "p256" }), &claims()), Unfit::Malformed),
        ("a secret", token(&json!({ "alg": "HS256" }), &claims()), Unfit::Algorithm),
        ("an unknown key", token(&json!({ "alg": "ES256", "kid": "new" }), &claims()), Unfit::UnknownKey),
        ("a key of another kind", token(&json!({ "alg": "ES256", "kid": "rsa" }), &claims()), Unfit::UnknownKey),
        ("an extension", token(&json!({ "alg": "ES256", "crit": ["b64"], "b64": false }), &claims()), Unfit::Malformed),
        ("expired", token(&es, &with(|claims| claims["exp"] = json!(now() - 31))), Unfit::Expired),
        ("not yet", token(&es, &with(|claims| claims["nbf"] = json!(now() + 40))), Unfit::NotYet),
        (
            "no end",
            token(&es, &with(|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
            Unfit::MissingClaim,
        ),
        (
            "no issuer",
            token(&es, &with(|claims| drop(claims.as_object_mut().unwrap().remove("iss")))),
            Unfit::MissingClaim,
        ),
        ("another issuer", token(&es, &with(|claims| claims["iss"] = json!("https://issuer/"))), Unfit::Issuer),
        ("two issuers", token(&es, &with(|claims| claims["iss"] = json!(["https://issuer", "x"]))), Unfit::Malformed),
        (
            "an issuer in a list",
            token(&es, &with(|claims| claims["iss"] = json!(["https://issuer"]))),
            Unfit::Malformed,
        ),
        ("another audience", token(&es, &with(|claims| claims["aud"] = json!("apis"))), Unfit::Audience),
        ("no JSON", format!("{}.{}.x", BASE64.encode("{"), BASE64.encode("{}")), Unfit::Malformed),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned(), Unfit::Malformed),
        ("four parts", format!("{good}.x"), Unfit::Malformed),
        ("nothing", String::new(), Unfit::Malformed),
        ("much", format!("{good}{}", "A".repeat(20_000)), Unfit::Malformed),
    ] {
        assert_eq!(verify(&all, &token), Err(unfit), "{what}");
    }
    // Borne: the clocks differ.
    assert!(verify(&all, &token(&es, &with(|claims| claims["exp"] = json!(now() - 20)))).is_ok());
    // Nor is one of a form that no issuer has to be believed where any issuer is.
    let any = Jwt { issuers: Vec::new(), ..model(&PUBLIC) };
    let by = |issuer: Value| verify(&any, &token(&es, &with(|claims| claims["iss"] = issuer)));
    assert!(by(json!("https://somebody")).is_ok());
    for issuer in [json!(["https://issuer"]), json!(7), json!({ "https://issuer": true })] {
        assert_eq!(by(issuer.clone()), Err(Unfit::Malformed), "{issuer}");
    }
    // What is let in is let in alone.
    assert_eq!(verify(&model(&[JwtAlgorithm::Rs256]), &good), Err(Unfit::Algorithm));
    let wants = |scopes: &[&str]| Jwt { scopes: scopes.iter().map(ToString::to_string).collect(), ..model(&PUBLIC) };
    assert!(verify(&wants(&["read", "write"]), &good).is_ok());
    assert_eq!(verify(&wants(&["read", "admin"]), &good), Err(Unfit::Scope));
    // A public key is no secret: RFC 8725 §2.1.
    let public = RING.p256.public_key().as_ref();
    let message =
        format!("{}.{}", BASE64.encode(json!({ "alg": "HS256" }).to_string()), BASE64.encode(claims().to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public), message.as_bytes());
    let confused = format!("{message}.{}", BASE64.encode(signature.as_ref()));
    assert_eq!(verify(&model(&[JwtAlgorithm::Hs256, JwtAlgorithm::Es256]), &confused), Err(Unfit::UnknownKey));
}

#[test]
fn a_list_is_told_of_where_nobody_can_read_other_members_from_it() {
    let told = |groups: Value| {
        let claims = with(|claims| claims["realm"]["groups"] = groups);
        let verified = verify(&model(&PUBLIC), &token(&json!({ "alg": "ES256" }), &claims)).unwrap();
        verified.headers.into_iter().find(|(name, _)| name == "x-groups").map(|(_, value)| value)
    };
    assert_eq!(told(json!(["a", "b c", 7])).unwrap(), "a,b c,7");
    // Text is whole as it is.
    assert_eq!(told(json!("a,b")).unwrap(), "a,b");
    for groups in [json!(["a,b", "c"]), json!(["users", "x,admins"]), json!([","]), json!(["a", ["b", "c"]])] {
        assert_eq!(told(groups.clone()), None, "{groups}");
    }
}

#[test]
fn a_claim_is_told_of_where_it_arrives_as_it_is() {
    let told = |claim: Value| {
        let claims = with(|claims| claims["level"] = claim);
        let verified = verify(&model(&PUBLIC), &token(&json!({ "alg": "ES256" }), &claims)).unwrap();
        let value = verified.headers.into_iter().find(|(name, _)| name == "x-level").map(|(_, value)| value);
        value.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
    };
    for text in ["Mikołaj Ö. 李", "a b", "\u{1f600}", "\"quoted\"", "a\\r\\n"] {
        assert_eq!(told(json!(text)).as_deref(), Some(text));
    }
    assert_eq!(told(json!({ "name": "Mikołaj" })).as_deref(), Some("{\"name\":\"Mikołaj\"}"));
    assert_eq!(told(json!({ "name": "a\nb" })).as_deref(), Some("{\"name\":\"a\\nb\"}"), "JSON says it in its own way");
    for text in [
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
        assert_eq!(told(json!(text)), None, "{text:?}");
    }
    for list in [json!(["a", " b"]), json!(["a ", "b"]), json!(["a", "b\n"]), json!([])] {
        assert_eq!(told(list.clone()), None, "{list}");
    }
    assert_eq!(told(json!(["a", "ß"])).as_deref(), Some("a,ß"));
}

#[test]
fn one_bit_of_a_token_that_differs_makes_it_bad() {
    let good = token(&json!({ "alg": "ES256", "kid": "p256" }), &claims());
    let verifier = Verifier::new(&model(&PUBLIC));
    let keys = keys();
    assert!(verifier.verify(&keys, &good).is_ok());
    // Whole characters, so that the last one's unused bits do not matter.
    for at in (0..good.len() - 1).step_by(3) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(bytes).unwrap();
        assert!(verifier.verify(&keys, &other).is_err(), "{at}");
        assert!(verifier.verify(&keys, &good[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_set_without_a_key_is_none() {
    let no_key = |count| KeysError::NoKey { count, passed_over: Vec::new() };
    for (set, error) in [
        (json!([]), KeysError::NoSet),
        (json!({ "keys": {} }), KeysError::NoSet),
        (json!({ "keys": [] }), no_key(0)),
        (json!({ "keys": [{ "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" }] }), no_key(1)),
    ] {
        assert_eq!(KeySet::read(set.to_string().as_bytes()).unwrap_err(), error, "{set}");
    }
    assert_eq!(KeySet::read(b"{").unwrap_err(), KeysError::NoSet);
    let secret = KeySet::read(br#"{"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}"#).unwrap_err().to_string();
    assert!(secret.contains("none of its 1 keys") && secret.contains("the key \"s\": it is a secret"), "{secret}");
    assert!(!secret.contains("c2VjcmV0"), "{secret}");
    // A key that says what it signs with signs with nothing else.
    let mut set = jwks();
    set["keys"][4]["alg"] = json!("PS256");
    let keys = KeySet::read(set.to_string().as_bytes()).unwrap();
    let verifier = Verifier::new(&model(&PUBLIC));
    let by = |algorithm: &str| verifier.verify(&keys, &token(&json!({ "alg": algorithm, "kid": "rsa" }), &claims()));
    assert!(by("PS256").is_ok());
    assert_eq!(by("RS256"), Err(Unfit::UnknownKey));
}

#[test]
fn keys_that_cannot_be_used_are_named_and_the_others_serve() {
    let good = jwks();
    let changed = |at: usize, member: &str, value: Value| {
        let mut key = good["keys"][at].clone();
        key[member] = value;
        key
    };
    let short = BASE64.encode([0xff; 128]);
    let off_curve = BASE64.encode([1; 32]);
    for (key, words) in [
        (json!({ "kty": "unheard-of", "kid": "x" }), "the key \"x\": its \"kty\" \"unheard-of\" is not understood"),
        (json!({ "kid": "x" }), "the key \"x\": it has no \"kty\""),
        (json!(7), "the key at place 1, which has no \"kid\": it has no \"kty\""),
        (changed(2, "crv", json!("P-521")), "the key \"p384\": its \"crv\" \"P-521\" is not understood"),
        (changed(3, "crv", json!("Ed448")), "\"ed\": its \"crv\" \"Ed448\" is not understood"),
        (changed(1, "x", json!("?")), "\"p256\": it has not the members that its \"kty\" asks for"),
        (changed(1, "y", Value::Null), "\"p256\": it has not the members"),
        (changed(1, "x", json!("AQAB")), "\"p256\": its numbers are no public key"),
        (changed(1, "x", json!(off_curve)), "\"p256\": its numbers are no public key"),
        (changed(3, "x", json!("AQAB")), "\"ed\": its numbers are no public key"),
        (changed(4, "n", json!(short)), "\"rsa\": an RSA key has 2048 to 8192 bits, this one 1024"),
        (changed(4, "e", json!("AAAA")), "\"rsa\": its numbers are no public key"),
        (changed(4, "alg", json!("RSA-OAEP")), "\"rsa\": its \"alg\" \"RSA-OAEP\" is none that it could sign with"),
        (changed(1, "alg", json!("ES384")), "\"p256\": its \"alg\" \"ES384\" is none"),
    ] {
        let mut set = good.clone();
        // One that is like the good one but for its fault stands before it: it must not be tried in its place.
        set["keys"].as_array_mut().unwrap()[0] = key.clone();
        let keys = KeySet::read(set.to_string().as_bytes()).unwrap();
        let [told] = keys.passed_over() else { panic!("{key}: {:?}", keys.passed_over()) };
        assert!(told.contains(words), "{key}: {told}");
        for (algorithm, id) in [("ES256", "p256"), ("ES384", "p384"), ("EdDSA", "ed"), ("RS256", "rsa")] {
            let token = token(&json!({ "alg": algorithm, "kid": id }), &claims());
            assert!(Verifier::new(&model(&PUBLIC)).verify(&keys, &token).is_ok(), "{key} {algorithm}");
        }
    }
    // What says itself that it is for something else is no fault, and no more is a zero before a number.
    let mut set = good.clone();
    set["keys"][0] = json!({ "kty": "RSA", "use": "enc", "kid": "x" });
    let n = BASE64.decode(set["keys"][4]["n"].as_str().unwrap()).unwrap();
    set["keys"][4]["n"] = json!(BASE64.encode([&[0], &n[..]].concat()));
    let keys = KeySet::read(set.to_string().as_bytes()).unwrap();
    assert!(keys.passed_over().is_empty(), "{:?}", keys.passed_over());
    let by_rsa = token(&json!({ "alg": "PS256", "kid": "rsa" }), &claims());
    assert!(Verifier::new(&model(&PUBLIC)).verify(&keys, &by_rsa).is_ok());
    // A set of many says what can be read.
    let many: Vec<_> = (0..40).map(|_| json!({ "kty": "x".repeat(1000) })).chain([good["keys"][1].clone()]).collect();
    let keys = KeySet::read(json!({ "keys": many }).to_string().as_bytes()).unwrap();
    let told = keys.passed_over();
    assert!(told.len() == 9 && told[8] == "and 32 more" && told.concat().len() < 2000, "{told:?}");
}

#[test]
fn what_was_verified_is_remembered_for_the_tokens_life_and_while_the_keys_are_the_same() {
    let model = Arc::new(model(&PUBLIC));
    let guard = Guard {
        verifier: Verifier::new(&model),
        model,
        keys: RefCell::new(Some(Arc::new(keys()))),
        remembered: RefCell::default(),
        waiting: RefCell::default(),
        fetched: None,
    };
    let token_of = |sub: usize| {
        token(&json!({ "alg": "EdDSA", "kid": "ed" }), &with(|claims| claims["sub"] = json!(format!("user-{sub}"))))
    };
    let good = token_of(0);
    let verified = |token: &str| guard.verify(token).expect("there are keys");
    let first = verified(&good).unwrap();
    assert!(Rc::ptr_eq(&first, &verified(&good).unwrap()), "it is remembered");
    // Its end comes, as if a minute had gone.
    let over = Rc::new(Verified { until: now(), ..(*first).clone() });
    for known in guard.remembered.borrow_mut().values_mut() {
        *known = Rc::clone(&over);
    }
    assert!(!Rc::ptr_eq(&over, &verified(&good).unwrap()), "it is verified anew");
    // One that is not good is not remembered at all.
    assert!(verified(&format!("{good}x")).is_err());
    assert_eq!(guard.remembered.borrow().len(), 1);
    // However many clients there are.
    for sub in 1..=MAX_REMEMBERED {
        verified(&token_of(sub)).unwrap();
    }
    assert!(guard.remembered.borrow().len() <= MAX_REMEMBERED);
    verified(&good).unwrap();
    // Other keys: what the old ones vouched for is not believed.
    let set = json!({ "keys": [jwks()["keys"][1]] });
    assert!(guard.renew(Some(Arc::new(KeySet::read(set.to_string().as_bytes()).unwrap()))));
    assert_eq!(verified(&good), Err(Unfit::UnknownKey));
}

/// What verifying a token costs, and what remembering it saves: run with `--release -- --ignored --nocapture`.
///
/// On a shared two-core virtual machine: see `MAX_REMEMBERED`.
#[test]
#[ignore = "a measurement"]
fn what_a_token_costs() {
    let keys = keys();
    for (algorithm, id, model_of) in [
        ("ES256", "p256", JwtAlgorithm::Es256),
        ("RS256", "rsa", JwtAlgorithm::Rs256),
        ("EdDSA", "ed", JwtAlgorithm::EdDsa),
    ] {
        let verifier = Verifier::new(&model(&[model_of]));
        let claims = json!({ "iss": "https://issuer", "aud": "api", "sub": "alice", "exp": now() + 600 });
        let token = token(&json!({ "alg": algorithm, "kid": id }), &claims);
        let rounds = 2000;
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            assert!(verifier.verify(&keys, std::hint::black_box(&token)).is_ok());
        }
        println!("{algorithm}: {:.2} µs verified", begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
        let known = std::collections::HashMap::from([(digest(token.as_bytes()), ())]);
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            assert!(known.contains_key(&digest(std::hint::black_box(token.as_bytes()))));
        }
        println!("{algorithm}: {:.2} µs remembered", begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}
