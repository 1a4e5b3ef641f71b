//! What flows through enrolled connections: whole, in order, within bounded memory, whatever ends them.

use crate::ground::{Ground, listen, pair, wait_for};
use redirect::Counter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

const PROXY: u16 = 18080;

/// A period that no power of two divides, so that a piece lost, doubled or moved shows.
const PERIOD: usize = 1_000_003;

/// The stream twice over: any stretch up to a period long is a slice of it.
fn pattern(seed: usize) -> Vec<u8> {
    (0..2 * PERIOD).map(|at| ((at % PERIOD) * 31 + ((at % PERIOD) >> 7) * 17 + seed) as u8).collect()
}

/// As event-driven programs do: readers that block beside a writer meet a fault of kernels (`Property::Duplex`).
fn await_event(socket: &TcpStream, event: PollFlags) {
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert!(poll(&mut [PollFd::new(socket, event)], Some(&limit)).unwrap() > 0, "nothing moves any more");
}

fn send(mut to: &TcpStream, pattern: &[u8], total: u64) {
    let (mut sent, mut size) = (0_u64, 1_usize);
    while sent < total {
        let at = (sent % PERIOD as u64) as usize;
        let count = size.min((total - sent) as usize);
        let mut piece = &pattern[at..at + count];
        while !piece.is_empty() {
            match to.write(piece) {
                Ok(count) => piece = &piece[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => await_event(to, PollFlags::OUT),
                Err(error) => panic!("{error}"),
            }
        }
        sent += count as u64;
        size = (size * 5 + 77) % 300_007 + 1;
    }
    to.shutdown(Shutdown::Write).unwrap();
}

fn receive(mut from: &TcpStream, pattern: &[u8]) -> u64 {
    let mut room = vec![0; 200_000];
    let mut received = 0_u64;
    loop {
        let count = match from.read(&mut room) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                await_event(from, PollFlags::IN);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        if count == 0 {
            return received;
        }
        let at = (received % PERIOD as u64) as usize;
        assert!(room[..count] == pattern[at..at + count], "something else comes behind byte {received}");
        received += count as u64;
    }
}

/// Streams so many bytes each way at once, and says what share was redirected and how fast it went.
fn stream(total: u64) {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.ports.insert(PROXY);
    // All sizes are redirected while the reader keeps up.
    ground.options.large = u32::MAX;
    ground.attach();
    let before = ground.status().totals;
    let begun = Instant::now();
    ground.pod(|| {
        let listener = listen(PROXY);
        let (client, server) = pair(&listener);
        client.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
        let (up, down) = (pattern(1), pattern(2));
        thread::scope(|scope| {
            scope.spawn(|| send(&client, &up, total));
            scope.spawn(|| send(&server, &down, total));
            let at_server = scope.spawn(|| receive(&server, &up));
            let at_client = scope.spawn(|| receive(&client, &down));
            assert_eq!((at_server.join().unwrap(), at_client.join().unwrap()), (total, total));
        });
    });
    let took = begun.elapsed();
    let now = ground.status().totals;
    let since = |counter| now.get(counter) - before.get(counter);
    let (redirected, passed) = (since(Counter::RedirectedBytes), since(Counter::PassedBytes));
    // What a send asked for and the socket took in two goes is counted for each.
    assert!(redirected + passed >= 2 * total && redirected > 0);
    println!("{total} bytes each way in {took:.1?}: {redirected} redirected, {passed} through TCP");
    ground.await_empty();
}

#[test]
fn a_gibibyte_each_way_arrives_whole() {
    stream(1 << 30);
}

#[test]
#[ignore = "long: half a minute on a quiet machine"]
fn ten_gibibytes_each_way_arrive_whole() {
    stream(10 << 30);
}

#[test]
fn a_slow_reader_makes_its_sender_wait_within_bounded_memory() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    ground.pod(|| {
        let listener = listen(PROXY);
        let (mut client, mut server) = pair(&listener);
        client.set_nonblocking(true).unwrap();
        let pattern = pattern(3);
        let mut sent = 0;
        let before = ground.count(Counter::RedirectedBytes);
        loop {
            let at = sent % PERIOD;
            match client.write(&pattern[at..at + 4096]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            assert!(sent < 64 << 20, "{sent} bytes wait for a reader that reads nothing");
        }
        // No more than the budget was handed over; TCP's own buffers hold the rest.
        let redirected = ground.count(Counter::RedirectedBytes) - before;
        assert!(redirected > 0 && redirected <= u64::from(redirect::BUDGET), "{redirected}");
        assert!(ground.count(Counter::PassedSlow) > 0);
        println!("{sent} bytes wait, {redirected} of them redirected");
        let mut received = 0;
        let mut room = vec![0; 10_000];
        while received < sent {
            let count = server.read(&mut room).unwrap();
            let at = received % PERIOD;
            assert!(room[..count] == pattern[at..at + count]);
            received += count;
        }
        // All was read: messages are redirected again.
        client.set_nonblocking(false).unwrap();
        let before = ground.count(Counter::RedirectedMessages);
        client.write_all(b"again").unwrap();
        server.read_exact(&mut room[..5]).unwrap();
        assert_eq!(ground.count(Counter::RedirectedMessages), before + 1);
    });
}

#[test]
fn a_reset_is_seen_by_the_other_end_and_both_leave_the_map() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    ground.pod(|| {
        let listener = listen(PROXY);
        for client_resets in [true, false] {
            let (client, server) = pair(&listener);
            let (mut leaving, mut staying) = if client_resets { (client, server) } else { (server, client) };
            leaving.write_all(b"read this").unwrap();
            let mut got = [0; 9];
            staying.read_exact(&mut got).unwrap();
            socket2::SockRef::from(&leaving).set_linger(Some(Duration::ZERO)).unwrap();
            drop(leaving);
            let ended = loop {
                match staying.read(&mut got) {
                    Ok(0) => break ErrorKind::UnexpectedEof,
                    Ok(_) => {}
                    Err(error) => break error.kind(),
                }
            };
            assert_eq!(ended, ErrorKind::ConnectionReset);
            drop(staying);
        }
    });
    wait_for("both to leave the map", || ground.status().occupancy.sockets == 0);
}

#[test]
fn a_writer_whose_peer_has_gone_gets_an_error_and_not_silence() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    ground.pod(|| {
        let listener = listen(PROXY);
        let (mut client, server) = pair(&listener);
        client.write_all(b"unread").unwrap();
        drop(server);
        let begun = Instant::now();
        while client.write_all(b"more").is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(20), "writes go on into nothing");
            thread::sleep(Duration::from_millis(1));
        }
    });
}
