//! The task of an HTTP/2 connection: it runs the codec and finds out when the peer is dead.
//!
//! Beside the path. A peer that stays silent while requests wait is asked by PING (RFC 9113 §6.7); one that does not
//! answer is dead and its streams fail. Nothing is asked of a connection without requests, and it holds no timer.

use crate::{
    downstream::{admit::Distrust, windows::Window},
    io::Pace,
    upstream::{
        Bond, RequestBody,
        circuit_wait::Opened,
        error::ConnectError,
        heard::{Heard, begins_frame},
        line::{Line, Watch},
        pool::Host,
        tls,
    },
};
use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep},
};

/// What a connection's task and its requests tell each other.
pub(super) struct Shared {
    pub(super) active: Cell<usize>,
    pub(super) open: Cell<bool>,
    settings: Cell<Settings>,
    settled: Notify,
    /// Why the server refused us after the handshake.
    pub(super) refused: Cell<Option<ConnectError>>,
    /// Why it was ended, where that was because of who is at its ends.
    pub(super) distrusted: Cell<Option<Distrust>>,
    /// By what its streams are measured; it wakes the task.
    pub(super) pace: Rc<Pace>,
}

/// Whether the peer's SETTINGS have come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    Unknown,
    /// Somebody waits for them.
    Asked,
    Known,
}

/// What the PING is for that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    No,
    /// A stream is measured.
    Way,
    /// Whether the peer lives, or what its SETTINGS are.
    Peer,
}

struct Driver {
    codec: Connection<Line, Bytes>,
    window: Window,
    ping: Option<PingPong>,
    asking: Asking,
    shared: Rc<Shared>,
    watch: Watch,
    /// Where its server was judged.
    bond: Option<Rc<Bond>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes read when the timer was set; the same number when it fires is silence.
    read: u64,
    patience: Duration,
}

/// Silence, with requests waiting, after which the peer is asked.
const SILENCE: Duration = Duration::from_secs(20);
/// Silence after a peer has answered: servers count PINGs that come more often than this as abuse while nothing
/// else is sent (gRPC's default is 5 min).
const LONG_SILENCE: Duration = Duration::from_secs(310);
/// Time a peer has to answer.
const PONG: Duration = Duration::from_secs(15);

impl Shared {
    pub(super) fn new(pace: &Rc<Pace>) -> Self {
        Self {
            active: Cell::new(0),
            open: Cell::new(true),
            settings: Cell::new(Settings::Unknown),
            settled: Notify::new(),
            refused: Cell::new(None),
            distrusted: Cell::new(None),
            pace: Rc::clone(pace),
        }
    }

    /// Waits until the peer's SETTINGS are known or the connection is over. A PING is answered after them: they are
    /// the first frame a peer sends (RFC 9113 §3.4).
    pub(super) async fn settled(&self) {
        while self.open.get() && self.settings.get() != Settings::Known {
            self.settings.set(Settings::Asked);
            self.pace.wake();
            self.settled.notified().await;
        }
    }

    fn settle(&self) {
        self.settings.set(Settings::Known);
        self.settled.notify_waiters();
    }
}

/// Runs the codec until the connection ends.
pub(super) async fn drive<B: RequestBody>(
    (mut codec, window): (Connection<Line, Bytes>, Window),
    shared: Rc<Shared>,
    (watch, bond): (Watch, Option<Rc<Bond>>),
    opened: Opened,
    host: Weak<Host<B>>,
) {
    let ping = codec.ping_pong();
    let mut driver = Driver {
        codec,
        window,
        ping,
        asking: Asking::No,
        shared: Rc::clone(&shared),
        watch,
        bond,
        timer: None,
        read: 0,
        patience: SILENCE,
    };
    poll_fn(|cx| driver.poll(cx)).await;
    // Before the streams that fail of it hear of anything: they run after this.
    if let Some(failure) = driver.watch.late_refusal()
        && let Some(host) = host.upgrade()
    {
        shared.refused.set(Some(tls::refused_late(&host.core, failure)));
    }
    // Another server than the one that was asked has the address now.
    if let (Some(first), Some(host)) = (driver.watch.first(), host.upgrade())
        && !begins_frame(first)
    {
        host.core.heard.set(Heard::Nothing);
    }
    // Streams that are left fail as the codec goes.
    drop(driver);
    shared.open.set(false);
    shared.settled.notify_waiters();
    drop(opened);
    if let Some(host) = host.upgrade() {
        host.prune();
    }
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.pace.remember(cx);
        if let Some(bond) = &self.bond
            && let Poll::Ready(why) = bond.poll_broken(cx, || self.watch.peer_certificates())
        {
            self.shared.distrusted.set(Some(why));
            return Poll::Ready(());
        }
        self.window.fit(self.shared.active.get(), &mut self.codec);
        if Pin::new(&mut self.codec).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.hear_pong(cx);
        if self.shared.pace.owes() {
            self.window.pay(&mut self.codec);
        }
        if self.shared.settings.get() == Settings::Asked {
            self.ask(Asking::Peer);
        }
        if self.asking == Asking::No && self.shared.pace.wants() {
            self.ask(Asking::Way);
            self.shared.pace.begin();
        }
        if self.shared.active.get() == 0 {
            self.timer = None;
            return Poll::Pending;
        }
        if self.timer.is_none() {
            self.patience = SILENCE;
            self.set_timer();
        }
        while let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            if self.watch.bytes_read() != Some(self.read) {
                self.patience = SILENCE;
            } else if self.asking == Asking::Peer {
                return Poll::Ready(());
            } else {
                self.ask(Asking::Peer);
                self.patience = PONG;
            }
            self.set_timer();
        }
        Poll::Pending
    }

    fn hear_pong(&mut self, cx: &mut Context<'_>) {
        if self.asking == Asking::No {
            return;
        }
        if let Some(ping) = &mut self.ping
            && ping.poll_pong(cx).is_ready()
        {
            self.window.measured(self.shared.active.get(), &mut self.codec);
            let asked = std::mem::replace(&mut self.asking, Asking::No);
            self.shared.settle();
            if asked == Asking::Peer && self.timer.is_some() {
                self.patience = LONG_SILENCE;
                self.set_timer();
            }
        }
    }

    /// One question at a time: what is under way answers the next one too.
    fn ask(&mut self, what: Asking) {
        if self.asking == Asking::No {
            let sent = self.ping.as_mut().is_some_and(|ping| ping.send_ping(Ping::opaque()).is_ok());
            if !sent {
                return;
            }
        }
        self.asking = what;
    }

    fn set_timer(&mut self) {
        self.read = self.watch.bytes_read().unwrap_or(0);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + self.patience),
            None => self.timer = Some(Box::pin(sleep(self.patience))),
        }
    }
}
