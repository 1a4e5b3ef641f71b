use super::*;
use http::{HeaderName, HeaderValue};
use pillion_config::model::{
    Action, ClusterIndex, HeaderMatch, HostPattern, HostRewrite, Name, PathRewrite, QueryMatch, Rewrite, RouteMatch,
    ValueMatch, WeightedCluster,
};
use proptest::prelude::*;
use regex::Regex;
use std::{hint::black_box, time::Instant};

fn route(hosts: &[&str], path: PathMatch) -> Route {
    let host = |host: &&str| match (host.strip_prefix('*'), host.strip_suffix('*')) {
        (Some(suffix), _) => HostPattern::Suffix(suffix.to_owned()),
        (None, Some(prefix)) => HostPattern::Prefix(prefix.to_owned()),
        (None, None) => HostPattern::Exact((*host).to_owned()),
    };
    Route {
        name: Name("r".into()),
        matcher: RouteMatch {
            hosts: hosts.iter().map(host).collect(),
            destinations: Vec::new(),
            path,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        },
        authorization: None,
        action: Action::Forward(vec![WeightedCluster { cluster: ClusterIndex(0), weight: 1 }]),
        rewrite: Rewrite { path: PathRewrite::Keep, host: HostRewrite::Keep },
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        timeout: None,
        idle_timeout: None,
        upgrades: Vec::new(),
        filters: None,
        metadata: None,
    }
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn regex(text: &str) -> PathMatch {
    PathMatch::Regex(Regex::new(text).expect("a valid expression"))
}

fn table(routes: Vec<Route>) -> RouteTable {
    RouteTable::compile(&routes.into_iter().map(Arc::new).collect::<Vec<_>>())
}

fn view<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView { method: &Method::GET, host, path, query: None, headers, destination: ([10, 0, 0, 7], 80).into() }
}

fn index(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
    let headers = HeaderMap::new();
    table.find(&view(host, path, &headers)).map(|found| found.index)
}

#[test]
fn prefixes_end_at_a_segment() {
    for (pattern, path, expected) in [
        ("/v1", "/v1", Some(3)),
        ("/v1", "/v1/", Some(3)),
        ("/v1", "/v1/x/y", Some(3)),
        ("/v1", "/v10", None),
        ("/v1", "/v1;", Some(3)),
        ("/v1", "/v1;a=b/x", Some(3)),
        ("/v1", "/v10;a", None),
        ("/v1", "/v;/v1", None),
        ("/v1/a", "/v1/a;b", Some(5)),
        ("/v1;a", "/v1;a;b", Some(5)),
        ("/v1;a", "/v1", None),
        ("/v1", "/v", None),
        ("/v1/", "/v1/", Some(4)),
        ("/v1/", "/v1/x", Some(4)),
        ("/v1/", "/v1", None),
        ("/", "/", Some(1)),
        ("/", "/x", Some(1)),
        ("/", "*", Some(1)),
        ("/", "", Some(0)),
    ] {
        let table = table(vec![route(&[], prefix(pattern))]);
        let headers = HeaderMap::new();
        let found = table.find(&view("h", path, &headers));
        assert_eq!(found.map(|found| found.matched), expected, "{pattern} {path}");
    }
}

#[test]
fn the_most_specific_host_with_a_match_then_the_first_written() {
    let table = table(vec![
        route(&[], prefix("/")),
        route(&["*.example.com"], exact("/wild")),
        route(&["api.example.com", "*.example.org"], prefix("/v1")),
        route(&["api.example.com"], exact("/v1/x")),
        route(&["*.com"], prefix("/")),
    ]);
    for (host, path, expected) in [
        ("api.example.com", "/v1/x", 2),
        ("API.EXAMPLE.COM.:8080", "/v1/x", 2),
        ("api.example.com", "/wild", 1),
        ("api.example.com", "/other", 4),
        ("www.example.org", "/v1", 2),
        ("www.example.org", "/v2", 0),
        ("example.com", "/wild", 4),
        ("localhost", "/v1/x", 0),
    ] {
        assert_eq!(index(&table, host, path), Some(expected), "{host} {path}");
    }
}

