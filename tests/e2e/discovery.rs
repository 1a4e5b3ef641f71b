//! Clusters that are services of Kubernetes: what an API server says is followed, and what it does not say changes nothing.

use pillion_tests::{
    kubernetes::{ApiServer, Counts, Endpoint, Trouble, renew_token},
    origin::Origin,
    proxy::{Proxy, program},
    wait::SOON,
};
use rustix::process::Signal;
use serde_json::json;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const SERVICE: &str = "shop/api";

/// A proxy before a service; `more` stands in the section `kubernetes`.
fn yaml(server: &ApiServer, service: &str, more: &str) -> String {
    format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{}\nlisteners:\n  - name: web\n    address: {{listen}}\n    routes:\n      \
         - match: {{ prefix: / }}\n        cluster: api\nclusters:\n  - name: api\n    service: {service}\n",
        server.section(more)
    )
}

fn start(server: &ApiServer) -> Proxy {
    Proxy::start(&yaml(server, "api.shop:http", ""))
}

/// The endpoints that `/clusters` shows.
fn endpoints(proxy: &Proxy) -> BTreeSet<SocketAddr> {
    let text = proxy.admin_get("/clusters").text();
    let addresses =
        text.lines().filter_map(|line| line.strip_prefix("api::")?.split("::rq_active").next()?.parse().ok());
    addresses.collect()
}

/// Asks until it is so, or tells what the proxy said.
fn soon(proxy: &Proxy, what: &str, mut ask: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !ask() {
        assert!(Instant::now() < end, "waited {SOON:?} for {what}:\n{}", proxy.stderr());
        thread::sleep(Duration::from_millis(5));
    }
}

fn await_endpoints(proxy: &Proxy, what: &str, expected: &[SocketAddr]) {
    soon(proxy, what, || endpoints(proxy) == expected.iter().copied().collect());
}

fn ready(origin: &Origin) -> [Endpoint; 1] {
    [Endpoint::ready(origin.address.ip())]
}

fn at(address: [u8; 4], port: u16) -> SocketAddr {
    (address, port).into()
}

#[test]
fn what_comes_and_goes_is_followed() {
    let (one, two) = (Origin::start(), Origin::start());
    let server = ApiServer::start();
    server.set(SERVICE, "a", one.address.port(), &ready(&one));
    server.set("shop/other", "o", 1, &[Endpoint::ready("127.0.0.1")]);
    server.set("other/api", "o", 1, &[Endpoint::ready("127.0.0.1")]);
    let proxy = start(&server);
    // It was not ready before the first answer.
    assert_eq!(endpoints(&proxy), [one.address].into());
    assert_eq!(proxy.get("/").status, 200);
    assert!(proxy.admin_get("/clusters").text().contains(&format!("api::{}::hostname::api.shop.svc", one.address)));

    server.set(SERVICE, "b", two.address.port(), &ready(&two));
    await_endpoints(&proxy, "the one that came", &[one.address, two.address]);
    soon(&proxy, "both are used", || proxy.get("/").status == 200 && two.requests() > 0);

    // Going away: not used any more, while there is another one.
    server.set(SERVICE, "a", one.address.port(), &[Endpoint::terminating(one.address.ip())]);
    await_endpoints(&proxy, "the one that goes to be gone", &[two.address]);
    server.set(SERVICE, "b", two.address.port(), &[Endpoint::coming(two.address.ip())]);
    await_endpoints(&proxy, "the last resort", &[one.address]);
    server.remove(SERVICE, "a");
    await_endpoints(&proxy, "none, since the API server says so", &[]);
    assert_eq!(proxy.get("/").status, 503);
    server.set(SERVICE, "b", two.address.port(), &ready(&two));
    await_endpoints(&proxy, "one that is ready again", &[two.address]);
    assert_eq!(proxy.get("/").status, 200);

    let Counts { lists, watches, denied, .. } = server.counts();
    assert_eq!((lists, watches, denied), (1, 1, 0));
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("pillion_discovery_endpoints", &["cluster=\"api\""]), 1.0);
    assert_eq!(metrics.sum("pillion_discovery_requests_total", &["verb=\"watch\""]), 1.0);
    assert!(metrics.sum("pillion_discovery_events_total", &["type=\"set\""]) >= 4.0);
    assert!(metrics.sum("pillion_discovery_last_heard_timestamp_seconds", &["cluster=\"api\""]) > 1e9);
}

