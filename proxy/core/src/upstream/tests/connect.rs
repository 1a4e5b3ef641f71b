use super::*;
use crate::telemetry::Blame;

fn named(protocol: UpstreamProtocol) -> (Cluster, EndpointAddress) {
    let name = EndpointAddress::Name("backend".into(), 80);
    let mut model = model(protocol, &[]);
    model.endpoints.push(Endpoint { address: name.clone(), weight: 1, identity: None, metadata: None });
    (model, name)
}

#[test]
fn failures_are_told_apart() {
    run(async {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, ConnectError::Refused),
            (io::ErrorKind::HostUnreachable, ConnectError::Unreachable),
            (io::ErrorKind::NetworkUnreachable, ConnectError::Unreachable),
            (io::ErrorKind::ConnectionReset, ConnectError::Reset),
            (io::ErrorKind::PermissionDenied, ConnectError::Io(io::ErrorKind::PermissionDenied)),
        ] {
            let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), move |_, _| Step::Fail(kind));
            let error = send(&cluster, get("/x"), &options()).await.unwrap_err();
            assert!(matches!(error.cause, Cause::Connect(error) if error == expected), "{error:?}");
            assert_eq!((error.carrier, error.delivery), (Carrier::None, Delivery::Unsent));
            assert_eq!(error.request.unwrap().uri(), "http://a.example/x");
            assert_nothing_held(&cluster);
            assert_eq!(cluster.state().describe().connections, 0);
        }
        let descriptors = io::Error::from_raw_os_error(24);
        assert_eq!(ConnectError::from_io(&descriptors), ConnectError::Descriptors);
        assert_eq!(ConnectError::Descriptors.blame(), Blame::Proxy);
    });
}

#[test]
fn a_connect_takes_its_timeout_and_no_longer() {
    run(async {
        for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
            let (cluster, _) = cluster(model(protocol, &[80]), |_, _| Step::Hang);
            let begun = Instant::now();
            let error = send(&cluster, get("/"), &options()).await.unwrap_err();
            assert!(matches!(error.cause, Cause::Connect(ConnectError::Timeout(_))), "{error:?}");
            assert_eq!(begun.elapsed().as_secs(), 5);
            assert_nothing_held(&cluster);
        }
    });
}

#[test]
fn an_unresolved_name_is_no_endpoint_and_the_last_answer_is_kept() {
    run(async {
        let (model, name) = named(UpstreamProtocol::Http1);
        let (cluster, script) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let error = send(&cluster, get("/"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::NoEndpoint), "{error:?}");
        cluster.state().set_resolved(&name, vec![[127, 0, 0, 9].into()]);
        cluster.state().set_resolved(&name, Vec::new());
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        assert_eq!(script.dialed.borrow()[..], [SocketAddr::from(([127, 0, 0, 9], 80))]);
        // The pool stays while the address does.
        cluster.state().set_resolved(&name, vec![[127, 0, 0, 9].into(), [127, 0, 0, 8].into()]);
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        assert_eq!(cluster.state().describe().members.len(), 2);
        cluster.state().set_resolved(&name, vec![[127, 0, 0, 7].into()]);
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (1, 1), "those to addresses that went are closed");
    });
}

