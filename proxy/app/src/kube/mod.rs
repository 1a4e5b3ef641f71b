//! The little of Kubernetes' API that Pillion speaks: read an object, patch it, list and watch.
//!
//! Written here and not taken from the `kube` crate: a list-watch over our own HTTP connection is a few hundred lines, while
//! that crate with its generated types brings 155 crates, 6.0 MB of program (the whole of a program that does nothing but
//! watch EndpointSlices, stripped, fat LTO) and five minutes of build time on two cores. A sidecar carries its program in every
//! pod of a cluster.

mod access;

pub use access::{Access, AccessError};

use crate::{
    inject::value::Value,
    outgoing::{self, Answer},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of an object or of one page of a list.
const MAX_BYTES: usize = 16 << 20;
/// Time for a request and its whole answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Why the API server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was not reached, or broke off.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the API server answered {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// Its own words.
        message: String,
        /// When it wants to be asked again, where it says so.
        retry_after: Option<Duration>,
    },
    /// It took too long.
    #[error("the API server did not answer within {0:?}")]
    Slow(Duration),
    /// What it said is no JSON, or not what it should be.
    #[error("the API server's answer cannot be used: {0}")]
    Unusable(String),
    /// What it said is too much.
    #[error("the API server's answer has more than {0} bytes")]
    TooLarge(usize),
    /// We do not know who we are.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Reads an object.
///
/// # Errors
/// As [`CallError`] says.
pub async fn get(access: &Access, path: &str) -> Result<Value, CallError> {
    whole(access, Method::GET, path, None).await
}

/// Carries a JSON Patch out on an object.
///
/// # Errors
/// As [`CallError`] says; 422 where a `test` of the patch failed.
pub async fn patch(access: &Access, path: &str, operations: &Value) -> Result<Value, CallError> {
    whole(access, Method::PATCH, path, Some(operations.to_json())).await
}

async fn whole(access: &Access, method: Method, path: &str, body: Option<String>) -> Result<Value, CallError> {
    let exchange = async {
        let answer = begin(access, method, path, body).await?;
        let bytes = read(answer).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Unusable(error.to_string()))
    };
    timeout(PATIENCE, exchange).await.map_err(|_| CallError::Slow(PATIENCE))?
}

/// Sends a request and returns its answer when it is a good one.
pub(crate) async fn begin(
    access: &Access,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Result<Answer, CallError> {
    let unreachable = |error: &dyn std::fmt::Display| CallError::Unreachable(format!("{}: {error}", access.server()));
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, access.host());
    request = request
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("pillion/", env!("CARGO_PKG_VERSION")));
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json-patch+json");
    }
    if let Some(token) = access.token()? {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| AccessError::Token)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
    let request = request.map_err(|error| CallError::Unusable(error.to_string()))?;
    let tls = access.tls()?;
    let address = access.address().await.map_err(|error| unreachable(&error))?;
    let stream = outgoing::connect(address, tls.as_ref()).await.map_err(|error| unreachable(&error))?;
    // A watch says nothing for minutes: whether the server is still there is for the kernel to find out.
    stream.keep_alive().map_err(|error| unreachable(&error))?;
    let answer = outgoing::send(stream, request).await.map_err(|error| unreachable(&error))?;
    if answer.head.status.is_success() {
        return Ok(answer);
    }
    let status = answer.head.status;
    let wish = answer.head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let bytes = read(answer).await.unwrap_or_default();
    let message =
        serde_json::from_slice::<Value>(&bytes).ok().and_then(|status| status.str("message").map(str::to_owned));
    let plain = || String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).trim().to_owned();
    Err(CallError::Refused {
        status: status.as_u16(),
        message: message.unwrap_or_else(plain),
        retry_after: wish.map(Duration::from_secs),
    })
}

/// Reads a whole answer, [`MAX_BYTES`] at most.
pub(crate) async fn read(answer: Answer) -> Result<Vec<u8>, CallError> {
    let mut answer = answer;
    let mut bytes = Vec::new();
    while let Some(frame) = answer.body.frame().await {
        let frame = frame.map_err(|error| CallError::Unreachable(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > MAX_BYTES {
                return Err(CallError::TooLarge(MAX_BYTES));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}
