//! The programs of the redirect, one object for the kernel.
//!
//! ```text
//!  connect(2) ── connect4|6 ──► whose is it? capture it? ── sock_ops ──► EXPECTED, PAIRS, SOCKETS: enrol at ESTABLISHED
//!  sendmsg(2) ── verdict_stub ─► PROGRAMS[0] = verdict ──► redirect to the peer's ingress, or pass
//!  close      ── sock_ops ─────► an event; the kernel itself takes the socket out of SOCKETS
//!  getsockopt(2), getpeername(2) ──► the original destination
//! ```
//!
//! Whatever fails in a program leaves the connection to TCP: `sk_msg` passes, `sock_ops` does not enrol, the connect hook
//! lets the connection go where it wanted.

#![no_std]
#![no_main]

mod capture;
mod enrol;
mod maps;
mod verdict;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier would refuse a program that can come here: nothing in this crate can panic.
    loop {}
}

/// The kernel asks for a licence compatible with the GPL where a program reads kernel memory (`verdict`).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
