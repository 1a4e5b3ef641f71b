//! The proof that connections are captured: one of the proxy's own, to a reserved address whose rule stands before the
//! one that leaves its own traffic alone.
//!
//! Beside the path, on the control thread. Rules that are missing, stand in the wrong order, or send connections somewhere
//! else are the same to the applications: their traffic silently passes the proxy by. The listener that gets the probe
//! answers with this process's token, its port and its name; nothing else on the port can, and no listener that has gone does. Of what goes out such a probe is redirected by the rule or
//! program that redirects the application's connections; of what comes in, where a node's agent captures, it is given to the
//! listener by the program that gives it the others. What comes in by rules of the kernel cannot be proved so.

use crate::control::state::{Claim, Interception, State, Unproven};
use pillion_config::model::{Capture, Config, Name, Prove};
use pillion_core::downstream::original_dst::probe_answer;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::Notify,
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};

/// Time for one connection over loopback and its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two looks whether what comes in is still captured: programs have gone that an operator took away, or another
/// release put its own in the place of. Nobody but the proxy can tell, and each look is a connection over loopback.
const LOOK: Duration = Duration::from_secs(10);
/// Time between two tries: rules may be installed after the proxy has started.
const AGAIN: Duration = Duration::from_millis(250);

/// The agent sees a claim in a moment, and what is missing until then is no news.
const MOMENT: Duration = Duration::from_secs(2);

/// What each process answers a probe with.
pub type Token = [u8; 16];

/// What a probe may be answered with.
type Answers = Vec<Vec<u8>>;

/// Bytes of an answer at most: listeners have names of their own choosing.
const MAX_ANSWER: u64 = 4096;

/// The search for a proof; given up on drop.
#[derive(Debug, Default)]
pub struct Proof {
    /// Told when what was proven of what comes in holds no more.
    lost: Rc<Notify>,
    running: Option<(Sought, JoinHandle<()>)>,
}

/// What a proof is of.
#[derive(Debug, PartialEq, Eq)]
struct Sought {
    probes: Vec<Probe>,
    /// The listeners that capture and can be asked: one of another name has another socket, which nothing captures for yet.
    listeners: Vec<(Name, SocketAddr)>,
}

/// A connection that proves something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Probe {
    to: SocketAddr,
    way: Way,
}

impl Probe {
    fn missing(self, cause: Cause) -> Unproven {
        let family = if self.to.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        Unproven::Missing(self.way, family, cause)
    }
}

/// Whose capture a probe stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Of the connections that come in.
    Inbound,
    /// Of those that go out.
    Outbound,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named for what they are")]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Proof {
    /// Seeks what this configuration asks for. What was proven stays so while the same is asked for. Where only the listeners are
    /// others it stays until a probe does not come back: who is served is not turned away for a look that takes a moment.
    pub fn seek(&mut self, config: &Config, state: &Rc<State>, token: Token) {
        let captures = config.listeners.iter().filter(|listener| listener.probe_port.is_some());
        let wanted = Sought {
            probes: probes(config, has_ipv6(), state.claim.get()),
            listeners: captures.map(|listener| (listener.name.clone(), listener.address)).collect(),
        };
        let before = self.running.as_ref().map(|(sought, _)| sought);
        if before == Some(&wanted) {
            return;
        }
        let proven = state.interception.get() == Interception::Proven
            && before.is_some_and(|before| before.probes == wanted.probes);
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
        if wanted.probes.is_empty() {
            state.interception.set(Interception::NotNeeded);
            return;
        }
        if !proven {
            state.interception.set(Interception::Unproven(Unproven::Untried));
        }
        let answers =
            wanted.listeners.iter().map(|(name, address)| probe_answer(token, name.as_str(), address.port())).collect();
        let task = spawn_local(prove(wanted.probes.clone(), Rc::clone(state), answers, Rc::clone(&self.lost)));
        self.running = Some((wanted, task));
    }

    /// Waits until what comes in is captured no more. Cancel-safe.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

