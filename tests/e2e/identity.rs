//! The SPIFFE Workload API as the identity's source, told by gRPC's own library.

use pillion_tests::{
    load::Load,
    origin::Origin,
    pki::{Authority, Issued, Leaf},
    proxy::{Proxy, Shape},
    some_or_return,
    spiffe::{Agent, Roots},
    tls::Offer,
    wait::{self, SOON},
};
use rcgen::{ExtendedKeyUsagePurpose as Purpose, KeyUsagePurpose as Usage};
use rustls::pki_types::CertificateDer;
use std::{
    fs,
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, Instant},
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";
const REFRESHES: &str = "pillion_identity_refreshes_total";
const FAILURES: &str = "pillion_identity_refresh_failures_total";
const OURS: &[&str] = &["source=\"workload_api\""];

#[test]
fn it_waits_for_the_first_identity_and_keeps_the_last_good_one() {
    let (authority, other, origin) = (Authority::new("root"), Authority::new("other"), Origin::start());
    let mut agent = some_or_return!(Agent::start());
    let yaml = Shape { top: &agent.section(), listener: "tls: {}", ..Shape::default() }.yaml(&[origin.address]);
    let mut proxy = Proxy::spawn(&yaml, Command::new);
    // Nobody has registered it yet: it asks again and again, and is not ready.
    wait::until_true("the reason", || {
        proxy
            .try_admin("GET", "/ready")
            .is_ok_and(|answer| answer.status == 503 && answer.text().contains("certificates"))
    });
    proxy.await_metric(FAILURES, OURS, |count| count >= 2.0);
    assert!(proxy.stderr().contains("nothing is registered for this workload"), "{}", proxy.stderr());
    // The log says so too.
    let said = |word: &str| proxy.stderr().matches(&format!(" info {word} ")).count();
    assert_eq!((said("started"), said("ready")), (1, 0), "{}", proxy.stderr());
    agent.tell(WEB, &authority.svid(WEB), &[("example.org", &[&authority]), ("other.org", &[&other])]);
    proxy.await_ready().unwrap_or_else(|words| panic!("{words}"));
    wait::until_true("the log's word of it", || proxy.stderr().contains(" info ready "));
    let get = |issuer: &Authority, id: &str| {
        let shown = issuer.svid(id);
        Offer { certificate: Some(&shown), ..Offer::default() }.connect(proxy.address).and_then(|mut c| c.get("/"))
    };
    // Peers of its own domain and of another, each by the roots of its own.
    assert_eq!(get(&authority, CLIENT).expect("a peer").status, 200);
    assert_eq!(get(&other, "spiffe://other.org/x").expect("a peer of another domain").status, 200);
    assert!(get(&authority, "spiffe://other.org/x").is_err(), "its roots vouch for their own domain only");
    assert!(get(&other, CLIENT).is_err());
    assert!(proxy.metrics().sum("pillion_identity_cert_expiration_timestamp_seconds", &[]) > 4e9);
    // What cannot be used changes nothing.
    let failures = proxy.metrics().sum(FAILURES, OURS);
    agent.tell_raw(&[0x0A, 0xFF]);
    proxy.await_metric(FAILURES, OURS, |count| count > failures);
    assert_eq!(get(&authority, CLIENT).expect("the last good one").status, 200);
    let stranger = authority.issue(&Leaf { uris: &["spiffe://example.org/somebody/else"], ..Leaf::default() });
    let failures = proxy.metrics().sum(FAILURES, OURS);
    agent.tell(WEB, &stranger, &[("example.org", &[&authority])]);
    proxy.await_metric(FAILURES, OURS, |count| count > failures);
    assert_eq!(get(&authority, CLIENT).expect("the last good one").status, 200);
    // Nor does an agent that is gone; when it is back, what it tells is taken.
    agent.stop();
    assert_eq!(get(&authority, CLIENT).expect("the last good one").status, 200);
    let refreshes = proxy.metrics().sum(REFRESHES, OURS);
    let next = Authority::new("next");
    agent.tell(WEB, &next.svid(WEB), &[("example.org", &[&next])]);
    some_or_return!(agent.restart());
    proxy.await_metric(REFRESHES, OURS, |count| count > refreshes);
    assert_eq!(get(&next, CLIENT).expect("a peer by the new roots").status, 200);
    assert!(get(&authority, CLIENT).is_err(), "the old roots are gone");
    wait::until_true("both streams to be followed", || agent.calls() >= 2);
    let dump = proxy.admin_get("/config_dump").text();
    assert!(dump.contains("agent.sock") && !dump.contains("PRIVATE"), "{dump}");
}

