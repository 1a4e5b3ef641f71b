//! Each property, tried in both directions.

use super::{
    Property,
    pair::{During, Failure, Pair, SOON, accept, connect, readable, seen},
};
use crate::maps::Maps;
use redirect_common::Counter;
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::ioctl_fionread,
    net::RecvFlags,
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Bytes of the integrity test, each way.
const BULK: usize = 10 * 1024 * 1024;

/// More than may wait unread anywhere between a sender and a reader that does not read.
const BOUND: usize = 64 * 1024 * 1024;

pub(super) fn hold(property: Property, listener: &TcpListener, maps: &Maps) -> Result<(), Failure> {
    match property {
        Property::Redirect => redirect(listener, maps),
        Property::Fionread => fionread(&Pair::new(listener)?),
        Property::PollEdge => poll_edge(Pair::new(listener)?),
        Property::Peek => peek(&Pair::new(listener)?),
        Property::Splice => spliced(&Pair::new(listener)?),
        Property::Sleeping => sleeping(listener),
        Property::Duplex => duplex(listener),
        Property::WaitAll => wait_all(&Pair::new(listener)?),
        Property::Order => order(listener),
        Property::Held => held(&Pair::new(listener)?),
        Property::HalfClose => half_close(listener),
        Property::Integrity => integrity(&Pair::new(listener)?),
        Property::SlowReader => slow_reader(&Pair::new(listener)?),
        Property::Close => close(listener, maps),
    }
}

fn send(mut stream: &TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).during("send")
}

fn expect(mut stream: &TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).during("receive")?;
    if got == bytes { Ok(()) } else { Err(seen("other bytes arrive than were sent")) }
}

fn expect_end(mut stream: &TcpStream) -> Result<(), Failure> {
    match stream.read(&mut [0; 16]).during("receive the end")? {
        0 => Ok(()),
        count => Err(seen(format!("{count} bytes arrive after the last one"))),
    }
}

fn totals(maps: &Maps) -> Result<(u64, u64), Failure> {
    let totals = maps.self_test_totals().map_err(|error| seen(error.to_string()))?;
    Ok((totals.get(Counter::Enrolled), totals.get(Counter::RedirectedBytes)))
}

fn redirect(listener: &TcpListener, maps: &Maps) -> Result<(), Failure> {
    let before = totals(maps)?;
    let pair = Pair::new(listener)?;
    for (_, from, to) in pair.directions() {
        send(from, b"one message")?;
        expect(to, b"one message")?;
    }
    let after = totals(maps)?;
    if after.0 - before.0 < 2 {
        return Err(seen(format!("of two ends {} were enrolled", after.0 - before.0)));
    }
    match after.1 - before.1 {
        22.. => Ok(()),
        bytes => Err(seen(format!("of 22 bytes {bytes} were redirected"))),
    }
}

fn fionread(pair: &Pair) -> Result<(), Failure> {
    for (direction, from, to) in pair.directions() {
        send(from, b"12345")?;
        if !readable(to)? {
            return Err(seen(format!("{direction}: poll does not see 5 bytes")));
        }
        let before = ioctl_fionread(to).during("FIONREAD")?;
        send(from, b"678")?;
        expect(to, b"12345678")?;
        let after = ioctl_fionread(to).during("FIONREAD")?;
        if (before, after) != (5, 0) {
            return Err(seen(format!("{direction}: FIONREAD says {before} where 5 bytes wait, {after} where none do")));
        }
    }
    Ok(())
}

