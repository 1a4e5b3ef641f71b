//! splice: bytes from one TCP socket to another through a pipe, without a copy into this process.
//!
//! splice(2), Linux 2.6.17. A worker keeps a few pipes; a direction holds one only while something is in it, so that
//! tunnels which rest cost no descriptor. Where no pipe can be had the caller copies instead.

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};
use std::{cell::RefCell, io, os::fd::OwnedFd};
use tokio::{io::Interest, net::TcpStream};

/// Pipes kept. More bulk streams than that at the same moment on one worker take turns with new ones.
const KEPT: usize = 8;

/// Bytes asked for at once. A pipe has 16 places, each for one piece of the sender's memory, on loopback up to 32 KiB.
const MOST: usize = 512 * 1024;

/// A worker's pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes(RefCell<Vec<Pipe>>);

/// A pipe and how much is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

/// What a socket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// Its end.
    End,
    /// Nothing yet: it must be polled again.
    NotYet,
    /// Bytes wait that splice(2) does not see: they were handed over past TCP (`ebpf-redirect/`) and can only be read.
    Unseen,
}

impl Pipes {
    /// An empty pipe; `None`: this process or its user may have no more of them.
    pub(super) fn take(&self) -> Option<Pipe> {
        let kept = self.0.borrow_mut().pop();
        kept.or_else(|| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            Some(Pipe { read, write, held: 0 })
        })
    }

    #[cfg(test)]
    pub(super) fn resting(&self) -> usize {
        self.0.borrow().len()
    }

    /// Keeps an empty pipe for the next one.
    pub(super) fn put(&self, pipe: Option<Pipe>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.extend(pipe.filter(Pipe::is_empty));
        }
    }
}

impl Pipe {
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes what `from` has. The pipe is empty: only then does "would block" speak of the socket.
    pub(super) fn fill(&mut self, from: &TcpStream) -> io::Result<Moved> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let taken = from.try_io(Interest::READABLE, || match splice_on(from, &self.write, MOST, flags) {
            // Asked before the socket counts as unreadable: nothing would wake it again for bytes that are there already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && rustix::io::ioctl_fionread(from)? > 0 => {
                Ok(None)
            }
            taken => taken.map(Some),
        });
        match taken {
            Ok(None) => Ok(Moved::Unseen),
            Ok(Some(0)) => Ok(Moved::End),
            Ok(Some(count)) => {
                self.held = count;
                Ok(Moved::Bytes(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Moved::NotYet),
            Err(error) => Err(error),
        }
    }

    /// Gives `to` what it takes; tells how much that was.
    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match to.try_io(Interest::WRITABLE, || splice_on(&self.read, to, self.held, flags)) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.held -= count;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// splice(2) again where a signal came between.
fn splice_on(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    count: usize,
    flags: SpliceFlags,
) -> io::Result<usize> {
    loop {
        match splice(&from, None, &to, None, count, flags) {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        io::Socket,
        tunnel::copy::{Early, Meters, Passage, copy},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.expect("it connects"), other.expect("it is accepted").0)
    }

    /// Bytes that repeat only after 64 KiB and a few, so that a piece lost or moved shows.
    fn pattern(from: usize, count: usize) -> Vec<u8> {
        (from..from + count).map(|at| ((at % 65_551) >> 3 ^ at) as u8).collect()
    }

    #[test]
    fn a_bulk_stream_arrives_whole_through_pipes_past_a_reader_that_stops_and_a_pause() {
        const TOTAL: usize = 16 << 20;
        const PIECE: usize = 1 << 20;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        runtime.block_on(async {
            let ((mut client, downstream), (upstream, mut server)) = (pair().await, pair().await);
            let sending = async {
                for at in (0..TOTAL).step_by(PIECE) {
                    client.write_all(&pattern(at, PIECE)).await.unwrap();
                    if at == TOTAL / 2 {
                        // Small talk in between: the mode is left and entered again.
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
                client.shutdown().await.unwrap();
                let mut said = Vec::new();
                client.read_to_end(&mut said).await.unwrap();
                said
            };
            let receiving = async {
                let mut at = 0;
                let mut buffer = vec![0; 300_000];
                loop {
                    let count = server.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    assert!(buffer[..count] == pattern(at, count), "what comes behind {at} is something else");
                    at += count;
                    if at % 7 == 0 {
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                }
                server.write_all(b"thanks").await.unwrap();
                server.shutdown().await.unwrap();
                at
            };
            let (passage, meters) = (Passage::default(), Meters::default());
            let (mut downstream, mut upstream) = (Socket::Tcp(downstream), Socket::Tcp(upstream));
            let copying = copy(&passage, &mut downstream, &mut upstream, Early::default(), None, &meters);
            let (said, received, copied) = tokio::join!(sending, receiving, copying);
            assert!(copied.is_ok(), "{copied:?}");
            assert_eq!((received, said.as_slice()), (TOTAL, &b"thanks"[..]));
            assert_eq!((meters.received(), meters.sent()), (TOTAL as u64, 6));
            assert!(passage.resting_pipes() > 0, "it went through a pipe");
        });
    }
}