/// What is sent: one probe for each family that a listener takes and the machine has. Of what comes in there is none before
/// the agent knows where to; nor then of what goes out, which it takes of who has claimed alone: that rules are missing would be no news.
fn probes(config: &Config, ipv6: bool, claim: Claim) -> Vec<Probe> {
    let mut probes = Vec::new();
    if claim != Claim::Made && config.listeners.iter().any(|listener| listener.capture == Capture::Agent) {
        return probes;
    }
    for listener in &config.listeners {
        let Some(port) = listener.probe_port.filter(|_| config.capture.prove == Prove::Required) else { continue };
        let ip = listener.address.ip();
        let way = if listener.capture == Capture::Agent { Way::Inbound } else { Way::Outbound };
        // Where it is bound to is nothing to a program that gives connections to the socket itself.
        let any = match way {
            Way::Inbound => true,
            Way::Outbound => ip.is_unspecified(),
        };
        if ip.is_ipv4() || any {
            probes.push(Probe { to: (Ipv4Addr::LOCALHOST, port).into(), way });
        }
        if ip.is_ipv6() && ipv6 {
            probes.push(Probe { to: (Ipv6Addr::LOCALHOST, port).into(), way });
        }
    }
    probes.sort_unstable();
    probes.dedup();
    probes
}

/// Whether this machine has IPv6 at all.
fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

async fn prove(probes: Vec<Probe>, state: Rc<State>, answers: Answers, lost: Rc<Notify>) {
    let inbound: Vec<Probe> = probes.iter().copied().filter(|probe| probe.way == Way::Inbound).collect();
    loop {
        let (mut told, began) = (None, Instant::now());
        come_back(&probes, &answers, |sent, cause| {
            let unproven = sent.missing(cause);
            state.interception.set(Interception::Unproven(unproven));
            if sent.way == Way::Inbound && began.elapsed() < MOMENT {
                return;
            }
            // Once for each cause: the next look is in a moment.
            if told.replace(unproven) != Some(unproven) {
                tracing::warn!(address = %sent.to, "not ready: {}", unproven.words());
            }
        })
        .await;
        state.interception.set(Interception::Proven);
        tracing::info!(probes = probes.len(), "connections are captured: a probe of our own arrived");
        state.note_ready();
        let (gone, cause) = stays_away(&inbound, &answers, LOOK).await;
        state.interception.set(Interception::Unproven(gone.missing(cause)));
        state.said_ready.set(false);
        tracing::error!(address = %gone.to, "what comes in is captured no more");
        lost.notify_one();
    }
}

/// Waits until one of these probes, which came back before, finds nobody. An answer that is late says nothing, since a proxy
/// without CPU gives none; nor does another's, with whom the port may be shared.
async fn stays_away(probes: &[Probe], answers: &Answers, every: Duration) -> (Probe, Cause) {
    if probes.is_empty() {
        return std::future::pending().await;
    }
    loop {
        sleep(every).await;
        for &sent in probes {
            if let Err(cause @ Cause::Refused) = probe(sent.to, answers).await {
                return (sent, cause);
            }
        }
    }
}

