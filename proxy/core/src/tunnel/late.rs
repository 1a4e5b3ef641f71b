//! Who speaks first, on a connection whose client said nothing while it was asked what it speaks.
//!
//! It was taken for opaque because its server may be the one to speak first. Until one of the two has spoken nothing is
//! settled: a client that then begins with HTTP or TLS speaks just that. Clients connect ahead of their requests, segments are
//! lost, and silence gets nobody round what is asked of requests.

use super::{
    broken_off,
    copy::{self, Broken, Early},
    cut, end,
    end::End,
    refuse,
};
use crate::{
    downstream::{
        admit::Carried,
        connection::LAST_REQUEST,
        detect::{self, Among, READ, Verdict},
        original_dst::Captured,
    },
    drain::Registration,
    exchange::account::Account,
    telemetry::{Blame, ResponseFlag},
    upstream::{Cause, Silent},
    worker::Cluster,
};
use bytes::{Bytes, BytesMut};
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

/// Time for the rest of what a client has begun to say and that is nothing yet, but might become HTTP or TLS; in a drain also for
/// what a server that was connected to has to say first.
const REST: Duration = Duration::from_secs(10);

/// Time from one look for a place among the silent to the next. A server that greets leaves one within milliseconds; whom to tell of it
/// would have to be known over all workers.
const LOOK: Duration = Duration::from_millis(100);

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
    Servers(Bytes),
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

/// What is listened for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ear {
    /// What the client may turn out to be.
    among: Among,
    /// After how long a word that is no usual method's and still may be one's is taken for what it looks like; `None`: never.
    word: Option<Duration>,
    /// Since when.
    since: Instant,
}

impl Ear {
    /// What a late client may turn out to be on a listener; `None`: nothing that would be dealt with in another way.
    pub(super) fn of(protocol: &ListenerProtocol, since: Instant) -> Option<Self> {
        match protocol {
            ListenerProtocol::Detect(tcp) => {
                let word = protocol.passes_unfinished().then_some(tcp.detect_timeout);
                Some(Self { among: Among::Any, word, since })
            }
            ListenerProtocol::Opaque(tcp) if !tcp.server_names.is_empty() => {
                Some(Self { among: Among::Names, word: None, since })
            }
            ListenerProtocol::Opaque(_) | ListenerProtocol::Http => None,
        }
    }

    /// Whether what a client has said so far may become any of these.
    pub(super) fn may_become_known(self, early: &[u8]) -> bool {
        detect::decide(early, self.among) == Verdict::More
    }

