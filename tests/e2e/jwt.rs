//! Tokens: who shows none, or one that is not good, is turned away; upstream is told of the claims of the others.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use pillion_tests::{
    origin::Origin,
    proxy::{Proxy, Shape},
    response::Response,
    tempdir::TempDir,
    wait,
};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

struct Issuer(EcdsaKeyPair, &'static str);

impl Issuer {
    fn new(id: &'static str) -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made"), id)
    }

    fn set(&self) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let key = json!({ "kty": "EC", "crv": "P-256", "kid": self.1, "x": BASE64.encode(x), "y": BASE64.encode(y) });
        json!({ "keys": [key] }).to_string()
    }

    fn token(&self, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
        let part = |value: Value| BASE64.encode(value.to_string());
        let head = part(json!({ "alg": "ES256", "kid": self.1 }));
        let claims = part(json!({ "iss": "https://issuer", "aud": audience, "sub": "alice", "exp": now + 600 }));
        let message = format!("{head}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("a key signs");
        format!("{message}.{}", BASE64.encode(signature.as_ref()))
    }
}

fn told(response: &Response, name: &str) -> Option<String> {
    let described = response.json();
    let headers = described["headers"].as_array().expect("the origin lists headers").clone();
    let found = headers.into_iter().find(|header| header[0].as_str() == Some(name));
    found.and_then(|header| header[1].as_str().map(ToOwned::to_owned))
}

fn ask(proxy: &Proxy, path: &str, fields: &str) -> Response {
    let mut client = proxy.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.receive()
}

const CHECKS: &str = "issuers: [\"https://issuer\"], audiences: [api], forward: strip, claims_to_headers: { x-user: sub }, \
                      from: [{ header: authorization, prefix: Bearer }, { query: token }]";

#[test]
fn a_token_opens_the_door_and_only_a_good_one() {
    let (origin, dir, issuer) = (Origin::start(), TempDir::new(), Issuer::new("one"));
    let file = dir.write("jwks.json", issuer.set());
    let top = format!("filters: [{{ name: login, jwt: {{ keys: {{ file: \"{}\" }}, {CHECKS} }} }}]", file.display());
    let proxy = Shape { top: &top, listener: "filters: [login]", ..Shape::default() }.start(origin.address);
    let none = ask(&proxy, "/", "");
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer realm=\"login\"")));
    let good = issuer.token("api");
    for (path, fields) in [
        ("/?a=1".to_owned(), format!("Authorization: Bearer {good}\r\n")),
        (format!("/?a=1&token={good}"), String::new()),
    ] {
        let response = ask(&proxy, &path, &format!("{fields}X-User: root\r\n"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(told(&response, "x-user").as_deref(), Some("alice"));
        assert_eq!((told(&response, "authorization"), response.json()["target"].as_str()), (None, Some("/?a=1")));
    }
    let other = ask(&proxy, "/", &format!("Authorization: Bearer {}\r\n", issuer.token("other")));
    assert_eq!(other.status, 403);
    let forged = ask(&proxy, "/", &format!("Authorization: Bearer {}\r\n", Issuer::new("one").token("api")));
    let challenge = forged.header("www-authenticate").unwrap_or_default();
    assert!(forged.status == 401 && challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(origin.requests(), 2);
    // Another key, by the file alone.
    let next = Issuer::new("two");
    pillion_tests::pki::replace(dir.path(), "jwks.json", &next.set());
    let fields = format!("Authorization: Bearer {}\r\n", next.token("api"));
    wait::until_true("the new key to be known", || ask(&proxy, "/", &fields).status == 200);
    assert_eq!(ask(&proxy, "/", &format!("Authorization: Bearer {good}\r\n")).status, 401);
}

#[test]
fn keys_are_fetched_through_a_cluster_and_the_first_request_waits_for_them() {
    let (origin, dir, issuer) = (Origin::start(), TempDir::new(), Issuer::new("one"));
    let file = dir.write("jwks.json", issuer.set());
    let idp = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: idp\n    address: {{listen}}\n    routes: [{{ \
         match: {{ path: /jwks }}, respond: {{ status: 200, file: \"{}\" }} }}]\n",
        file.display()
    ));
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nfilters: [{{ name: login, jwt: {{ keys: {{ url: \
         \"http://idp/jwks\", cluster: idp }}, {CHECKS} }} }}]\nlisteners:\n  - name: web\n    address: {{listen}}\n    \
         filters: [login]\n    routes: [{{ match: {{ prefix: / }}, cluster: origin }}]\nclusters:\n  - {{ name: origin, \
         endpoints: [\"{}\"] }}\n  - {{ name: idp, endpoints: [\"{}\"] }}\n",
        origin.address, idp.address
    ));
    let response = ask(&proxy, "/", &format!("Authorization: Bearer {}\r\n", issuer.token("api")));
    assert_eq!((response.status, told(&response, "x-user").as_deref()), (200, Some("alice")));
    assert_eq!(ask(&proxy, "/", "").status, 401);
    assert_eq!(ask(&proxy, "/", &format!("Authorization: Bearer {}\r\n", Issuer::new("new").token("api"))).status, 401);
}