#[test]
fn what_is_written_of_an_endpoint_is_told_of_all_its_addresses() {
    run(async {
        let written = |text: &str| Some(Arc::new(Metadata::from_iter([(text.to_owned(), Metadata::new().into())])));
        let (mut model, name) = named(UpstreamProtocol::Http1);
        let (nine, eight, seven) =
            (([127, 0, 0, 9], 80).into(), ([127, 0, 0, 8], 80).into(), ([127, 0, 0, 7], 80).into());
        for (address, metadata) in [(nine, None), (eight, written("eight"))] {
            let address = EndpointAddress::Ip(address);
            model.endpoints.push(Endpoint { address, weight: 1, identity: None, metadata });
        }
        model.endpoints[0].metadata = written("name");
        let (cluster, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let state = cluster.state();
        assert_eq!((state.metadata_at(nine), state.metadata_at(eight)), (None, written("eight")));
        state.set_resolved(&name, vec![[127, 0, 0, 9].into(), [127, 0, 0, 8].into()]);
        // Where another stands at the same address, the first that something is written of.
        assert_eq!((state.metadata_at(nine), state.metadata_at(eight)), (written("name"), written("name")));
        assert_eq!(state.metadata_at(seven), None);
    });
}

#[test]
fn a_service_has_the_addresses_it_is_said_to_have_and_none_when_it_has_none() {
    run(async {
        let port = ServicePort::Name("http".into());
        let service = EndpointAddress::Service(ServiceRef { name: "api".into(), namespace: "shop".into(), port });
        let (mut model, _) = named(UpstreamProtocol::Http1);
        model.endpoints[0].address = service.clone();
        let (cluster, script) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let state = Arc::clone(cluster.state());
        let two = [SocketAddr::from(([127, 0, 0, 9], 8080)), SocketAddr::from(([127, 0, 0, 8], 8081))];
        state.set_discovered(&service, two.to_vec());
        let dialed = |count: usize| script.dialed.borrow()[count..].to_vec();
        for _ in 0..20 {
            text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        }
        assert!(dialed(0).iter().all(|to| two.contains(to)), "each with its own port");
        // The one that stays keeps its pool.
        state.set_discovered(&service, vec![two[0]]);
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (1, 1), "those to addresses that went are closed");
        state.set_discovered(&service, Vec::new());
        let error = send(&cluster, get("/"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::NoEndpoint), "{error:?}");
        let many = (0..5000_u32).map(|n| SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + n), 80)));
        state.set_discovered(&service, many.collect());
        assert_eq!(state.describe().members.len(), MAX_DISCOVERED);
    });
}

#[test]
fn other_addresses_of_a_name_stand_in_and_the_bad_one_is_passed_over() {
    run(async {
        let (model, name) = named(UpstreamProtocol::Http1);
        let bad: std::net::IpAddr = "::1".parse().unwrap();
        let (cluster, script) = cluster(model, move |_, to| match to.ip() == bad {
            true => Step::Fail(io::ErrorKind::ConnectionRefused),
            false => serve(|stream| canned(stream, HELLO)),
        });
        cluster.state().set_resolved(&name, vec![bad, [127, 0, 0, 1].into()]);
        for _ in 0..20 {
            assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hello");
        }
        assert_eq!(script.dialed.borrow().iter().filter(|to| to.ip() == bad).count(), 1);
    });
}

#[test]
fn addresses_tried_before_are_avoided() {
    run(async {
        let (cluster, script) =
            cluster(model(UpstreamProtocol::Http1, &[80, 81]), |_, _| serve(|stream| canned(stream, HELLO)));
        let tried = [address(80)];
        for _ in 0..4 {
            text(send(&cluster, get("/"), &SendOptions { tried: &tried, ..options() }).await.unwrap()).await;
        }
        assert_eq!(script.dialed.borrow()[..], [address(81)]);
        let tried = [address(80), address(81)];
        text(send(&cluster, get("/"), &SendOptions { tried: &tried, ..options() }).await.unwrap()).await;
    });
}

#[test]
fn least_request_looks_at_what_is_in_flight() {
    run(async {
        let mut model = model(UpstreamProtocol::Http1, &[80, 81]);
        model.balance = Balance::LeastRequest;
        let (cluster, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let mut held = Vec::new();
        for _ in 0..40 {
            held.push(send(&cluster, get("/"), &options()).await.unwrap());
        }
        let members = cluster.state().describe().members;
        assert!(members.iter().all(|member| (17..=23).contains(&member.active)), "{members:?}");
        drop(held);
        settle().await;
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_cluster_nobody_uses_is_small() {
    let model = Arc::new(model(UpstreamProtocol::Http1, &[80]));
    let state = ClusterState::new(Arc::clone(&model));
    let endpoint = size_of::<Endpoint>() + 32;
    assert!(size_of_val(&*state) + size_of_val(&*model) + endpoint < 600);
}
