//! A client of raw frames, and the server it speaks to.

use crate::{
    service::{self, Seen},
    wire::*,
};
use bytes::Bytes;
use pillion_config::model::{
    Connect, EscapedSlashes, Forwarding, ForwardingMode, Http, Http2, HttpLimits, HttpTimeouts, PathPolicy, RequestId,
    Underscores,
};
use pillion_core::{
    downstream::codec::http2::{Served, Settings, serve},
    drain::{Register, Signal},
};
use std::{future::Future, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, LocalSet, spawn_local},
    time::timeout,
};

pub(crate) fn model() -> Http {
    Http {
        limits: HttpLimits { headers: 128, header_bytes: 32 * 1024, target_bytes: 8 * 1024 },
        timeouts: HttpTimeouts {
            idle: Duration::from_secs(60),
            header: Duration::from_secs(10),
            body: Some(Duration::from_secs(30)),
            write: Duration::from_secs(30),
        },
        http2: Http2 {
            streams: 100,
            stream_window: 65_536,
            connection_window: 1_048_576,
            connection_most: 1_048_576,
            flood_window: Duration::from_secs(30),
            resets: 100,
            reset_by_us: 500,
            pings: 100,
            settings: 50,
            empty_data: 100,
            window_updates: 500,
            priorities: 200,
            continuations: 20,
        },
        path: PathPolicy { resolve_dots: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Keep },
        forwarding: Forwarding {
            x_forwarded: ForwardingMode::Off,
            forwarded: ForwardingMode::Off,
            via: None,
            request_id: RequestId::Pass,
            trusted: Vec::new(),
            trusted_hops: 0,
            strip_identity: true,
        },
        underscores: Underscores::Accept,
        connect: Connect::Allow,
    }
}

/// Runs on one thread with a clock that stands still while anything can be done.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Frame(Frame),
    Closed,
    /// Nothing for two seconds, or as patience goes.
    Silence,
}

pub(crate) struct Peer {
    pub(crate) io: DuplexStream,
    pub(crate) seen: Rc<Seen>,
    pub(crate) register: Rc<Register>,
    pub(crate) server: JoinHandle<Served>,
    unread: Vec<u8>,
    pub(crate) patience: Duration,
}

impl Peer {
    /// A connection on which nothing was said.
    pub(crate) fn connect_to(model: &Http, pipe: usize) -> Self {
        Self::start(model, pipe, Bytes::new())
    }

    /// A connection of which protocol detection read this.
    pub(crate) fn connect_ahead(model: &Http, ahead: &[u8]) -> Self {
        Self::start(model, 64 * 1024, Bytes::copy_from_slice(ahead))
    }

    fn start(model: &Http, pipe: usize, ahead: Bytes) -> Self {
        let (io, socket) = duplex(pipe);
        let seen = Rc::<Seen>::default();
        let register = Rc::<Register>::default();
        let registration = register.enter(0);
        let settings = Rc::new(Settings::new(model));
        let service = {
            let seen = Rc::clone(&seen);
            move |decoded| service::serve(decoded, Rc::clone(&seen))
        };
        let server = spawn_local(async move {
            let control = Rc::clone(registration.control());
            let served = serve(socket, ahead, settings, control, service).await;
            drop(registration);
            served
        });
        Self { io, seen, register, server, unread: Vec::new(), patience: Duration::from_secs(2) }
    }

    pub(crate) fn connect() -> Self {
        Self::connect_to(&model(), 256 * 1024)
    }

    /// A connection on which both said their SETTINGS and acknowledged the other's.
    pub(crate) async fn open_to(model: &Http, values: &[(u16, u32)]) -> Self {
        let mut peer = Self::connect_to(model, 256 * 1024);
        peer.shake_hands(values).await;
        peer
    }

    pub(crate) async fn open() -> Self {
        Self::open_to(&model(), &[]).await
    }

    pub(crate) async fn shake_hands(&mut self, values: &[(u16, u32)]) {
        self.send(&[PREFACE, &settings(values)].concat()).await;
        let mut acknowledged = false;
        let mut settled = false;
        while !(acknowledged && settled) {
            match self.next().await {
                Event::Frame(frame) if frame.kind == SETTINGS && frame.flags & ACK != 0 => acknowledged = true,
                Event::Frame(frame) if frame.kind == SETTINGS => {
                    settled = true;
                    self.send(&crate::wire::frame(SETTINGS, ACK, 0, b"")).await;
                }
                Event::Frame(frame) if frame.kind == WINDOW_UPDATE => {}
                other => panic!("in the handshake: {other:?}"),
            }
        }
    }

