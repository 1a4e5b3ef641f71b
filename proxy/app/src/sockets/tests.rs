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

/// What the agent's programs were told, in place of ones: whose socket, whether it listened already, and what is left out.
mod agent {
    use super::*;
    use crate::sockets::claims::Teller;
    use pillion_config::model::Config;
    use redirect::inbound::Claim;
    use std::{
        cell::{Cell, RefCell},
        os::fd::{AsRawFd, BorrowedFd},
    };

    thread_local! {
        static THERE: Cell<bool> = const { Cell::new(false) };
        static TOLD: RefCell<Vec<(u16, bool, Vec<u16>)>> = const { RefCell::new(Vec::new()) };
    }

    fn agent(socket: BorrowedFd<'_>, claim: &Claim) -> io::Result<()> {
        if !THERE.get() {
            return Err(Errno::NOPROTOOPT.into());
        }
        assert!(socket.as_raw_fd() > 0);
        let socket = socket2::SockRef::from(&socket);
        let port = socket.local_addr()?.as_socket().unwrap().port();
        let excluded = claim.excluded[..usize::from(claim.count)].to_vec();
        TOLD.with_borrow_mut(|told| told.push((port, socket.is_listener().unwrap(), excluded)));
        Ok(())
    }

    fn config(text: &str) -> Config {
        let none = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
        let text = format!("{text}\nclusters: [{{name: c, endpoints: ['127.0.0.1:1']}}]");
        pillion_config::parse(&pillion_config::SourceName::new("t.yaml"), &text, &none).unwrap().config
    }

    const CAPTURED: &str = "{name: in, address: '127.0.0.1:0', capture: agent, tcp: {cluster: c}}";

    fn commit(sockets: &mut Sockets, config: &Config, count: usize) -> Vec<Vec<Handed>> {
        let plan = sockets.plan(&config.listeners, workers(count)).unwrap();
        sockets.commit(plan, workers(count)).unwrap()
    }

    fn sockets() -> Sockets {
        Sockets { claim: agent, ..Sockets::default() }
    }

    fn port_of(sockets: &Sockets, name: &str) -> u16 {
        let addresses = sockets.addresses();
        addresses.iter().find(|(known, _)| known.as_str() == name).unwrap().1.port()
    }