    /// How long the rest of what was begun is waited for, and what it is when that has not come.
    fn patience(self, begun: &[u8]) -> (Duration, FirstWord) {
        match self.word {
            Some(word) if !detect::is_usual(begun) => (word, FirstWord::Opaque),
            Some(_) | None => (REST, FirstWord::Unfinished),
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
    let mut said = BytesMut::from(early);
    let word = tokio::select! {
        biased;
        () = registration.aborted() => {
            let (flag, details) = cut(carried);
            end(&mut account, flag, Blame::Proxy, details);
            if said.is_empty() {
                account.has_not_begun();
            }
            account.finish();
            return Settled::Over;
        }
        word = first_word(downstream, (&mut said, ear), upstream, last_call(registration, ear.since)) => word,
        () = copy::silence(idle, || 0) => {
            refuse(account, ResponseFlag::StreamIdleTimeout, Blame::Proxy, "idle_timeout");
            return Settled::Over;
        }
    };
    match word {
        FirstWord::Servers(server) => Settled::Opaque(Early { client: said.freeze(), server }, account),
        FirstWord::Opaque => Settled::Opaque(Early { client: said.freeze(), ..Early::default() }, account),
        FirstWord::Broken(side) => {
            downstream.reset_at_close();
            upstream.reset_at_close();
            broken_off(&mut account, side, upstream);
            account.finish();
            Settled::Over
        }
        word => conclude(word, said.freeze(), account).map_or(Settled::Over, Settled::Known),
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
            drained(&mut account);
            account.finish();
        }
        FirstWord::Broken(_) | FirstWord::Opaque | FirstWord::Servers(_) => {
            end(&mut account, ResponseFlag::DownstreamConnectionTermination, Blame::Downstream, "downstream_broken");
            account.finish();
        }
    }
    None
}

/// Notes that a connection had to close on which nobody has spoken. It is as one that rests between two requests: nothing is cut,
/// and it is no fault.
pub(super) fn drained(account: &mut Account) {
    account.has_not_begun();
    account.details("drained");
    account.terminated_by(Blame::Proxy);
}

/// What a client of which nothing is known has said, and what is listened for; `None`: that is settled.
type Heard<'a> = (&'a mut Bytes, &'a mut Option<Ear>);

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

/// Why a connection is not carried to a server.
pub(super) enum Unplaced {
    /// The silent have all of their places, and it is one of them.
    Full(Cause),
    /// The client's word ended the wait for one.
    Heard(FirstWord),
}

/// A place among the silent for a client who is one of them; `None`: it needs none. Where none is left it waits for one, and is listened to:
/// who speaks HTTP or TLS after all goes where that goes, and who says anything else needs no place.
///
/// # Errors
///
/// It stays silent until its time is up, closes its side so, or says what ends the wait.
pub(super) async fn place<D: AsyncRead + Unpin>(
    cluster: &Cluster,
    captured: Option<Captured>,
    registration: &Registration,
    downstream: &mut D,
    (heard, unsettled): Heard<'_>,
) -> Result<Option<Silent>, Unplaced> {
    let Some(ear) = *unsettled else { return Ok(None) };
    let found = cluster.state().silent(captured);
    if found.is_some() {
        return Ok(found);
    }
    let wait = async {
        tokio::select! {
            biased;
            () = registration.aborted() => Err(Unplaced::Heard(FirstWord::Nobodys)),
            place = freed(cluster, captured) => Ok(Some(place)),
            () = tokio::time::sleep(REST) => Err(Unplaced::Full(cluster.state().no_place())),
        }
    };
    match until(pin!(wait), registration, downstream, (heard, ear)).await {
        Ok(waited) => waited,
        Err(FirstWord::Opaque) if !heard.is_empty() => {
            *unsettled = None;
            Ok(None)
        }
        Err(FirstWord::Opaque) => Err(Unplaced::Full(cluster.state().no_place())),
        Err(word) => Err(Unplaced::Heard(word)),
    }
}

/// A place that somebody has left, since a server has spoken.
async fn freed(cluster: &Cluster, captured: Option<Captured>) -> Silent {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(place) = cluster.state().silent(captured) {
            return place;
        }
    }
}

/// Whichever comes first: what is waited for, or the client's word.
async fn until<T, D: AsyncRead + Unpin>(
    waited_for: Pin<&mut impl Future<Output = T>>,
    registration: &Registration,
    downstream: &mut D,
    (heard, ear): (&mut Bytes, Ear),
) -> Result<T, FirstWord> {
    let (mut said, mut nobody) = (BytesMut::from(std::mem::take(heard)), NoServer);
    let first = tokio::select! {
        biased;
        word = first_word(downstream, (&mut said, ear), &mut nobody, last_call(registration, ear.since)) => Err(word),
        done = waited_for => Ok(done),
    };
    *heard = said.freeze();
    first
}

/// A server that never says anything.
struct NoServer;

impl AsyncRead for NoServer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

/// Ready when a connection on which nobody has spoken `since` must close. As one that waits for a request it has the time for a
/// last one; and a server has [`REST`] for its greeting, before which it may look up who its client is.
pub(super) async fn last_call(registration: &Registration, since: Instant) {
    registration.drained().await;
    let last = (since + REST).max(Instant::now() + LAST_REQUEST);
    // Boxed: a tunnel that lives does not carry the room for it.
    Box::pin(tokio::time::sleep_until(last)).await;
}

