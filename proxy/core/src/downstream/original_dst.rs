//! original_dst: where a captured connection was going, and whether it may be served.
//!
//! After accept, before TLS; only on listeners that capture. Decided by [`judge`], which is pure, from what the kernel
//! says. A connection that was not captured, or that the proxy made itself, is refused: it would come back for ever.

use crate::{
    io::{Own, Socket},
    telemetry::ConnectionFacts,
};
use pillion_config::model::{Capture, Listener};
use rustix::io::Errno;
use socket2::SockRef;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// What a captured connection was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// Where its client connected to.
    pub destination: SocketAddr,
    /// Who its client is.
    pub client: IpAddr,
}

impl Captured {
    /// Of a connection that came by this listener; `None`: nothing is captured there.
    #[must_use]
    pub fn of(listener: &Listener, facts: &ConnectionFacts) -> Option<Self> {
        let captured = || Self { destination: facts.local, client: facts.direct.ip().to_canonical() };
        (listener.capture != Capture::Off).then(captured)
    }
}

/// What is done with a connection on a listener that captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is served; this is where it was going.
    For(SocketAddr),
    /// It is the proxy's own probe.
    Probe,
    /// It is closed.
    Refused(Refusal),
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its client connected to the listener itself: no rule sent it here.
    NotCaptured,
    /// The proxy made it: no rule leaves the proxy's own traffic alone.
    Loop,
    /// The kernel does not say where it was going.
    Unknown,
    /// It comes in for the admin port, which is for whoever is on this machine alone.
    Admin,
    /// It comes in for the port of the probe, whose answer is for the proxy alone.
    Probe,
}

impl Refusal {
    /// A stable name in snake case: the reason in `pillion_accept_refused_total`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotCaptured => "not_captured",
            Self::Loop => "loop",
            Self::Unknown => "original_dst",
            Self::Admin => "admin",
            Self::Probe => "probe",
        }
    }
}

/// What is known of a connection when it arrives.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    /// Where the kernel says it was going before rules changed that; `None`: it remembers nothing.
    remembered: Option<SocketAddr>,
    /// Its local address now.
    local: SocketAddr,
    /// The port that the listener is bound to.
    port: u16,
    /// The port of the proxy's own probe.
    probe_port: Option<u16>,
    /// The port of the admin address.
    admin_port: Option<u16>,
    /// The ports of probes that other listeners answer.
    closed_probe_ports: &'a [u16],
}

/// Asks the kernel about a connection of a listener that captures.
pub(super) fn arrival(
    listener: &Listener,
    socket: &Socket,
    peer: SocketAddr,
    listening: SocketAddr,
    own: &Own,
) -> Arrival {
    // In memory nothing is captured; TLS comes later.
    let Some(stream) = socket.kernels() else { return Arrival::Refused(Refusal::Unknown) };
    let Ok(local) = stream.local_addr() else { return Arrival::Refused(Refusal::Unknown) };
    let remembered = match listener.capture {
        Capture::Redirect => remembered(stream, local).ok(),
        Capture::Off | Capture::Tproxy | Capture::Agent => None,
    };
    let seen = Seen {
        remembered: remembered.map(plain),
        local: plain(local),
        port: listening.port(),
        probe_port: listener.probe_port,
        admin_port: listener.admin_port,
        closed_probe_ports: &listener.closed_probe_ports,
    };
    match judge(listener.capture, seen, |destination| own.made(peer, destination)) {
        Arrival::For(destination) => Arrival::For(on_its_link(destination, || {
            let told = remembered.into_iter().chain([local, peer]).find_map(interface);
            told.or_else(|| came_in_by(stream))
        })),
        other => other,
    }
}

