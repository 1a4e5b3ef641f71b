//! What filters do to fields: add, replace, remove, replace all.

use super::{
    Changed, Headers, MOST_NAMES, WireOrder, one_place,
    pseudo::{Line, Pseudo, Set},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

impl Headers {
    /// One value more. A pseudo-header that is there, and a field that has one place, gets it after a comma, as Envoy does it.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.changed = Changed::Yes;
        if let Some(pseudo) = self.pseudo(name) {
            let joined = match self.pseudo_value(pseudo) {
                Some(before) => Bytes::from([before, b",", value].concat()),
                None => Bytes::copy_from_slice(value),
            };
            return self.set_pseudo(pseudo, Set::To(joined));
        }
        match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            (Ok(known), Ok(kept)) if self.joins(&known, &kept) => {}
            (Ok(known), Ok(kept)) if self.fields.keys_len() < MOST_NAMES => {
                match self.fields.try_append(known.clone(), kept) {
                    Ok(again) => WireOrder::appended(&mut self.order, &known, again, &self.fields),
                    Err(_) => self.keep_unsayable(name, value),
                }
            }
            // And no codec sends such a head.
            _ => self.keep_unsayable(name, value),
        }
    }

    /// Puts a value behind the one that a field with one place has; `false`: it has none, or has no such place.
    fn joins(&mut self, name: &HeaderName, value: &HeaderValue) -> bool {
        let Some(before) = self.fields.get_mut(name) else { return false };
        if !self.line.one_place().is_some_and(|of| of.has(name)) {
            return false;
        }
        let mut joined = before.as_bytes().to_vec();
        one_place::append(&mut joined, value.as_bytes());
        match HeaderValue::from_maybe_shared(Bytes::from(joined)) {
            Ok(joined) => *before = joined,
            Err(_) => return false,
        }
        true
    }

    fn keep_unsayable(&mut self, name: &[u8], value: &[u8]) {
        self.unsayable.push((name.to_ascii_lowercase().into(), value.into()));
    }

    /// This value in place of all of that name; it moves to the end.
    pub fn replace(&mut self, name: &[u8], value: &[u8]) {
        self.changed = Changed::Yes;
        if let Some(pseudo) = self.pseudo(name) {
            return self.set_pseudo(pseudo, Set::To(Bytes::copy_from_slice(value)));
        }
        self.remove(name);
        self.add(name, value);
    }

    /// All values of that name go.
    pub fn remove(&mut self, name: &[u8]) {
        if let Some(pseudo) = self.pseudo(name) {
            self.changed = Changed::Yes;
            return self.set_pseudo(pseudo, Set::Removed);
        }
        self.unsayable.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        let Ok(name) = HeaderName::from_bytes(name) else { return };
        if !self.fields.contains_key(&name) {
            return;
        }
        self.changed = Changed::Yes;
        if let Some(order) = &mut self.order {
            order.removed(&name);
        }
        if self.fields.keys().last() == Some(&name) {
            self.fields.remove(&name);
            return;
        }
        // `HeaderMap::remove` puts the last name in the place of the one that goes; the order is to stay.
        let before = std::mem::take(&mut self.fields);
        self.fields.reserve(before.len());
        let mut last = None;
        for (next, value) in before {
            let current = next.or(last);
            if let Some(current) = &current
                && *current != name
            {
                self.fields.append(current.clone(), value);
            }
            last = current;
        }
    }

    /// These in place of everything, pseudo-headers included.
    pub fn replace_all<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        self.changed = Changed::Yes;
        self.fields.clear();
        self.order = None;
        self.unsayable.clear();
        match &mut self.line {
            Line::Request(line) => line.set = Some(Box::new(std::array::from_fn(|_| Set::Removed))),
            Line::Response(line) => line.status = Set::Removed,
            Line::None => {}
        }
        for (name, value) in pairs {
            self.add(name, value);
        }
    }

    fn set_pseudo(&mut self, pseudo: Pseudo, to: Set) {
        match &mut self.line {
            Line::Request(line) => {
                let all = line.set.get_or_insert_default();
                let Some(set) = all.get_mut(pseudo as usize) else { return };
                // One that was gone and is there again comes last.
                if *set == Set::Removed
                    && let Some(at) = line.order.iter().position(|known| *known == pseudo)
                {
                    line.order[at..].rotate_left(1);
                }
                *set = to;
            }
            Line::Response(line) => line.status = to,
            Line::None => {}
        }
    }
}
