//! Who speaks first, on a connection whose client said nothing while it was asked what it speaks.
//!
//! It was taken for opaque because its server may be the one to speak first. Until one of the two has spoken nothing is
//! settled: a client that then begins with HTTP or TLS speaks just that. Clients connect ahead of their requests, segments are
//! lost, and silence gets nobody round what is asked of requests. Nor does a server that greets as those of HTTP do ([`greeting`]): its
//! word is held until the client has said its own.

use super::{
    broken_off,
    copy::{self, Broken, Early},
    cut, end,
    end::End,
    refuse, silent,
};
use crate::{
    downstream::{
        admit::Carried,
        connection::LAST_REQUEST,
        detect::{self, Among, READ, Verdict},
    },
    drain::Registration,
    exchange::account::Account,
    telemetry::{Blame, ResponseFlag},
};
use bytes::{Bytes, BytesMut};
use greeting::Greets;
use pillion_config::model::ListenerProtocol;
use std::{
    future::poll_fn,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep},
};

mod greeting;

/// Time for the rest of what a client has begun to say and that is nothing yet, but might become HTTP or TLS, and of a greeting that
/// might become HTTP's; in a drain also for what a server that was connected to has to say first.
pub(super) const REST: Duration = Duration::from_secs(10);

/// What became of a connection of which nothing was known when its server was there.
pub(super) enum Settled {
    /// It is opaque, and this is what was said.
    Opaque(Early, Account),
    /// It is not, and this is what its client has said. It is no tunnel: there is no record of it.
    Known(Bytes),
    /// It is over.
    Over,
}

/// The first word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstWord {
    /// The server's: the connection is opaque.
    Servers,
    /// The client's, and it is neither HTTP nor TLS; or one of them closed its side.
    Opaque,
    /// The client's, and it is HTTP or TLS.
    Known,
    /// The client began, and did not go on.
    Unfinished,
    /// Nobody's so far, and there is no more time for one.
    Nobodys,
    /// One of them failed.
    Broken(Broken),
}

/// What was said before it is settled.
#[derive(Debug, Default)]
struct Said {
    client: BytesMut,
    /// What a server greets with is held where a client of HTTP may be greeted so.
    server: BytesMut,
}

/// What is listened for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ear {
    /// What the client may turn out to be.
    among: Among,
    /// After how long a word that is no usual method's and still may be one's is taken for what it looks like; `None`: never.
    word: Option<Duration>,
    /// Until when a drain waits for its server's greeting.
    greets: Instant,
}

impl Ear {
    /// What a late client may turn out to be on a listener; `None`: nothing that would be dealt with in another way.
    pub(super) fn of(protocol: &ListenerProtocol, greets: Instant) -> Option<Self> {
        match protocol {
            ListenerProtocol::Detect(tcp) => {
                let word = protocol.passes_unfinished().then_some(tcp.detect_timeout);
                Some(Self { among: Among::Any, word, greets })
            }
            ListenerProtocol::Opaque(tcp) if !tcp.server_names.is_empty() => {
                Some(Self { among: Among::Names, word: None, greets })
            }
            ListenerProtocol::Opaque(_) | ListenerProtocol::Http => None,
        }
    }

    /// Whether what a client has said so far may become any of these.
    pub(super) fn may_become_known(self, early: &[u8]) -> bool {
        detect::decide(early, self.among) == Verdict::More
    }

    /// How long the rest of what was begun is waited for, and what it is when that has not come. Where a server of HTTP has greeted, a
    /// word that might be a method is likely one.
    fn patience(self, said: &Said) -> (Duration, FirstWord) {
        match self.word {
            Some(word) if !detect::is_usual(&said.client) && said.server.is_empty() => (word, FirstWord::Opaque),
            Some(_) | None => (REST, FirstWord::Unfinished),
        }
    }

    /// What a server's greeting says of the connection.
    fn greets(self, greeting: &[u8]) -> Greets {
        match self.among {
            Among::Any => greeting::of(greeting),
            // Nobody asks whether it is HTTP.
            Among::Names | Among::Http => Greets::Otherwise,
        }
    }
}

