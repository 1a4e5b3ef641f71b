//! What the access log needs of heads that are gone when its line is written.
//!
//! Values are copied into one buffer: holding the header values themselves would keep the connection's whole read
//! buffer alive as long as the request lasts.

use super::format::{Format, Left, RequestSlot};
use crate::{
    exchange::filter,
    telemetry::{facts::request_field, variable::cut},
};
use http::{HeaderMap, HeaderName, HeaderValue, request};
use pillion_config::{
    model::{Name, Scheme},
    template::RequestField,
};
use std::{ops::Range, time::Duration};

/// Bytes kept of one value. Records wait in memory: a client must not fill it with long headers.
pub(super) const VALUE_BYTES: usize = 8 << 10;

/// Room made at once: a path, a user agent, an identifier.
const USUAL_BYTES: usize = 256;

/// Values by slot of the [`Format`].
#[derive(Debug)]
pub(in crate::telemetry) struct Captured {
    bytes: Vec<u8>,
    slots: Box<[Option<Range<usize>>]>,
    route: Option<Name>,
    response_duration: Option<Duration>,
}

/// What filters told, no longer than [`VALUE_BYTES`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Told<'a> {
    Text(&'a [u8]),
    /// Perhaps cut.
    Json(&'a [u8]),
}

impl Captured {
    /// For what has no head: every slot stays empty.
    pub(super) fn nothing(format: &Format) -> Self {
        Self {
            bytes: Vec::new(),
            slots: vec![None; format.slots].into_boxed_slice(),
            route: None,
            response_duration: None,
        }
    }

    pub(super) fn begin(format: &Format, head: &request::Parts, scheme: Scheme) -> Self {
        let mut captured = Self { bytes: Vec::with_capacity(USUAL_BYTES), ..Self::nothing(format) };
        // What a client says in fields that it has no say in is not known of the request: it is what was said.
        for slot in format.request.iter().filter(|slot| !slot.ruled) {
            captured.put(slot.slot, slot.values(head, scheme));
        }
        captured
    }

    /// What was left out when it began, and the path as it was read, of the request as it would go on.
    pub(in crate::telemetry) fn told_of_hop(&mut self, format: &Format, head: &request::Parts, scheme: Scheme) {
        for slot in format.request.iter().filter(|slot| slot.ruled || slot.field == RequestField::Path) {
            self.put(slot.slot, slot.values(head, scheme));
        }
    }

    /// Replaces what is known of the request by what goes upstream, except the path as it came.
    pub(in crate::telemetry) fn forwarded(&mut self, format: &Format, head: &request::Parts, scheme: Scheme) {
        for RequestSlot { slot, field, other, .. } in &format.request {
            if *field == RequestField::OriginalPath {
                continue;
            }
            let value = request_values(field, head, scheme);
            match other {
                // What came first stays: it is the path as it came, where the field was missing then too.
                Some(RequestField::OriginalPath) if value.is_none() => {}
                Some(other) => {
                    self.put(*slot, value.or_else(|| request_values(other, head, scheme)));
                }
                None => self.put(*slot, value),
            }
        }
    }

    pub(in crate::telemetry) fn route(&mut self, format: &Format, name: &Name) {
        if format.route {
            self.route = Some(name.clone());
        }
    }

    pub(in crate::telemetry) fn forget_route(&mut self) {
        self.route = None;
    }

    pub(in crate::telemetry) fn response_head(&mut self, format: &Format, elapsed: impl FnOnce() -> Duration) {
        if format.response_duration {
            self.response_duration = Some(elapsed());
        }
    }

    pub(in crate::telemetry) fn response(&mut self, format: &Format, headers: &HeaderMap) {
        for (slot, name) in &format.response {
            self.put(*slot, header_values(headers, name));
        }
    }

    pub(in crate::telemetry) fn trailers(&mut self, format: &Format, trailers: &HeaderMap) {
        for (slot, name) in &format.trailers {
            // `grpc-status` may have come with the head (a response of trailers only).
            if let value @ Some(_) = header_values(trailers, name) {
                self.put(*slot, value);
            }
        }
    }

    pub(in crate::telemetry) fn left_by_filters(&mut self, format: &Format, chain: &filter::Shared) {
        let mut told = None;
        for (slot, left) in &format.filters {
            match left {
                Left::State(key) => {
                    let value = chain.state_of(key.as_bytes());
                    self.put(*slot, value.as_deref().map(|value| [value].into_iter()));
                }
                Left::Metadata(namespace, keys) => {
                    let told = told.get_or_insert_with(|| chain.told_by_filters());
                    let all = told.get(&**namespace);
                    let value = all.and_then(|all| keys.iter().try_fold(all, |value, key| value.get(&**key)));
                    // A text as it is, so that it is cut as one: behind a quote, which no other JSON begins with.
                    let value =
                        value.map(|value| value.as_str().map_or_else(|| value.to_string(), |text| format!("\"{text}")));
                    self.put(*slot, value.as_deref().map(|value| [value.as_bytes()].into_iter()));
                }
            }
        }
    }

    pub(in crate::telemetry) fn route_name(&self) -> Option<&Name> {
        self.route.as_ref()
    }

    pub(in crate::telemetry) fn response_duration(&self) -> Option<Duration> {
        self.response_duration
    }

    pub(super) fn get(&self, slot: usize) -> Option<&[u8]> {
        self.slots[slot].clone().map(|range| &self.bytes[range])
    }

    /// What filters told: a text, or JSON of another kind.
    pub(super) fn told(&self, slot: usize) -> Option<Told<'_>> {
        let value = self.get(slot)?;
        Some(value.strip_prefix(b"\"").map_or(Told::Json(value), Told::Text))
    }

    fn put<'a>(&mut self, slot: usize, values: Option<impl Iterator<Item = &'a [u8]>>) {
        self.slots[slot] = values.map(|values| {
            let start = self.bytes.len();
            for (index, value) in values.enumerate() {
                if index > 0 {
                    self.bytes.push(b',');
                }
                let room = (start + VALUE_BYTES).saturating_sub(self.bytes.len());
                self.bytes.extend_from_slice(cut(value, room));
            }
            self.bytes.truncate(start + VALUE_BYTES);
            start..self.bytes.len()
        });
    }
}

impl RequestSlot {
    fn values<'a>(&self, head: &'a request::Parts, scheme: Scheme) -> Option<Values<'a>> {
        let Self { field, other, .. } = self;
        request_values(field, head, scheme).or_else(|| request_values(other.as_ref()?, head, scheme))
    }
}

/// All values of a field, in order; `None`: there is none.
enum Values<'a> {
    One(Option<&'a [u8]>),
    Many(http::header::ValueIter<'a, HeaderValue>),
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::One(value) => value.take(),
            Self::Many(values) => values.next().map(HeaderValue::as_bytes),
        }
    }
}

fn request_values<'a>(field: &RequestField, head: &'a request::Parts, scheme: Scheme) -> Option<Values<'a>> {
    match field {
        RequestField::Header(name) => header_values(&head.headers, name),
        RequestField::Method
        | RequestField::Path
        | RequestField::OriginalPath
        | RequestField::Authority
        | RequestField::Scheme => request_field(field, head, scheme).map(|value| Values::One(Some(value))),
    }
}

fn header_values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Values<'a>> {
    headers.contains_key(name).then(|| Values::Many(headers.get_all(name).iter()))
}