/// Agents answer so, too, when they have just started: nobody's traffic stops for it, and everybody who looks sees it.
#[test]
fn an_identity_that_the_agent_takes_back_is_an_error_and_stays_in_use_until_it_ends() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let mut agent = some_or_return!(Agent::start());
    let roots: Roots<'_> = &[("example.org", &[&authority])];
    agent.tell(WEB, &authority.svid(WEB), roots);
    let top = agent.section();
    let proxy = Shape { top: &top, listener: "tls: {}", ..Shape::default() }.start(origin.address);
    let taken_back = |is: f64| proxy.await_metric("pillion_identity_taken_back", &[], |value| value == is);
    let told = || proxy.stderr().matches(" error the agent takes back the identity in use").count();
    taken_back(0.0);
    let ready = || (proxy.admin_get("/ready").status, proxy.admin_get("/ready").text());
    assert_eq!(ready(), (200, "LIVE\n".to_owned()));
    agent.forget();
    some_or_return!(agent.restart());
    taken_back(1.0);
    assert_eq!(get(&proxy, &authority, CLIENT), Ok(200));
    let (status, words) = ready();
    let line = format!("LIVE\nidentity: the agent has taken back {WEB}: it is used until 2099-01-01T");
    assert!(status == 200 && words.starts_with(&line), "{status} {words}");
    let failures = proxy.metrics().sum(FAILURES, OURS);
    proxy.await_metric(FAILURES, OURS, |count| count >= failures + 2.0);
    let log = proxy.stderr();
    assert!(told() == 1 && log.contains("until=2099-01-01T"), "once, and until when: {log}");
    agent.tell(WEB, &authority.svid(WEB), roots);
    taken_back(0.0);
    assert_eq!(ready(), (200, "LIVE\n".to_owned()));
    // And once more.
    assert_eq!(get(&proxy, &authority, CLIENT), Ok(200));
    agent.forget();
    some_or_return!(agent.restart());
    taken_back(1.0);
    assert_eq!(told(), 2, "{}", proxy.stderr());
}

/// A client of this authority with this ID.
fn get(proxy: &Proxy, issuer: &Authority, id: &str) -> Result<u16, String> {
    let shown = issuer.svid(id);
    let offer = Offer { certificate: Some(&shown), ..Offer::default() };
    let answer = offer.connect(proxy.address).and_then(|mut client| client.get("/"));
    answer.map(|answer| answer.status).map_err(|error| error.to_string())
}

/// A bundle may be empty (SPIFFE Trust Domain and Bundle §4.1.3): its domain has taken back all that it issued. That is no
/// fault of the message, and no reason to go without an identity of our own.
#[test]
fn a_foreign_domain_with_an_empty_bundle_is_refused_and_nothing_else() {
    let (authority, other, origin) = (Authority::new("root"), Authority::new("other"), Origin::start());
    let agent = some_or_return!(Agent::start());
    let mine = authority.svid(WEB);
    agent.tell(WEB, &mine, &[("empty.org", &[]), ("example.org", &[&authority]), ("other.org", &[&other])]);
    let proxy = Shape { top: &agent.section(), listener: "tls: {}", ..Shape::default() }.start(origin.address);
    let lost = |domain: &str| {
        let told = proxy.stderr();
        told.lines().filter(|line| line.contains("this trust domain has no roots") && line.contains(domain)).count()
    };
    assert_eq!(get(&proxy, &other, "spiffe://other.org/x"), Ok(200));
    let shown = other.svid("spiffe://other.org/x");
    let offer = Offer { certificate: Some(&shown), ..Offer::default() };
    let mut lives = offer.connect(proxy.address).expect("a peer");
    assert_eq!(lives.get("/").expect("it is believed").status, 200);
    // Our own is renewed beside it, and the other's revocation is in force for who is connected, too.
    let before = served(&proxy, &authority);
    agent.tell(WEB, &authority.svid(WEB), &[("empty.org", &[]), ("example.org", &[&authority]), ("other.org", &[])]);
    wait::until_true("the renewal to be taken", || served(&proxy, &authority) != before);
    wait::until_true("the other domain to be refused", || get(&proxy, &other, "spiffe://other.org/x").is_err());
    assert!(lives.get("/").map_or(true, |answer| answer.status == 403), "it is believed no more");
    assert_eq!(get(&proxy, &authority, CLIENT), Ok(200));
    assert_eq!(proxy.metrics().sum(FAILURES, &[]), 0.0, "{}", proxy.stderr());
    assert_eq!((lost("empty.org"), lost("other.org")), (1, 1), "{}", proxy.stderr());
    let ready = proxy.admin_get("/ready");
    let words =
        |domain: &str| ready.text().contains(&format!("the bundle of {domain} is empty: its peers are refused"));
    assert!(ready.status == 200 && words("empty.org") && words("other.org"), "{}", ready.text());
}

