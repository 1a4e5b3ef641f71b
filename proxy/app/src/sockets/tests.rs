use super::*;
use pillion_config::simple;
use std::{collections::HashMap, io::Read, net::TcpStream};

fn workers(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn listener(name: &str, address: SocketAddr, sharing: PortSharing) -> Arc<Listener> {
    let config = simple(address, "127.0.0.1:1").unwrap();
    let mut listener = Listener::clone(&config.listeners[0]);
    listener.name = Name(name.into());
    listener.port_sharing = sharing;
    Arc::new(listener)
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn commit(sockets: &mut Sockets, listeners: &[Arc<Listener>], count: usize) -> Vec<Vec<Handed>> {
    let plan = sockets.plan(listeners, workers(count)).unwrap();
    sockets.commit(plan, workers(count)).unwrap()
}

#[test]
fn a_second_instance_is_refused_and_told_what_to_do() {
    for count in [1, 3] {
        let mut first = Sockets::default();
        let _handed = commit(&mut first, &[listener("web", anywhere(), PortSharing::Exclusive)], count);
        let taken = first.addresses()[0].1;
        let again = Sockets::default().plan(&[listener("web", taken, PortSharing::Exclusive)], workers(count));
        let error = again.unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("share_port: true"), "{error}");
    }
}

#[test]
fn a_shared_port_is_shared_only_by_those_who_both_want_it() {
    let mut first = Sockets::default();
    let _handed = commit(&mut first, &[listener("web", anywhere(), PortSharing::Shared)], 2);
    let taken = first.addresses()[0].1;
    assert!(Sockets::default().plan(&[listener("web", taken, PortSharing::Exclusive)], workers(2)).is_err());
    assert!(Sockets::default().plan(&[listener("web", taken, PortSharing::Shared)], workers(2)).is_ok());
}

#[test]
fn connections_are_spread_over_all_workers() {
    let mut sockets = Sockets::default();
    let handed = commit(&mut sockets, &[listener("web", anywhere(), PortSharing::Exclusive)], 4);
    let address = sockets.addresses()[0].1;
    let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut accepted = HashMap::new();
    for (worker, sockets) in handed.iter().enumerate() {
        while sockets[0].socket.accept().is_ok() {
            *accepted.entry(worker).or_insert(0) += 1;
        }
    }
    assert_eq!(accepted.values().sum::<usize>(), clients.len());
    assert_eq!(accepted.len(), 4, "{accepted:?}");
    assert!(accepted.values().all(|count| *count >= 10), "{accepted:?}");
}

#[test]
fn a_plan_that_fails_changes_nothing() {
    let mut sockets = Sockets::default();
    let web = listener("web", anywhere(), PortSharing::Exclusive);
    let _handed = commit(&mut sockets, std::slice::from_ref(&web), 1);
    let other = std::net::TcpListener::bind(anywhere()).unwrap();
    let taken = listener("api", other.local_addr().unwrap(), PortSharing::Exclusive);
    let before = sockets.addresses();
    assert!(sockets.plan(&[web, taken], workers(1)).is_err());
    assert_eq!(sockets.addresses(), before);
    TcpStream::connect(before[0].1).unwrap();
}

#[test]
fn a_listener_keeps_its_socket_while_its_address_stays() {
    let mut sockets = Sockets::default();
    let web = listener("web", anywhere(), PortSharing::Exclusive);
    let handed = commit(&mut sockets, std::slice::from_ref(&web), 1);
    let address = sockets.addresses()[0].1;
    let waiting = TcpStream::connect(address).unwrap();

    let again = commit(&mut sockets, std::slice::from_ref(&web), 1);
    assert!(again[0].is_empty(), "the worker has it already");
    assert_eq!(sockets.addresses()[0].1, address);

    let renamed = commit(&mut sockets, &[listener("site", anywhere(), PortSharing::Exclusive)], 1);
    drop(handed);
    let (mut accepted, _) = renamed[0][0].socket.accept().expect("the queue was carried over");
    drop(waiting);
    assert_eq!(accepted.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn two_listeners_on_port_zero_stay_two() {
    let mut sockets = Sockets::default();
    let both = [listener("a", anywhere(), PortSharing::Exclusive), listener("b", anywhere(), PortSharing::Exclusive)];
    let _handed = commit(&mut sockets, &both, 1);
    let before = sockets.addresses();
    assert_ne!(before[0].1, before[1].1);
    assert!(commit(&mut sockets, &both, 1)[0].is_empty());
    assert_eq!(sockets.addresses(), before);
}

#[test]
fn a_released_listener_refuses_once_the_worker_lets_go() {
    let mut sockets = Sockets::default();
    let handed = commit(&mut sockets, &[listener("web", anywhere(), PortSharing::Exclusive)], 2);
    let address = sockets.addresses()[0].1;
    sockets.release();
    TcpStream::connect(address).expect("the workers still listen");
    drop(handed);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_listener_may_widen_its_address_while_it_runs() {
    let mut sockets = Sockets::default();
    let _narrow = commit(&mut sockets, &[listener("web", anywhere(), PortSharing::Exclusive)], 2);
    let wide = SocketAddr::from(([0, 0, 0, 0], sockets.addresses()[0].1.port()));
    let handed = commit(&mut sockets, &[listener("web", wide, PortSharing::Exclusive)], 2);
    assert_eq!((handed[0].len(), sockets.addresses()[0].1), (1, wide));
}

#[test]
fn every_address_includes_ipv4() {
    let mut sockets = Sockets::default();
    let any = "[::]:0".parse().unwrap();
    let Ok(plan) = sockets.plan(&[listener("web", any, PortSharing::Exclusive)], workers(1)) else {
        panic!("this machine has no IPv6: the test cannot run");
    };
    let _handed = sockets.commit(plan, workers(1)).unwrap();
    TcpStream::connect(("127.0.0.1", sockets.addresses()[0].1.port())).unwrap();
}