/// Waits for who speaks first, at most for `idle`. Dropping the future cuts both sides.
pub(super) async fn settle<D: End, U: End>(
    (registration, carried): (&Registration, &Carried),
    (downstream, upstream): (&mut D, &mut U),
    (early, ear): (Bytes, Ear),
    idle: Option<Duration>,
    mut account: Account,
) -> Settled {
    let mut said = Said { client: BytesMut::from(early), ..Said::default() };
    let word = tokio::select! {
        biased;
        () = registration.aborted() => {
            let (flag, details) = cut(carried);
            end(&mut account, flag, Blame::Proxy, details);
            if said.client.is_empty() {
                account.has_not_begun();
            }
            account.finish();
            return Settled::Over;
        }
        word = first_word(downstream, (&mut said, ear), upstream, last_call(registration, ear.greets)) => word,
        () = copy::silence(idle, || 0) => {
            refuse(account, ResponseFlag::StreamIdleTimeout, Blame::Proxy, "idle_timeout");
            return Settled::Over;
        }
    };
    match word {
        FirstWord::Servers | FirstWord::Opaque => {
            Settled::Opaque(Early { client: said.client.freeze(), server: said.server.freeze() }, account)
        }
        FirstWord::Broken(side) => {
            downstream.reset_at_close();
            upstream.reset_at_close();
            broken_off(&mut account, side, upstream);
            account.finish();
            Settled::Over
        }
        word => conclude(word, said.client.freeze(), account).map_or(Settled::Over, Settled::Known),
    }
}

/// What is left to do where no server has part in it: what the client has said if it is HTTP or TLS, which is no tunnel's record;
/// or the connection's end.
pub(super) fn conclude(word: FirstWord, said: Bytes, mut account: Account) -> Option<Bytes> {
    match word {
        FirstWord::Known => {
            account.withdraw();
            return Some(said);
        }
        FirstWord::Unfinished => {
            refuse(account, ResponseFlag::DownstreamProtocolError, Blame::Downstream, "first_bytes_timeout");
        }
        FirstWord::Nobodys => {
            silent::drained(&mut account);
            account.finish();
        }
        FirstWord::Opaque => {
            let details = "downstream_remote_disconnect";
            refuse(account, ResponseFlag::DownstreamConnectionTermination, Blame::Downstream, details);
        }
        FirstWord::Broken(_) | FirstWord::Servers => {
            refuse(account, ResponseFlag::DownstreamConnectionTermination, Blame::Downstream, "downstream_broken");
        }
    }
    None
}

/// What a client of which nothing is known has said, and what is listened for; `None`: that is settled.
pub(super) type Heard<'a> = (&'a mut Bytes, &'a mut Option<Ear>);

/// Waits for `opening`, and listens to a client who is unsettled meanwhile. What it says is put behind what was heard.
///
/// # Errors
///
/// The client's word, where it ends what was waited for.
pub(super) async fn listen<T, D: AsyncRead + Unpin>(
    opening: impl Future<Output = T>,
    registration: &Registration,
    downstream: &mut D,
    (heard, unsettled): Heard<'_>,
) -> Result<T, FirstWord> {
    let Some(ear) = *unsettled else { return Ok(opening.await) };
    let mut opening = pin!(opening);
    match until(opening.as_mut(), registration, downstream, (heard, ear)).await {
        Err(FirstWord::Opaque) => {
            *unsettled = None;
            Ok(opening.await)
        }
        done => done,
    }
}

/// Whichever comes first: what is waited for, or the client's word.
pub(super) async fn until<T, D: AsyncRead + Unpin>(
    waited_for: Pin<&mut impl Future<Output = T>>,
    registration: &Registration,
    downstream: &mut D,
    (heard, ear): (&mut Bytes, Ear),
) -> Result<T, FirstWord> {
    let (mut said, mut nobody) = (Said { client: BytesMut::from(std::mem::take(heard)), ..Said::default() }, NoServer);
    let first = tokio::select! {
        biased;
        word = first_word(downstream, (&mut said, ear), &mut nobody, last_call(registration, ear.greets)) => Err(word),
        done = waited_for => Ok(done),
    };
    *heard = said.client.freeze();
    first
}

/// A server that never says anything.
struct NoServer;

impl AsyncRead for NoServer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