/// Through each of these troubles: endpoints stay and are used; afterwards, what was missed is caught up with.
fn no_trouble_empties_a_cluster(troubles: &[Trouble]) {
    let origin = Origin::start();
    let server = ApiServer::start();
    server.set(SERVICE, "a", origin.address.port(), &ready(&origin));
    let proxy = start(&server);
    for (missed, trouble) in (1_u16..).zip(troubles) {
        // First nothing is told, so that what changes meanwhile is missed for certain.
        server.trouble(Trouble::Refuse(500));
        server.set(SERVICE, "b", missed, &[Endpoint::ready("127.0.0.9")]);
        if format!("{trouble:?}").contains("List") {
            // The list must be had anew for its troubles to be met.
            server.compact();
        }
        server.trouble(*trouble);
        let before = server.counts().requests;
        match trouble {
            Trouble::HangUp => soon(&proxy, "a failure", || {
                proxy.metrics().sum("pillion_discovery_failures_total", &["reason=\"unreachable\""]) > 0.0
            }),
            Trouble::Silence => soon(&proxy, "a request", || server.counts().requests > before),
            _ => soon(&proxy, &format!("{trouble:?} to be met twice"), || server.counts().requests > before + 2),
        }
        // A list that is had in between may tell of the other one.
        assert!(endpoints(&proxy).contains(&origin.address), "{trouble:?}: {:?}", endpoints(&proxy));
        assert!(proxy.is_ready(), "{trouble:?}");
        server.trouble(Trouble::None);
        await_endpoints(
            &proxy,
            &format!("what was missed in {trouble:?}"),
            &[origin.address, at([127, 0, 0, 9], missed)],
        );
        // Word by the watch ends what the client remembers of the failures before.
        let bookmarks = || proxy.metrics().sum("pillion_discovery_events_total", &["type=\"bookmark\""]);
        let before = bookmarks();
        soon(&proxy, "a bookmark", || {
            // A list that is had meanwhile is newer than a bookmark before it.
            server.bookmark();
            bookmarks() > before
        });
    }
    server.remove(SERVICE, "b");
    await_endpoints(&proxy, "the first endpoint alone", &[origin.address]);
    assert_eq!(proxy.get("/").status, 200);
    let peak = proxy.resident_peak();
    assert!(peak < 200 << 20, "{peak} bytes for what has no end");
}

#[test]
fn an_api_server_that_is_away_empties_no_cluster() {
    no_trouble_empties_a_cluster(&[
        Trouble::HangUp,
        Trouble::Silence,
        Trouble::Refuse(500),
        Trouble::Refuse(401),
        Trouble::Refuse(403),
        Trouble::Refuse(429),
    ]);
}

#[test]
fn watches_that_fail_empty_no_cluster() {
    no_trouble_empties_a_cluster(&[
        Trouble::RefuseWatch(410),
        Trouble::RefuseWatch(500),
        Trouble::GarbageWatch,
        Trouble::EndlessWatch,
    ]);
}

#[test]
fn lists_that_fail_empty_no_cluster() {
    no_trouble_empties_a_cluster(&[Trouble::GarbageList, Trouble::NoList, Trouble::CutList, Trouble::EndlessList]);
}

#[test]
fn a_watch_goes_on_where_it_broke_off_and_no_list_is_had() {
    let server = ApiServer::start();
    server.set(SERVICE, "a", 1000, &[Endpoint::ready("127.0.0.1")]);
    let proxy = start(&server);
    for round in 1..=3_u16 {
        server.trouble(Trouble::Refuse(503));
        server.set(SERVICE, "a", 1000 + round, &[Endpoint::ready("127.0.0.1")]);
        server.trouble(Trouble::None);
        await_endpoints(&proxy, "what was missed", &[at([127, 0, 0, 1], 1000 + round)]);
    }
    assert_eq!(server.counts().lists, 1);
    // What a bookmark says is where the next watch begins, whatever was forgotten before it.
    server.bookmark();
    proxy.await_metric("pillion_discovery_events_total", &["type=\"bookmark\""], |count| count == 1.0);
    server.compact();
    let watches = server.counts().watches;
    server.disconnect();
    soon(&proxy, "the watch to go on", || server.counts().watches > watches);
    server.set(SERVICE, "a", 2000, &[Endpoint::ready("127.0.0.1")]);
    await_endpoints(&proxy, "news", &[at([127, 0, 0, 1], 2000)]);
    assert_eq!(server.counts().lists, 1);
}

