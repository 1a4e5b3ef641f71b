//! The compiled format: which values to capture, and how a line is put together from them. Pure.

use super::{
    capture::{Captured, Told},
    escape,
};
use crate::exchange::head::forwarding::is_ruled;
use crate::telemetry::{Record, facts::grpc_status, variable::Value};
use http::HeaderName;
use pillion_config::{
    model::LogFormat,
    template::{Part, RequestField, Template, Variable},
};
use serde_json::Value as Known;
use std::time::Duration;

/// A format, and what it needs of each head. Shared by all workers: immutable.
#[derive(Debug)]
pub(in crate::telemetry) struct Format {
    line: Line,
    /// How many values are captured.
    pub(super) slots: usize,
    pub(super) request: Vec<RequestSlot>,
    pub(super) response: Vec<(usize, HeaderName)>,
    pub(super) trailers: Vec<(usize, HeaderName)>,
    pub(super) filters: Vec<(usize, Left)>,
    pub(super) route: bool,
    pub(super) response_duration: bool,
}

/// A value captured from the request's head.
#[derive(Debug)]
pub(super) struct RequestSlot {
    pub(super) slot: usize,
    pub(super) field: RequestField,
    pub(super) other: Option<RequestField>,
    /// It may be a field that the listener's rules have a say in.
    pub(super) ruled: bool,
}

/// What filters leave behind.
#[derive(Debug)]
pub(super) enum Left {
    /// Under a key of the stream's state.
    State(Box<str>),
    /// Under a namespace, and keys within it.
    Metadata(Box<str>, Box<[Box<str>]>),
}

#[derive(Debug)]
enum Line {
    Text(Vec<Piece>),
    Json(Vec<Member>),
}

/// A JSON member: `{"key":` or `,"key":` and its value.
#[derive(Debug)]
struct Member {
    key: Vec<u8>,
    value: Json,
}

#[derive(Debug)]
enum Json {
    /// A variable alone: typed, `null` when missing.
    Typed(Piece),
    Text(Vec<Piece>),
}

#[derive(Debug)]
enum Piece {
    /// Ready to be copied: escaped where the line needs it.
    Literal(Vec<u8>),
    /// Known to the record.
    Fact(Variable, Option<usize>),
    /// Captured.
    Slot(usize, Option<usize>),
    /// Captured, a number.
    Grpc(usize, Option<usize>),
    /// Captured of what filters told.
    Told(usize, Option<usize>),
}

impl Format {
    pub(super) fn compile(format: &LogFormat) -> Self {
        let mut this = Self {
            line: Line::Text(Vec::new()),
            slots: 0,
            request: Vec::new(),
            response: Vec::new(),
            trailers: Vec::new(),
            filters: Vec::new(),
            route: false,
            response_duration: false,
        };
        this.line = match format {
            LogFormat::Text(template) => {
                let mut pieces = this.pieces(template, |text| text.as_bytes().to_vec());
                // A record is a line, whether or not the format says so.
                if let Some(Piece::Literal(last)) = pieces.last_mut() {
                    last.pop_if(|byte| *byte == b'\n');
                }
                Line::Text(pieces)
            }
            LogFormat::Json(members) => Line::Json(
                members.iter().enumerate().map(|(index, (key, template))| this.member(index, key, template)).collect(),
            ),
        };
        this
    }

    fn member(&mut self, index: usize, key: &str, template: &Template) -> Member {
        let mut text = if index == 0 { b"{\"".to_vec() } else { b",\"".to_vec() };
        escape::json(key.as_bytes(), &mut text);
        text.extend_from_slice(b"\":");
        let mut pieces = self.pieces(template, |text| {
            let mut escaped = Vec::new();
            escape::json(text.as_bytes(), &mut escaped);
            escaped
        });
        let alone = matches!(template.0.as_slice(), [Part::Variable(..)]);
        let value = match pieces.pop() {
            Some(piece) if alone => Json::Typed(piece),
            last => {
                pieces.extend(last);
                Json::Text(pieces)
            }
        };
        Member { key: text, value }
    }

    fn pieces(&mut self, template: &Template, literal: impl Fn(&str) -> Vec<u8>) -> Vec<Piece> {
        let piece = |part: &Part| match part {
            Part::Literal(text) => Piece::Literal(literal(text)),
            Part::Variable(variable, limit) => self.variable(variable, *limit),
        };
        template.0.iter().map(piece).collect()
    }