/// Waits for it, while nobody has said anything at most until `last_call`. What the client says is put behind `early`, which
/// [may become known](Ear::may_become_known). Dropping the future loses nothing but what the server may have said.
async fn first_word<D, U>(
    downstream: &mut D,
    (early, ear): (&mut BytesMut, Ear),
    upstream: &mut U,
    last_call: impl Future<Output = ()>,
) -> FirstWord
where
    D: AsyncRead + Unpin,
    U: AsyncRead + Unpin,
{
    let mut rest: Option<(Instant, Pin<Box<Sleep>>)> = None;
    let mut last_call = pin!(last_call);
    poll_fn(|cx| {
        loop {
            match read(downstream, cx, |bytes| early.extend_from_slice(bytes)) {
                Poll::Pending => break,
                // The copy sees it once more.
                Poll::Ready(Ok(0)) => return Poll::Ready(FirstWord::Opaque),
                Poll::Ready(Ok(_)) => match detect::decide(early, ear.among) {
                    Verdict::More => {}
                    Verdict::Opaque => return Poll::Ready(FirstWord::Opaque),
                    Verdict::Http1 | Verdict::Http2 | Verdict::Tls(_) => return Poll::Ready(FirstWord::Known),
                },
                Poll::Ready(Err(_)) => return Poll::Ready(FirstWord::Broken(Broken::Downstream)),
            }
        }
        let mut said = Bytes::new();
        match read(upstream, cx, |bytes| said = Bytes::copy_from_slice(bytes)) {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => return Poll::Ready(FirstWord::Opaque),
            Poll::Ready(Ok(_)) => return Poll::Ready(FirstWord::Servers(said)),
            Poll::Ready(Err(_)) => return Poll::Ready(FirstWord::Broken(Broken::Upstream)),
        }
        if early.is_empty() {
            return last_call.as_mut().poll(cx).map(|()| FirstWord::Nobodys);
        }
        // What was begun as a usual method may turn out to be another word.
        let (patience, word) = ear.patience(early);
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
mod tests {
    use super::*;
    use crate::drain::{Register, Signal};
    use std::sync::Arc;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    fn any() -> Ear {
        Ear { among: Among::Any, word: None, since: Instant::now() }
    }

    fn names() -> Ear {
        Ear { among: Among::Names, ..any() }
    }

    struct Ends {
        client: DuplexStream,
        downstream: DuplexStream,
        server: DuplexStream,
        upstream: DuplexStream,
        early: BytesMut,
    }

    fn ends(early: &[u8]) -> Ends {
        let ((client, downstream), (server, upstream)) = (duplex(4096), duplex(4096));
        Ends { client, downstream, server, upstream, early: early.into() }
    }

    async fn word_of(ends: &mut Ends, ear: Ear) -> FirstWord {
        first_word(&mut ends.downstream, (&mut ends.early, ear), &mut ends.upstream, std::future::pending()).await
    }

    async fn word(ends: &mut Ends) -> FirstWord {
        word_of(ends, any()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_speaks_first_is_what_it_says() {
        for (said, is) in [
            (&b"GET / HTTP/1.1\r\n"[..], FirstWord::Known),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FirstWord::Known),
            (b"\0\0\0\x08", FirstWord::Opaque),
            (b"HELO\n", FirstWord::Opaque),
        ] {
            for cut in (0..said.len()).filter(|&cut| any().may_become_known(&said[..cut])) {
                let mut ends = ends(&said[..cut]);
                ends.client.write_all(&said[cut..]).await.unwrap();
                assert_eq!(word(&mut ends).await, is, "{}", said.escape_ascii());
                assert_eq!(ends.early, said);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_names_alone_are_looked_at_tls_is_known_and_all_else_is_opaque() {
        let hello = detect::client_hello::tests::named("api.example.com");
        for cut in 0..hello.len() {
            let mut ends = ends(&hello[..cut]);
            ends.client.write_all(&hello[cut..]).await.unwrap();
            assert_eq!(word_of(&mut ends, names()).await, FirstWord::Known, "{cut}");
            assert_eq!(ends.early, hello);
        }
        let mut http = ends(b"");
        http.client.write_all(b"G").await.unwrap();
        assert_eq!(word_of(&mut http, names()).await, FirstWord::Opaque);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_speaks_first_makes_it_opaque_whatever_the_client_began() {
        for begun in [&b""[..], b"GET"] {
            let mut ends = ends(begun);
            ends.server.write_all(b"220 ready\r\n").await.unwrap();
            assert_eq!(word(&mut ends).await, FirstWord::Servers(Bytes::from_static(b"220 ready\r\n")));
            assert_eq!(ends.early, begun);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_last_call_who_has_said_nothing_goes_and_who_has_begun_may_go_on() {
        let drained = Duration::from_secs(1);
        let register = Register::within(Arc::default(), Arc::default());
        for (silent_for, begun, said, is, after) in [
            (REST, &b""[..], &b""[..], FirstWord::Nobodys, drained + LAST_REQUEST),
            // Its server may be slow to greet.
            (Duration::ZERO, b"", b"", FirstWord::Nobodys, REST),
            (REST / 2, b"", b"", FirstWord::Nobodys, REST / 2),
            (REST, b"", b"GET / HTTP/1.1\r\n", FirstWord::Known, drained + LAST_REQUEST / 2),
            (REST, b"G", b"", FirstWord::Unfinished, REST),
            (REST, b"G", b"ET / HTTP/1.1\r\n", FirstWord::Known, drained + LAST_REQUEST / 2),
        ] {
            let since = Instant::now();
            tokio::time::advance(silent_for).await;
            let mut ends = ends(begun);
            let registration = register.enter(0);
            let began = Instant::now();
            let told = async {
                tokio::time::sleep(drained).await;
                registration.control().tell(Signal::Drain);
                tokio::time::sleep(LAST_REQUEST / 2).await;
                ends.client.write_all(said).await.unwrap();
            };
            let word = first_word(
                &mut ends.downstream,
                (&mut ends.early, any()),
                &mut ends.upstream,
                last_call(&registration, since),
            );
            let (word, ()) = tokio::join!(word, told);
            assert_eq!(word, is, "{} {}", begun.escape_ascii(), said.escape_ascii());
            let (took, accuracy) = (began.elapsed(), Duration::from_millis(5));
            assert!(
                (after..after + accuracy).contains(&took),
                "{} {}: {took:?}",
                begun.escape_ascii(),
                said.escape_ascii()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_words_pass_those_of_no_usual_method_are_waited_for_no_longer_than_their_time() {
        let time = Duration::from_millis(200);
        let ear = Ear { word: Some(time), ..any() };
        for (begun, is, after) in [
            (&b"JDWP-Handshake"[..], FirstWord::Opaque, time),
            (b"\r\n", FirstWord::Opaque, time),
            (b"GE", FirstWord::Unfinished, REST),
            (b"PRI * HT", FirstWord::Unfinished, REST),
            (b"\x16\x03", FirstWord::Unfinished, REST),
        ] {
            let mut ends = ends(begun);
            let began = Instant::now();
            assert_eq!(word_of(&mut ends, ear).await, is, "{}", begun.escape_ascii());
            assert!((after..after + time).contains(&began.elapsed()), "{}", begun.escape_ascii());
            assert_eq!(ends.early, begun);
        }
        // A word may outgrow a method, and what goes on in time is what it becomes.
        for (first, second, is) in [
            (&b"GE"[..], &b"TX"[..], FirstWord::Opaque),
            (b"RUOK", b" / HTTP/1.1\r\n", FirstWord::Known),
            (b"RUOK", b"\0", FirstWord::Opaque),
        ] {
            let mut ends = ends(first);
            let began = Instant::now();
            let Ends { client, .. } = &mut ends;
            let mut client = std::mem::replace(client, duplex(1).0);
            let said = async {
                tokio::time::sleep(time / 2).await;
                client.write_all(second).await.unwrap();
                std::future::pending::<()>().await;
            };
            let word = tokio::select! {
                word = word_of(&mut ends, ear) => word,
                () = said => unreachable!("it waits"),
            };
            assert_eq!(word, is, "{}", second.escape_ascii());
            assert!(began.elapsed() <= time + time / 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_and_what_was_begun_does_not() {
        let mut quiet = ends(b"");
        assert!(tokio::time::timeout(Duration::from_secs(3600), word(&mut quiet)).await.is_err());
        let mut begun = ends(b"G");
        let began = Instant::now();
        assert_eq!(word(&mut begun).await, FirstWord::Unfinished);
        assert!(began.elapsed() >= REST && began.elapsed() < 2 * REST);
        // The end of either side is the copy's to pass on.
        drop(std::mem::replace(&mut quiet.server, duplex(1).0));
        assert_eq!(word(&mut quiet).await, FirstWord::Opaque);
        let mut left = ends(b"");
        drop(std::mem::replace(&mut left.client, duplex(1).0));
        assert_eq!(word(&mut left).await, FirstWord::Opaque);
    }
}
