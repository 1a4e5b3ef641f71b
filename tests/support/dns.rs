//! A name server on loopback that answers every question for A with the addresses it is told, whatever the name.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A running name server; stops on drop.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    addresses: Mutex<Vec<Ipv4Addr>>,
    asked: AtomicUsize,
    ended: AtomicBool,
}

impl NameServer {
    /// Starts it with these addresses; its answers may be kept for `ttl` seconds.
    #[must_use]
    pub fn start(addresses: &[Ipv4Addr], ttl: u32) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket takes a read timeout");
        let address = socket.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            let mut query = [0; 512];
            while !server.ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                server.asked.fetch_add(1, Ordering::SeqCst);
                let addresses = server.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Ok(answer) = answer(&query[..length], &addresses, ttl) {
                    drop(socket.send_to(&answer, from));
                }
            }
        });
        let server = Self { address, shared };
        server.answer_with(addresses);
        server
    }

    /// Other addresses from now on.
    pub fn answer_with(&self, addresses: &[Ipv4Addr]) {
        *self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }

    /// Questions so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

/// The response (RFC 1035 §4) to the one question of `query`; one for AAAA has no records.
fn answer(query: &[u8], addresses: &[Ipv4Addr], ttl: u32) -> io::Result<Vec<u8>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let names = query.get(12..).ok_or_else(short)?;
    let end = 12 + names.iter().position(|byte| *byte == 0).ok_or_else(short)? + 1;
    let question = query.get(12..end + 4).ok_or_else(short)?;
    let records = if query[end..end + 2] == [0, 1] { addresses } else { &[] };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    out.extend(question);
    for address in records {
        // A pointer to the question's name, type A, class IN.
        out.extend([0xc0, 12, 0, 1, 0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend([0, 4]);
        out.extend(address.octets());
    }
    Ok(out)
}
