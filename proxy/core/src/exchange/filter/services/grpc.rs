//! gRPC calls: unary, and streams of messages. Sources: the gRPC project's "gRPC over HTTP2".

mod received;
mod sent;

use super::{
    Bound, CallError, CallRefused, Services, UnderWay,
    holding::{Holding, Holds},
    http::{head, send, weight},
};
use crate::{
    body::{BodyError, Incoming},
    exchange::head::grpc::GrpcStatus,
    http1::Broken,
};
use ::http::{HeaderMap, StatusCode, Version};
use base64::Engine as _;
use bytes::Bytes;
use http_body::Body;
use received::{Messages, NoMessage, PREFIX, percent_decoded};
use sent::{Outgoing, Sending};
use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// A gRPC call to a cluster.
#[derive(Debug, Clone)]
pub struct GrpcCall<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The `:authority` of its requests; `None`: the cluster's name.
    pub authority: Option<&'a str>,
    /// The service, such as `helloworld.Greeter`.
    pub service: &'a str,
    /// The method, such as `SayHello`.
    pub method: &'a str,
    /// The initial metadata; values of names that end in `-bin` are bytes and are encoded here.
    pub metadata: &'a [(&'a [u8], &'a [u8])],
    /// Time for all of it; `None`, for streams: no limit.
    pub timeout: Option<Duration>,
}

/// What a unary call came to.
#[derive(Debug, Clone)]
pub struct GrpcReply {
    /// `grpc-status`, or what follows from an HTTP status.
    pub status: u32,
    /// `grpc-message`, percent-decoded.
    pub message: Vec<u8>,
    /// The message that was answered, if one was.
    pub body: Option<Bytes>,
    /// The initial metadata.
    pub initial: Metadata,
    /// The trailing metadata.
    pub trailing: Metadata,
}

/// Metadata of a gRPC response.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The HTTP status, of what came as a head: initial metadata, and trailing that came alone.
    pub status: Option<StatusCode>,
    /// The fields.
    pub fields: HeaderMap,
}

/// What happens on a gRPC stream, in this order.
#[derive(Debug)]
pub enum GrpcEvent {
    /// The initial metadata; once.
    Initial(Metadata),
    /// A message.
    Message(Bytes),
    /// The trailing metadata; once, without fields where none came.
    Trailing(Metadata),
    /// The end: `grpc-status` and `grpc-message`. Nothing follows.
    Closed(u32, Vec<u8>),
}

/// The sending half of a gRPC stream. When both halves are dropped, the stream is reset.
#[derive(Clone)]
pub struct GrpcStream {
    outgoing: Rc<RefCell<Outgoing>>,
    /// Bounds what calls hold.
    bound: Option<Arc<dyn Bound>>,
}

/// The receiving half.
pub struct GrpcEvents {
    state: State,
    waiting: VecDeque<GrpcEvent>,
    outgoing: Rc<RefCell<Outgoing>>,
    most: usize,
    /// What of it is held: its metadata, until it ends.
    _said: Holding,
    /// What came of a message that is not whole yet.
    held: Holding,
    _under_way: Rc<UnderWay>,
}

enum State {
    Sending(Pin<Box<dyn Future<Output = Result<::http::Response<Incoming>, CallError>>>>),
    Receiving(Box<Incoming>, Messages),
    Over,
}

impl Services {
    /// A unary call.
    ///
    /// # Errors
    ///
    /// [`CallRefused`] at once, [`CallError`] from the future. What the server says is no error.
    pub fn grpc_call(
        &self,
        call: &GrpcCall<'_>,
        message: &[u8],
    ) -> Result<impl Future<Output = Result<GrpcReply, CallError>> + use<>, CallRefused> {
        let (stream, mut events) = self.grpc_stream(call)?;
        // A message that finds no room is refused here, before anything is sent.
        stream.send(message).map_err(|error| match error {
            CallError::NoRoom(none) => none.into(),
            _ => CallRefused::TooLarge,
        })?;
        stream.close();
        let timeout = call.timeout.unwrap_or(Duration::MAX);
        Ok(async move {
            let mut late = CallError::Timeout;
            let whole = async {
                let mut reply = GrpcReply {
                    status: 0,
                    message: Vec::new(),
                    body: None,
                    initial: Metadata::default(),
                    trailing: Metadata::default(),
                };
                loop {
                    match events.next().await? {
                        Some(GrpcEvent::Initial(initial)) => {
                            late = CallError::Late;
                            reply.initial = initial;
                        }
                        Some(GrpcEvent::Message(message)) => reply.body = Some(message),
                        Some(GrpcEvent::Trailing(trailing)) => reply.trailing = trailing,
                        Some(GrpcEvent::Closed(status, message)) => {
                            (reply.status, reply.message) = (status, message);
                            return Ok(reply);
                        }
                        None => return Err(CallError::Broken),
                    }
                }
            };
            let answered = tokio::time::timeout(timeout, whole).await;
            answered.unwrap_or(Err(late))
        })
    }

