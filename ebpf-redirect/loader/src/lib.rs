//! The loader of Pillion's redirect: loopback traffic between an application and its proxy from socket to socket, past the
//! kernel's TCP path.
//!
//! ```text
//!  probe ──► what this node can do, in words          attach ─► load ► self-test ► links and maps, pinned
//!  status ─► counters, occupancy                      detach ─► links go at once, maps when they are empty
//! ```
//!
//! It proves itself on the node before it touches anything, and where it declines it names what failed. All unsafe code
//! of the product's own is here: calls of bpf(2) that aya has no form for.

mod btf;
mod causes;
mod ended;
pub mod filter;
mod histogram;
pub mod inbound;
mod instance;
mod maps;
mod mounts;
mod object;
mod pins;
mod probe;
mod seen;
mod self_test;
mod shapes;
mod sys;
mod watch;

pub use btf::BtfError;
pub use ended::Ended;
pub use histogram::Histogram;
pub use instance::{
    AttachError, Attached, BUDGET, Capture, Detached, Foreign, LARGE, Options, Proxy, SOCKETS, Status, Tidied, attach,
    detach, foreign, set_ports, status, switch, tidy, try_out,
};
pub use maps::{Occupancy, Totals};
pub use mounts::{MountError, cgroup_number, cgroup_path, cgroup2, own_cgroup};
pub use object::{LoadError, Object};
pub use pins::{PinError, Pins};
pub use probe::{Point, Probe, Verdict, probe};
pub use redirect_common::{CLIENT, COUNTERS, Closed, Control, Counter, Event, mode};
pub use seen::{Seen, seen};
pub use self_test::{Declined, Outcome, PROPERTIES, Property, Report, SelfTestError};
pub use shapes::Form;
pub use watch::{Alarm, EVERY, GATHER, Look, Reading, Standing, Watch};