/// Waits until probes come back from all of these in one go: what was proven of one family before the other's rules came
/// may be gone with them. `missing` is told of each that does not.
async fn come_back(probes: &[Probe], answers: &Answers, mut missing: impl FnMut(Probe, Cause)) {
    'all: loop {
        for &sent in probes {
            if let Err(cause) = probe(sent.to, answers).await {
                missing(sent, cause);
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

async fn probe(address: SocketAddr, answers: &Answers) -> Result<(), Cause> {
    let answer = async {
        let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::Refused,
            _ => Cause::Failed,
        })?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(|_| Cause::Other)?;
        if answers.contains(&answer) { Ok(()) } else { Err(Cause::Other) }
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
        let sent = |config: &Config, ipv6, claim| {
            probes(config, ipv6, claim).into_iter().map(|probe| (probe.to.to_string(), probe.way)).collect::<Vec<_>>()
        };
        let over = |addresses: &[&str], way| addresses.iter().map(|to| ((*to).to_owned(), way)).collect::<Vec<_>>();
        let both = listener("[::]:15001", "direction: outbound, capture: redirect");
        for claim in [Claim::Made, Claim::NoAgent] {
            assert_eq!(sent(&both, true, claim), over(&["127.0.0.1:15099", "[::1]:15099"], Way::Outbound));
        }
        assert_eq!(sent(&both, false, Claim::Made), over(&["127.0.0.1:15099"], Way::Outbound));
        let four = listener("0.0.0.0:15001", "direction: outbound, capture: redirect");
        assert_eq!(sent(&four, true, Claim::Made), over(&["127.0.0.1:15099"], Way::Outbound));
        for none in ["direction: inbound, capture: redirect", "direction: outbound"] {
            assert_eq!(sent(&listener("[::]:15001", none), true, Claim::Made), []);
        }
        for address in ["[::]:15006", "[::1]:15006"] {
            let agent = listener(address, "capture: agent");
            assert_eq!(
                sent(&agent, true, Claim::Made),
                over(&["127.0.0.1:15098", "[::1]:15098"], Way::Inbound),
                "{address}"
            );
            assert_eq!(sent(&agent, true, Claim::NoAgent), [], "nobody knows where to");
        }
        assert_eq!(
            sent(&listener("127.0.0.1:15006", "capture: agent"), true, Claim::Made),
            over(&["127.0.0.1:15098"], Way::Inbound)
        );
        let text = "capture: {prove: false}\n\
                    listeners: [{name: a, address: '[::]:15006', tcp: {cluster: c}, capture: agent}]\n\
                    clusters: [{name: c, endpoints: ['10.0.0.7:80']}]";
        assert_eq!(sent(&config(text), true, Claim::Made), []);
        // Both by an agent, which takes nothing of who has not claimed.
        let text = "listeners: [{name: a, address: '0.0.0.0:15006', tcp: {cluster: c}, capture: agent},\n\
                    \x20           {name: b, address: '0.0.0.0:15001', tcp: {cluster: c}, direction: outbound, capture: redirect}]\n\
                    clusters: [{name: c, endpoints: ['10.0.0.7:80']}]";
        let sent_of = |claim| sent(&config(text), false, claim).into_iter().map(|(to, _)| to).collect::<Vec<_>>();
        assert_eq!(sent_of(Claim::NoAgent), [""; 0]);
        assert_eq!(sent_of(Claim::Made), ["127.0.0.1:15098", "127.0.0.1:15099"]);
    }

    #[tokio::test]
    async fn a_family_that_was_proven_is_asked_again_when_the_other_comes() {
        let (token, answers) = (vec![7; 16], vec![vec![7; 16]]);
        let listen = async |address: &str| tokio::net::TcpListener::bind(address).await.unwrap();
        let (one, other) = (listen("127.0.0.1:0").await, listen("127.0.0.1:0").await);
        let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
        let probes = addresses.map(|to| Probe { to, way: Way::Outbound });
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
                () = come_back(&probes, &answers, |_, _| {}) => {}
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
        let answers = vec![probe_answer([b'7'; 16], "out", 15_001)];
        for (answer, proven) in [
            (&b"777777777777777715001 out"[..], Ok(())),
            (b"888888888888888815001 out", Err(Cause::Other)),
            // Ones of this process that are not what is asked for any more.
            (b"777777777777777715002 out", Err(Cause::Other)),
            (b"777777777777777715001 before", Err(Cause::Other)),
            (b"7777777777777777", Err(Cause::Other)),
            (b"HTTP/1.1 400", Err(Cause::Other)),
        ] {
            let (got, ()) = tokio::join!(probe(address, &answers), answering(answer));
            assert_eq!(got, proven);
        }
        drop(listener);
        assert_eq!(probe(address, &answers).await, Err(Cause::Refused));
    }

    #[tokio::test]
    async fn what_comes_in_is_looked_at_again_and_missed_when_nobody_is_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let (token, expected) = ([7; 16], vec![vec![7; 16]]);
        let answers = async {
            // Itself, one that says nothing for too long, and another one that shares the port.
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &token).await.unwrap();
            drop(stream);
            let (silent, _) = listener.accept().await.unwrap();
            let (mut other, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut other, &[8; 16]).await.unwrap();
            drop((silent, listener));
        };
        let (sent, often) = (Probe { to, way: Way::Inbound }, Duration::from_millis(10));
        let looked = [sent];
        let (gone, ()) = tokio::join!(stays_away(&looked, &expected, often), answers);
        assert_eq!(gone, (sent, Cause::Refused));
    }
}
