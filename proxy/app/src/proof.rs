//! The proof that connections are captured: one of the proxy's own, to a reserved address whose rule stands before the
//! one that leaves its own traffic alone.
//!
//! Beside the path, on the control thread. Rules that are missing, stand in the wrong order, or send connections somewhere
//! else are the same to the applications: their traffic silently passes the proxy by. The listener that gets the probe
//! answers with this process's token; nothing else on the port can.

use crate::control::state::{Interception, State, Unproven};
use pillion_config::model::Config;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};

/// Time for one connection over loopback and its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two tries: rules may be installed after the proxy has started.
const AGAIN: Duration = Duration::from_millis(250);

/// What each process answers a probe with.
pub type Token = [u8; 16];

/// The search for a proof; given up on drop.
#[derive(Debug, Default)]
pub struct Proof {
    running: Option<(Sought, JoinHandle<()>)>,
}

/// What a proof is of.
#[derive(Debug, PartialEq, Eq)]
struct Sought {
    /// Where probes go.
    addresses: Vec<SocketAddr>,
    /// The listeners that capture what goes out.
    listeners: Vec<SocketAddr>,
}

impl Proof {
    /// Seeks what this configuration asks for. What was proven stays so while the same is asked for. Where only the listeners are
    /// others it stays until a probe does not come back: who is served is not turned away for a look that takes a moment.
    pub fn seek(&mut self, config: &Config, state: &Rc<State>, token: Token) {
        let outbound = config.listeners.iter().filter(|listener| listener.probe_port.is_some());
        let listeners = outbound.map(|listener| listener.address).collect();
        let wanted = Sought { addresses: addresses(config, has_ipv6()), listeners };
        let before = self.running.as_ref().map(|(sought, _)| sought);
        if before == Some(&wanted) {
            return;
        }
        let proven = state.interception.get() == Interception::Proven
            && before.is_some_and(|before| before.addresses == wanted.addresses);
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
        if wanted.addresses.is_empty() {
            state.interception.set(Interception::NotNeeded);
            return;
        }
        if !proven {
            state.interception.set(Interception::Unproven(Unproven::Untried));
        }
        let task = spawn_local(prove(wanted.addresses.clone(), Rc::clone(state), token));
        self.running = Some((wanted, task));
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

/// Where probes go: one for each family that the listener takes and the machine has.
fn addresses(config: &Config, ipv6: bool) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for listener in &config.listeners {
        let Some(port) = listener.probe_port else { continue };
        let ip = listener.address.ip();
        if ip.is_ipv4() || ip.is_unspecified() {
            addresses.push((Ipv4Addr::LOCALHOST, port).into());
        }
        if ip.is_ipv6() && ipv6 {
            addresses.push((Ipv6Addr::LOCALHOST, port).into());
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether this machine has IPv6 at all.
fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

async fn prove(addresses: Vec<SocketAddr>, state: Rc<State>, token: Token) {
    let mut told = None;
    come_back(&addresses, token, |address, cause| {
        let unproven = if address.is_ipv4() { Unproven::Ipv4(cause) } else { Unproven::Ipv6(cause) };
        state.interception.set(Interception::Unproven(unproven));
        // Once for each cause: the next look is in a moment.
        if told.replace(unproven) != Some(unproven) {
            tracing::warn!(%address, "not ready: {}", unproven.words());
        }
    })
    .await;
    state.interception.set(Interception::Proven);
    tracing::info!(families = addresses.len(), "connections are captured: a probe of our own arrived");
    state.note_ready();
}

/// Waits until probes come back from all of these in one go: what was proven of one family before the other's rules came
/// may be gone with them. `missing` is told of each that does not.
async fn come_back(addresses: &[SocketAddr], token: Token, mut missing: impl FnMut(SocketAddr, Cause)) {
    'all: loop {
        for &address in addresses {
            if let Err(cause) = probe(address, token).await {
                missing(address, cause);
                sleep(AGAIN).await;
                continue 'all;
            }
        }
        return;
    }
}

/// Why a probe proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody listens there: the connection went where it was going.
    Refused,
    /// Somebody else answered.
    Other,
    /// Nobody answered in time.
    Silent,
    /// It could not be sent at all.
    Failed,
}

async fn probe(address: SocketAddr, token: Token) -> Result<(), Cause> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::Refused,
            _ => Cause::Failed,
        })?;
        let mut answer = Token::default();
        stream.read_exact(&mut answer).await.map_err(|_| Cause::Other)?;
        if answer == token { Ok(()) } else { Err(Cause::Other) }
    };
    timeout(PATIENCE, answer).await.unwrap_or(Err(Cause::Silent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        pillion_config::parse(&pillion_config::SourceName::new("t.yaml"), text, &none).unwrap().config
    }

    #[test]
    fn each_family_that_is_captured_is_probed() {
        let listener = |address: &str, more: &str| {
            config(&format!(
                "listeners: [{{name: a, address: '{address}', tcp: {{cluster: c}}, {more}}}]\n\
                 clusters: [{{name: c, endpoints: ['10.0.0.7:80']}}]"
            ))
        };
        let both = listener("[::]:15001", "direction: outbound, capture: redirect");
        assert_eq!(addresses(&both, true), ["127.0.0.1:15099".parse().unwrap(), "[::1]:15099".parse().unwrap()]);
        assert_eq!(addresses(&both, false), ["127.0.0.1:15099".parse().unwrap()]);
        let four = listener("0.0.0.0:15001", "direction: outbound, capture: redirect");
        assert_eq!(addresses(&four, true), ["127.0.0.1:15099".parse().unwrap()]);
        for none in ["direction: inbound, capture: redirect", "direction: outbound"] {
            assert_eq!(addresses(&listener("[::]:15001", none), true), []);
        }
    }

    #[tokio::test]
    async fn a_family_that_was_proven_is_asked_again_when_the_other_comes() {
        let token = [7; 16];
        let listen = async |address: &str| tokio::net::TcpListener::bind(address).await.unwrap();
        let (one, other) = (listen("127.0.0.1:0").await, listen("127.0.0.1:0").await);
        let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
        // The other is not there yet.
        drop(other);
        let answer = async |listener: &tokio::net::TcpListener| {
            let (mut stream, _) = listener.accept().await.unwrap();
            // One that came too late has gone.
            tokio::io::AsyncWriteExt::write_all(&mut stream, &token).await.ok();
        };
        let rules = async {
            answer(&one).await;
            // It comes, and the first goes for a while.
            drop(one);
            let other = listen(&addresses[1].to_string()).await;
            let one = listen(&addresses[0].to_string()).await;
            answer(&one).await;
            loop {
                tokio::select! {
                    () = answer(&one) => {}
                    () = answer(&other) => {}
                }
            }
        };
        let proven = async {
            tokio::select! {
                () = come_back(&addresses, token, |_, _| {}) => {}
                () = rules => {}
            }
        };
        timeout(Duration::from_secs(30), proven).await.expect("both are asked again");
    }

    #[tokio::test]
    async fn only_the_token_is_a_proof() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = |answer: &'static [u8]| {
            let listener = &listener;
            async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            }
        };
        for (answer, proven) in
            [(&[7; 16][..], Ok(())), (&[8; 16][..], Err(Cause::Other)), (b"HTTP/1.1 400", Err(Cause::Other))]
        {
            let (got, ()) = tokio::join!(probe(address, [7; 16]), answering(answer));
            assert_eq!(got, proven);
        }
        drop(listener);
        assert_eq!(probe(address, [7; 16]).await, Err(Cause::Refused));
    }
}