/// Until when a server may greet while its connection, which began then, is drained: it may look up who its client is before. Where
/// clients are listened to, a port of another protocol than theirs is known to be one (`server_first`), and nobody else is waited for.
pub(super) fn greets(protocol: &ListenerProtocol, port: u16, began: Instant) -> Instant {
    match protocol {
        ListenerProtocol::Detect(tcp) if !tcp.server_first.contains(&port) => began,
        ListenerProtocol::Detect(_) | ListenerProtocol::Opaque(_) | ListenerProtocol::Http => began + REST,
    }
}

/// Ready when a connection on which nobody has spoken must close. As one that waits for a request it has the time for a
/// last one, and its server has until it [`greets`].
pub(super) async fn last_call(registration: &Registration, greets: Instant) {
    registration.drained().await;
    let last = greets.max(Instant::now() + LAST_REQUEST);
    // Boxed: a tunnel that lives does not carry the room for it.
    Box::pin(tokio::time::sleep_until(last)).await;
}

/// Waits for it, while the client has said nothing at most until `last_call`. What it says is put behind what it said before, which
/// [may become known](Ear::may_become_known). Dropping the future loses nothing but what the server may have said.
async fn first_word<D, U>(
    downstream: &mut D,
    (said, ear): (&mut Said, Ear),
    upstream: &mut U,
    last_call: impl Future<Output = ()>,
) -> FirstWord
where
    D: AsyncRead + Unpin,
    U: AsyncRead + Unpin,
{
    let mut rest: Option<(Instant, Pin<Box<Sleep>>)> = None;
    let mut rest_of_greeting: Option<Pin<Box<Sleep>>> = None;
    let mut last_call = pin!(last_call);
    poll_fn(|cx| {
        loop {
            match read(downstream, cx, |bytes| said.client.extend_from_slice(bytes)) {
                Poll::Pending => break,
                // The copy sees it once more.
                Poll::Ready(Ok(0)) => return Poll::Ready(FirstWord::Opaque),
                Poll::Ready(Ok(_)) => match detect::decide(&said.client, ear.among) {
                    Verdict::More => {}
                    Verdict::Opaque => return Poll::Ready(FirstWord::Opaque),
                    Verdict::Http1 | Verdict::Http2 | Verdict::Tls(_) => return Poll::Ready(FirstWord::Known),
                },
                Poll::Ready(Err(_)) => return Poll::Ready(FirstWord::Broken(Broken::Downstream)),
            }
        }
        // More than a read is left to the kernel: its end is seen later, then.
        while said.server.len() < READ {
            match read(upstream, cx, |bytes| said.server.extend_from_slice(bytes)) {
                Poll::Pending => break,
                // Passed on behind what it has greeted with.
                Poll::Ready(Ok(0)) => return Poll::Ready(FirstWord::Opaque),
                Poll::Ready(Ok(_)) if ear.greets(&said.server) == Greets::Otherwise => {
                    return Poll::Ready(FirstWord::Servers);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(FirstWord::Broken(Broken::Upstream)),
            }
        }
        if !said.server.is_empty() && ear.greets(&said.server) == Greets::More {
            let rest = rest_of_greeting.get_or_insert_with(|| Box::pin(tokio::time::sleep(REST)));
            if rest.as_mut().poll(cx).is_ready() {
                return Poll::Ready(FirstWord::Servers);
            }
        }
        if said.client.is_empty() {
            return last_call.as_mut().poll(cx).map(|()| FirstWord::Nobodys);
        }
        // What was begun as a usual method may turn out to be another word.
        let (patience, word) = ear.patience(said);
        let (begun, rest) = rest.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + patience)))
        });
        let until = *begun + patience;
        if rest.deadline() != until {
            rest.as_mut().reset(until);
        }
        rest.as_mut().poll(cx).map(|()| word)
    })
    .await
}

/// One read, on the stack: who is silent holds no memory.
fn read<S: AsyncRead + Unpin>(
    from: &mut S,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<std::io::Result<usize>> {
    let mut bytes = [MaybeUninit::uninit(); READ];
    let mut buf = ReadBuf::uninit(&mut bytes);
    Pin::new(from).poll_read(cx, &mut buf).map_ok(|()| {
        if !buf.filled().is_empty() {
            take(buf.filled());
        }
        buf.filled().len()
    })
}

#[cfg(test)]
mod tests;
