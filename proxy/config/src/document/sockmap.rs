//! Loopback traffic past the kernel's TCP path.

use super::{Bytes, Field, FilePath, Int, List, Scalar, Text, fields, words};
use crate::model::{Cidr, Name};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;

/// Loopback traffic past the kernel's TCP path: connections between this proxy and what runs beside it are handed from socket to socket by eBPF, once a self-test on this node has shown that the kernel does it well. Needs root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and write access to `pillion` below the BPF file system (`pillion redirect probe` tells); where anything is missing the proxy runs without and says so once. A proxy without privileges writes `by: agent` and has `pillion redirect agent` do it.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct LoopbackRedirect {
    /// Who attaches the programs. `proxy`: this process; `agent`: `pillion redirect agent` beside it, and of the rest of this section only `instance` counts, as whose state `/redirect` shows.
    pub by: Field<RedirectBy>,
    /// The name of the pins under bpffs, where several proxies share a node.
    pub instance: Text<Name>,
    /// The directory of the cgroup (version 2) that holds application and proxy. Absent: the proxy's own.
    pub cgroup: Text<FilePath>,
    /// Messages of this size and more stay on TCP. 64KiB: the kernel shows larger ones in pieces of this size, and where they are very large, handing them over loses.
    pub large_messages: Text<Bytes<1, { 1 << 30 }>>,
    /// Ends of connections that are past TCP at a time, two a connection; more stay on TCP, counted and said once. 65536: some thirty thousand connections, as many as a host has ports for one client. A map that is there keeps its size until it was detached and its last connection has closed.
    pub sockets: Text<Int<64, 1_048_576>>,
    /// Properties of the self-test that may fail, since nothing here needs them: `fionread`, `peek`, `splice`, `duplex`, `wait_all`. No kernel known passes `splice` (who receives by splice(2), as HAProxy with `option splice-auto` and Go's TCP-to-TCP copy do, stalls), `wait_all` (recv(MSG_WAITALL) comes back with less than it asks for, or sleeps on with all of it there; SO_RCVLOWAT is as if it were not set) nor `duplex` (where one thread sleeps in recv(2) while another one's send(2) on the same socket waits for room, the reader may get EAGAIN); programs that wait by poll or epoll are not concerned by `duplex`.
    pub waive: List<Waiver>,
    /// Outbound connections, taken to a listener without netfilter rules. Absent: none.
    pub outbound: Field<RedirectOutbound>,
}

fields! { LoopbackRedirect { by, instance, cgroup, large_messages, sockets, waive, outbound } }

impl Default for LoopbackRedirect {
    fn default() -> Self {
        Self {
            by: Field::of(RedirectBy::Proxy),
            instance: Text::scalar(Name("pillion".into())),
            cgroup: Field::ABSENT,
            large_messages: Text::scalar(Bytes(64 << 10)),
            sockets: Text::scalar(Int(65_536)),
            waive: Field::ABSENT,
            outbound: Field::ABSENT,
        }
    }
}

/// Who attaches the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum RedirectBy {
    /// This process.
    Proxy,
    /// Somebody beside it. The proxy only reads and writes as the programs need it.
    Agent,
}

words! { RedirectBy { "proxy" => Proxy, "agent" => Agent } }

/// What an application may be known not to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Waiver {
    /// ioctl(FIONREAD).
    Fionread,
    /// recv(MSG_PEEK).
    Peek,
    /// splice(2) out of a socket.
    Splice,
    /// One thread asleep in recv(2) while another sends much on the same socket.
    Duplex,
    /// recv(MSG_WAITALL), SO_RCVLOWAT.
    #[cfg_attr(test, serde(rename = "wait_all"))]
    WaitAll,
}

words! { Waiver { "fionread" => Fionread, "peek" => Peek, "splice" => Splice, "duplex" => Duplex, "wait_all" => WaitAll } }

/// Outbound connections, taken to a listener.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["port"])))]
pub(crate) struct RedirectOutbound {
    /// The listener's port, on loopback. It learns the original destination as from netfilter.
    pub port: Text<Int<1, 65_535>>,
    /// Destinations left alone. Loopback always is.
    pub exclude: List<Scalar<Cidr>>,
    /// Destination ports left alone.
    pub exclude_ports: List<Scalar<Int<1, 65_535>>>,
}

fields! { RedirectOutbound { port, exclude, exclude_ports } }