/// One that was restored from a backup never will have: asked again from there, it would tell nothing for as long.
#[test]
fn an_api_server_that_is_behind_is_listed_anew() {
    let server = ApiServer::start();
    server.set(SERVICE, "a", 1, &[Endpoint::ready("127.0.0.1")]);
    let proxy = start(&server);
    let lists = server.counts().lists;
    server.trouble(Trouble::WatchAhead);
    server.disconnect();
    soon(&proxy, "lists", || server.counts().lists > lists);
    server.set(SERVICE, "a", 2, &[Endpoint::ready("127.0.0.1")]);
    await_endpoints(&proxy, "what only a list tells", &[at([127, 0, 0, 1], 2)]);
    server.trouble(Trouble::None);
    server.set(SERVICE, "a", 3, &[Endpoint::ready("127.0.0.1")]);
    await_endpoints(&proxy, "what a watch tells", &[at([127, 0, 0, 1], 3)]);
}

#[test]
fn what_went_while_history_was_forgotten_is_gone() {
    let server = ApiServer::start();
    let proxy = {
        server.set(SERVICE, "a", 1, &[Endpoint::ready("127.0.0.1")]);
        server.set(SERVICE, "b", 2, &[Endpoint::ready("127.0.0.1")]);
        start(&server)
    };
    // Told by status, and told by an event.
    for (round, trouble) in [Trouble::Refuse(500), Trouble::WatchError(410)].into_iter().enumerate() {
        let lists = server.counts().lists;
        server.trouble(trouble);
        server.remove(SERVICE, ["a", "b"][round]);
        server.set(SERVICE, "c", 3 + round as u16, &[Endpoint::ready("127.0.0.1")]);
        server.compact();
        if trouble != Trouble::Refuse(500) {
            soon(&proxy, "lists because of the event", || server.counts().lists > lists + 1);
        }
        server.trouble(Trouble::None);
        let stays = (round == 0).then(|| at([127, 0, 0, 1], 2));
        let expected: Vec<_> = stays.into_iter().chain([at([127, 0, 0, 1], 3 + round as u16)]).collect();
        await_endpoints(&proxy, &format!("what is there after {trouble:?}"), &expected);
        assert!(server.counts().lists > lists);
    }
    assert!(proxy.metrics().sum("pillion_discovery_failures_total", &["reason=\"expired\""]) >= 2.0);
}

/// Page by page until there are as many as a list may have would be asked of a server that is in trouble already.
#[test]
fn a_list_that_names_the_same_next_page_for_ever_is_given_up() {
    let server = ApiServer::start();
    server.set(SERVICE, "a", 80, &[Endpoint::ready("127.0.0.9")]);
    let proxy = start(&server);
    server.trouble(Trouble::Refuse(500));
    server.set(SERVICE, "b", 81, &[Endpoint::ready("127.0.0.9")]);
    server.compact();
    let before = server.counts().pages;
    server.trouble(Trouble::RepeatedList);
    let given_up = || proxy.metrics().sum("pillion_discovery_failures_total", &["reason=\"too_large\""]);
    soon(&proxy, "a list given up twice", || given_up() >= 2.0);
    let (pages, lists) = (server.counts().pages - before, given_up());
    assert!((pages as f64) <= 2.0 * (lists + 1.0), "{pages} pages of {lists} lists");
    assert!(proxy.stderr().contains("names a page as the next one that was had already"), "{}", proxy.stderr());
    assert_eq!(endpoints(&proxy), BTreeSet::from([at([127, 0, 0, 9], 80)]));
    server.trouble(Trouble::None);
    await_endpoints(&proxy, "both", &[at([127, 0, 0, 9], 80), at([127, 0, 0, 9], 81)]);
}

#[test]
fn long_lists_come_in_pages() {
    let server = ApiServer::start();
    for slice in 0..130_u16 {
        let all: Vec<_> = (0..10).map(|n| Endpoint::ready(format!("10.1.{slice}.{n}"))).collect();
        server.set(SERVICE, &format!("s{slice:03}"), 80, &all);
    }
    // Slow as well, within the time that a page is waited for.
    server.trouble(Trouble::SlowList);
    let proxy = Proxy::start(&yaml(&server, "api.shop:http", ", timeout: 60s"));
    assert_eq!(endpoints(&proxy).len(), 1300);
    let counts = server.counts();
    assert_eq!((counts.lists, counts.pages, counts.largest_page), (1, 3, 50));

    // Where the second page cannot be had any more, the whole list is asked for.
    server.trouble(Trouble::Refuse(500));
    server.remove(SERVICE, "s000");
    server.compact();
    server.trouble(Trouble::ExpiredPages);
    soon(&proxy, "a list at once", || server.counts().largest_page == 129);
    soon(&proxy, "one slice less", || endpoints(&proxy).len() == 1290);
}

