//! [`WireOrder`]: which value came after which, where the map cannot say.
//!
//! A `HeaderMap` keeps the values of one name together. Where another name came between them this list has the order
//! of all, and guests see it; where none did, which is nearly always, there is no list. It is for looking at only: what
//! is sent on has the values of a name together, which means the same (RFC 9110 §5.3).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that an order is kept of. Beyond, the values of a name are shown together.
const MOST: usize = 256;

/// The name of each field, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WireOrder(Vec<HeaderName>);

impl WireOrder {
    /// Of a message's names as they came; `None`: too many.
    pub(crate) fn of(names: impl Iterator<Item = HeaderName>) -> Option<Self> {
        let names: Vec<_> = names.take(MOST + 1).collect();
        (names.len() <= MOST).then_some(Self(names))
    }

    /// Of fields in which values of a name stand together.
    fn grouped(fields: &HeaderMap) -> Option<Self> {
        (fields.len() <= MOST).then(|| Self(fields.iter().map(|(name, _)| name.clone()).collect()))
    }

    /// The same for these fields, after some went and some were added behind the list's back.
    pub(super) fn fit(mut self, fields: &HeaderMap) -> Option<Self> {
        if fields.len() > MOST {
            return None;
        }
        let mut kept: HeaderMap<usize> = HeaderMap::default();
        self.0.retain(|name| {
            let all = fields.get_all(name).iter().count();
            let seen = kept.entry(name).or_insert(0);
            *seen += 1;
            *seen <= all
        });
        for name in fields.keys() {
            let (all, seen) = (fields.get_all(name).iter().count(), kept.get(name).copied().unwrap_or(0));
            self.0.extend(std::iter::repeat_n(name, all.saturating_sub(seen)).cloned());
        }
        Some(self)
    }

    /// The fields in this order.
    pub(super) fn iter<'a>(&'a self, fields: &'a HeaderMap) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        self.0.iter().enumerate().filter_map(move |(at, name)| {
            let before = self.0[..at].iter().filter(|known| *known == name).count();
            Some((name, fields.get_all(name).iter().nth(before)?))
        })
    }

    /// A field of this name was appended to the map. `order`: what was known before.
    pub(super) fn appended(order: &mut Option<Self>, name: &HeaderName, again: bool, fields: &HeaderMap) {
        match order {
            Some(known) if known.0.len() < MOST => known.0.push(name.clone()),
            Some(_) => *order = None,
            None if !again || fields.len() > MOST || fields.keys().last() == Some(name) => {}
            None => {
                *order = Self::grouped(fields);
                if let Some(Self(names)) = order
                    && let Some(at) = names.iter().rposition(|known| known == name)
                {
                    let name = names.remove(at);
                    names.push(name);
                }
            }
        }
    }

    /// All fields of this name are gone.
    pub(super) fn removed(&mut self, name: &HeaderName) {
        self.0.retain(|known| known != name);
    }
}