/// Workload API §4.5: a message without a mandatory field is reported and discarded.
#[test]
fn a_message_without_roots_of_our_own_domain_changes_nothing() {
    let (authority, other, origin) = (Authority::new("root"), Authority::new("other"), Origin::start());
    let agent = some_or_return!(Agent::start());
    let [own, none, foreign]: [(&str, &[&Authority]); 3] =
        [("example.org", &[&authority]), ("example.org", &[]), ("other.org", &[&other])];
    let mine = authority.svid(WEB);
    agent.tell(WEB, &mine, &[own]);
    let proxy = Shape { top: &agent.section(), listener: "tls: {}", ..Shape::default() }.start(origin.address);
    let shown = authority.svid(CLIENT);
    let offer = Offer { certificate: Some(&shown), ..Offer::default() };
    let mut lives = offer.connect(proxy.address).expect("a peer");
    let cases: [(&str, &dyn Fn()); 5] = [
        ("mandatory field `bundle` is empty", &|| agent.tell_identity(WEB, &mine, &[none])),
        ("mandatory field `bundle` is empty", &|| agent.tell_identity(WEB, &authority.svid(WEB), &[none])),
        ("mandatory field `bundles` is empty", &|| agent.tell_roots(&[])),
        ("mandatory field `bundles` has no roots of example.org", &|| agent.tell_roots(&[foreign])),
        ("mandatory field `bundles` has no roots of example.org", &|| agent.tell_roots(&[foreign, none])),
    ];
    for (number, (words, tell)) in cases.iter().enumerate() {
        let told = || {
            let told = proxy.stderr();
            told.lines().filter(|line| line.contains(words) && line.contains("what was in use before stays")).count()
        };
        let (failures, before, good) = (proxy.metrics().sum(FAILURES, OURS), told(), served(&proxy, &authority));
        tell();
        // It is asked again, and fails again: that is told once.
        proxy.await_metric(FAILURES, OURS, |count| count > failures + 1.0);
        // Each time, though the same was told before: it went well in between.
        wait::until_true("the field to be named", || told() > before);
        assert_eq!(told(), before + 1, "case {number}: {}", proxy.stderr());
        assert_eq!(lives.get("/").expect("it lives on").status, 200, "case {number}");
        assert_eq!((served(&proxy, &authority) == good, get(&proxy, &authority, CLIENT)), (true, Ok(200)));
        assert!(proxy.is_ready() && get(&proxy, &other, "spiffe://other.org/x").is_err());
        let another = format!("round{number}.org");
        agent.tell_identity(WEB, &authority.svid(WEB), &[own]);
        agent.tell_roots(&[own, (&another, &[&other])]);
        wait::until_true("a good one to be taken", || served(&proxy, &authority) != good);
        wait::until_true("good roots to be taken", || proxy.stderr().contains(&another));
    }
}

/// What came in one message goes together: roots that do not vouch for the certificate beside them are not in force either.
#[test]
fn an_identity_and_the_roots_it_came_with_are_taken_both_or_neither() {
    let (authority, other, origin) = (Authority::new("root"), Authority::new("other"), Origin::start());
    let agent = some_or_return!(Agent::start());
    let mine = authority.svid(WEB);
    agent.tell(WEB, &mine, &[("example.org", &[&authority])]);
    let shape = Shape { top: &agent.section(), listener: "tls: {}", ..Shape::default() };
    let proxy = shape.start(origin.address);
    let good = served(&proxy, &authority);
    for issued in [&mine, &authority.svid(WEB)] {
        let failures = proxy.metrics().sum(FAILURES, OURS);
        agent.tell_identity(WEB, issued, &[("example.org", &[&other])]);
        proxy.await_metric(FAILURES, OURS, |count| count > failures);
        assert_eq!((get(&proxy, &authority, CLIENT), served(&proxy, &authority) == good), (Ok(200), true));
        assert!(get(&proxy, &other, CLIENT).is_err(), "those roots are not in force");
    }
    // Roots that come alone are: what they do not vouch for any more is our certificate's loss, and told.
    agent.tell_roots(&[("example.org", &[&other])]);
    wait::until_true("the roots to be in force", || get(&proxy, &other, CLIENT) == Ok(200));
    assert!(get(&proxy, &authority, CLIENT).is_err());
    wait::until_true("it to be told", || {
        proxy.stderr().contains("the certificate in use before stays, the roots told are in use")
    });
}