    /// A stream. It begins when its events are first waited for.
    ///
    /// # Errors
    ///
    /// [`CallRefused`]: it cannot be begun.
    pub fn grpc_stream(&self, call: &GrpcCall<'_>) -> Result<(GrpcStream, GrpcEvents), CallRefused> {
        let cluster = self.cluster(call.cluster)?;
        let under_way = Rc::new(self.begin(&cluster)?);
        let said = Holding::request(self.bound.as_ref(), weight(call.metadata))?;
        let path = format!("/{}/{}", call.service, call.method);
        let timeout = call.timeout.map(|timeout| format!("{}m", timeout.as_millis().min(99_999_999)));
        let mut pairs: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"POST"),
            (b":path", path.as_bytes()),
            (b":authority", call.authority.unwrap_or(call.cluster).as_bytes()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ];
        pairs.extend(timeout.as_ref().map(|timeout| (&b"grpc-timeout"[..], timeout.as_bytes())));
        let encoded: Vec<(&[u8], Vec<u8>)> = call
            .metadata
            .iter()
            // What makes it gRPC is ours to say.
            .filter(|(name, _)| !(name.eq_ignore_ascii_case(b"content-type") || name.eq_ignore_ascii_case(b"te")))
            .map(|(name, value)| {
                let binary = name.to_ascii_lowercase().ends_with(b"-bin");
                let encode = |value| base64::engine::general_purpose::STANDARD_NO_PAD.encode(value).into_bytes();
                (*name, if binary { encode(value) } else { value.to_vec() })
            })
            .collect();
        pairs.extend(encoded.iter().map(|(name, value)| (*name, &value[..])));
        let head = head(&pairs, Version::HTTP_2)?;
        let outgoing = Rc::new(RefCell::new(Outgoing::default()));
        let source = Incoming::Made(Box::new(Sending(Rc::clone(&outgoing))));
        let call = Rc::clone(&under_way);
        let sending = Box::pin(async move { send(&cluster, head?, source, Version::HTTP_2, &call).await });
        let events = GrpcEvents {
            state: State::Sending(sending),
            waiting: VecDeque::new(),
            outgoing: Rc::clone(&outgoing),
            most: self.inner.most_response,
            _said: said,
            held: Holding::nothing(self.bound.as_ref()),
            _under_way: under_way,
        };
        Ok((GrpcStream { outgoing, bound: self.bound.clone() }, events))
    }
}

impl GrpcStream {
    /// Sends a message.
    ///
    /// # Errors
    ///
    /// The stream is closed, or calls hold as much as they may.
    pub fn send(&self, message: &[u8]) -> Result<(), CallError> {
        self.outgoing.borrow_mut().send(message, self.bound.as_ref())
    }

    /// Says that no message follows.
    pub fn close(&self) {
        self.outgoing.borrow_mut().close();
    }

    /// Gives the stream up.
    pub fn cancel(&self) {
        self.outgoing.borrow_mut().reset();
    }
}

