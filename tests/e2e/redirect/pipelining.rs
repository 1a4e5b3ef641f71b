//! Answers that wait unread when more follow them: what was redirected and what TCP carries never wait both.

use super::{Detached, counted, instance, is_root, redirected, redirecting, status};
use pillion_tests::{
    origin::{Origin, pattern},
    wait,
};
use rustix::event::{Timespec, epoll};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
};

/// A client as event loops are written: it waits for an edge, reads, and takes a short read for the end of what there is.
struct Edges {
    stream: TcpStream,
    waiting: OwnedFd,
    got: Vec<u8>,
}

impl Edges {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_nonblocking(true).expect("a socket can be made so");
        let waiting = epoll::create(epoll::CreateFlags::CLOEXEC).expect("there are descriptors");
        let wanted = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&waiting, &stream, epoll::EventData::new_u64(0), wanted).expect("a socket can be waited for");
        Self { stream, waiting, got: Vec::new() }
    }

    fn ask(&mut self, path: &str) {
        self.stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
            .expect("the proxy is there");
    }

    /// Reads until there are so many answers of so many bytes, and gives how many bytes each had.
    fn answers(&mut self, count: usize) -> Vec<usize> {
        let limit = Timespec::try_from(wait::SOON).expect("seconds");
        let mut room = vec![0; 64 << 10];
        loop {
            if let Some(lengths) = lengths(&self.got).filter(|lengths| lengths.len() == count) {
                return lengths;
            }
            let mut event = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
            let woken = epoll::wait(&self.waiting, &mut event, Some(&limit)).expect("nothing interrupts it");
            assert!(woken > 0, "after {} bytes there is no edge any more", self.got.len());
            while let Ok(read) = self.stream.read(&mut room) {
                assert!(read > 0, "the end comes after {} bytes", self.got.len());
                self.got.extend_from_slice(&room[..read]);
                if read < room.len() {
                    break;
                }
            }
        }
    }
}

/// How many bytes each of some whole answers has; `None`: the last is not whole.
fn lengths(mut answers: &[u8]) -> Option<Vec<usize>> {
    let mut lengths = Vec::new();
    while !answers.is_empty() {
        let end = answers.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&answers[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length: usize = head.split_once("content-length: ")?.1.split_once("\r\n")?.0.parse().ok()?;
        let body = answers.get(end..end + length)?;
        assert!(body == pattern(0, length), "other bytes than the server sent");
        lengths.push(length);
        answers = &answers[end + length..];
    }
    Some(lengths)
}

#[test]
fn a_client_that_pipelines_and_reads_late_finds_all_answers_in_order() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let proxy = redirecting(&name, origin.address);
    let done = || proxy.metrics().sum("pillion_exchange_requests_total", &[]);
    let held = || counted(&name, "held");
    let by_the_self_test = held();
    // An answer that is redirected, then one that is too large for that; and more brief ones than may wait unread. Each is
    // asked for when the one before has been sent and nothing of it was read.
    for asked in [vec![100, 100_000], vec![10_000; 40], vec![10, 100_000, 10, 10, 200_000, 10]] {
        let mut client = Edges::connect(proxy.address);
        for length in &asked {
            let (before, holding) = (done(), held());
            client.ask(&format!("/bytes/{length}"));
            wait::until_true("the answer to be sent, or held", || done() > before || held() > holding);
        }
        assert_eq!(client.answers(asked.len()), asked);
        // It is as good a client as any from here on, and its answers are redirected.
        client.got.clear();
        let before = redirected(&name);
        client.ask("/bytes/100");
        assert_eq!(client.answers(1), [100]);
        assert!(redirected(&name) >= before + 4, "{:?}", status(&name));
    }
    assert!(held() > by_the_self_test);
}