    fn variable(&mut self, variable: &Variable, limit: Option<usize>) -> Piece {
        match variable {
            Variable::RequestHeader(field, other) => {
                let slot = self.slot();
                let (field, other) = (field.clone(), other.clone());
                let ruled = [Some(&field), other.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|field| matches!(field, RequestField::Header(name) if is_ruled(name)));
                self.request.push(RequestSlot { slot, field, other, ruled });
                Piece::Slot(slot, limit)
            }
            Variable::ResponseHeader(name) => {
                let slot = self.slot();
                self.response.push((slot, name.clone()));
                Piece::Slot(slot, limit)
            }
            Variable::ResponseTrailer(name) => {
                let slot = self.slot();
                self.trailers.push((slot, name.clone()));
                Piece::Slot(slot, limit)
            }
            Variable::GrpcStatus => {
                let slot = self.slot();
                let name = HeaderName::from_static("grpc-status");
                self.response.push((slot, name.clone()));
                self.trailers.push((slot, name));
                Piece::Grpc(slot, limit)
            }
            Variable::FilterState(key) => {
                let slot = self.slot();
                self.filters.push((slot, Left::State(key.clone())));
                Piece::Slot(slot, limit)
            }
            Variable::DynamicMetadata(namespace, keys) => {
                let slot = self.slot();
                self.filters.push((slot, Left::Metadata(namespace.clone(), keys.clone())));
                Piece::Told(slot, limit)
            }
            known => {
                self.route |= matches!(known, Variable::RouteName);
                self.response_duration |= matches!(known, Variable::ResponseDuration);
                Piece::Fact(known.clone(), limit)
            }
        }
    }

    fn slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// Appends the line of a request that is over, with its newline.
    pub(super) fn write(&self, record: &Record, captured: &Captured, duration: Duration, out: &mut Vec<u8>) {
        let values = Values { record, captured, duration };
        match &self.line {
            Line::Text(pieces) => {
                for piece in pieces {
                    values.append(piece, escape::text, out);
                }
            }
            Line::Json(members) => {
                if members.is_empty() {
                    out.push(b'{');
                }
                for Member { key, value } in members {
                    out.extend_from_slice(key);
                    values.append_json(value, out);
                }
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}

struct Values<'a> {
    record: &'a Record,
    captured: &'a Captured,
    duration: Duration,
}

type Escape = fn(&[u8], &mut Vec<u8>);

impl<'a> Values<'a> {
    fn get(&self, piece: &'a Piece) -> Option<(Value<'a>, Option<usize>)> {
        let (value, limit) = match piece {
            Piece::Literal(text) => (Value::Bytes(text), None),
            Piece::Fact(variable, limit) => (self.record.value(variable, || self.duration)?, *limit),
            Piece::Slot(slot, limit) => (Value::Bytes(self.captured.get(*slot)?), *limit),
            Piece::Grpc(slot, limit) => (grpc_status(self.captured.get(*slot)?)?, *limit),
            Piece::Told(slot, limit) => {
                let (Told::Text(value) | Told::Json(value)) = self.captured.told(*slot)?;
                (Value::Bytes(value), *limit)
            }
        };
        Some((value.limited(limit), limit))
    }

    /// A piece as text; `-` when its value is missing.
    fn append(&self, piece: &'a Piece, escape: Escape, out: &mut Vec<u8>) {
        match (piece, self.get(piece)) {
            (Piece::Literal(text), _) => out.extend_from_slice(text),
            (_, None) => out.push(b'-'),
            (_, Some((Value::Bytes(bytes), _))) => escape(bytes, out),
            (_, Some((value, limit))) => value.write(limit, out),
        }
    }

    fn append_json(&self, value: &'a Json, out: &mut Vec<u8>) {
        match value {
            Json::Typed(piece) => match self.get(piece) {
                None => out.extend_from_slice(b"null"),
                Some((Value::Number(number), None)) => Value::Number(number).write(None, out),
                Some((_, None))
                    if let Piece::Told(slot, _) = piece
                        && let Some(Told::Json(text)) = self.captured.told(*slot)
                        && let Ok(value) = serde_json::from_slice(text) =>
                {
                    json(&value, out);
                }
                Some(_) => {
                    out.push(b'"');
                    self.append(piece, escape::json, out);
                    out.push(b'"');
                }
            },
            Json::Text(pieces) => {
                out.push(b'"');
                for piece in pieces {
                    self.append(piece, escape::json, out);
                }
                out.push(b'"');
            }
        }
    }
}

/// Appends JSON in which no byte of an outsider's stands that [`escape::json`] does not let stand.
fn json(value: &Known, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        out.push(b'"');
        escape::json(text.as_bytes(), out);
        out.push(b'"');
    };
    match value {
        Known::String(value) => text(value, out),
        Known::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json(value, out);
            }
            out.push(b']');
        }
        Known::Object(fields) => {
            out.push(b'{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                text(name, out);
                out.push(b':');
                json(value, out);
            }
            out.push(b'}');
        }
        Known::Null | Known::Bool(_) | Known::Number(_) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}
