//! The copy, over memory and over sockets.

use super::*;
use crate::io::{Outgoing, Socket};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be made").block_on(test);
}

fn memory(size: usize) -> (DuplexStream, Socket) {
    let (theirs, ours) = duplex(size);
    (theirs, Socket::Memory(ours))
}

async fn pump(ours: (Socket, Socket), early: Bytes) -> (Result<(), Broken>, u64, u64) {
    let (mut downstream, mut upstream) = ours;
    let (passage, meters) = (Passage::default(), Meters::default());
    let copied =
        copy(&passage, &mut downstream, &mut upstream, Early { client: early, ..Early::default() }, None, &meters)
            .await;
    (copied, meters.received(), meters.sent())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_byte_arrives_in_order_through_narrow_pipes(
        up in proptest::collection::vec(any::<u8>(), 0..200_000),
        down in proptest::collection::vec(any::<u8>(), 0..200_000),
        narrow in 1usize..5_000,
        early in 0usize..300,
    ) {
        run(async {
            let early = early.min(up.len());
            let (mut client, downstream) = memory(narrow);
            let (mut server, upstream) = memory(narrow * 3);
            let client_side = async {
                let (mut read, mut write) = tokio::io::split(&mut client);
                let mut got = Vec::new();
                let said = async { write.write_all(&up[early..]).await.unwrap(); write.shutdown().await.unwrap(); };
                let ((), read) = tokio::join!(said, read.read_to_end(&mut got));
                read.unwrap();
                got
            };
            let server_side = async {
                let (mut read, mut write) = tokio::io::split(&mut server);
                let mut got = Vec::new();
                let said = async { write.write_all(&down).await.unwrap(); write.shutdown().await.unwrap(); };
                let ((), read) = tokio::join!(said, read.read_to_end(&mut got));
                read.unwrap();
                got
            };
            let pumped = pump((downstream, upstream), Bytes::copy_from_slice(&up[..early]));
            let (to_client, to_server, (copied, received, sent)) = tokio::join!(client_side, server_side, pumped);
            assert!(copied.is_ok());
            assert!(to_client == down && to_server == up);
            assert_eq!((received, sent), (up.len() as u64, down.len() as u64));
        });
    }
}

#[test]
fn one_side_may_end_while_the_other_still_speaks() {
    run(async {
        let (mut client, downstream) = memory(64);
        let (mut server, upstream) = memory(64);
        let ends = async {
            client.shutdown().await.unwrap();
            let mut nothing = Vec::new();
            assert_eq!(server.read_to_end(&mut nothing).await.unwrap(), 0, "the end is passed on");
            server.write_all(b"still here").await.unwrap();
            server.shutdown().await.unwrap();
            let mut said = Vec::new();
            client.read_to_end(&mut said).await.unwrap();
            assert_eq!(said, b"still here");
        };
        let ((copied, ..), ()) = tokio::join!(pump((downstream, upstream), Bytes::new()), ends);
        assert!(copied.is_ok());
    });
}

#[test]
fn the_side_that_failed_is_named() {
    run(async {
        let (client, downstream) = memory(64);
        let (mut server, upstream) = memory(64);
        drop(client);
        server.write_all(b"to nobody").await.unwrap();
        let (copied, ..) = pump((downstream, upstream), Bytes::new()).await;
        assert!(matches!(copied, Err(Broken::Downstream)), "{copied:?}");
        let (client, downstream) = memory(64);
        let (server, upstream) = memory(64);
        drop(server);
        let (copied, ..) = pump((downstream, upstream), Bytes::from_static(b"to nobody")).await;
        assert!(matches!(copied, Err(Broken::Upstream)), "{copied:?}");
        drop(client);
    });
}

/// A pipe whose end is TLS without close_notify.
struct Cut {
    pipe: DuplexStream,
    reset: bool,
}

impl tokio::io::AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        Poll::Ready(if buf.filled().len() > before { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) })
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl End for Cut {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn reset_at_close(&mut self) {
        self.reset = true;
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing::OnItsWay(0)
    }
}

fn cut(size: usize) -> (DuplexStream, Cut) {
    let (theirs, pipe) = duplex(size);
    (theirs, Cut { pipe, reset: false })
}

fn paused<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(test);
}

const IDLE: Option<Duration> = Some(Duration::from_secs(60));

#[test]
fn what_came_before_a_cut_is_given_to_a_slow_echo_whose_answers_nobody_takes() {
    paused(async {
        let ((mut client, mut downstream), (mut server, mut upstream)) = (cut(300_000), cut(1_000));
        client.write_all(&[7; 200_000]).await.unwrap();
        drop(client);
        let echo = async {
            let mut piece = [0; 1_000];
            let mut count = 0;
            loop {
                // Longer in all than a client that is gone would be waited for.
                tokio::time::sleep(Duration::from_secs(1)).await;
                let read = server.read(&mut piece).await.unwrap();
                count += read;
                if read == 0 || count == 200_000 || server.write_all(&piece[..read]).await.is_err() {
                    return count;
                }
            }
        };
        let (passage, meters) = (Passage::default(), Meters::default());
        let copying = copy(&passage, &mut downstream, &mut upstream, Early::default(), IDLE, &meters);
        let both = async { tokio::join!(copying, echo) };
        let (copied, count) =
            tokio::time::timeout(IDLE.unwrap() * 60, both).await.expect("neither waits for the other");
        assert_eq!((copied, count), (Err(Broken::Downstream), 200_000));
        assert!(downstream.reset && upstream.reset, "and then it is told that this was not all");
    });
}