#[test]
fn what_else_a_route_demands() {
    let mut routes = vec![route(&[], exact("/a")); 6];
    routes[0].matcher.methods = vec![Method::POST, Method::PUT];
    let header = |value, invert| vec![HeaderMatch { name: HeaderName::from_static("x-tenant"), value, invert }];
    let number = || Regex::new("[0-9]+").expect("a valid expression");
    routes[1].matcher.headers = header(ValueMatch::Exact("blue".into()), false);
    routes[2].matcher.headers = header(ValueMatch::Regex(number()), false);
    let query = |name: &str, value| QueryMatch { name: name.into(), value };
    routes[3].matcher.query =
        vec![query("a b", ValueMatch::Exact("1&2".into())), query("n", ValueMatch::Regex(number()))];
    routes[4].matcher.query = vec![query("p", ValueMatch::Prefix("x/".into()))];
    routes[5].matcher.headers = header(ValueMatch::Present, true);
    let table = table(routes);

    let find = |method: Method, tenants: &[&'static str], query: Option<&str>| {
        let mut headers = HeaderMap::new();
        for tenant in tenants {
            headers.append("x-tenant", HeaderValue::from_static(tenant));
        }
        let view = RequestView { method: &method, query, ..view("h", "/a", &headers) };
        table.find(&view).map(|found| found.index)
    };
    assert_eq!(find(Method::PUT, &["blue"], None), Some(0));
    assert_eq!(find(Method::GET, &["red", "blue"], None), Some(1));
    assert_eq!(find(Method::GET, &["42"], None), Some(2));
    assert_eq!(find(Method::GET, &["42x"], None), None);
    assert_eq!(find(Method::GET, &["x"], Some("n=%37&a%20b=1%262&n=x")), Some(3));
    assert_eq!(find(Method::GET, &["x"], Some("n=%37x&a%20b=1%262")), None);
    assert_eq!(find(Method::GET, &["x"], Some("z&p=x%2Fy")), Some(4));
    assert_eq!(find(Method::GET, &["x"], Some("p=x")), None);
    assert_eq!(find(Method::GET, &[], None), Some(5));
}

#[test]
fn expressions_take_part_in_the_order() {
    let table = table(vec![
        route(&[], regex("/u/[0-9]+")),
        route(&[], prefix("/u")),
        route(&[], regex(".*/x|/y/z")),
        route(&[], exact("/y/z")),
    ]);
    for (path, expected) in
        [("/u/7", Some(0)), ("/u/7/x", Some(1)), ("/q/x", Some(2)), ("/y/z", Some(2)), ("/y/zz", None)]
    {
        assert_eq!(index(&table, "h", path), expected, "{path}");
    }
}

/// What the table must agree with: every route looked at, in the words of the model's documentation.
fn linear(routes: &[Route], view: &RequestView<'_>) -> Option<usize> {
    let host = view.host.to_ascii_lowercase();
    let host = host.split(':').next().unwrap_or_default();
    let specificity = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Suffix(suffix) => {
            (host.len() > suffix.len() && host.ends_with(suffix.as_str())).then_some(1000 + suffix.len())
        }
        HostPattern::Prefix(prefix) => {
            (host.len() > prefix.len() && host.starts_with(prefix.as_str())).then_some(prefix.len())
        }
    };
    let mut best: Option<(usize, usize)> = None;
    for (at, route) in routes.iter().enumerate() {
        let matcher = &route.matcher;
        let rank = if matcher.hosts.is_empty() { Some(0) } else { matcher.hosts.iter().filter_map(specificity).max() };
        let path = match &matcher.path {
            PathMatch::Exact(path) => view.path == path,
            PathMatch::Prefix(prefix) => view
                .path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with(['/', ';'])),
            PathMatch::Regex(regex) => {
                Regex::new(&format!("^(?:{regex})$")).expect("a valid expression").is_match(view.path)
            }
        };
        let method = matcher.methods.is_empty() || matcher.methods.contains(view.method);
        if let (Some(rank), true, true) = (rank, path, method)
            && best.is_none_or(|(top, _)| rank > top)
        {
            best = Some((rank, at));
        }
    }
    best.map(|(_, at)| at)
}

