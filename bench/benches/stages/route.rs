//! route: which of the listener's routes does this request take?

use crate::memory;
use divan::{Bencher, black_box};
use http::{HeaderMap, Method};
use pillion_core::exchange::route::{RequestView, RouteTable};

/// Method, host and path of a request → the last of so many routes, each with a prefix of its own.
#[divan::bench(args = [10, 10_000])]
fn path_of_the_last_of_n_prefixes(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes, |i| format!("{{ prefix: /service-{i}/ }}"));
    let path = format!("/service-{}/orders/4711", routes - 1);
    find(bencher, &table, "shop.example.com", &path);
}

/// The same where each route has a host of its own.
#[divan::bench(args = [10, 10_000])]
fn host_of_the_last_of_n_hosts(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes, |i| format!("{{ host: service-{i}.example.com, prefix: / }}"));
    let host = format!("service-{}.example.com", routes - 1);
    find(bencher, &table, &host, "/orders/4711");
}

/// A request that none of so many routes takes.
#[divan::bench(args = [10, 10_000])]
fn path_of_none_of_n_prefixes(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes, |i| format!("{{ prefix: /service-{i}/ }}"));
    find(bencher, &table, "shop.example.com", "/elsewhere/orders/4711");
}

fn find(bencher: Bencher<'_, '_>, table: &RouteTable, host: &str, path: &str) {
    let headers = HeaderMap::new();
    let view = RequestView {
        method: &Method::GET,
        host,
        path,
        query: None,
        headers: &headers,
        destination: ([127, 0, 0, 1], 80).into(),
    };
    bencher.bench_local(|| table.find(black_box(&view)).map(|found| found.index));
}

fn table(routes: usize, matcher: impl Fn(usize) -> String) -> RouteTable {
    use std::fmt::Write as _;
    let mut text = String::new();
    for i in 0..routes {
        writeln!(text, "      - match: {}\n        cluster: up", matcher(i)).expect("strings take what is written");
    }
    RouteTable::compile(&memory::config(&text, "").listeners[0].routes)
}
