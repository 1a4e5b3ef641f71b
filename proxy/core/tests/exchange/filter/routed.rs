//! Filters: which route they are told of, and whose rules an answer gets that is given in the upstream's place.

use super::*;

const ROUTES: &str = "      - name: second
        match: { prefix: /second }
        clusters: [{ name: up, weight: 1 }]
        response_headers: { set: { x-route: second } }
      - name: first
        match: { prefix: / }
        cluster: up
        response_headers: { set: { x-route: first } }";

const THREE: Setup = Setup { routes: ROUTES, filters: &["a", "b", "c"], ..PLAIN };

fn moves(stream: &Stream, path: &[u8]) {
    stream.headers(Map::RequestHeaders, |head| head.replace(b":path", path)).unwrap();
}

fn route(stream: &Stream) -> String {
    stream.facts().route.map_or_else(|| "none".to_owned(), |route| route.name.as_str().to_owned())
}

/// Envoy tells `xds.route_name` so.
#[test]
fn filters_behind_one_that_moved_the_request_are_told_where_to() {
    let told = Rc::<RefCell<Vec<String>>>::default();
    // Where `a` and `b` move it, and what is told in turn: in each one's head, then by all in their body, in the answer's head.
    let cases: [([&[u8]; 2], [&str; 9]); 4] = [
        ([b"/", b"/"], ["first"; 9]),
        (
            [b"/second", b"/second"],
            ["first", "second", "second", "second", "second", "second", "second", "second", "second"],
        ),
        ([b"/second", b"/"], ["first", "second", "first", "first", "first", "first", "first", "first", "first"]),
        ([b"/", b"/second"], ["first", "first", "second", "second", "second", "second", "second", "second", "second"]),
    ];
    for (paths, expected) in cases {
        for (name, path) in [("a", Some(paths[0])), ("b", Some(paths[1])), ("c", None)] {
            let told = Rc::clone(&told);
            script(name, move |event, stream| {
                if let Event::RequestHeaders(_) | Event::RequestBody(..) | Event::ResponseHeaders(_) = event {
                    told.borrow_mut().push(route(stream));
                }
                if let (Event::RequestHeaders(_), Some(path)) = (event, path) {
                    moves(stream, path);
                }
                Do::Continue
            });
        }
        let told = Rc::clone(&told);
        run(
            THREE,
            |_, _| echo(),
            |world| async move {
                assert_eq!(ask(&world, POST).await.status, 200);
                assert_eq!(told.take(), expected, "{paths:?}");
            },
        );
    }
}

/// As Envoy: its record, its filters' log and the changes of answers are the last route's.
#[test]
fn an_answer_in_the_chain_is_of_the_route_that_filters_left() {
    for (answers, how) in [("a", Do::Pause), ("b", Do::Pause), ("b", Do::Fail)] {
        let told = Rc::<RefCell<Vec<String>>>::default();
        for name in ["a", "b", "c"] {
            let told = Rc::clone(&told);
            script(name, move |event, stream| {
                if let (Event::RequestHeaders(_), "a") = (event, name) {
                    moves(stream, b"/second/x");
                }
                match event {
                    Event::RequestHeaders(_) if name == answers => {
                        if how == Do::Pause {
                            stream.reply(reply(403, "no")).unwrap();
                        }
                        return how;
                    }
                    Event::Log => told.borrow_mut().push(route(stream)),
                    _ => {}
                }
                Do::Continue
            });
        }
        run(
            THREE,
            |_, _| panic!("no upstream"),
            |world| async move {
                let answer = ask(&world, POST).await;
                assert_eq!(answer.field("x-route"), Some("second"), "{answer:?}");
                assert_eq!(world.record().await.route, "second");
                settle().await;
                assert!(!told.borrow().is_empty() && told.take().iter().all(|route| route == "second"));
            },
        );
    }
}