fn judge(capture: Capture, seen: Seen<'_>, ours: impl FnOnce(SocketAddr) -> bool) -> Arrival {
    let destination = match (capture, seen.remembered) {
        (Capture::Redirect, Some(destination)) if destination == seen.local => {
            return Arrival::Refused(Refusal::NotCaptured);
        }
        (Capture::Redirect, Some(destination)) => destination,
        (Capture::Redirect, None) => return Arrival::Refused(Refusal::Unknown),
        (Capture::Tproxy | Capture::Agent | Capture::Off, _) if seen.local.port() == seen.port => {
            return Arrival::Refused(Refusal::NotCaptured);
        }
        (Capture::Tproxy | Capture::Agent | Capture::Off, _) => seen.local,
    };
    if destination.ip().is_loopback() && Some(destination.port()) == seen.probe_port {
        return Arrival::Probe;
    }
    if Some(destination.port()) == seen.admin_port {
        return Arrival::Refused(Refusal::Admin);
    }
    // Whatever its address: the agent's program gives this port to the listener also where the proxy connects to it.
    let own_probe = capture == Capture::Agent && Some(destination.port()) == seen.probe_port;
    if own_probe || seen.closed_probe_ports.contains(&destination.port()) {
        return Arrival::Refused(Refusal::Probe);
    }
    if ours(destination) { Arrival::Refused(Refusal::Loop) } else { Arrival::For(destination) }
}

/// Where the connection was going before NAT (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`). The kernel answers from
/// connection tracking by the family of the packets: a socket of IPv6 that carries IPv4 is asked as IPv4.
fn remembered(stream: &TcpStream, local: SocketAddr) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let address = if local.ip().to_canonical().is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    Ok(address?.as_socket().ok_or(Errno::AFNOSUPPORT)?)
}

/// A link-local address of IPv6 with its interface, without which it is nowhere (RFC 4007 §6); any other as it is.
fn on_its_link(address: SocketAddr, interface: impl FnOnce() -> Option<u32>) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() => {
            v6.set_scope_id(interface().unwrap_or_default());
            v6.into()
        }
        other => other,
    }
}

/// The interface that stands with an address, which the kernel tells where one end of the packets was link-local: to whom a
/// client with such an address connects is on the same link, whatever rules made of it.
fn interface(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(v6) => Some(v6.scope_id()).filter(|scope| *scope != 0),
        SocketAddr::V4(_) => None,
    }
}

/// The interface by which a connection came in, of which no address tells where its client's is not link-local. The kernel gives
/// it to the socket as that of its multicast (`mcast_oif`, in `tcp_v6_syn_recv_sock`); a TCP socket has no other use for it.
fn came_in_by(stream: &TcpStream) -> Option<u32> {
    SockRef::from(stream).multicast_if_v6().ok().filter(|index| *index != 0)
}

/// IPv4 as such, whatever socket carries it; without what only IPv6 sockets tell.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What the proxy's own probe is answered with where it arrives: which process that is, and by which listener. One that a reload has
/// taken out of use, or moved to another port, may still accept for a moment.
#[must_use]
pub fn probe_answer(token: [u8; 16], listener: &str, port: u16) -> Vec<u8> {
    [&token[..], format!("{port} {listener}").as_bytes()].concat()
}