fn poll_edge(pair: Pair) -> Result<(), Failure> {
    let Pair { client, server } = pair;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let waiting = epoll::create(epoll::CreateFlags::CLOEXEC).during("epoll_create")?;
        to.set_nonblocking(true).during("O_NONBLOCK")?;
        let wanted = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&waiting, to, epoll::EventData::new_u64(1), wanted).during("epoll_ctl")?;
        let limit = Timespec::try_from(SOON).map_err(|error| seen(error.to_string()))?;
        let wake = || {
            let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
            epoll::wait(&waiting, &mut events, Some(&limit)).during("epoll_wait").map(|count| count > 0)
        };
        // Once with everything read, once with something left: an edge is a new arrival, not an empty queue.
        for take in [3, 2, 64] {
            send(from, b"abc")?;
            if !wake()? {
                return Err(seen("no edge for data that arrives"));
            }
            let mut room = vec![0; take];
            let mut to = to;
            if to.read(&mut room).during("receive")? == 0 {
                return Err(seen("the end is read where data waits"));
            }
        }
        to.set_nonblocking(false).during("O_NONBLOCK")?;
        if from.local_addr().ok() == server.local_addr().ok() {
            from.shutdown(Shutdown::Write).during("shutdown")?;
            if !wake()? {
                return Err(seen("no edge for the end"));
            }
        }
    }
    Ok(())
}

fn peek(pair: &Pair) -> Result<(), Failure> {
    for (direction, from, to) in pair.directions() {
        send(from, b"look")?;
        for _ in 0..2 {
            let mut room = [0; 16];
            let (_, count) = rustix::net::recv(to, &mut room[..], RecvFlags::PEEK).during("MSG_PEEK")?;
            if &room[..count] != b"look" {
                return Err(seen(format!("{direction}: MSG_PEEK shows {count} bytes, other than were sent")));
            }
        }
        expect(to, b"look")?;
    }
    Ok(())
}

/// How long splice(2) may find nothing where poll(2) has seen data.
const PERSISTENT: Duration = Duration::from_millis(300);

fn spliced(pair: &Pair) -> Result<(), Failure> {
    let message = [7_u8; 3000];
    for (direction, from, to) in pair.directions() {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC).during("pipe")?;
        send(from, &message)?;
        if !readable(to)? {
            return Err(seen(format!("{direction}: poll does not see data")));
        }
        let mut taken = 0;
        let begun = Instant::now();
        // SPLICE_F_NONBLOCK is the pipe's; without this the socket would wait.
        to.set_nonblocking(true).during("O_NONBLOCK")?;
        while taken < message.len() {
            match splice(to, None, &into, None, 65_536, SpliceFlags::NONBLOCK) {
                Ok(0) => {
                    return Err(seen(format!(
                        "{direction}: splice sees the end where {} bytes wait",
                        message.len() - taken
                    )));
                }
                Ok(count) => taken += count,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if begun.elapsed() < PERSISTENT => {
                    thread::yield_now();
                }
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(seen(format!(
                        "{direction}: splice takes {taken} of {} bytes that wait",
                        message.len()
                    )));
                }
                Err(error) => return Err(Failure::Io("splice", error.into())),
            }
        }
        let mut got = [0; 3000];
        rustix::io::read(&out, &mut got).during("read the pipe")?;
        if got != message {
            return Err(seen(format!("{direction}: other bytes come out of splice than were sent")));
        }
        to.set_nonblocking(false).during("O_NONBLOCK")?;
        // And into the socket.
        rustix::io::write(&into, b"by splice").during("write the pipe")?;
        splice(&out, None, from, None, 9, SpliceFlags::empty()).during("splice")?;
        expect(to, b"by splice")?;
    }
    Ok(())
}

/// Time for a thread to fall asleep in recv(2). Too short makes the test weaker, not wrong.
const ASLEEP: Duration = Duration::from_millis(20);

fn sleeping(listener: &TcpListener) -> Result<(), Failure> {
    for server_sleeps in [true, false] {
        let pair = Pair::new(listener)?;
        let (from, to) = if server_sleeps { (&pair.client, &pair.server) } else { (&pair.server, &pair.client) };
        thread::scope(|scope| {
            let reading = scope.spawn(|| expect(to, b"good morning").and_then(|()| expect_end(to)));
            thread::sleep(ASLEEP);
            send(from, b"good morning")?;
            thread::sleep(ASLEEP);
            from.shutdown(Shutdown::Write).during("shutdown")?;
            reading.join().unwrap_or_else(|_| Err(seen("a thread of the test died")))
        })?;
    }
    Ok(())
}

