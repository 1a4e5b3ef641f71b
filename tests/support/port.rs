//! Ports for programs that must be told one.
//!
//! A port is taken from below the kernel's range for outgoing connections, so that no client socket can take it
//! between the look and the bind; other processes of the same tests start from another place.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const LOWEST: u32 = 10_000;
const HIGHEST: u32 = 32_000;

/// A loopback address nobody listened on a moment ago. Never given out twice by this process until the range wraps.
#[must_use]
pub fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = process::id().wrapping_mul(2_654_435_761) % (HIGHEST - LOWEST);
    loop {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % (HIGHEST - LOWEST);
        let port = u16::try_from(LOWEST + offset).expect("the range lies below 65,536");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