#[test]
fn a_token_is_read_again_and_a_wrong_one_empties_no_cluster() {
    let server = ApiServer::start();
    server.set(SERVICE, "a", 1, &[Endpoint::ready("127.0.0.1")]);
    server.expect_token("second-token");
    // With a wrong one nothing is known, and the proxy is not ready until its time is up.
    let mut proxy = Proxy::spawn(&yaml(&server, "api.shop:http", ", timeout: 10m"), Command::new);
    soon(&proxy, "refusals", || server.counts().denied > 1);
    assert!(!proxy.is_ready());
    assert!(proxy.stderr().contains("401"), "{}", proxy.stderr());
    renew_token(&server.account, "second-token\n");
    proxy.await_ready().unwrap_or_else(|words| panic!("{words}"));
    await_endpoints(&proxy, "endpoints", &[at([127, 0, 0, 1], 1)]);
    // The kubelet is late with a new one.
    server.expect_token("third-token");
    server.disconnect();
    let denied = server.counts().denied;
    soon(&proxy, "refusals", || server.counts().denied > denied + 1);
    assert_eq!(endpoints(&proxy).len(), 1);
    server.set(SERVICE, "a", 2, &[Endpoint::ready("127.0.0.1")]);
    renew_token(&server.account, "third-token\n");
    await_endpoints(&proxy, "what was missed", &[at([127, 0, 0, 1], 2)]);
}

