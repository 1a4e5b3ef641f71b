//! From text to a template's parts. Pure; bounded by the length of the text.

use super::{Part, RequestField, TemplateError, Variable};
use crate::diagnostic::{nearest, quoted};
use http::HeaderName;
use std::str::FromStr;

/// Variables without an argument.
const PLAIN: [(&str, Variable); 25] = [
    ("START_TIME", Variable::StartTime),
    ("PROTOCOL", Variable::Protocol),
    ("RESPONSE_CODE", Variable::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Variable::ResponseCodeDetails),
    ("RESPONSE_FLAGS", Variable::ResponseFlags),
    ("BYTES_RECEIVED", Variable::BytesReceived),
    ("BYTES_SENT", Variable::BytesSent),
    ("DURATION", Variable::Duration),
    ("RESPONSE_DURATION", Variable::ResponseDuration),
    ("UPSTREAM_HOST", Variable::UpstreamHost),
    ("UPSTREAM_CLUSTER", Variable::UpstreamCluster),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Variable::UpstreamRequestAttemptCount),
    ("ROUTE_NAME", Variable::RouteName),
    ("DOWNSTREAM_REMOTE_ADDRESS", Variable::DownstreamRemoteAddress),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Variable::DownstreamRemoteAddressWithoutPort),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Variable::DownstreamDirectRemoteAddress),
    ("DOWNSTREAM_LOCAL_ADDRESS", Variable::DownstreamLocalAddress),
    ("GRPC_STATUS", Variable::GrpcStatus),
    ("TERMINATED_BY", Variable::TerminatedBy),
    ("HOSTNAME", Variable::Hostname),
    ("DOWNSTREAM_TLS_VERSION", Variable::DownstreamTlsVersion),
    ("DOWNSTREAM_TLS_CIPHER", Variable::DownstreamTlsCipher),
    ("REQUESTED_SERVER_NAME", Variable::RequestedServerName),
    ("DOWNSTREAM_PEER_URI_SAN", Variable::DownstreamPeerUriSan),
    ("LISTENER_NAME", Variable::ListenerName),
];
/// Variables that take a header's name.
const HEADERS: [&str; 3] = ["REQ", "RESP", "TRAILER"];
/// Variables of what filters leave behind.
const FILTERS: [&str; 2] = ["FILTER_STATE", "DYNAMIC_METADATA"];

/// The name of every variable.
pub(crate) fn known() -> impl Iterator<Item = &'static str> + Clone {
    PLAIN.iter().map(|(known, _)| *known).chain(HEADERS).chain(FILTERS)
}

pub(super) fn template(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('%') {
        let start = at + found;
        literal.push_str(&text[at..start]);
        let rest = &text[start + 1..];
        if rest.starts_with('%') {
            literal.push('%');
            at = start + 2;
            continue;
        }
        let (part, length) = variable(rest).map_err(|message| TemplateError { at: start, message })?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(part);
        at = start + 1 + length;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// Reads `NAME(ARGUMENT):N%`; gives the part and how many bytes it took.
fn variable(text: &str) -> Result<(Part, usize), String> {
    let name_end = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let (name, mut rest) = text.split_at(name_end);
    if name.is_empty() {
        return Err("a percent sign begins a variable such as %PROTOCOL%; write %% for a percent sign itself".into());
    }
    let mut argument = None;
    if let Some(inside) = rest.strip_prefix('(') {
        let Some((inner, after)) = inside.split_once(')') else {
            return Err(format!("the bracket of %{name}( is not closed"));
        };
        argument = Some(inner);
        rest = after;
    }
    let mut most = None;
    if let Some(after) = rest.strip_prefix(':') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = after.split_at(digits);
        match number.parse::<usize>() {
            Ok(number) if number > 0 => most = Some(number),
            _ => {
                return Err(format!("after %{name}: stands a number of bytes, at least 1, as in %{name}:10%"));
            }
        }
        rest = after;
    }
    let Some(rest) = rest.strip_prefix('%') else {
        return Err(format!("%{name} is not closed; write %{name}%, or %% for a percent sign itself"));
    };
    Ok((Part::Variable(lookup(name, argument)?, most), text.len() - rest.len()))
}

fn lookup(name: &str, argument: Option<&str>) -> Result<Variable, String> {
    match (name, argument) {
        ("REQ", Some(argument)) => {
            let (first, other) =
                argument.split_once('?').map_or((argument, None), |(first, other)| (first, Some(other)));
            Ok(Variable::RequestHeader(request_field(first)?, other.map(request_field).transpose()?))
        }
        ("RESP", Some(argument)) => header(argument).map(Variable::ResponseHeader),
        ("TRAILER", Some(argument)) => header(argument).map(Variable::ResponseTrailer),
        ("REQ" | "RESP" | "TRAILER", None) => {
            Err(format!("%{name}% needs a header's name, as in %{name}(CONTENT-TYPE)%"))
        }
        ("FILTER_STATE", Some(argument)) => match argument.rsplit_once(':') {
            Some((key, "PLAIN")) if !key.is_empty() => Ok(Variable::FilterState(key.into())),
            _ => Err("what filters set is plain bytes: write %FILTER_STATE(KEY:PLAIN)%, for a wasm filter's property \
                      `a` %FILTER_STATE(wasm.a:PLAIN)%"
                .into()),
        },
        ("DYNAMIC_METADATA", Some(argument)) => {
            let mut parts = argument.split(':').map(Box::from);
            let (namespace, keys): (Option<Box<str>>, Box<[Box<str>]>) = (parts.next(), parts.collect());
            match namespace {
                Some(namespace) if !namespace.is_empty() && keys.iter().all(|key| !key.is_empty()) => {
                    Ok(Variable::DynamicMetadata(namespace, keys))
                }
                _ => Err("write %DYNAMIC_METADATA(NAMESPACE:KEY)%, with as many keys within as are needed".into()),
            }
        }
        ("FILTER_STATE", None) => Err("%FILTER_STATE% needs a key, as in %FILTER_STATE(wasm.a:PLAIN)%".into()),
        ("DYNAMIC_METADATA", None) => {
            Err("%DYNAMIC_METADATA% needs a namespace, as in %DYNAMIC_METADATA(envoy.filters.http.jwt_authn:KEY)%"
                .into())
        }
        _ => match (PLAIN.iter().find(|(known, _)| *known == name), argument) {
            (Some((_, variable)), None) => Ok(variable.clone()),
            (Some(_), Some(_)) => Err(format!("%{name}% takes no argument; write %{name}%")),
            (None, _) => {
                let guess = nearest(name, known()).map_or(String::new(), |guess| format!("; did you mean %{guess}%?"));
                Err(format!("unknown variable %{name}%{guess}"))
            }
        },
    }
}

fn request_field(name: &str) -> Result<RequestField, String> {
    Ok(match name.to_ascii_uppercase().as_str() {
        ":METHOD" => RequestField::Method,
        ":PATH" => RequestField::Path,
        ":AUTHORITY" | "HOST" => RequestField::Authority,
        ":SCHEME" => RequestField::Scheme,
        "X-ENVOY-ORIGINAL-PATH" => RequestField::OriginalPath,
        pseudo if pseudo.starts_with(':') => {
            return Err(format!("unknown {}; known are :METHOD, :PATH, :AUTHORITY and :SCHEME", quoted(name)));
        }
        _ => RequestField::Header(header(name)?),
    })
}

fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_str(name).map_err(|_| format!("{} is not a header's name", quoted(name)))
}