impl GrpcEvents {
    /// What happens next; `None` after [`GrpcEvent::Closed`]. Cancel-safe.
    ///
    /// # Errors
    ///
    /// No response came at all, or a message larger than the filter takes; nothing follows.
    pub async fn next(&mut self) -> Result<Option<GrpcEvent>, CallError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<GrpcEvent>, CallError>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Poll::Ready(Ok(Some(event)));
            }
            match &mut self.state {
                State::Over => return Poll::Ready(Ok(None)),
                State::Sending(sending) => match sending.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => {
                        self.state = State::Over;
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(Ok(response)) => self.answered(response),
                },
                State::Receiving(body, messages) => {
                    match messages.next(self.most) {
                        Ok(Some(message)) => {
                            let message = self.held.split(PREFIX + message.len()).of(message);
                            return Poll::Ready(Ok(Some(GrpcEvent::Message(message))));
                        }
                        Ok(None) => {}
                        Err(NoMessage::Compressed) => {
                            self.close(GrpcStatus::Internal, "a compressed message, though no compression was offered");
                            continue;
                        }
                        Err(NoMessage::TooLarge) => {
                            self.over();
                            return Poll::Ready(Err(CallError::TooLarge));
                        }
                    }
                    match Pin::new(&mut **body).poll_frame(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                            Ok(data) => {
                                if let Err(none) = self.held.take(data.len(), Holds::Answer) {
                                    self.over();
                                    return Poll::Ready(Err(none.into()));
                                }
                                messages.held.extend_from_slice(&data);
                            }
                            Err(frame) => {
                                let fields = frame.into_trailers().unwrap_or_default();
                                self.ended(Metadata { status: None, fields });
                            }
                        },
                        Poll::Ready(Some(Err(error))) => self.close(GrpcStatus::Internal, broke_off(&error)),
                        Poll::Ready(None) => self.close(GrpcStatus::Unknown, "the stream ended without a status"),
                    }
                }
            }
        }
    }

    fn answered(&mut self, response: ::http::Response<Incoming>) {
        let (head, body) = response.into_parts();
        let metadata = Metadata { status: Some(head.status), fields: head.headers };
        // Trailers-Only: the status stands in the head. A server that sends an empty body behind it means the same.
        // Beside another HTTP status it counts where nothing follows at all, as in Envoy.
        // And beside 200 what nothing follows are trailers, with a status or without.
        let (ok, alone) = (head.status == StatusCode::OK, body.is_end_stream());
        if (ok && alone) || ((ok || alone) && metadata.fields.contains_key("grpc-status")) {
            self.waiting.push_back(GrpcEvent::Initial(Metadata::default()));
            return self.ended(metadata);
        }
        if head.status != StatusCode::OK {
            self.waiting.push_back(GrpcEvent::Initial(Metadata::default()));
            return self.close(GrpcStatus::from_http(head.status), "no gRPC server answered");
        }
        self.waiting.push_back(GrpcEvent::Initial(metadata));
        self.state = State::Receiving(Box::new(body), Messages::default());
    }

    fn ended(&mut self, trailers: Metadata) {
        let status = trailers.fields.get("grpc-status").map(|value| {
            let number = value.to_str().ok().and_then(|digits| digits.parse().ok());
            number.filter(|number| *number <= MOST_STATUS).unwrap_or(NO_STATUS)
        });
        let message = trailers.fields.get("grpc-message").map(|value| percent_decoded(value.as_bytes()));
        self.waiting.push_back(GrpcEvent::Trailing(trailers));
        self.finish(status.unwrap_or(u32::from(GrpcStatus::Unknown.code())), message.unwrap_or_default());
    }

    fn close(&mut self, status: GrpcStatus, message: &str) {
        self.waiting.push_back(GrpcEvent::Trailing(Metadata::default()));
        self.finish(status.code().into(), message.as_bytes().to_vec());
    }

    fn finish(&mut self, status: u32, message: Vec<u8>) {
        self.waiting.push_back(GrpcEvent::Closed(status, message));
        self.over();
    }

    fn over(&mut self) {
        self.state = State::Over;
        self.outgoing.borrow_mut().close();
    }
}

/// The largest status there is (gRPC status codes).
const MOST_STATUS: u32 = 16;

/// What Envoy gives a filter in place of a status that is none.
const NO_STATUS: u32 = u32::MAX;

/// How Envoy words a response that broke off.
fn broke_off(error: &BodyError) -> &'static str {
    match error {
        BodyError::Http2(error) if error.is_reset() && error.is_remote() => {
            "upstream_reset_after_response_started{remote_reset}"
        }
        BodyError::Http1(Broken::Violation(_)) | BodyError::Refused(_) => {
            "upstream_reset_after_response_started{protocol_error}"
        }
        BodyError::Http2(error) if error.get_io().is_none() && !error.is_remote() => {
            "upstream_reset_after_response_started{protocol_error}"
        }
        BodyError::Http1(Broken::Closed | Broken::Reset | Broken::Request)
        | BodyError::Http2(_)
        | BodyError::GivenUp(_) => "upstream_reset_after_response_started{connection_termination}",
    }
}

impl fmt::Debug for GrpcStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrpcStream")
    }
}

impl fmt::Debug for GrpcEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrpcEvents")
    }
}
