//! HTTP calls: a request in memory, a response in memory.

use super::{
    CallError, CallRefused, Services,
    holding::{Holding, Holds},
    under_way::UnderWay,
};
use crate::{
    body::{BodyError, Incoming, MadeBody},
    downstream::proxy_protocol,
    exchange::{
        filter::{HeadFault, Headers},
        head::{Survey, hop_by_hop, hop_by_hop::UpgradeField},
        stream::{RequestBody, RequestStream},
    },
    telemetry::ByteMeter,
    upstream::{self, Carrier, Delivery, HostField, Replay, SendOptions},
    worker::Cluster,
};
use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// How long an upstream may leave a call's body unread.
const STALL: Duration = Duration::from_secs(30);

/// A request to a cluster.
#[derive(Debug, Clone)]
pub struct HttpCall<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// Fields in order; `:method`, `:path` and `:authority` must be among them.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The body.
    pub body: &'a [u8],
    /// Trailers.
    pub trailers: &'a [(&'a [u8], &'a [u8])],
    /// Time for all of it.
    pub timeout: Duration,
}

/// A cluster's response.
#[derive(Debug, Clone)]
pub struct HttpReply {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

/// A body in memory with what comes after it.
#[derive(Debug)]
struct Whole {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl MadeBody for Whole {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

impl Services {
    /// Calls a cluster. The call begins when the future is polled; dropping that gives it up.
    ///
    /// # Errors
    ///
    /// [`CallRefused`] at once, [`CallError`] from the future.
    pub fn http_call(
        &self,
        call: &HttpCall<'_>,
    ) -> Result<impl Future<Output = Result<HttpReply, CallError>> + use<>, CallRefused> {
        let cluster = self.cluster(call.cluster)?;
        let under_way = self.begin(&cluster)?;
        let mut head = head(call.headers, Version::HTTP_11)?;
        let trailers = fields(call.trailers)?;
        let said = Holding::request(self.bound.as_ref(), weight(call.headers) + weight(call.trailers))?;
        let body = Holding::request(self.bound.as_ref(), call.body.len())?;
        let body = body.of(Bytes::copy_from_slice(call.body));
        if let Ok(head) = &mut head {
            head.headers.remove(header::TRANSFER_ENCODING);
            let bodyless = matches!(head.method, Method::GET | Method::HEAD | Method::CONNECT | Method::OPTIONS);
            head.headers.remove(header::CONTENT_LENGTH);
            if trailers.is_none() && !(body.is_empty() && bodyless) {
                head.headers.insert(header::CONTENT_LENGTH, body.len().into());
            }
        }
        let source = match trailers {
            None => Incoming::Full(body),
            Some(trailers) => Incoming::Made(Box::new(Whole { data: body, trailers: Some(trailers) })),
        };
        let (timeout, most) = (call.timeout, self.inner.most_response);
        let answer = Holding::nothing(self.bound.as_ref());
        Ok(async move {
            let _said = said;
            let mut late = CallError::Timeout;
            let whole = async {
                let head = head?;
                let no_body = head.method == Method::HEAD;
                let response = send(&cluster, head, source, Version::HTTP_11, &under_way).await?;
                late = CallError::Late;
                collect(response, no_body, most, answer).await
            };
            let answered = tokio::time::timeout(timeout, whole).await;
            answered.unwrap_or(Err(late))
        })
    }
}

/// Bytes that a field takes beside its letters, as measured: its places in a map.
const FIELD: usize = 100;

/// Bytes that these pairs take.
pub(super) fn weight(pairs: &[(&[u8], &[u8])]) -> usize {
    pairs.iter().map(|(name, value)| FIELD + name.len() + value.len()).sum()
}

/// A head of these fields; the inner error: of which no request can be made that a server would understand. As Envoy, that
/// refuses at once what cannot stand in a message, and has the rest fail as it is sent.
pub(super) fn head(
    pairs: &[(&[u8], &[u8])],
    version: Version,
) -> Result<Result<request::Parts, CallError>, CallRefused> {
    let sayable = |&(name, value): &(&[u8], &[u8])| {
        let named = name.is_empty() || name.starts_with(b":") || HeaderName::from_bytes(name).is_ok();
        named && HeaderValue::from_bytes(value).is_ok()
    };
    // Who asks for a tunnel cannot use one.
    let tunnel = |&(name, value): &(&[u8], &[u8])| name.eq_ignore_ascii_case(b":method") && value == b"CONNECT";
    if !pairs.iter().all(sayable) || pairs.iter().any(tunnel) {
        return Err(CallRefused::Malformed);
    }
    let (mut blank, ()) = Request::new(()).into_parts();
    blank.version = Version::HTTP_2;
    blank.uri = if is_https(pairs) { Uri::from_static("https://x/") } else { Uri::from_static("http://x/") };
    let mut headers = Headers::request(blank, "http");
    // `host` is `:authority`, and two of that are one, with a comma between, as in Envoy.
    headers.replace_all(pairs.iter().copied().filter(|(name, _)| !name.eq_ignore_ascii_case(b":scheme")));
    let mut head = match headers.into_request() {
        Ok(head) => head,
        Err(HeadFault::NoMethod | HeadFault::NoPath | HeadFault::NoAuthority) => return Err(CallRefused::Malformed),
        Err(fault @ (HeadFault::Name(_) | HeadFault::Value(_) | HeadFault::NoStatus | HeadFault::Trailers(_))) => {
            return Ok(Err(CallError::Unwritable(fault)));
        }
    };
    let survey = Survey::of(&head.headers);
    if hop_by_hop::request(&mut head.headers, survey, UpgradeField::Strip).is_err() {
        return Ok(Err(CallError::Unwritable(HeadFault::Value("connection".into()))));
    }
    head.version = version;
    Ok(Ok(head))
}

/// Whether a call asks by `https`: as it says itself, or else by what it would say that its client did, as in Envoy. Two values are
/// none. A connection that is encrypted is always that.
fn is_https(pairs: &[(&[u8], &[u8])]) -> bool {
    let said = |asked: &[u8]| {
        let mut values = pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(asked)).map(|(_, value)| *value);
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let https = value.eq_ignore_ascii_case(b"https");
        (https || value.eq_ignore_ascii_case(b"http")).then_some(https)
    };
    said(b":scheme").or_else(|| said(b"x-forwarded-proto")).unwrap_or(false)
}

/// Fields without a line; `None` of none.
fn fields(pairs: &[(&[u8], &[u8])]) -> Result<Option<HeaderMap>, CallRefused> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut headers = Headers::trailers(HeaderMap::new());
    headers.replace_all(pairs.iter().copied());
    headers.into_trailers().map(Some).map_err(|_| CallRefused::Malformed)
}

/// Sends a request, and once more where it provably never arrived: a resting connection may be closed just now.
pub(super) async fn send(
    cluster: &Rc<Cluster>,
    head: request::Parts,
    source: Incoming,
    version: Version,
    under_way: &UnderWay,
) -> Result<Response<Incoming>, CallError> {
    under_way.asked();
    let stream = RequestStream::new(source, ByteMeter::detached(), false, None, None);
    // Made on behalf of no client.
    let announced = cluster.state().model().proxy_protocol.as_ref().map(|how| Rc::from(proxy_protocol::local(how)));
    let mut head = head;
    let mut replay = Replay::Possible;
    loop {
        let body = stream.as_ref().map_or_else(RequestBody::default, RequestStream::attempt);
        let options = SendOptions {
            // A call of a filter comes by no connection.
            captured: None,
            downstream: version,
            replay,
            upgrade: None,
            websocket_key: None,
            host: HostField::Request,
            address: None,
            carrying: None,
            tried: &[],
            on_informational: None,
            announced: announced.as_ref(),
            body_stall: STALL,
        };
        let error = match upstream::send(cluster, Request::from_parts(head, body), &options).await {
            Ok(response) => {
                under_way.answered(response.status());
                // What was kept to be sent again is of no use any more.
                stream.inspect(|stream| stream.answered(&response));
                return Ok(response);
            }
            Err(error) => error,
        };
        let again = error.delivery == Delivery::Unsent && error.carrier == Carrier::Reused && replay != Replay::Fresh;
        let whole = stream.as_ref().is_none_or(|stream| stream.can_be_sent_again());
        let unsent = error.request.map(|request| request.into_parts().0).or(error.head.map(|head| *head));
        match unsent {
            Some(given_back) if again && whole => head = given_back,
            _ => return Err(error.cause.into()),
        }
        replay = Replay::Fresh;
    }
}

/// A response's body in memory.
async fn collect(
    response: Response<Incoming>,
    no_body: bool,
    most: usize,
    mut holding: Holding,
) -> Result<HttpReply, CallError> {
    let (head, mut body) = response.into_parts();
    let mut reply = HttpReply { status: head.status, headers: head.headers, body: Bytes::new(), trailers: None };
    let mut whole = BytesMut::new();
    if no_body {
        return Ok(reply);
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = match frame.map_err(|_| CallError::Broken)?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                reply.trailers = frame.into_trailers().ok();
                continue;
            }
        };
        if whole.len() + data.len() > most {
            return Err(CallError::TooLarge);
        }
        holding.take(data.len(), Holds::Answer)?;
        if whole.is_empty() && body.is_end_stream() {
            reply.body = holding.of(data);
            return Ok(reply);
        }
        whole.extend_from_slice(&data);
    }
    reply.body = holding.of(whole.freeze());
    Ok(reply)
}