/// Certificates rotate `times`, one each `every`, while two trust roots change over.
fn rotate(times: usize, every: Duration) {
    let (old, new, origin) = (Authority::new("old"), Authority::new("new"), Origin::start());
    let (a, b) = (some_or_return!(Agent::start()), some_or_return!(Agent::start()));
    let tell = |issuer: &Authority, roots: &[&Authority]| {
        b.tell(WEB, &issuer.svid(WEB), &[("example.org", roots)]);
        a.tell(CLIENT, &issuer.svid(CLIENT), &[("example.org", roots)]);
    };
    tell(&old, &[&old]);
    let inbound = Shape { top: &b.section(), listener: "tls: {}", ..Shape::default() }.start(origin.address);
    // Short rest: handshakes all the time.
    let cluster = format!("idle_timeout: 50ms\ntls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
    let outbound = Shape { top: &a.section(), cluster: &cluster, ..Shape::default() }.start(inbound.address);
    let load = Load::gets(outbound.address, 4, Duration::from_millis(60));
    // Connections of the mesh that live as long as their issuer is believed, whatever is renewed meanwhile.
    let peer = |issuer: &Authority| {
        let shown = issuer.svid(CLIENT);
        Offer { certificate: Some(&shown), ..Offer::default() }.connect(inbound.address).expect("a peer")
    };
    let (mut of_old, mut of_new) = (peer(&old), None);
    let phases: [(&Authority, &[&Authority]); 4] =
        [(&old, &[&old, &new]), (&new, &[&old, &new]), (&new, &[&new]), (&new, &[&new, &old])];
    let begun = Instant::now();
    for round in 0..times {
        let (issuer, roots) = phases[round * phases.len() / times];
        tell(issuer, roots);
        let count = (round + 2) as f64;
        for proxy in [&inbound, &outbound] {
            proxy.await_metric(REFRESHES, OURS, |refreshes| refreshes >= count);
        }
        load.await_more(5);
        if phases[..=round * phases.len() / times].iter().all(|(_, roots)| std::ptr::eq(roots[0], &old)) {
            assert_eq!(of_old.get("/").expect("it lives on").status, 200);
        }
        assert_eq!(of_new.get_or_insert_with(|| peer(&new)).get("/").expect("it lives on").status, 200);
        std::thread::sleep((begun + every * (round as u32 + 1)).saturating_duration_since(Instant::now()));
    }
    let figures = load.stop();
    figures.assert_clean();
    assert_eq!(figures.refused, 0);
    let handshakes = inbound.metrics().sum("pillion_tls_handshakes_total", &[]);
    println!(
        "{times} rotations in {:?}: {} requests, {handshakes} handshakes, 0 failed",
        begun.elapsed(),
        figures.answered
    );
    assert!(handshakes > times as f64);
    assert_eq!(inbound.metrics().sum("pillion_tls_failures_total", &[]), 0.0, "{}", inbound.stderr());
    assert_eq!(outbound.metrics().sum("pillion_connect_failures_total", &[]), 0.0, "{}", outbound.stderr());
}

#[test]
fn rotation_while_roots_change_over_is_felt_by_nobody() {
    rotate(12, Duration::ZERO);
}

/// Measured, debug build on two busy cores: 60 rotations in 60.1 s, 3,210 requests, 748 handshakes, nothing failed or dropped.
#[test]
#[ignore = "a minute long"]
fn a_minute_of_rotations_each_second_is_felt_by_nobody() {
    rotate(60, Duration::from_secs(1));
}

#[test]
fn an_agent_that_is_no_workload_api_is_told_of() {
    let origin = Origin::start();
    let dir = pillion_tests::tempdir::TempDir::new();
    let top = format!("identity: {{ workload_api: {{ address: \"unix://{}/none.sock\" }} }}", dir.path().display());
    let yaml = Shape { top: &top, listener: "tls: {}", ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::spawn(&yaml, Command::new);
    wait::until("the reason", SOON, || proxy.stderr().contains("cannot connect: No such file").then_some(()));
    assert!(!proxy.is_ready());
}

/// As the kubelet's projected volumes and cert-manager's CSI drivers lay files out: each name a link into `..data`, a link to a
/// directory of its own for each version, swapped as one.
#[test]
fn a_swap_of_all_files_at_once_is_one_renewal_and_no_failure() {
    let (authority, origin, dir) = (Authority::new("root"), Origin::start(), pillion_tests::tempdir::TempDir::new());
    let root = dir.path();
    let version = |number: usize| {
        let folder = root.join(format!("..version_{number}"));
        fs::create_dir(&folder).expect("a folder can be made");
        let Issued { chain, key } = authority.svid(WEB);
        for (name, text) in [("tls.crt", &chain), ("tls.key", &key), ("ca.crt", &authority.pem())] {
            fs::write(folder.join(name), text).expect("a file can be written");
        }
        symlink(folder.file_name().expect("it has a name"), root.join("..data_tmp")).expect("a link can be made");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("a link can be renamed");
    };
    version(0);
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(format!("..data/{name}"), root.join(name)).expect("a link can be made");
    }
    let top = format!(
        "identity: {{ files: {{ certificate_chain: {0}/tls.crt, private_key: {0}/tls.key, trust_bundles: [{{ trust_domain: \
         example.org, path: {0}/ca.crt }}] }} }}",
        root.display()
    );
    let proxy = Shape { top: &top, listener: "tls: {}", ..Shape::default() }.start(origin.address);
    let shown = authority.svid(CLIENT);
    let offer = Offer { certificate: Some(&shown), ..Offer::default() };
    let mut lives = offer.connect(proxy.address).expect("a peer");
    let served = |offer: &Offer<'_>| {
        let client = offer.connect(proxy.address).expect("a peer");
        client.session().peer_certificates().expect("a server shows one")[0].clone()
    };
    for number in 1..=3 {
        let before = served(&offer);
        version(number);
        fs::remove_dir_all(root.join(format!("..version_{}", number - 1))).expect("a folder can be removed");
        proxy.await_metric(REFRESHES, &["source=\"files\""], |count| count == (number + 1) as f64);
        assert_ne!(served(&offer), before, "the new one is shown");
        assert_eq!(lives.get("/").expect("it lives on").status, 200);
    }
    assert_eq!(proxy.metrics().sum(FAILURES, &[]), 0.0, "{}", proxy.stderr());
}

