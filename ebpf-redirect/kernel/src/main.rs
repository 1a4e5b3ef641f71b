//! The programs of the redirect, one object for the kernel.
//!
//! ```text
//!  connect(2) ── connect4|6 ──► whose is it? capture it? ── sock_ops ──► EXPECTED, PAIRS, SOCKETS: enrol at ESTABLISHED
//!  sendmsg(2) ── verdict_stub ─► PROGRAMS[0] = verdict ──► redirect to the peer's ingress, or pass
//!  close      ── sock_ops ─────► an event; the kernel itself takes the socket out of SOCKETS
//!  getsockopt(2), getpeername(2) ──► the original destination
//!  setsockopt(2) ── claim ─► CLAIMS ── listen(2) ── sock_ops ─► LISTENERS ◄── lookup, on the network namespace ◄── SYN
//! ```
//!
//! Whatever fails in a program leaves the connection to TCP: `sk_msg` passes, `sock_ops` does not enrol, the connect hook
//! lets the connection go where it wanted.

#![no_std]
#![no_main]

mod capture;
mod enrol;
mod hold;
mod inbound;
mod maps;
mod object;
mod peer;
mod verdict;
