//! Measures Pillion, and others beside it, on one machine's loopback; in the order of a measurement:
//!
//! 1. [`origin`]: the server behind every proxy, as cheap as can be.
//! 2. [`load`]: the client before every proxy: a process of its own, so that its CPU time is mixed with nobody's.
//! 3. [`compare`]: peers, scenarios, rounds, the measuring of processes, the report.
//!
//! Beside it [`flood`]: what attackers do to connections that live; [`instructions`]: what a request costs the proxy alone,
//! counted and not timed; [`resident`]: what of it is in
//! memory at rest; and `benches/stages`: what each stage of its path costs.
//!
//! Nothing here leaves the machine: an address that is not loopback is refused.

#![deny(unsafe_code)]

pub mod compare;
pub mod flood;
pub mod instructions;
pub mod load;
pub mod origin;
pub mod resident;
pub mod say;

mod http1;
mod loopback;
mod stdin;
mod tls;