    /// Writes what the server takes; a server that closed takes nothing.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.ok();
    }

    /// Writes all of it or until the server closes, keeping what the server says for later.
    pub(crate) async fn send_while_reading(&mut self, mut bytes: &[u8]) {
        let mut buf = vec![0; 64 * 1024];
        loop {
            let (mut reader, mut writer) = tokio::io::split(&mut self.io);
            tokio::select! {
                biased;
                read = reader.read(&mut buf) => match read {
                    Ok(taken @ 1..) => self.unread.extend(&buf[..taken]),
                    Ok(0) | Err(_) => return,
                },
                wrote = writer.write(bytes), if !bytes.is_empty() => match wrote {
                    Ok(taken) => bytes = &bytes[taken..],
                    Err(_) => return,
                },
                // All is written; the server has a moment to answer.
                () = tokio::time::sleep(Duration::from_millis(1)) => if bytes.is_empty() { return },
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let [a, b, c, kind, flags, s @ ..] = &self.unread[..]
                && s.len() >= 4
            {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if self.unread.len() >= 9 + length {
                    let frame = Frame {
                        kind: *kind,
                        flags: *flags,
                        stream: u32::from_be_bytes([s[0], s[1], s[2], s[3]]),
                        payload: self.unread[9..9 + length].to_vec(),
                    };
                    self.unread.drain(..9 + length);
                    return Event::Frame(frame);
                }
            }
            let mut buf = vec![0; 64 * 1024];
            match timeout(self.patience, self.io.read(&mut buf)).await {
                Err(_) => return Event::Silence,
                Ok(Ok(0) | Err(_)) => return Event::Closed,
                Ok(Ok(taken)) => self.unread.extend(&buf[..taken]),
            }
        }
    }

    /// The next frame of this type and stream; others are passed over.
    pub(crate) async fn find(&mut self, kind: u8, stream: u32) -> Frame {
        let mut passed = Vec::new();
        loop {
            match self.next().await {
                Event::Frame(frame) if frame.kind == kind && frame.stream == stream => {
                    return frame;
                }
                Event::Frame(frame) => passed.push((frame.kind, frame.stream, frame.payload)),
                other => {
                    panic!("{other:?} instead of type {kind} on {stream}; before it {passed:x?}")
                }
            }
        }
    }

    /// The status of the response on a stream.
    pub(crate) async fn status(&mut self, stream: u32) -> u16 {
        let head = self.find(HEADERS, stream).await;
        status(&head.payload)
    }

    /// Reads until END_STREAM; how many bytes of DATA came.
    pub(crate) async fn finish(&mut self, stream: u32) -> usize {
        let mut sum = 0;
        loop {
            match self.next().await {
                Event::Frame(frame) if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) => {
                    if frame.kind == DATA {
                        sum += frame.payload.len();
                    }
                    if frame.flags & END_STREAM != 0 {
                        return sum;
                    }
                }
                Event::Frame(frame) if frame.kind == RST_STREAM && frame.stream == stream => {
                    panic!("reset: {:?}", frame.payload)
                }
                Event::Frame(_) => {}
                other => panic!("{other:?} instead of the end of {stream}"),
            }
        }
    }

    /// Reads until GOAWAY with an error, or the last GOAWAY before the end; its code.
    pub(crate) async fn goaway(&mut self) -> u32 {
        let mut last = None;
        loop {
            match self.next().await {
                Event::Frame(frame) if frame.kind == GOAWAY => {
                    let code = u32::from_be_bytes(frame.payload[4..8].try_into().unwrap());
                    if code != NO_ERROR {
                        return code;
                    }
                    last = Some(code);
                }
                Event::Frame(_) => {}
                Event::Closed => return last.expect("closed without GOAWAY"),
                Event::Silence => panic!("neither GOAWAY nor the end"),
            }
        }
    }

    /// As [`Peer::goaway`], waiting longer.
    pub(crate) async fn goaway_after(&mut self, patience: Duration) -> u32 {
        self.patience = patience;
        self.goaway().await
    }

    pub(crate) fn tell(&self, signal: Signal) {
        self.register.tell(None, signal);
    }

    /// Closes the client's side; how the server ended.
    pub(crate) async fn leave(self) -> Served {
        drop(self.io);
        self.server.await.unwrap()
    }

    /// A request on this connection is answered.
    pub(crate) async fn serves(&mut self, stream: u32) {
        self.send(&headers(WHOLE, stream, &get("/"))).await;
        assert_eq!(self.status(stream).await, 200);
        assert_eq!(self.finish(stream).await, 5);
    }
}

/// A request on a fresh connection is answered.
pub(crate) async fn healthy() {
    Peer::open().await.serves(1).await;
}