/// Tells whoever sent the probe that it arrived here. They are the proxy itself, or somebody who learns nothing.
pub(super) async fn answer_probe(mut socket: Socket, answer: Vec<u8>) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let answer = async {
        socket.write_all(&answer).await?;
        socket.shutdown().await
    };
    // A probe that has gone is sent again by whoever needs it.
    drop(timeout(PATIENCE, answer).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn seen<'a>(remembered: Option<&str>, local: &str) -> Seen<'a> {
        Seen {
            remembered: remembered.map(at),
            local: plain(at(local)),
            port: 15001,
            probe_port: Some(15099),
            admin_port: Some(15000),
            closed_probe_ports: &[],
        }
    }

    #[test]
    fn a_captured_connection_is_for_where_it_was_going() {
        use Arrival::{For, Probe, Refused};
        let cases = [
            (Capture::Redirect, Some("10.0.0.7:80"), "127.0.0.1:15001", For(at("10.0.0.7:80"))),
            (Capture::Redirect, Some("[fd00::7]:80"), "[::1]:15001", For(at("[fd00::7]:80"))),
            (Capture::Redirect, Some("127.0.0.1:15001"), "127.0.0.1:15001", Refused(Refusal::NotCaptured)),
            (Capture::Redirect, None, "127.0.0.1:15001", Refused(Refusal::Unknown)),
            (Capture::Redirect, Some("127.0.0.1:15099"), "127.0.0.1:15001", Probe),
            (Capture::Redirect, Some("[::1]:15099"), "[::1]:15001", Probe),
            (Capture::Redirect, Some("10.0.0.7:15099"), "127.0.0.1:15001", For(at("10.0.0.7:15099"))),
            (Capture::Redirect, Some("10.0.0.7:15000"), "10.0.0.7:15001", Refused(Refusal::Admin)),
            (Capture::Tproxy, None, "[fd00::7]:15000", Refused(Refusal::Admin)),
            (Capture::Tproxy, None, "10.0.0.7:80", For(at("10.0.0.7:80"))),
            (Capture::Tproxy, None, "10.0.0.7:15001", Refused(Refusal::NotCaptured)),
            (Capture::Agent, None, "10.0.0.7:80", For(at("10.0.0.7:80"))),
            (Capture::Agent, None, "[::ffff:10.0.0.7]:80", For(at("10.0.0.7:80"))),
            (Capture::Agent, None, "10.0.0.7:15001", Refused(Refusal::NotCaptured)),
            (Capture::Agent, None, "10.0.0.7:15000", Refused(Refusal::Admin)),
            (Capture::Agent, None, "127.0.0.1:15099", Probe),
            (Capture::Agent, None, "[::1]:15099", Probe),
            (Capture::Agent, None, "10.0.0.7:15099", Refused(Refusal::Probe)),
        ];
        for (capture, remembered, local, expected) in cases {
            let got = judge(capture, seen(remembered, local), |_| false);
            assert_eq!(got, expected, "{capture:?} {remembered:?} {local}");
        }
    }

    #[test]
    fn a_link_local_destination_has_its_interface_and_no_other_has_one() {
        let with = |address: &str, interface| on_its_link(plain(at(address)), || interface).to_string();
        assert_eq!(with("[fe80::7]:80", Some(3)), "[fe80::7%3]:80");
        assert_eq!(with("[fe80::7%2]:80", None), "[fe80::7]:80", "nobody knows it");
        for address in ["[fd00::7]:80", "[::1]:80", "10.0.0.7:80"] {
            assert_eq!(with(address, Some(3)), address);
        }
        assert_eq!(interface(at("[fe80::7%2]:80")), Some(2));
        assert_eq!((interface(at("[fd00::7]:80")), interface(at("10.0.0.7:80"))), (None, None));
    }

    #[test]
    fn what_comes_in_does_not_reach_the_probe() {
        let comes_in = |remembered, local| {
            let seen = Seen { probe_port: None, closed_probe_ports: &[15098, 15099], ..seen(remembered, local) };
            judge(if remembered.is_some() { Capture::Redirect } else { Capture::Tproxy }, seen, |_| false)
        };
        for to in ["10.0.0.7:15099", "[fd00::7]:15099", "127.0.0.1:15099"] {
            assert_eq!(comes_in(Some(to), "10.0.0.7:15006"), Arrival::Refused(Refusal::Probe), "{to}");
            assert_eq!(comes_in(None, to), Arrival::Refused(Refusal::Probe), "{to}");
        }
        assert_eq!(comes_in(Some("10.0.0.7:15098"), "10.0.0.7:15006"), Arrival::Refused(Refusal::Probe));
        assert_eq!(comes_in(Some("10.0.0.7:80"), "10.0.0.7:15006"), Arrival::For(at("10.0.0.7:80")));
    }

    #[test]
    fn what_the_proxy_connected_to_does_not_come_back() {
        let looped =
            judge(Capture::Redirect, seen(Some("10.0.0.7:80"), "127.0.0.1:15001"), |to| to == at("10.0.0.7:80"));
        assert_eq!(looped, Arrival::Refused(Refusal::Loop));
    }
}
