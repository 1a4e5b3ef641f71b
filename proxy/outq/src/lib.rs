//! How much of what was written to a TCP socket its peer has not acknowledged: what a reset would throw away.
//!
//! One ioctl, for which nobody has a safe function. It is a crate so that the data path, which uses it, forbids unsafe code.

use rustix::{
    io,
    ioctl::{Getter, Opcode, ioctl},
};
use std::{ffi::c_int, os::fd::AsFd};

/// `SIOCOUTQ` of `<linux/sockios.h>`, which is `TIOCOUTQ`.
const SIOCOUTQ: Opcode = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    0x7472
} else if cfg!(any(target_arch = "powerpc", target_arch = "powerpc64", target_arch = "sparc64")) {
    0x4004_7473
} else {
    0x5411
};

/// Bytes that were written to `socket` and not acknowledged by its peer's kernel, sent or not (`SIOCOUTQ`, tcp(7)).
///
/// # Errors
///
/// What ioctl(2) says: `socket` is none, or one that listens.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: the opcode writes one `int` where it is pointed to, whatever the descriptor is: a terminal's, which shares
    // it, does the same.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(bytes.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    #[test]
    fn what_the_peer_has_no_room_for_counts_until_it_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut writer = TcpStream::connect(address).expect("it connects");
        let (mut reader, _) = listener.accept().expect("it is accepted");
        assert_eq!(unacknowledged(&writer), Ok(0));
        writer.set_nonblocking(true).expect("a socket can be told");
        let mut written = 0;
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_millis(50) {
            if let Ok(more) = writer.write(&[7; 65_536]) {
                (written, last) = (written + more, Instant::now());
            }
        }
        let left = unacknowledged(&writer).expect("a connection tells");
        assert!(left > 0 && left < written as u64, "{left} of {written}");
        reader.read_exact(&mut vec![0; written]).expect("all of it comes");
        let begun = Instant::now();
        while unacknowledged(&writer) != Ok(0) {
            assert!(begun.elapsed() < Duration::from_secs(10), "what was read is acknowledged");
        }
        // A listening socket has nothing on its way.
        assert!(unacknowledged(&listener).is_err());
    }
}