/// The certificate that a client of this authority is shown.
fn served(proxy: &Proxy, authority: &Authority) -> CertificateDer<'static> {
    let shown = authority.svid(CLIENT);
    let offer = Offer { certificate: Some(&shown), ..Offer::default() };
    let client = offer.connect(proxy.address).expect("a peer");
    client.session().peer_certificates().expect("a server shows one")[0].clone().into_owned()
}

/// A renewal whose time is over, or has not come, is no reason to show peers what they must refuse.
#[test]
fn a_renewal_that_is_not_valid_now_replaces_no_identity_that_is() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let proxy = Shape { top: &top, listener: "tls: {}", ..Shape::default() }.start(origin.address);
    let served = || served(&proxy, &authority);
    let good = served();
    for years in [(2020, 2021), (2090, 2091)] {
        let before = proxy.metrics().sum(FAILURES, &[]);
        authority.issue(&Leaf { uris: &[WEB], years, ..Leaf::default() }).write(dir.path(), "svid");
        proxy.await_metric(FAILURES, &["source=\"files\""], |count| count > before);
        wait::until_true("the reason to be told", || {
            let word = if years.0 == 2020 { "was valid until" } else { "is not valid before" };
            proxy.stderr().lines().any(|line| line.contains(word) && line.contains("what was in use before stays"))
        });
        assert_eq!(served(), good, "{years:?}");
    }
    // One whose time comes while it lies there is taken then, without a further change.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let begins = i64::try_from(now.as_secs()).expect("a date fits") + 10;
    let early = authority.issue_from(&Leaf { uris: &[WEB], ..Leaf::default() }, begins);
    early.write(dir.path(), "svid");
    wait::until_true("the renewal to be taken when it is valid", || served() != good);
    let told = proxy.stderr();
    assert!(told.contains(&format!("is not valid before {begins}")), "it was told when it comes: {told}");
}