/// As Envoy: a request that filters led to no route has none in its record and its filters' log, and no route changes its answer.
#[test]
fn an_answer_on_no_route_is_of_none() {
    const SOME: &str = "      - match: { prefix: /x }
        cluster: up
        response_headers: { set: { x-route: first } }";
    type Leads = fn(&mut Headers);
    let (to_none, pathless): (Leads, Leads) = (|head| head.replace(b":path", b"/none"), |head| head.remove(b":path"));
    for (leads, answers, status, flags, details) in [
        (to_none, "nobody", 404, "NR", "route_not_found"),
        (to_none, "a", 403, "-", "by_filter"),
        (to_none, "b", 403, "-", "by_filter"),
        (pathless, "nobody", 404, "FF", "filter_removed_required_request_headers{:path}"),
        (pathless, "b", 403, "-", "by_filter"),
        (|head| head.replace(b":path", b"none"), "b", 403, "-", "by_filter"),
    ] {
        let told = Rc::<RefCell<Vec<String>>>::default();
        for name in ["a", "b", "c"] {
            let told = Rc::clone(&told);
            script(name, move |event, stream| {
                if let (Event::RequestHeaders(_), "a") = (event, name) {
                    stream.headers(Map::RequestHeaders, leads).unwrap();
                }
                match event {
                    Event::RequestHeaders(_) if name == answers => {
                        stream.reply(reply(403, "no")).unwrap();
                        return Do::Pause;
                    }
                    Event::ResponseHeaders(_) | Event::Log => told.borrow_mut().push(route(stream)),
                    _ => {}
                }
                Do::Continue
            });
        }
        run(
            Setup { routes: SOME, ..THREE },
            |_, _| panic!("no upstream"),
            |world| async move {
                let answer = ask(&world, POST).await;
                assert_eq!((answer.status, answer.field("x-route")), (status, None), "{answer:?}");
                let record = world.record().await;
                assert_eq!((record.status, &*record.flags, &*record.details), (status, flags, details), "{record:?}");
                assert_eq!((&*record.route, &*record.cluster), ("-", "-"), "{record:?}");
                let told = told.take();
                assert!(told.len() > 3 && told.iter().all(|route| route == "none"), "{answers} {told:?}");
                world.assert_quiet().await;
            },
        );
    }
}

/// As Envoy: its listener's filters are asked about it, too, and may answer it or lead it to a route.
#[test]
fn a_request_that_no_route_takes_passes_the_listeners_filters() {
    const SOME: &str = "      - match: { prefix: /x }
        cluster: up
        response_headers: { set: { x-route: first } }
      - match: { prefix: / , headers: { x-to: second } }
        cluster: up
        upgrades: []
        response_headers: { set: { x-route: second } }";
    type Does = fn(&Stream) -> Do;
    let nothing: Does = |_| Do::Continue;
    let answers: Does = |stream| {
        stream.reply(reply(302, "here")).unwrap();
        Do::Pause
    };
    let moves: Does = |stream| {
        moves(stream, b"/x");
        Do::Continue
    };
    let names: Does = |stream| {
        stream.headers(Map::RequestHeaders, |head| head.add(b"x-to", b"second")).unwrap();
        Do::Continue
    };
    for (does, status, leads, flags, details) in [
        (nothing, 404, None, "NR", "route_not_found"),
        (answers, 302, None, "-", "by_filter"),
        (|_: &Stream| Do::Fail, 503, None, "FF", "script_failed{a}"),
        (moves, 200, Some("first"), "-", "via_upstream"),
        (names, 200, Some("second"), "-", "via_upstream"),
    ] {
        let told = Rc::<RefCell<Vec<String>>>::default();
        for name in ["a", "b", "c"] {
            let told = Rc::clone(&told);
            script(name, move |event, stream| match event {
                Event::RequestHeaders(_) => {
                    told.borrow_mut().push(format!("{name}:{}", route(stream)));
                    if name == "a" { does(stream) } else { Do::Continue }
                }
                Event::ResponseHeaders(_) => {
                    stream.headers(Map::ResponseHeaders, |head| head.add(b"x-seen", name.as_bytes())).unwrap();
                    Do::Continue
                }
                Event::Log => {
                    told.borrow_mut().push(format!("{name} logs"));
                    Do::Continue
                }
                _ => Do::Continue,
            });
        }
        run(
            Setup { routes: SOME, ..THREE },
            |_, _| echo(),
            |world| async move {
                let answer = ask(&world, "POST /none HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n").await;
                assert_eq!((answer.status, answer.field("x-route")), (status, leads), "{answer:?}");
                // What the second route does not let through goes without.
                assert_eq!(answer.body.contains("upgrade: websocket"), leads == Some("first"), "{answer:?}");
                let record = world.record().await;
                assert_eq!((record.status, &*record.flags, &*record.details), (status, flags, details), "{record:?}");
                let told = told.take();
                assert_eq!(told[0], "a:none", "{told:?}");
                assert_eq!(
                    told.iter().filter(|told| told.ends_with("logs")).count(),
                    if status == 503 { 2 } else { 3 },
                    "{told:?}"
                );
                world.assert_quiet().await;
            },
        );
    }
}