fn some_path() -> impl Strategy<Value = String> {
    let segment =
        prop_oneof![Just("a"), Just("b"), Just("ab"), Just(""), Just("a;"), Just("a;b"), Just(";a"), Just("a;b;b")];
    prop::collection::vec(segment, 1..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn some_route() -> impl Strategy<Value = Route> {
    let host = prop_oneof![
        Just("a.b.c"),
        Just("b.c"),
        Just("c"),
        Just("*.c"),
        Just("*.b.c"),
        Just("*.a.b.c"),
        Just("d.b.c"),
        Just("*c"),
        Just("*b.c"),
        Just("a*"),
        Just("a.*"),
        Just("a.b.*"),
        Just("x.a*"),
    ];
    let path = prop_oneof![
        3 => some_path().prop_map(PathMatch::Exact),
        3 => some_path().prop_map(PathMatch::Prefix),
        1 => prop_oneof![
            Just("/a/.*"), Just("/a|/ab"), Just(".*b"), Just("/(a|b)/?"), Just("/a/b/[^/]*"), Just("^/b/.+$"),
        ].prop_map(regex),
    ];
    let method = prop_oneof![3 => Just(vec![]), 1 => Just(vec![Method::POST])];
    (prop::collection::vec(host, 0..3), path, method).prop_map(|(hosts, path, methods)| {
        let mut route = route(&hosts, path);
        route.matcher.methods = methods;
        route
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_agrees_with_looking_at_every_route(
        routes in prop::collection::vec(some_route(), 0..12),
        host in prop_oneof![
            Just("a.b.c"), Just("B.C:80"), Just("c"), Just("x.a.b.c"), Just("d.b.c"), Just("e"), Just(""), Just(".c"),
        ],
        paths in prop::collection::vec(some_path(), 1..8),
    ) {
        let compiled = table(routes.clone());
        let headers = HeaderMap::new();
        for path in &paths {
            for method in [&Method::GET, &Method::POST] {
                let view = RequestView { method, ..view(host, path, &headers) };
                let found = compiled.find(&view).map(|found| found.index);
                prop_assert_eq!(found, linear(&routes, &view), "{} {} {}", method, host, path);
            }
        }
    }

    #[test]
    fn nothing_from_outside_makes_it_panic(host: String, path: String, query: Option<String>) {
        let mut all = route(&["*.c"], regex("/a.*"));
        all.matcher.query = vec![QueryMatch { name: "a".into(), value: ValueMatch::Prefix("b".into()) }];
        let table = table(vec![all, route(&[], prefix("/")), route(&["c"], exact("/a"))]);
        let headers = HeaderMap::new();
        let view = RequestView { query: query.as_deref(), ..view(&host, &path, &headers) };
        prop_assert!(table.find(&view).is_some());
    }
}

/// Nanoseconds a look-up takes, by kind and count of routes. To be run with optimisation:
/// `cargo test -p pillion-core --profile profiling -- --ignored --nocapture cost_of_finding`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_finding() {
    type Make = fn(usize) -> (Route, String, String);
    let kinds: [(&str, Make); 6] = [
        ("distinct hosts", |n| {
            let host = format!("service-{n}.namespace.svc.cluster.local");
            (route(&[&host], prefix("/")), host, "/api/v1/items/42".into())
        }),
        ("suffix hosts", |n| {
            let suffix = format!("*.service-{n}.example.com");
            (route(&[&suffix], prefix("/")), format!("www.service-{n}.example.com"), "/api/v1/items/42".into())
        }),
        ("prefixes of one host", |n| {
            let path = format!("/api/v1/service-{n}");
            (route(&["example.com"], prefix(&path)), "example.com".into(), format!("{path}/items/42"))
        }),
        ("exact paths of one host", |n| {
            let path = format!("/api/v1/service-{n}/items");
            (route(&["example.com"], exact(&path)), "example.com".into(), path)
        }),
        ("expressions in folders", |n| {
            let path = format!("/api/v1/service-{n}/[0-9]+");
            (route(&["example.com"], regex(&path)), "example.com".into(), format!("/api/v1/service-{n}/42"))
        }),
        ("mix", |n| {
            let host = format!("h{}.example.com", n / 100);
            let path = format!("/s/{n}");
            let matcher = if n.is_multiple_of(2) { prefix(&path) } else { exact(&path) };
            (route(&[&host], matcher), host, path)
        }),
    ];
    for (kind, make) in kinds {
        for count in [10, 10_000] {
            if kind.starts_with("expr") && count > 1000 && cfg!(debug_assertions) {
                continue;
            }
            let (mut routes, mut asked) = (Vec::new(), Vec::new());
            for n in 0..count {
                let (route, host, path) = make(n);
                routes.push(Arc::new(route));
                asked.push((host, path));
            }
            let (before, resident_before) = (Instant::now(), resident());
            let table = RouteTable::compile(&routes);
            let compiled = before.elapsed();
            let bytes = resident().saturating_sub(resident_before) / count;
            let headers = HeaderMap::new();
            // A few of them, so that what is measured is the work more than cold memory.
            let asked: Vec<_> = asked.iter().step_by(count / 10).collect();
            let rounds = 10_000;
            let batch = |_| {
                let before = Instant::now();
                for round in 0..rounds {
                    let (host, path) = asked[round % asked.len()];
                    let found = table.find(black_box(&view(host, path, &headers)));
                    assert!(black_box(found).is_some());
                }
                before.elapsed().as_nanos() / rounds as u128
            };
            // The best of many: the machine does other things too.
            let each = (0..50).map(batch).min().unwrap_or_default();
            println!("{kind}: {count} routes: {each} ns a look-up, {bytes} B a route, compiled in {compiled:?}");
        }
    }
}

/// Resident bytes of this process, to the page; 0 where the kernel does not say.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0usize) * 4096
}