/// One that ends while it is in use fails every handshake: that is said when it is so, and a proxy that serves nobody without it
/// says that it is not ready.
#[test]
fn an_identity_that_ends_is_told_of_and_fails_readiness_where_nobody_is_served_without_it() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let ends = i64::try_from(now.as_secs()).expect("a date fits") + 5;
    authority.issue_until(&Leaf { uris: &[WEB], ..Leaf::default() }, ends).write(dir.path(), "svid");
    let start = |listener: &str| Shape { top: &top, listener, ..Shape::default() }.start(origin.address);
    let (strict, permissive) = (start("tls: {}"), start("tls: { mode: permissive }"));
    for proxy in [&strict, &permissive] {
        let ready = proxy.admin_get("/readyz");
        assert_eq!((ready.status, ready.text()), (200, "LIVE\n".to_owned()), "it is good");
        assert!(proxy.stderr().contains("about to end"), "{}", proxy.stderr());
    }
    let told = |proxy: &Proxy| proxy.stderr().matches("certificate has ended and was not renewed").count();
    let words = format!("identity: {WEB} was valid until {ends} (seconds since 1970; 20");
    for (proxy, status, begins) in [(&strict, 503, "ENDED: "), (&permissive, 200, "LIVE\n")] {
        wait::until_true("its end to be told", || told(proxy) == 1);
        let ready = proxy.admin_get("/readyz");
        let text = ready.text();
        assert!(ready.status == status && text.starts_with(begins) && text.contains(&words), "{} {text}", ready.status);
    }
    // It is once for each certificate, and over with the next one.
    authority.svid(WEB).write(dir.path(), "svid");
    for proxy in [&strict, &permissive] {
        wait::until_true("it to be well again", || proxy.admin_get("/ready").text() == "LIVE\n");
        assert_eq!(told(proxy), 1, "{}", proxy.stderr());
    }
    assert_eq!(get(&strict, &authority, CLIENT), Ok(200));
    assert_eq!(strict.stderr().matches(" info ready ").count(), 2, "{}", strict.stderr());
}

/// Certificates of ours that every peer refuses, and the words of it.
fn unbelievable() -> [(Leaf<'static>, &'static str); 7] {
    let web = Leaf { uris: &[WEB], ..Leaf::default() };
    [
        (Leaf { purposes: &[Purpose::ServerAuth], ..web.clone() }, "extended_key_usage"),
        (Leaf { purposes: &[Purpose::EmailProtection], ..web.clone() }, "extended_key_usage"),
        (Leaf { usages: &[Usage::KeyAgreement], ..web.clone() }, "key_usage"),
        (Leaf { usages: &[], ..web.clone() }, "key_usage"),
        (Leaf { usages: &[Usage::DigitalSignature, Usage::KeyCertSign], ..web.clone() }, "key_usage"),
        (Leaf { authority: true, ..web.clone() }, "bad_chain"),
        (Leaf { uris: &["spiffe://other.org/x"], ..web }, "unknown_trust_domain"),
    ]
}

/// A proxy that serves peers of the mesh and dials them, so that its certificate must be good on both sides.
fn both_sides(top: &str) -> String {
    let cluster = "clusters:\n  - name: mesh\n    endpoints: [\"127.0.0.1:1\"]\n    tls: { mode: mutual, spiffe_ids: \
                   [\"spiffe://example.org/*\"] }";
    format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{top}\nlisteners:\n  - name: web\n    address: {{listen}}\n    tls: {{}}\n    \
         routes: [{{ match: {{}}, cluster: mesh }}]\n{cluster}\n"
    )
}

/// What peers must refuse replaces nothing that they take: it is judged as they judge it.
#[test]
fn a_renewal_that_no_peer_accepts_replaces_no_identity_that_they_do() {
    let authority = Authority::new("root");
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let proxy = Proxy::start(&both_sides(&top));
    let served = || served(&proxy, &authority);
    let good = served();
    let refused = |issued: &Issued, word: &str| {
        let before = proxy.metrics().sum(FAILURES, &[]);
        issued.write(dir.path(), "svid");
        proxy.await_metric(FAILURES, &["source=\"files\""], |count| count > before);
        wait::until_true("the file and the reason to be told", || {
            let told = format!("svid.pem: peers would refuse the certificate ({word})");
            proxy.stderr().lines().any(|line| line.contains(&told) && line.contains("what was in use before stays"))
        });
        assert_eq!(served(), good, "{word}");
    };
    for (leaf, word) in unbelievable() {
        refused(&authority.issue(&leaf), word);
    }
    // Nobody in its own bundle vouches for it: peers of its own domain believe no more than that.
    let other = Authority::new("other");
    refused(&other.svid(WEB), "unknown_issuer");
    // It is taken once they do.
    dir.write("ca.pem", format!("{}{}", authority.pem(), other.pem()));
    wait::until_true("the renewal to be taken", || served() != good);
}