/// As Envoy: its record names the cluster that it would have gone to.
#[test]
fn a_request_that_goes_no_further_than_a_filter_is_its_clusters() {
    const SOME: &str = "      - match: { prefix: /x }
        cluster: up
        response_headers: { set: { x-cluster: '%UPSTREAM_CLUSTER%' } }
      - match: { prefix: /other }
        clusters: [{ name: other, weight: 1 }]
        response_headers: { set: { x-cluster: '%UPSTREAM_CLUSTER%' } }
      - match: { prefix: /here }
        respond: { status: 200 }
        response_headers: { set: { x-cluster: 'none%UPSTREAM_CLUSTER%' } }";
    for (path, how, cluster) in [
        ("/x", Do::Pause, "up"),
        ("/x", Do::Fail, "up"),
        ("/other", Do::Pause, "other"),
        ("/here", Do::Pause, "-"),
        ("/here", Do::Continue, "-"),
    ] {
        script("a", move |event, stream| match event {
            Event::RequestHeaders(_) => {
                moves(stream, path.as_bytes());
                if how == Do::Pause {
                    stream.reply(reply(403, "no")).unwrap();
                }
                how
            }
            _ => Do::Continue,
        });
        run(
            Setup {
                routes: SOME,
                cluster: "  - name: other\n    endpoints: [\"10.0.0.2:80\"]",
                filters: &["a"],
                ..PLAIN
            },
            |_, _| panic!("no upstream"),
            |world| async move {
                let answer = ask(&world, POST).await;
                let told = if cluster == "-" { "none" } else { cluster };
                assert_eq!(answer.field("x-cluster"), Some(told), "{path} {how:?} {answer:?}");
                assert_eq!(world.record().await.cluster, cluster, "{path} {how:?}");
                for cluster in ["up", "other"] {
                    let active = world.recorded.get(&format!("pillion_upstream_requests_active{{cluster={cluster}}}"));
                    assert_eq!(active, 0.0, "none went there");
                }
                world.assert_quiet().await;
            },
        );
    }
    // Nor does one whose client left while a filter held it.
    let kept = held("a", Do::PauseAll);
    run(
        ONE,
        |_, _| panic!("no upstream"),
        |world| async move {
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            kept.wait().await;
            drop(client);
            let record = world.record().await;
            assert_eq!((&*record.flags, &*record.cluster), ("DC", "up"), "{record:?}");
            world.assert_quiet().await;
        },
    );
}

/// The route's changes belong to whatever the client gets.
#[test]
fn an_answer_in_the_place_of_the_upstreams_has_the_routes_changes() {
    for how in [Do::Pause, Do::PauseAll, Do::Fail] {
        let kept = Kept::default();
        let keep = kept.clone();
        script("a", move |event, stream| match event {
            Event::ResponseHeaders(_) => {
                match how {
                    Do::Pause => stream.reply(reply(503, "no")).unwrap(),
                    Do::PauseAll => keep.keep(stream),
                    _ => {}
                }
                how
            }
            _ => Do::Continue,
        });
        run(
            Setup { routes: ROUTES, ..ONE },
            |_, _| canned(HELLO),
            |world| async move {
                let mut client = world.connect();
                client.write_all(POST.as_bytes()).await.unwrap();
                if how == Do::PauseAll {
                    kept.wait().await.reply(reply(503, "no")).unwrap();
                }
                let answer = answer(&mut client).await;
                assert_eq!((answer.status, answer.field("x-route")), (503, Some("first")), "{how:?}");
            },
        );
    }
}
