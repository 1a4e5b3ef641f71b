//! Tokens: who shows none, or one that is not good, is turned away; upstream is told of the claims of the others.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use pillion_tests::{
    need,
    origin::Origin,
    proxy::{Proxy, Shape, program},
    response::Response,
    some_or_return,
    tempdir::TempDir,
    wait,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

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

    /// Its own key, behind others that cannot be used.
    fn set_behind(&self, others: &[Value]) -> String {
        let mut set: Value = serde_json::from_str(&self.set()).expect("it is JSON");
        let keys = set["keys"].as_array_mut().expect("a set has keys");
        keys.splice(0..0, others.iter().cloned());
        set.to_string()
    }

    fn token(&self, audience: &str) -> String {
        self.token_of(audience, "alice")
    }

    fn token_of(&self, audience: &str, sub: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
        let part = |value: Value| BASE64.encode(value.to_string());
        let head = part(json!({ "alg": "ES256", "kid": self.1 }));
        let claims = part(json!({ "iss": "https://issuer", "aud": audience, "sub": sub, "exp": now + 600 }));
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
fn what_a_token_says_is_in_the_access_log() {
    let (origin, dir, issuer) = (Origin::start(), TempDir::new(), Issuer::new("one"));
    let file = dir.write("jwks.json", issuer.set());
    let told = |keys: &str| format!("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:{keys})%");
    let top = format!(
        "access_log: {{ path: \"{{dir}}/access.log\", format: {{ json: {{ sub: \"{}\", sentence: \"of {} {}\", exp: \"{}\", \
         none: \"{}\", other: \"%DYNAMIC_METADATA(x)%\" }} }} }}\n\
         filters: [{{ name: login, jwt: {{ keys: {{ file: \"{}\" }}, payload_in_metadata: claims, {CHECKS} }} }}]",
        told("claims:sub"),
        told("claims:sub"),
        told("claims:iat"),
        told("claims:exp"),
        told("claims:sub:within"),
        file.display()
    );
    let proxy = Shape { top: &top, listener: "filters: [login]", ..Shape::default() }.start(origin.address);
    let fields = format!("Authorization: Bearer {}\r\n", issuer.token_of("api", "a\"l\u{9b}ice\u{2028}"));
    assert_eq!(ask(&proxy, "/", &fields).status, 200);
    let log = proxy.dir().join("access.log");
    wait::until_true("the record", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
    let text = std::fs::read_to_string(&log).expect("it is there");
    let record: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(record["exp"].as_u64().is_some_and(|exp| exp > 1_700_000_000), "{record}");
    assert_eq!(record["sub"], "a\"l\u{9b}ice\u{2028}");
    assert_eq!(record["sentence"], "of a\"l\u{9b}ice\u{2028} -");
    assert!(text.is_ascii(), "nobody steers a terminal: {text}");
    assert_eq!((&record["none"], &record["other"]), (&Value::Null, &Value::Null));

    // A long one is cut as a text, not in its JSON.
    let fields = format!("Authorization: Bearer {}\r\n", issuer.token_of("api", &"l\"ll".repeat(2_100)));
    assert_eq!(ask(&proxy, "/", &fields).status, 200);
    wait::until_true("the second record", || std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 2));
    let text = std::fs::read_to_string(&log).expect("it is there");
    let record: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a record is JSON");
    let kept = &"l\"ll".repeat(2_100)[..8_191];
    assert_eq!(record["sub"], kept, "8 KiB of a value are kept");
    assert_eq!(record["sentence"], format!("of {kept} -"));
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

/// Over both protocols a server is asked with the claim as it is or without it, and never with what the client says of itself.
#[test]
fn a_claim_that_no_header_can_hold_is_not_told_and_the_request_goes() {
    let (origin, dir, issuer) = (Origin::start(), TempDir::new(), Issuer::new("one"));
    let file = dir.write("jwks.json", issuer.set());
    let top = format!("filters: [{{ name: login, jwt: {{ keys: {{ file: \"{}\" }}, {CHECKS} }} }}]", file.display());
    for protocol in ["http1", "http2"] {
        let cluster = format!("protocol: {protocol}");
        let shape = Shape { top: &top, listener: "filters: [login]", cluster: &cluster, ..Shape::default() };
        let proxy = shape.start(origin.address);
        for (sub, expected) in [
            ("Mikołaj", Some("Mikołaj")),
            ("a b", Some("a b")),
            (" admin", None),
            ("admin ", None),
            ("admin\t", None),
            ("a\r\nx-role: admin", None),
            ("a\0b", None),
            ("", None),
        ] {
            let fields = format!("{}X-User: root\r\n", bearer(&issuer.token_of("api", sub)));
            let response = ask(&proxy, "/", &fields);
            assert_eq!(response.status, 200, "{protocol} {sub:?}: {}", response.text());
            assert_eq!(told(&response, "x-user").as_deref(), expected, "{protocol} {sub:?}");
            assert_eq!(told(&response, "x-role"), None, "{protocol}");
        }
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named_once_and_by_check_and_the_others_serve() {
    let (origin, dir, key) = (Origin::start(), TempDir::new(), Issuer::new("one"));
    let odd = [
        json!({ "kty": "EC", "crv": "P-521", "kid": "large", "x": "AQAB", "y": "AQAB" }),
        json!({ "kty": "RSA", "use": "enc", "kid": "sealing", "n": "AQAB", "e": "AQAB" }),
    ];
    let set = key.set_behind(&odd);
    let file = dir.write("jwks.json", &set);
    let words = "the key \"large\": its \"crv\" \"P-521\" is not understood";
    let top = format!("filters: [{{ name: login, jwt: {{ keys: {{ file: \"{}\" }}, {CHECKS} }} }}]", file.display());
    let proxy = Shape { top: &top, listener: "filters: [login]", ..Shape::default() }.start(origin.address);
    assert_eq!(ask(&proxy, "/", &bearer(&key.token("api"))).status, 200);
    let log = proxy.stderr();
    assert!(log.matches(words).count() == 1 && log.contains(" warn ") && !log.contains("sealing"), "{log}");
    let document = dir.write(
        "pillion.yaml",
        format!("{top}\nlisteners: [{{ name: a, address: 127.0.0.1:1, filters: [login], routes: [] }}]\n"),
    );
    let output = Command::new(program()).args(["check", "--config"]).arg(&document).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.matches(words).count() == 1, "{said}");
    assert!(said.contains("filter=login") && !said.contains("sealing"), "{said}");

    // Of a set that is fetched again and again, once as long as it is there.
    let issuer = Published::start(Some(set));
    let proxy = guarded(&issuer, &origin, ", refresh: 100ms");
    assert_eq!(ask(&proxy, "/", &bearer(&key.token("api"))).status, 200);
    wait::until_true("some fetches", || issuer.asked() >= 4);
    assert_eq!(proxy.stderr().matches(words).count(), 1, "{}", proxy.stderr());
    assert_eq!(proxy.admin_get("/ready").text(), "LIVE\n");
}

/// An issuer's server: gives its keys, or 500 where it has none to give, and counts how often it was asked.
#[derive(Clone)]
struct Published {
    address: SocketAddr,
    state: Arc<Mutex<(Option<String>, usize)>>,
}

impl Published {
    fn start(set: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new((set, 0)));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let body = {
                    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    state.1 += 1;
                    state.0.clone()
                };
                let (status, body) = body.map_or(("500 Oops", String::new()), |body| ("200 OK", body));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                drop((&stream).write_all((head + &body).as_bytes()));
            }
        });
        Self { address, state }
    }

    fn publish(&self, set: Option<String>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = set;
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

fn guarded(issuer: &Published, origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 3\nfilters: [{{ name: login, jwt: {{ keys: {{ url: \
         \"http://idp/jwks\", cluster: idp{more} }}, {CHECKS} }} }}]\nlisteners:\n  - name: web\n    address: {{listen}}\n    \
         filters: [login]\n    routes: [{{ match: {{ prefix: / }}, cluster: origin }}]\nclusters:\n  - {{ name: origin, \
         endpoints: [\"{}\"] }}\n  - {{ name: idp, endpoints: [\"{}\"] }}\n",
        origin.address, issuer.address
    ))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn keys_are_fetched_once_for_all_workers_and_change_and_the_last_good_ones_stay() {
    let (origin, first, second) = (Origin::start(), Issuer::new("one"), Issuer::new("two"));
    let issuer = Published::start(Some(first.set()));
    // Long until they are fetched by themselves: an unknown key is what brings them.
    let proxy = guarded(&issuer, &origin, "");
    let good = bearer(&first.token("api"));
    // Enough connections for each of three workers to have had some.
    for _ in 0..30 {
        assert_eq!(ask(&proxy, "/", &good).status, 200);
    }
    assert_eq!(issuer.asked(), 1, "one fetch for the process");
    issuer.publish(Some(second.set()));
    let next = bearer(&second.token("api"));
    wait::until_true("the key that was unknown", || ask(&proxy, "/", &next).status == 200);
    assert_eq!(issuer.asked(), 2);
    for _ in 0..30 {
        assert_eq!(ask(&proxy, "/", &next).status, 200);
        assert_eq!(ask(&proxy, "/", &good).status, 401, "the old key is gone, in each worker");
    }

    // Fetched by themselves, and the issuer fails: what was good stays good.
    let issuer = Published::start(Some(first.set()));
    let proxy = guarded(&issuer, &origin, ", refresh: 200ms");
    assert_eq!(ask(&proxy, "/", &good).status, 200);
    issuer.publish(Some(second.set()));
    wait::until_true("the new key", || ask(&proxy, "/", &next).status == 200);
    wait::until_true("the old key to be gone", || ask(&proxy, "/", &good).status == 401);
    for broken in [None, Some("{}".to_owned())] {
        issuer.publish(broken);
        let asked = issuer.asked();
        wait::until_true("the fetches that fail", || issuer.asked() >= asked + 3);
        assert_eq!(ask(&proxy, "/", &next).status, 200);
    }
    assert!(proxy.stderr().contains("cannot be fetched"), "{}", proxy.stderr());
}

#[test]
fn without_keys_nothing_can_be_judged_and_they_are_asked_for_again() {
    let (origin, key) = (Origin::start(), Issuer::new("one"));
    let issuer = Published::start(None);
    let proxy = guarded(&issuer, &origin, ", refresh: 500ms");
    let good = bearer(&key.token("api"));
    let answer = ask(&proxy, "/", &good);
    assert_eq!((answer.status, answer.text().as_str()), (503, "tokens cannot be judged now\n"));
    assert_eq!(ask(&proxy, "/", "").status, 401, "who shows nothing needs no keys to be turned away");
    assert_eq!(origin.requests(), 0);
    // Nobody is sent elsewhere for it, and who asks is told why.
    let ready = proxy.admin_get("/ready");
    assert_eq!(
        (ready.status, ready.text().as_str()),
        (
            200,
            "LIVE\nfilter login: no keys came yet from idp/jwks by cluster idp (the answer is 500): who shows a token is answered 503\n"
        )
    );
    issuer.publish(Some(key.set()));
    wait::until_true("the keys", || ask(&proxy, "/", &good).status == 200);
    assert_eq!(proxy.admin_get("/ready").text(), "LIVE\n");
    // Those that came stay, and so nothing lacks.
    issuer.publish(None);
    let asked = issuer.asked();
    wait::until_true("a fetch that fails", || issuer.asked() >= asked + 2);
    assert_eq!(proxy.admin_get("/ready").text(), "LIVE\n");
}

#[test]
fn a_cookie_and_a_parameter_carry_tokens_and_grpc_is_told_in_its_own_way() {
    let (origin, dir, issuer) = (Origin::start(), TempDir::new(), Issuer::new("one"));
    let file = dir.write("jwks.json", issuer.set());
    let top = format!(
        "filters: [{{ name: login, jwt: {{ keys: {{ file: \"{}\" }}, issuers: [\"https://issuer\"], audiences: [api], forward: \
         strip, claims_to_headers: {{ x-user: sub }}, from: [{{ cookie: session }}, {{ query: token }}, {{ header: \
         authorization, prefix: Bearer }}] }} }}]",
        file.display()
    );
    let proxy = Shape { top: &top, listener: "filters: [login]", ..Shape::default() }.start(origin.address);
    let good = issuer.token("api");
    let response = ask(&proxy, "/", &format!("Cookie: a=1; session={good}; b=2\r\n"));
    assert_eq!((response.status, told(&response, "x-user").as_deref()), (200, Some("alice")));
    assert_eq!(told(&response, "cookie").as_deref(), Some("a=1; b=2"), "the token does not go on");
    let response = ask(&proxy, &format!("/x?token={good}&b=2"), "");
    assert_eq!((response.status, response.json()["target"].as_str()), (200, Some("/x?b=2")));
    assert_eq!(ask(&proxy, "/", &format!("Cookie: session={good}x\r\n")).status, 401);
    let twice = format!("Cookie: session={good}; session={good}\r\n");
    assert_eq!(ask(&proxy, "/", &twice).status, 401, "which of them the server would read nobody knows");

    // A gRPC call hears of it by grpc-status 16, UNAUTHENTICATED, and with a token it arrives.
    let curl = some_or_return!(need::program("curl", "curl"));
    let call = |token: Option<&str>| {
        let mut curl = Command::new(&curl);
        curl.args([
            "-s",
            "--http2-prior-knowledge",
            "-D",
            "-",
            "-o",
            "/dev/null",
            "-d",
            "",
            "-H",
            "te: trailers",
            "-H",
        ]);
        curl.arg("content-type: application/grpc").arg(format!("http://{}/shop.Orders/List", proxy.address));
        if let Some(token) = token {
            curl.args(["-H", &format!("authorization: Bearer {token}")]);
        }
        let output = curl.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
        assert!(text.starts_with("http/2 200"), "{text}");
        text.lines().find_map(|line| line.strip_prefix("grpc-status: ").map(ToOwned::to_owned))
    };
    assert_eq!(call(None).as_deref(), Some("16"));
    assert_eq!(call(Some("nonsense")).as_deref(), Some("16"));
    let before = origin.requests();
    assert_eq!(call(Some(&good)), None);
    assert_eq!(origin.requests(), before + 1);
}

#[test]
fn a_key_that_was_just_changed_is_known_to_the_first_request_and_unknown_ones_flood_nobody() {
    let (origin, issuer) = (Origin::start(), Published::start(None));
    let keys = [Issuer::new("one"), Issuer::new("two"), Issuer::new("three")];
    issuer.publish(Some(keys[0].set()));
    let proxy = guarded(&issuer, &origin, "");
    for (fetches, key) in (1..).zip(&keys) {
        // As soon as the issuer has it, however short ago it was asked for the one before.
        issuer.publish(Some(key.set()));
        let answers: Vec<u16> = thread::scope(|scope| {
            let asking: Vec<_> =
                (0..6).map(|_| scope.spawn(|| ask(&proxy, "/", &bearer(&key.token("api"))).status)).collect();
            asking.into_iter().map(|asking| asking.join().expect("it asks")).collect()
        });
        assert_eq!(answers, [200; 6], "{}", key.1);
        assert_eq!(issuer.asked(), fetches, "one fetch for all who wait");
    }
    // A client that goes on with a token of a key that is gone.
    let gone = bearer(&keys[0].token("api"));
    let (begun, asked) = (SystemTime::now(), issuer.asked());
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "/", &gone).status, 401);
    }
    // Once in ten seconds: how long this takes is the machine's matter.
    let most = 2 + begun.elapsed().map_or(0, |took| took.as_secs()) / 10;
    assert!(issuer.asked() - asked <= most as usize, "{} fetches", issuer.asked() - asked);
    // Keys that nobody has heard of, each another one.
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let (begun, asked) = (SystemTime::now(), issuer.asked());
    thread::scope(|scope| {
        for name in NAMES {
            let proxy = &proxy;
            scope.spawn(move || {
                assert_eq!(ask(proxy, "/", &bearer(&Issuer::new(name).token("api"))).status, 401, "{name}");
            });
        }
    });
    let most = 2 + begun.elapsed().map_or(0, |took| took.as_secs());
    assert!(issuer.asked() - asked <= most as usize, "{} fetches", issuer.asked() - asked);
    assert_eq!(ask(&proxy, "/", &bearer(&keys[2].token("api"))).status, 200);
}