fn duplex(listener: &TcpListener) -> Result<(), Failure> {
    for client_writes in [true, false] {
        let pair = Pair::new(listener)?;
        let (busy, other) = if client_writes { (&pair.client, &pair.server) } else { (&pair.server, &pair.client) };
        const MUCH: usize = 16 * 1024 * 1024;
        thread::scope(|scope| {
            let reading = scope.spawn(|| expect(busy, b"at last"));
            thread::sleep(ASLEEP);
            // More than all buffers hold: the writer has to wait for room, again and again.
            let writing = scope.spawn(|| send(busy, &vec![1; MUCH]));
            thread::sleep(ASLEEP);
            expect(other, &vec![1; MUCH])?;
            let failed = |_| Err(seen("a thread of the test died"));
            writing.join().unwrap_or_else(failed)?;
            thread::sleep(ASLEEP);
            send(other, b"at last")?;
            reading.join().unwrap_or_else(failed)
        })?;
    }
    Ok(())
}

fn wait_all(pair: &Pair) -> Result<(), Failure> {
    for (direction, from, to) in pair.directions() {
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut room = [0; 8];
                rustix::net::recv(to, &mut room[..], RecvFlags::WAITALL).during("MSG_WAITALL").map(|(_, count)| count)
            });
            send(from, b"half")?;
            thread::sleep(ASLEEP);
            send(from, b"rest")?;
            match reading.join().map_err(|_| seen("a thread of the test died"))?? {
                8 => Ok(()),
                count => Err(seen(format!("{direction}: recv(MSG_WAITALL) of 8 bytes comes back with {count}"))),
            }
        })?;
    }
    Ok(())
}

fn order(listener: &TcpListener) -> Result<(), Failure> {
    // The client speaks before accept(2), perhaps before the server's end is enrolled.
    for round in 0..20_u8 {
        let client = connect(listener)?;
        let sent: Vec<u8> = (0..50).map(|at| at ^ round).collect();
        for byte in &sent {
            send(&client, &[*byte])?;
        }
        let server = accept(listener, &client)?;
        expect(&server, &sent)?;
        send(&server, &sent)?;
        expect(&client, &sent)?;
    }
    Ok(())
}

fn held(pair: &Pair) -> Result<(), Failure> {
    // The server's end is as the proxy's: its timeout says that what it sends is brief, and is taken back before it sends more.
    for message in [&b"short"[..], &[7; 900]] {
        send(&pair.server, message)?;
        // While nothing of it was read, and while a part was.
        for part in [&message[..4], &message[4..]] {
            match pair.server.set_read_timeout(None) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                Err(error) => return Err(Failure::Io("SO_RCVTIMEO", error)),
                Ok(()) => return Err(seen("redirected bytes wait unread, and are said to be read")),
            }
            expect(&pair.client, part)?;
        }
        if let Err(error) = pair.server.set_read_timeout(None) {
            return Err(seen(format!("redirected bytes were read, and are said to wait: {error}")));
        }
        pair.server.set_read_timeout(Some(SOON)).during("SO_RCVTIMEO")?;
    }
    Ok(())
}

fn half_close(listener: &TcpListener) -> Result<(), Failure> {
    for client_first in [true, false] {
        let pair = Pair::new(listener)?;
        let (first, second) = if client_first { (&pair.client, &pair.server) } else { (&pair.server, &pair.client) };
        send(first, b"the last from here")?;
        first.shutdown(Shutdown::Write).during("shutdown")?;
        expect(second, b"the last from here")?;
        expect_end(second)?;
        for _ in 0..3 {
            send(second, b"more from there")?;
            expect(first, b"more from there")?;
        }
        send(second, b"the last from there")?;
        second.shutdown(Shutdown::Write).during("shutdown")?;
        expect(first, b"the last from there")?;
        expect_end(first)?;
    }
    Ok(())
}

/// The byte at a place of a stream; another stream for each seed.
fn byte(at: usize, seed: u8) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
    let byte = ((at % 65_551) >> 3 ^ at ^ at >> 11) as u8;
    byte ^ seed
}

