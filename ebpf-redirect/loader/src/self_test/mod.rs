//! The self-test: what a socket must still do when it is in the map, tried on private pairs on loopback.
//!
//! Known faults of kernels come and go between stable releases, so no version is believed: every property is tried inside
//! the real programs, before anything else is enrolled. The pairs are enrolled by a port that only this test uses, in its own
//! network namespace, and by programs that see nothing else.
//!
//! Everything here waits for a bounded time; a property that does not hold in it has failed.

mod pair;
mod properties;

use crate::{causes::Causes, maps::Maps, sys};
use aya::maps::MapError;
use redirect_common::{Identity, identity, port};
use std::{fmt, io, iter};

/// A property that sockets in the map must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// Both ends are enrolled, and messages are redirected.
    Redirect,
    /// FIONREAD tells how much can be read.
    Fionread,
    /// Edge-triggered epoll wakes for data, again for more, and for the end.
    PollEdge,
    /// MSG_PEEK shows data and leaves it.
    Peek,
    /// splice(2) takes data out of the socket.
    Splice,
    /// A reader that sleeps in recv(2) is woken by data and by the end.
    Sleeping,
    /// A reader that sleeps in recv(2) sleeps on when another thread's send(2) on the same socket gets room.
    Duplex,
    /// recv(MSG_WAITALL) waits until all it asks for is there.
    WaitAll,
    /// Data sent before accept(2) arrives first, and in order with what TCP carried.
    Order,
    /// Whether redirected bytes were read is told to the end that the proxy would have.
    Held,
    /// Either side can end its direction and go on reading.
    HalfClose,
    /// Ten MB each way, at once, arrive whole.
    Integrity,
    /// A reader that does not read makes its sender wait, within bounded memory.
    SlowReader,
    /// A closed end is seen, and both leave the map.
    Close,
}

/// All of them, in the order they are tried.
pub const PROPERTIES: &[Property] = &[
    Property::Redirect,
    Property::Fionread,
    Property::PollEdge,
    Property::Peek,
    Property::Splice,
    Property::Sleeping,
    Property::Duplex,
    Property::WaitAll,
    Property::Order,
    Property::Held,
    Property::HalfClose,
    Property::Integrity,
    Property::SlowReader,
    Property::Close,
];

impl Property {
    /// Its name, in reports and in what an operator may waive.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Fionread => "fionread",
            Self::PollEdge => "poll_edge",
            Self::Peek => "peek",
            Self::Splice => "splice",
            Self::Sleeping => "sleeping",
            Self::Duplex => "duplex",
            Self::WaitAll => "wait_all",
            Self::Order => "order",
            Self::Held => "held",
            Self::HalfClose => "half_close",
            Self::Integrity => "integrity",
            Self::SlowReader => "slow_reader",
            Self::Close => "close",
        }
    }

    /// Whether an application may be known to do without it. What is left is correctness itself.
    #[must_use]
    pub const fn may_be_waived(self) -> bool {
        matches!(self, Self::Fionread | Self::Peek | Self::Splice | Self::Duplex | Self::WaitAll)
    }

    /// The property of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PROPERTIES.iter().copied().find(|property| property.name() == name)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a property came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub property: Property,
    /// What went wrong; `None`: it holds.
    pub failure: Option<String>,
}

/// How the self-test came out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Each property that was tried.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Why these programs are not attached where only `waived` may fail.
    #[must_use]
    pub fn declined(&self, waived: &[Property]) -> Option<Declined> {
        let failed = || self.outcomes.iter().filter(|outcome| outcome.failure.is_some());
        let mut others = failed().filter(|outcome| !waived.contains(&outcome.property)).cloned();
        let outcome = others.next()?;
        Some(Declined { outcome, others: others.collect(), waive: failed().map(|outcome| outcome.property).collect() })
    }
}

/// What failed and is not waived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The first of them.
    pub outcome: Outcome,
    /// The others.
    pub others: Vec<Outcome>,
    /// All that would have to be waived, what is waived already included.
    pub waive: Vec<Property>,
}

/// All of it, and the remedy where there is one: who is told of one at a time tries as often as there are.
impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in iter::once(&self.outcome).chain(&self.others) {
            write!(f, "{}: {}; ", outcome.property, outcome.failure.as_deref().unwrap_or("no reason"))?;
        }
        let names = |properties: &mut dyn Iterator<Item = &Property>| {
            properties.map(|property| property.name()).collect::<Vec<_>>().join(",")
        };
        let serious = names(&mut self.waive.iter().filter(|property| !property.may_be_waived()));
        if serious.is_empty() {
            let waive = names(&mut self.waive.iter());
            write!(
                f,
                "where no application needs what failed, `--waive {waive}` (in a configuration `waive: [{waive}]`) attaches all the same"
            )
        } else {
            write!(f, "{serious} cannot be waived")
        }
    }
}

/// Why the test could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// No listener on loopback.
    #[error("the self-test cannot use loopback: {0}; is `lo` up in this network namespace?")]
    Loopback(io::Error),
    /// Which network namespace this is.
    #[error("the self-test cannot tell its network namespace by SO_NETNS_COOKIE (Linux 5.14): {0}")]
    Namespace(io::Error),
    /// The maps.
    #[error("the self-test cannot use the maps: {}", Causes(.0))]
    Map(#[from] MapError),
}

/// Runs it. The programs are attached to a cgroup that this process is in.
pub(crate) fn run(maps: &mut Maps) -> Result<Report, SelfTestError> {
    let listener = pair::listener().map_err(SelfTestError::Loopback)?;
    let number = listener.local_addr().map_err(SelfTestError::Loopback)?.port();
    let namespace = sys::netns_cookie().map_err(SelfTestError::Namespace)?;
    let tester = Identity { kind: identity::TESTER, zero: 0, number: namespace };
    maps.proxies.insert(tester, 1, 0)?;
    maps.ports.insert(u32::from(number), port::SELF_TEST, 0)?;
    let mut report = Report::default();
    for property in PROPERTIES {
        let failure = properties::hold(*property, &listener, maps).err().map(|failure| failure.to_string());
        let broken = failure.is_some() && *property == Property::Redirect;
        report.outcomes.push(Outcome { property: *property, failure });
        if broken {
            // Nothing is redirected: what the others would show is TCP.
            break;
        }
    }
    maps.ports.remove(&u32::from(number))?;
    maps.proxies.remove(&tester)?;
    Ok(report)
}