    #[test]
    fn nobody_is_let_in_before_the_agent_knows_and_then_by_every_worker() {
        for count in [1, 3] {
            let config =
                config(&format!("listeners: [{CAPTURED}, {{name: b, address: '127.0.0.1:0', tcp: {{cluster: c}}}}]"));
            let mut sockets = sockets();
            let handed = commit(&mut sockets, &config, count);
            assert!(handed.iter().all(|handed| handed.len() == 1 && handed[0].name.as_str() == "b"));
            THERE.set(false);
            let claims = sockets.claim(&config, workers(count));
            assert!(matches!(claims.waiting, Some(Unclaimed::NoAgent(_))), "{claims:?}");
            assert!(claims.handed.iter().all(Vec::is_empty));
            let at = ("127.0.0.1", port_of(&sockets, "in"));
            assert_eq!(TcpStream::connect(at).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(sockets.listening().len(), 1);
            // It comes.
            THERE.set(true);
            TOLD.take();
            let claims = sockets.claim(&config, workers(count));
            assert!(claims.waiting.is_none(), "{claims:?}");
            assert!(claims.handed.iter().all(|handed| handed.len() == 1), "{claims:?}");
            assert_eq!(TOLD.take(), vec![(at.1, false, vec![]); count], "before they listen, or nobody is told");
            TcpStream::connect(at).unwrap();
            assert_eq!(sockets.listening().len(), 2);
            // Neither a look nor a reload that changes nothing tells it again, or hands them out twice.
            assert!(commit(&mut sockets, &config, count).iter().all(Vec::is_empty));
            assert!(sockets.claim(&config, workers(count)).handed.iter().all(Vec::is_empty));
            assert_eq!(TOLD.take(), vec![]);
        }
    }

    #[test]
    fn who_does_not_take_a_claim_is_told_from_nobody() {
        let config = config(&format!("listeners: [{CAPTURED}]"));
        let refusals: [(Teller, &str); 4] = [
            (|_, _| Err(Errno::NOPROTOOPT.into()), "no agent of this node captures"),
            (|_, _| Err(Errno::PERM.into()), "the node's agent refuses"),
            (|_, _| Err(Errno::NOSPC.into()), "the node's agent has no room for another claim"),
            (|_, _| Err(Errno::NOMEM.into()), "cannot listen for what the node's agent captures"),
        ];
        for (claim, words) in refusals {
            let mut sockets = Sockets { claim, ..Sockets::default() };
            let _handed = commit(&mut sockets, &config, 1);
            let claims = sockets.claim(&config, workers(1));
            assert!(claims.waiting.is_some_and(|why| why.to_string().contains(words)), "{words}");
            assert!(sockets.listening().is_empty());
        }
    }

    #[test]
    fn what_is_left_out_is_said_anew_when_it_changes() {
        THERE.set(true);
        let with = |more: &str| {
            config(&format!(
                "capture: {{exclude_inbound_ports: [{more}]}}\nadmin: {{probes: '0.0.0.0:15020'}}\nlisteners: [{CAPTURED}, \
                 {{name: b, address: '0.0.0.0:0', tcp: {{cluster: c}}}}, {{name: l, address: '127.0.0.1:0', tcp: {{cluster: c}}}}]"
            ))
        };
        let mut sockets = sockets();
        let before = with("9100, 22");
        let _handed = commit(&mut sockets, &before, 1);
        let _claims = sockets.claim(&before, workers(1));
        let (port, reached) = (port_of(&sockets, "in"), port_of(&sockets, "b"));
        let sorted = |mut ports: Vec<u16>| {
            ports.sort_unstable();
            ports
        };
        assert_eq!(TOLD.take(), [(port, false, sorted(vec![22, 9100, 15020, reached]))], "none of loopback alone");
        let after = with("22");
        assert!(commit(&mut sockets, &after, 1)[0].is_empty());
        assert!(sockets.claim(&after, workers(1)).handed[0].is_empty());
        assert_eq!(TOLD.take(), [(port, true, sorted(vec![22, 15020, reached]))]);
        // An agent that has gone since does not hear of a change; it is told when it is there again.
        THERE.set(false);
        let _handed = commit(&mut sockets, &before, 1);
        assert!(matches!(sockets.claim(&before, workers(1)).waiting, Some(Unclaimed::NoAgent(_))));
        THERE.set(true);
        assert!(sockets.claim(&before, workers(1)).waiting.is_none());
        assert_eq!(TOLD.take(), [(port, true, sorted(vec![22, 9100, 15020, reached]))]);
    }

    #[test]
    fn a_socket_that_listens_is_bound_anew_for_the_agent_and_for_anybody_else() {
        THERE.set(true);
        let free = std::net::TcpListener::bind(anywhere()).unwrap().local_addr().unwrap();
        let config = |capture: &str| {
            config(&format!("listeners: [{{name: in, address: '{free}', capture: {capture}, tcp: {{cluster: c}}}}]"))
        };
        let (off, agent) = (config("off"), config("agent"));
        let mut sockets = sockets();
        let _before = commit(&mut sockets, &off, 2);
        assert!(commit(&mut sockets, &agent, 2).iter().all(Vec::is_empty));
        let claims = sockets.claim(&agent, workers(2));
        assert!(claims.handed.iter().all(|handed| handed.len() == 1), "{claims:?}");
        assert_eq!(TOLD.take(), vec![(free.port(), false, vec![]); 2]);
        assert!(commit(&mut sockets, &off, 2).iter().all(|handed| handed.len() == 1));
        // Where the agent has forgotten, too, with what listens before.
        let _off_again = commit(&mut sockets, &agent, 2);
        let listening = sockets.claim(&agent, workers(2));
        TOLD.take();
        sockets.bind_anew().unwrap();
        TcpStream::connect(free).expect("the workers still listen");
        let claims = sockets.claim(&agent, workers(2));
        assert!(claims.handed.iter().all(|handed| handed.len() == 1), "{claims:?}");
        assert_eq!(TOLD.take(), vec![(free.port(), false, vec![]); 2]);
        drop(listening);
        TcpStream::connect(free).expect("the new ones listen");
    }
}