/// Nothing but what asks it to ends a proxy, and what that was is told, even while nothing is served yet.
#[test]
fn a_proxy_that_is_refused_from_the_start_stays_and_says_what_ends_it() {
    let server = ApiServer::start();
    server.expect_token("another");
    for quits in [false, true] {
        let denied = server.counts().denied;
        let mut proxy = Proxy::spawn(&yaml(&server, "api.shop:http", ", timeout: 10m"), Command::new);
        soon(&proxy, "refusals", || server.counts().denied > denied + 2);
        assert_eq!(proxy.ended(), None, "{}", proxy.stderr());
        let by = if quits {
            let mut quit = Command::new(program());
            let done = quit.args(["quit", "--admin", &proxy.admin.to_string()]).output().expect("the program runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            "an operator"
        } else {
            proxy.signal(Signal::TERM);
            "a signal"
        };
        assert_eq!(proxy.wait(SOON).code(), Some(0));
        let told = format!("leaving before anything was served by=\"{by}\"");
        assert!(proxy.stderr().contains(&told), "{}", proxy.stderr());
    }
}

#[test]
fn a_start_waits_for_the_first_answer_for_a_bounded_time() {
    let origin = Origin::start();
    let server = ApiServer::start();
    server.set(SERVICE, "a", origin.address.port(), &ready(&origin));
    server.trouble(Trouble::Silence);
    let proxy = Proxy::start(&(yaml(&server, "api.shop:http", ", timeout: 300ms") + "dns: { timeout: 300ms }\n"));
    assert_eq!(proxy.get("/").status, 503);
    server.trouble(Trouble::None);
    await_endpoints(&proxy, "endpoints", &[origin.address]);
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn an_authority_that_is_not_the_clusters_is_not_believed() {
    let (server, other) = (ApiServer::start(), ApiServer::start());
    server.set(SERVICE, "a", 1, &[Endpoint::ready("127.0.0.1")]);
    let ca = server.account.path().join("ca.crt");
    let right = std::fs::read(&ca).unwrap();
    std::fs::copy(other.account.path().join("ca.crt"), &ca).unwrap();
    let mut proxy = Proxy::spawn(&yaml(&server, "api.shop:http", ", timeout: 10m"), Command::new);
    soon(&proxy, "a refusal", || proxy.stderr().contains("invalid peer certificate"));
    assert_eq!(server.counts().requests, 0, "nobody else was given the token");
    // The authority was renewed.
    std::fs::write(&ca, right).unwrap();
    proxy.await_ready().unwrap_or_else(|words| panic!("{words}"));
    await_endpoints(&proxy, "endpoints", &[at([127, 0, 0, 1], 1)]);
}

#[test]
fn a_port_by_number_is_found_through_the_service() {
    let server = ApiServer::start();
    let ports = json!([{ "name": "http", "port": 8080, "protocol": "TCP" }, { "name": "admin", "port": 9090 }]);
    server.set_ports(SERVICE, "a", &ports, &[Endpoint::ready("127.0.0.1")]);
    server.service(SERVICE, &[(80, "http"), (90, "admin")]);
    let proxy = Proxy::start(&yaml(&server, "api.shop:90", ""));
    await_endpoints(&proxy, "the port that the service calls 90", &[at([127, 0, 0, 1], 9090)]);
    // A watch begins after a look at the service.
    let watching = |count: usize| soon(&proxy, "a watch", || server.counts().watches == count);
    watching(1);
    // Whoever gives the number to another port is followed with the next watch.
    server.service(SERVICE, &[(90, "http")]);
    server.disconnect();
    await_endpoints(&proxy, "the port that is 90 now", &[at([127, 0, 0, 1], 8080)]);
    watching(2);
    server.service(SERVICE, &[(80, "http")]);
    server.disconnect();
    await_endpoints(&proxy, "no such port", &[]);
    soon(&proxy, "words about it", || proxy.stderr().contains("the service has no TCP port 90; it has 80 (\"http\")"));
}

#[test]
fn a_port_that_gets_another_name_is_found_without_a_new_watch() {
    let server = ApiServer::start();
    let slice = |name: &str, port: u16| {
        let ports = json!([{ "name": name, "port": port, "protocol": "TCP" }]);
        server.set_ports(SERVICE, "a", &ports, &[Endpoint::ready("127.0.0.1")]);
    };
    slice("", 8080);
    server.service(SERVICE, &[(80, "")]);
    let proxy = Proxy::start(&yaml(&server, "api.shop:80", ""));
    await_endpoints(&proxy, "the port without a name", &[at([127, 0, 0, 1], 8080)]);
    soon(&proxy, "a watch", || server.counts().watches == 1);
    for (name, port) in [("http", 8081), ("web", 8082), ("", 8083)] {
        server.service(SERVICE, &[(80, name), (90, "admin")]);
        slice(name, port);
        await_endpoints(&proxy, &format!("the port by the name {name:?}"), &[at([127, 0, 0, 1], port)]);
    }
    // Other numbers for the same name, and a service taken away and made anew.
    server.service(SERVICE, &[(80, "")]);
    slice("", 8084);
    await_endpoints(&proxy, "the same name's other number", &[at([127, 0, 0, 1], 8084)]);
    server.remove_service(SERVICE);
    server.remove(SERVICE, "a");
    await_endpoints(&proxy, "nothing", &[]);
    server.service(SERVICE, &[(80, "late")]);
    slice("late", 8085);
    await_endpoints(&proxy, "the new service", &[at([127, 0, 0, 1], 8085)]);
    assert_eq!(server.counts().watches, 1, "all by one watch");
}

#[test]
fn a_service_that_was_taken_away_meanwhile_has_no_endpoints() {
    let server = ApiServer::start();
    let slice = || server.set(SERVICE, "a", 8080, &[Endpoint::ready("127.0.0.1")]);
    slice();
    server.service(SERVICE, &[(80, "http")]);
    let proxy = Proxy::start(&yaml(&server, "api.shop:80", ""));
    await_endpoints(&proxy, "its endpoint", &[at([127, 0, 0, 1], 8080)]);
    soon(&proxy, "a watch", || server.counts().watches == 1);
    server.trouble(Trouble::Refuse(500));
    server.remove_service(SERVICE);
    server.trouble(Trouble::None);
    // The service alone says nothing of what is still listed.
    soon(&proxy, "lists", || server.counts().lists > 2);
    assert_eq!(endpoints(&proxy), [at([127, 0, 0, 1], 8080)].into());
    server.remove(SERVICE, "a");
    await_endpoints(&proxy, "none, since the list says so", &[]);
    soon(&proxy, "words about it", || proxy.stderr().contains("is there a service api in the namespace shop?"));
    server.service(SERVICE, &[(80, "http")]);
    slice();
    await_endpoints(&proxy, "its endpoint again", &[at([127, 0, 0, 1], 8080)]);
}

#[test]
fn hints_for_zones_are_followed() {
    let server = ApiServer::start();
    server.set(
        SERVICE,
        "a",
        80,
        &[Endpoint::ready("10.0.0.1").hinted(&["west-a"]), Endpoint::ready("10.0.0.2").hinted(&["west-b"])],
    );
    let proxy = Proxy::start(&yaml(&server, "api.shop:http", ", zone: west-b"));
    await_endpoints(&proxy, "those of the zone", &[at([10, 0, 0, 2], 80)]);
    server.set(SERVICE, "b", 80, &[Endpoint::ready("10.0.0.3")]);
    await_endpoints(
        &proxy,
        "all, since one has no hint",
        &[at([10, 0, 0, 1], 80), at([10, 0, 0, 2], 80), at([10, 0, 0, 3], 80)],
    );
}

#[test]
fn hints_for_nodes_are_followed_by_the_node_that_the_environment_names() {
    let server = ApiServer::start();
    let hinted = |address, node, zone| Endpoint::ready(address).hinted_for_nodes(&[node]).hinted(&[zone]);
    let (near, far) = (hinted("10.0.0.1", "node-1", "west-a"), hinted("10.0.0.2", "node-2", "west-a"));
    server.set(SERVICE, "a", 80, &[near, far]);
    server.set(SERVICE, "b", 80, &[hinted("10.0.0.3", "node-3", "west-b")]);
    // As an injected pod has them.
    let told = |program| {
        let mut command = Command::new(program);
        command.env("PILLION_NODE", "node-1").env("PILLION_ZONE", "west-a");
        command
    };
    let mut proxy = Proxy::spawn(&yaml(&server, "api.shop:http", ""), told);
    proxy.await_ready().unwrap_or_else(|words| panic!("{words}"));
    await_endpoints(&proxy, "the one of the node", &[at([10, 0, 0, 1], 80)]);
    server.set(SERVICE, "a", 80, &[hinted("10.0.0.2", "node-2", "west-a")]);
    await_endpoints(&proxy, "nobody on the node: the zone's", &[at([10, 0, 0, 2], 80)]);
    server.set(SERVICE, "c", 80, &[Endpoint::ready("10.0.0.4")]);
    await_endpoints(
        &proxy,
        "all, since one has no hint",
        &[at([10, 0, 0, 2], 80), at([10, 0, 0, 3], 80), at([10, 0, 0, 4], 80)],
    );
}

#[test]
fn a_reload_keeps_what_is_known_and_follows_what_is_new() {
    let server = ApiServer::start();
    server.set(SERVICE, "a", 1, &[Endpoint::ready("127.0.0.1")]);
    let base = yaml(&server, "api.shop:http", "");
    let proxy = Proxy::start(&base);
    server.trouble(Trouble::Refuse(500));
    // The cluster is another one for the data path, and has its endpoints from the start.
    proxy.replace_config(&(base.clone() + "    connect_timeout: 4s\n"));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    await_endpoints(&proxy, "what was known", &[at([127, 0, 0, 1], 1)]);
    server.trouble(Trouble::None);
    // Another zone: the same server, listed anew.
    proxy.replace_config(&base.replace("service_account:", "zone: west, service_account:"));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    soon(&proxy, "a list for the zone", || server.counts().lists == 2);
    await_endpoints(&proxy, "what was known", &[at([127, 0, 0, 1], 1)]);
    // One that cannot be used changes nothing.
    proxy.replace_config(&base.replace(&server.account.path().display().to_string(), "/nowhere"));
    let refused = proxy.admin_post("/reload");
    assert_ne!(refused.status, 200, "{}", refused.text());
    server.set(SERVICE, "a", 2, &[Endpoint::ready("127.0.0.1")]);
    await_endpoints(&proxy, "news under the configuration before", &[at([127, 0, 0, 1], 2)]);
}

#[test]
fn outside_of_a_pod_the_remedy_is_told() {
    let server = ApiServer::start();
    let text = yaml(&server, "api.shop:http", "");
    let section = server.section("");
    let outside = |program| {
        let mut command = Command::new(program);
        command.env_remove("KUBERNETES_SERVICE_HOST").env_remove("PILLION_KUBERNETES");
        command
    };
    let mut proxy = Proxy::spawn(&text.replace(&section, ""), outside);
    let words = proxy.await_ready().unwrap_err();
    assert!(words.contains("kubernetes: there is no API server here: KUBERNETES_SERVICE_HOST is not set"), "{words}");
    let mut proxy = Proxy::spawn(&text.replace(&server.account.path().display().to_string(), "/nowhere"), Command::new);
    let words = proxy.await_ready().unwrap_err();
    assert!(words.contains("kubernetes: /nowhere/ca.crt: No such file"), "{words}");
}