/// As event-driven programs do: what [`Property::Duplex`] is about is not asked here.
fn await_event(socket: &TcpStream, event: PollFlags) -> Result<bool, Failure> {
    let limit = Timespec::try_from(SOON).map_err(|error| seen(error.to_string()))?;
    Ok(poll(&mut [PollFd::new(socket, event)], Some(&limit)).during("poll")? > 0)
}

fn write_all(mut to: &TcpStream, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock && await_event(to, PollFlags::OUT)? => {}
            Err(error) => return Err(Failure::Io("send", error)),
        }
    }
    Ok(())
}

fn stream(to: &TcpStream, seed: u8) -> Result<(), Failure> {
    let mut piece = Vec::with_capacity(64 * 1024);
    let (mut at, mut size) = (0, 1);
    while at < BULK {
        let end = (at + size).min(BULK);
        piece.clear();
        piece.extend((at..end).map(|at| byte(at, seed)));
        write_all(to, &piece)?;
        at = end;
        // All sizes, small and large, in turn.
        size = (size * 7 + 13) % 65_521 + 1;
    }
    Ok(())
}

fn check(mut from: &TcpStream, seed: u8) -> Result<(), Failure> {
    let mut room = vec![0; 50_000];
    let mut at = 0;
    while at < BULK {
        let count = match from.read(&mut room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && await_event(from, PollFlags::IN)? => continue,
            read => read.during("receive")?,
        };
        if count == 0 {
            return Err(seen(format!("the end comes after {at} of {BULK} bytes")));
        }
        if let Some(wrong) = (0..count).find(|index| room[*index] != byte(at + index, seed)) {
            return Err(seen(format!("byte {} of {BULK} is not what was sent", at + wrong)));
        }
        at += count;
    }
    Ok(())
}

fn integrity(pair: &Pair) -> Result<(), Failure> {
    pair.client.set_nonblocking(true).during("O_NONBLOCK")?;
    pair.server.set_nonblocking(true).during("O_NONBLOCK")?;
    thread::scope(|scope| {
        let running = [
            scope.spawn(|| stream(&pair.client, 1)),
            scope.spawn(|| check(&pair.server, 1)),
            scope.spawn(|| stream(&pair.server, 2)),
            scope.spawn(|| check(&pair.client, 2)),
        ];
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(seen("a thread of the test died"))))
    })
}

fn slow_reader(pair: &Pair) -> Result<(), Failure> {
    for (direction, from, to) in pair.directions() {
        from.set_nonblocking(true).during("O_NONBLOCK")?;
        let piece = [0x5a; 16 * 1024];
        let mut sent = 0;
        loop {
            let mut from = from;
            match from.write(&piece) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::Io("send", error)),
            }
            if sent > BOUND {
                return Err(seen(format!(
                    "{direction}: {sent} bytes are taken of a sender whose reader reads nothing"
                )));
            }
        }
        from.set_nonblocking(false).during("O_NONBLOCK")?;
        let mut room = vec![0; 64 * 1024];
        let mut received = 0;
        while received < sent {
            let mut to = to;
            let count = to.read(&mut room).during("receive")?;
            if count == 0 || room[..count].iter().any(|byte| *byte != 0x5a) {
                return Err(seen(format!("{direction}: after {received} of {sent} bytes comes something else")));
            }
            received += count;
        }
        // It flows again.
        send(from, b"once more")?;
        expect(to, b"once more")?;
    }
    Ok(())
}

fn close(listener: &TcpListener, maps: &Maps) -> Result<(), Failure> {
    let mut clients = Vec::new();
    for client_first in [true, false] {
        let pair = Pair::new(listener)?;
        clients.push(u32::from(pair.client.local_addr().during("getsockname")?.port()));
        let (first, second) = if client_first { (pair.client, pair.server) } else { (pair.server, pair.client) };
        send(&first, b"bye")?;
        drop(first);
        expect(&second, b"bye")?;
        expect_end(&second)?;
    }
    let begun = Instant::now();
    while maps.sockets.keys().filter_map(Result::ok).any(|key| clients.contains(&key.port)) {
        if begun.elapsed() > SOON {
            return Err(seen("closed ends stay in the map"));
        }
        thread::yield_now();
    }
    Ok(())
}