/// At the start there is none before it: the proxy is not ready, and `check` says why.
#[test]
fn an_identity_that_no_peer_accepts_is_none() {
    let authority = Authority::new("root");
    for (leaf, word) in unbelievable() {
        let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
        authority.issue(&leaf).write(dir.path(), "svid");
        let yaml = both_sides(&top).replace("{admin}", "127.0.0.1:1").replace("{listen}", "127.0.0.1:2");
        let file = dir.write("check.yaml", yaml);
        let output = Command::new(pillion_tests::proxy::program())
            .args(["check", "--config"])
            .arg(file)
            .output()
            .expect("the program runs");
        let told = String::from_utf8_lossy(&output.stderr);
        if word == "unknown_trust_domain" {
            // Peers may all be of other domains, so it is a warning.
            assert!(output.status.success() && told.contains("warning: identity: spiffe://other.org/x"), "{told}");
        } else {
            let told_where = format!("svid.pem: peers would refuse the certificate ({word})");
            assert!(!output.status.success() && told.contains(&told_where), "{word}: {told}");
        }
    }
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let email = Leaf { uris: &[WEB], purposes: &[Purpose::EmailProtection], ..Leaf::default() };
    authority.issue(&email).write(dir.path(), "svid");
    let mut proxy = Proxy::spawn(&both_sides(&top), Command::new);
    let told = |words: &str| proxy.stderr().matches(words).count();
    wait::until("the reason", SOON, || (told("there is no other yet") > 0).then_some(()));
    // Files that are as new as the process are read once more, in doubt; that they are what they were is nobody's news.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!((told("there is no other yet"), told("are not there yet")), (1, 1), "{}", proxy.stderr());
    // Another one that is as bad is.
    authority.issue(&email).write(dir.path(), "svid");
    wait::until("the reason once more", SOON, || (told("there is no other yet") > 1).then_some(()));
    assert!(!proxy.is_ready());
    authority.svid(WEB).write(dir.path(), "svid");
    proxy.await_ready().unwrap_or_else(|words| panic!("{words}"));
}

/// One side's purpose is enough where it is shown on that side alone; and a certificate of a listener's own is for browsers, who
/// know nothing of SPIFFE.
#[test]
fn only_what_is_shown_to_peers_is_judged_as_they_do() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let server = Leaf { uris: &[WEB], purposes: &[Purpose::ServerAuth], ..Leaf::default() };
    authority.issue(&server).write(dir.path(), "svid");
    let proxy = Shape { top: &top, listener: "tls: {}", ..Shape::default() }.start(origin.address);
    served(&proxy, &authority);
    let web = Leaf { names: &["localhost"], usages: &[], purposes: &[Purpose::ServerAuth], ..Leaf::default() };
    authority.issue(&web).write(dir.path(), "web");
    let listener = format!(
        "tls: {{ client_certificates: \"off\", certificates: [{{ certificate_chain: {0}/web.pem, private_key: {0}/web.key }}] }}",
        dir.path().display()
    );
    let proxy = Shape { listener: &listener, ..Shape::default() }.start(origin.address);
    let mut client = Offer::default().connect(proxy.address).expect("a browser");
    assert_eq!(client.get("/").expect("an answer").status, 200);
    authority.issue(&web).write(dir.path(), "web");
    wait::until_true("the renewal to be told", || proxy.stderr().contains("renewed certificate in use"));
}

/// A reload that shows it on a side on which peers refuse it is refused, as `check` refuses it and no start is ready with it.
#[test]
fn a_reload_does_not_show_an_identity_where_no_peer_accepts_it() {
    let authority = Authority::new("root");
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    authority
        .issue(&Leaf { uris: &[WEB], purposes: &[Purpose::ServerAuth], ..Leaf::default() })
        .write(dir.path(), "svid");
    let both = both_sides(&top);
    let tls = "\n    tls: { mode: mutual, spiffe_ids: [\"spiffe://example.org/*\"] }";
    let proxy = Proxy::start(&both.replace(tls, ""));
    let good = served(&proxy, &authority);
    let yaml = std::fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    proxy.replace_config(&yaml.replace("[\"127.0.0.1:1\"]", &format!("[\"127.0.0.1:1\"]{tls}")));
    let told = proxy.admin_post("/reload");
    assert_eq!(told.status, 409, "{told:?}");
    let words = told.text();
    assert!(
        words.contains("peers would refuse the certificate (extended_key_usage)") && words.contains("clientAuth"),
        "{words}"
    );
    assert_eq!(served(&proxy, &authority), good, "what was served is served");
    assert!(proxy.is_ready());
    // With one for both sides it is taken.
    authority.svid(WEB).write(dir.path(), "svid");
    let told = proxy.admin_post("/reload");
    assert_eq!(told.status, 200, "{told:?}");
}

