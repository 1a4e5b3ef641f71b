//! Changes to headers: what may be changed, and what is known when.

use super::Lowering;
use crate::{
    document::{Field, HeaderChanges, Scalar, Table},
    model::HeaderChange,
    template::{Part, Template, Variable},
    tree::Place,
};
use http::{HeaderName, HeaderValue};

/// Which message is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

pub(super) fn changes(
    cx: &mut Lowering<'_, '_>,
    field: Field<Box<HeaderChanges>>,
    at: Place,
    side: Side,
) -> Option<Vec<HeaderChange>> {
    if !field.is_written() {
        return Some(Vec::new());
    }
    let (changes, at) = field.at(at)?;
    let mut all = Vec::new();
    let remove_at = changes.remove.place().unwrap_or(at);
    let remove = changes.remove.elements();
    for (Scalar(name), place) in cx.elements(remove_at, remove) {
        check_name(cx, &name, place);
        all.push(HeaderChange::Remove(name));
    }
    for (table, change) in
        [(changes.set, HeaderChange::Set as fn(_, _) -> _), (changes.append, HeaderChange::Append as fn(_, _) -> _)]
    {
        let Some((Table(entries), table_at)) = table.at(at) else {
            continue;
        };
        let first = all.len();
        for (name, value) in entries {
            let name_at = name.place().unwrap_or(table_at);
            let Some(name) = name.value() else {
                if value.is_written() && name_at == table_at {
                    cx.error(name_at, "a header without a name; write its name before the colon");
                }
                continue;
            };
            check_name(cx, &name, name_at);
            let value = cx.entry(name_at, value);
            if let Some((template, place)) = value {
                check_template(cx, &template, place, side);
                if all[first..].iter().any(|change| named(change) == name) {
                    cx.error(name_at, format!("{name} is written twice; header names differ by more than case"));
                }
                all.push(change(name, template));
            }
        }
    }
    Some(all)
}

fn named(change: &HeaderChange) -> &HeaderName {
    match change {
        HeaderChange::Set(name, _) | HeaderChange::Append(name, _) | HeaderChange::Remove(name) => name,
    }
}

/// Headers that frame the message or belong to one connection are the proxy's own: a route that set them would split
/// or hide messages.
fn check_name(cx: &mut Lowering<'_, '_>, name: &HeaderName, place: Place) {
    let why = match name.as_str() {
        "content-length" | "transfer-encoding" | "trailer" => "it frames the message and follows from the body",
        "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade" | "http2-settings" => {
            "it belongs to one connection (RFC 9110 §7.6.1) and is never passed on"
        }
        "host" => "use `rewrite.host`",
        _ => return,
    };
    cx.error(place, format!("{name} cannot be changed by a route: {why}"));
}

fn check_template(cx: &mut Lowering<'_, '_>, template: &Template, place: Place, side: Side) {
    for part in &template.0 {
        if let Part::Literal(text) = part
            && HeaderValue::from_str(text).is_err()
        {
            cx.error(
                place,
                format!("{text:?} holds a character that no header value can hold; leave control characters out"),
            );
        }
    }
    if template.is_static() {
        return;
    }
    for variable in template.variables() {
        let (unknown, elsewhere) = match variable {
            Variable::ResponseTrailer(_) | Variable::GrpcStatus | Variable::TerminatedBy => {
                ("is known only when the response has ended", "")
            }
            Variable::BytesSent | Variable::Duration => ("is known only when the response has ended", ""),
            Variable::FilterState(_) | Variable::DynamicMetadata(..) => ("is read when the response has ended", ""),
            Variable::ResponseHeader(_)
            | Variable::ResponseCode
            | Variable::ResponseCodeDetails
            | Variable::ResponseFlags
            | Variable::ResponseDuration
                if side == Side::Request =>
            {
                ("is not known before there is a response", " or `response_headers`")
            }
            _ => continue,
        };
        cx.error(place, format!("{} {unknown}; use it in `access_log.format`{elsewhere}", name_of(variable)));
    }
}

/// A variable as it is written, for messages.
fn name_of(variable: &Variable) -> &'static str {
    match variable {
        Variable::ResponseTrailer(_) => "%TRAILER()%",
        Variable::GrpcStatus => "%GRPC_STATUS%",
        Variable::TerminatedBy => "%TERMINATED_BY%",
        Variable::BytesSent => "%BYTES_SENT%",
        Variable::Duration => "%DURATION%",
        Variable::FilterState(_) => "%FILTER_STATE()%",
        Variable::DynamicMetadata(..) => "%DYNAMIC_METADATA()%",
        Variable::ResponseHeader(_) => "%RESP()%",
        Variable::ResponseCode => "%RESPONSE_CODE%",
        Variable::ResponseCodeDetails => "%RESPONSE_CODE_DETAILS%",
        Variable::ResponseFlags => "%RESPONSE_FLAGS%",
        Variable::ResponseDuration => "%RESPONSE_DURATION%",
        _ => "this variable",
    }
}