#[test]
fn what_an_agent_tells_is_judged_as_peers_do() {
    let authority = Authority::new("root");
    let agent = some_or_return!(Agent::start());
    agent.tell(WEB, &authority.svid(WEB), &[("example.org", &[&authority])]);
    let proxy = Proxy::start(&both_sides(&agent.section()));
    let served = || served(&proxy, &authority);
    let good = served();
    for (leaf, word) in unbelievable().into_iter().take(6) {
        let before = proxy.metrics().sum(FAILURES, OURS);
        agent.tell(WEB, &authority.issue(&leaf), &[("example.org", &[&authority])]);
        proxy.await_metric(FAILURES, OURS, |count| count > before);
        wait::until_true("the socket and the reason to be told", || {
            let told = format!("agent.sock: peers would refuse the certificate ({word})");
            proxy.stderr().lines().any(|line| line.contains(&told) && line.contains("what was in use before stays"))
        });
        assert_eq!(served(), good, "{word}");
    }
    agent.tell(WEB, &authority.svid(WEB), &[("example.org", &[&authority])]);
    wait::until_true("a good one to be taken", || served() != good);
}

/// Files changed by a writer that keeps them open make no event; whoever asks for a reload gets them read.
#[test]
fn a_reload_reads_the_identity_though_the_configuration_is_the_same() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let proxy = Shape { top: &top, listener: "tls: {}", ..Shape::default() }.start(origin.address);
    let served = || served(&proxy, &authority);
    let first = served();
    let next = authority.svid(WEB);
    let open = [("svid.key", &next.key), ("svid.pem", &next.chain)].map(|(name, text)| {
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(dir.path().join(name)).expect("it opens");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("it is written");
        file
    });
    assert_eq!(proxy.admin_post("/reload").status, 200);
    assert_ne!(served(), first, "it was read");
    drop(open);
}

/// Its listeners would close whoever is sent here.
#[test]
fn a_reload_that_brings_the_first_identity_is_not_ready_before_it_is_there() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let agent = some_or_return!(Agent::start());
    let plain = Shape::default().yaml(&[origin.address]);
    let mut proxy = Proxy::start(&plain);
    let said = || proxy.stderr().matches(" info ready ").count();
    wait::until_true("the log's word of it", || said() == 1);
    let yaml = Shape { top: &agent.section(), listener: "tls: {}", ..Shape::default() }.yaml(&[origin.address]);
    proxy.replace_config(&yaml);
    let answer = proxy.admin_post("/reload");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("\nnot ready: certificates, keys or roots are not there yet: web\n"),
        "{}",
        answer.text()
    );
    let ready = proxy.admin_get("/ready");
    assert_eq!((ready.status, ready.text().contains("certificates")), (503, true), "{}", ready.text());
    // What it had before is as good as before.
    proxy.replace_config(&plain);
    assert_eq!(proxy.admin_post("/reload").status, 200);
    assert!(proxy.is_ready());
    proxy.replace_config(&yaml);
    assert_eq!(proxy.admin_post("/reload").status, 200);
    assert!(!proxy.is_ready());
    agent.tell(WEB, &authority.svid(WEB), &[("example.org", &[&authority])]);
    proxy.await_ready().unwrap_or_else(|words| panic!("{words}"));
    served(&proxy, &authority);
    wait::until_true("the log's word of each time", || proxy.stderr().matches(" info ready ").count() == 3);
}

#[test]
fn a_reloads_answer_names_what_could_not_be_read() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, top) = pillion_tests::pki::identity(&authority, WEB);
    let yaml = |top: &str| Shape { top, listener: "tls: {}", ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::start(&yaml(&top));
    let first = served(&proxy, &authority);
    proxy.replace_config(&yaml(&top.replace("svid.pem", "nowhere.pem")));
    // The first answer may be of what an event brought already.
    for _ in 0..2 {
        let answer = proxy.admin_post("/reload");
        let why = format!("\n{}/nowhere.pem: cannot be read: ", dir.path().display());
        let text = answer.text();
        assert!(answer.status == 200 && text.contains(&why), "{text}");
        assert!(text.ends_with("; what was in use before stays\n"), "{text}");
    }
    assert!(proxy.is_ready());
    assert_eq!(served(&proxy, &authority), first);
    proxy.replace_config(&yaml(&top));
    wait::until_true("nothing to be missing", || !proxy.admin_post("/reload").text().contains("cannot be read"));
}
