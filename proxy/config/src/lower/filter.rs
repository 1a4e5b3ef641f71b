//! Filters: definitions, and the chains of listeners and routes.

mod wasm;

pub use wasm::{COMPONENT, is_component};

use super::{
    Lowering,
    headers::{Side, changes},
    matching,
    process::Names,
};
use crate::{
    diagnostic::{nearest, quoted},
    document::{self, Either, FilterUse, Int, List, Period, Scalar, Structured},
    model::{BodyBuffer, FailPolicy, Filter, FilterIndex, FilterKind, HeaderRule, Name, RateLimit, Stands},
    tree::Place,
};
use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

/// The filters met so far.
#[derive(Default)]
pub(super) struct Filters {
    all: Vec<Arc<Filter>>,
    /// By name, with the place of the definition and whether a chain uses it.
    known: HashMap<Name, Known>,
    /// Names whose definition is bad; what is said of them has been said.
    bad: Vec<Name>,
}

struct Known {
    index: usize,
    place: Place,
    used: bool,
    /// Where it says that it is meant to be in no chain.
    service: Option<Place>,
}

/// The filters of a listener, in order.
pub(super) type Chain = Vec<FilterIndex>;

impl Filters {
    /// The definitions at the top.
    pub(super) fn define(cx: &mut Lowering<'_, '_>, list: List<document::Filter>, names: &mut Names) -> Self {
        let mut filters = Self::default();
        let at = list.place().unwrap_or(Place(0));
        let list = list.elements();
        for (filter, place) in cx.elements(at, list) {
            only_on_routes(cx, &filter);
            filters.add(cx, filter, place, names);
        }
        filters
    }

    /// All of them, in the order in which they were met; those that nobody uses are told.
    pub(super) fn finish(self, cx: &mut Lowering<'_, '_>) -> Vec<Arc<Filter>> {
        let mut unused: Vec<_> = self.known.iter().filter(|(_, known)| !known.used).collect();
        unused.sort_by_key(|(_, known)| known.place);
        for (name, known) in unused.into_iter().filter(|(_, known)| known.service.is_none()) {
            let remedy = match self.all[known.index].kind {
                FilterKind::Wasm(_) => {
                    ", which runs on each worker all the same; if it is meant to, write `wasm.service: true`"
                }
                _ => "",
            };
            cx.warn(known.place, format!("no listener or route uses the filter {name:?}{remedy}"));
        }
        for at in self.known.values().filter(|known| known.used).filter_map(|known| known.service) {
            cx.error(at, "a service is in no chain, and a listener or route names it; remove this, or its name there");
        }
        self.all
    }

    /// One that a chain names.
    pub(super) fn get(&self, at: FilterIndex) -> Option<&Filter> {
        self.all.get(at.0).map(|filter| &**filter)
    }

    fn add(
        &mut self,
        cx: &mut Lowering<'_, '_>,
        filter: document::Filter,
        place: Place,
        names: &mut Names,
    ) -> Option<FilterIndex> {
        let name_at = filter.name.place().unwrap_or(place);
        let written = filter.name.get().map(|Scalar(name)| name.clone());
        let service = filter.wasm.get().filter(|wasm| wasm.service.get() == Some(&true));
        let service = service.and_then(|wasm| wasm.service.place());
        let lowered = definition(cx, filter, place, names);
        let Some(filter) = lowered else {
            self.bad.extend(written);
            return None;
        };
        if let Some(known) = self.known.get(&filter.name) {
            let line = cx.line(known.place);
            let name = quoted(filter.name.as_str());
            cx.error(
                name_at,
                format!(
                    "the name {name} is taken by the filter in line {line}; to use that one here write its name alone"
                ),
            );
            return None;
        }
        let index = self.all.len();
        self.known.insert(filter.name.clone(), Known { index, place: name_at, used: false, service });
        self.all.push(Arc::new(filter));
        Some(FilterIndex(index))
    }

    /// The filters of a listener, or of its opaque connections.
    pub(super) fn chain(
        &mut self,
        cx: &mut Lowering<'_, '_>,
        list: List<FilterUse>,
        at: Place,
        names: &mut Names,
    ) -> Option<Chain> {
        let at = list.place().unwrap_or(at);
        let list = list.elements();
        let count = list.len();
        let mut chain = Vec::with_capacity(count);
        for (filter, place) in cx.elements(at, list) {
            let found = match filter {
                Either::Short(name) => self.named(cx, &name, place),
                Either::Long(filter) => {
                    only_on_routes(cx, &filter);
                    self.add(cx, filter, place, names)
                }
            };
            chain.extend(found.filter(|found| self.once(cx, &chain, *found, place)));
        }
        self.used(&chain);
        (chain.len() == count).then_some(chain)
    }

    /// Connections' bytes mean something to wasm filters alone: any other would let them pass without a word.
    pub(super) fn only_wasm(&self, cx: &mut Lowering<'_, '_>, at: Place, chain: &[FilterIndex]) {
        for filter in chain.iter().filter_map(|index| self.all.get(index.0)) {
            if !matches!(filter.kind, FilterKind::Wasm(_)) {
                let words = "knows requests, and these are connections' bytes, which it would let pass: only wasm filters can be \
                             here; put it into the `filters` of a listener with `routes`, or use `authorization` and `limits`";
                cx.error(at, format!("the filter {} {words}", quoted(filter.name.as_str())));
            }
        }
    }

    /// The filters of a route: the listener's as it changes them, then its own. `None`: something is wrong.
    pub(super) fn of_route(
        &mut self,
        cx: &mut Lowering<'_, '_>,
        list: List<FilterUse>,
        at: Place,
        listener: &[FilterIndex],
        route: &Name,
        names: &mut Names,
    ) -> Option<Chain> {
        let mut chain: Vec<Option<FilterIndex>> = listener.iter().copied().map(Some).collect();
        let at = list.place().unwrap_or(at);
        let list = list.elements();
        let mut good = true;
        let mut said = Vec::new();
        for (filter, place) in cx.elements(at, list) {
            let filter = match filter {
                Either::Short(name) => {
                    let found = self.named(cx, &name, place);
                    let found = found.filter(|found| self.said_once(cx, &mut said, *found, place));
                    let present: Vec<_> = chain.iter().flatten().copied().collect();
                    match found.filter(|found| self.once(cx, &present, *found, place)) {
                        Some(found) => chain.push(Some(found)),
                        None => good = false,
                    }
                    continue;
                }
                Either::Long(filter) => filter,
            };
            let defines = filter.wasm.is_written()
                || filter.headers.is_written()
                || filter.rate_limit.is_written()
                || filter.jwt.is_written();
            if defines {
                only_on_routes(cx, &filter);
                match self.add(cx, filter, place, names) {
                    Some(found) => chain.push(Some(found)),
                    None => good = false,
                }
                continue;
            }
            good &= self.change(cx, filter, place, (&mut chain, &mut said), route).is_some();
        }
        let chain: Chain = chain.into_iter().flatten().collect();
        self.used(&chain);
        good.then_some(chain)
    }

    /// What a route says of a filter that is defined elsewhere.
    fn change(
        &mut self,
        cx: &mut Lowering<'_, '_>,
        filter: document::Filter,
        place: Place,
        (chain, said): (&mut Vec<Option<FilterIndex>>, &mut Vec<FilterIndex>),
        route: &Name,
    ) -> Option<()> {
        for (name, at) in [("fail", filter.fail.place()), ("body_buffer", filter.body_buffer.place())] {
            if let Some(at) = at {
                cx.error(at, format!("{name} belongs to the filter's definition; a route cannot change it"));
            }
        }
        let (name, name_at) = cx.required_scalar(place, "name", filter.name)?;
        let found = self.named(cx, &name, name_at)?;
        if !self.said_once(cx, said, found, place) {
            return None;
        }
        let here = chain.iter().position(|known| *known == Some(found));
        let disabled = if filter.disabled.is_written() { filter.disabled.take()? } else { false };
        if disabled {
            let Some(here) = here else {
                let name = quoted(name.as_str());
                cx.error(place, format!("there is no filter {name} in the chain to be disabled; remove this"));
                return None;
            };
            chain[here] = None;
            // It may come again at the end of the chain.
            said.retain(|known| *known != found);
            if filter.configuration.is_written() {
                cx.error(place, "a filter that is disabled needs no configuration; keep one of the two");
            }
            return Some(());
        }
        let mut found = found;
        if filter.configuration.is_written() {
            let (Structured(configuration), at) = filter.configuration.at(place)?;
            let mut own = Filter::clone(&self.all[found.0]);
            let FilterKind::Wasm(wasm) = &mut own.kind else {
                cx.error(
                    at,
                    "only a wasm filter has a configuration; write what is different as a filter of this route",
                );
                return None;
            };
            wasm.configuration = configuration;
            own.route = Some(route.clone());
            own.stands.configuration = Some(cx.written_at(at));
            self.used(&[found]);
            found = FilterIndex(self.all.len());
            self.all.push(Arc::new(own));
        }
        match here {
            Some(here) => chain[here] = Some(found),
            None => chain.push(Some(found)),
        }
        Some(())
    }

    fn used(&mut self, chain: &[FilterIndex]) {
        for known in self.known.values_mut() {
            known.used |= chain.iter().any(|index| index.0 == known.index);
        }
    }

    /// A filter stands in a chain once.
    fn once(&self, cx: &mut Lowering<'_, '_>, chain: &[FilterIndex], found: FilterIndex, place: Place) -> bool {
        let twice = chain.contains(&found);
        if twice {
            let name = quoted(self.all[found.0].name.as_str());
            cx.error(place, format!("the filter {name} stands in this chain already; remove one of the two"));
        }
        !twice
    }

    /// A route says what is different of a filter once: of two nobody knows which is meant.
    fn said_once(
        &self,
        cx: &mut Lowering<'_, '_>,
        said: &mut Vec<FilterIndex>,
        found: FilterIndex,
        place: Place,
    ) -> bool {
        let twice = said.contains(&found);
        if twice {
            let name = quoted(self.all[found.0].name.as_str());
            cx.error(place, format!("this route names the filter {name} already; keep one of the two"));
        }
        said.push(found);
        !twice
    }

    fn named(&self, cx: &mut Lowering<'_, '_>, name: &Name, place: Place) -> Option<FilterIndex> {
        if let Some(known) = self.known.get(name) {
            return Some(FilterIndex(known.index));
        }
        if self.bad.contains(name) {
            return None;
        }
        let mut known: Vec<&str> = self.known.keys().map(Name::as_str).collect();
        known.sort_unstable();
        let remedy = match nearest(name.as_str(), known.iter().copied()) {
            Some(guess) => format!("did you mean {guess:?}?"),
            None if known.is_empty() => "there are none; write it under `filters`".to_owned(),
            None => format!("known filters: {}", known.join(", ")),
        };
        cx.error(place, format!("unknown filter {}: {remedy}", quoted(name.as_str())));
        None
    }
}

/// As a model holds a chain.
pub(super) fn shared(chain: Chain) -> Option<Arc<[FilterIndex]>> {
    (!chain.is_empty()).then(|| chain.into())
}

fn only_on_routes(cx: &mut Lowering<'_, '_>, filter: &document::Filter) {
    if let Some(at) = filter.disabled.place() {
        cx.error(at, "a filter is disabled on a route, by its name; to have it nowhere remove it");
    }
    if let Some(at) = filter.configuration.place() {
        cx.error(at, "a filter that is defined here has its configuration in `wasm.configuration`");
    }
}

fn definition(cx: &mut Lowering<'_, '_>, filter: document::Filter, at: Place, names: &mut Names) -> Option<Filter> {
    let name = cx.required_scalar(at, "name", filter.name);
    let kinds = [
        ("wasm", filter.wasm.place()),
        ("headers", filter.headers.place()),
        ("rate_limit", filter.rate_limit.place()),
        ("jwt", filter.jwt.place()),
    ];
    if cx.at_most_one(&kinds) == 0 {
        cx.error(at, "this filter does nothing; write one of wasm, headers, rate_limit and jwt");
    }
    let mut stands = Stands { definition: cx.written_at(at), ..Stands::default() };
    if let Some(wasm) = filter.wasm.get() {
        stands.configuration = wasm.configuration.place().map(|at| cx.written_at(at));
        stands.capabilities = wasm.allowed_capabilities.place().map(|at| cx.written_at(at));
    }
    let kind = if let Some((wasm, at)) = filter.wasm.at(at) {
        wasm::wasm(cx, *wasm, at, names).map(|wasm| FilterKind::Wasm(Box::new(wasm)))
    } else if filter.headers.is_written() {
        rules(cx, filter.headers, at).map(FilterKind::Headers)
    } else if let Some((jwt, at)) = filter.jwt.at(at) {
        super::jwt::jwt(cx, *jwt, at, names).map(|jwt| FilterKind::Jwt(Box::new(jwt)))
    } else {
        filter.rate_limit.at(at).and_then(|(limit, at)| rate_limit(cx, *limit, at)).map(FilterKind::RateLimit)
    };
    Some(Filter {
        name: name?.0,
        route: None,
        kind: kind?,
        fail: match filter.fail.take()? {
            document::Fail::Closed => FailPolicy::Closed,
            document::Fail::Open => FailPolicy::Open,
        },
        body_buffer: if filter.body_buffer.is_written() {
            BodyBuffer::both(filter.body_buffer.value()?.0 as usize)
        } else {
            BodyBuffer::default()
        },
        stands,
    })
}

fn rules(cx: &mut Lowering<'_, '_>, list: List<document::HeaderRule>, at: Place) -> Option<Vec<HeaderRule>> {
    let (list, at) = list.at(at)?;
    let count = list.len();
    let mut rules = Vec::with_capacity(count);
    for (rule, place) in cx.elements(at, list) {
        let when = matching::headers(cx, rule.when, place);
        let request = changes(cx, rule.request, place, Side::Request);
        let response = changes(cx, rule.response, place, Side::Response);
        if let (Some(request), Some(response)) = (request, response) {
            if request.is_empty() && response.is_empty() {
                cx.warn(place, "this rule changes nothing");
            }
            rules.push(HeaderRule { when, request, response });
        }
    }
    (rules.len() == count).then_some(rules)
}

fn rate_limit(cx: &mut Lowering<'_, '_>, limit: document::RateLimit, at: Place) -> Option<RateLimit> {
    let per_at = limit.per.place().unwrap_or(at);
    let requests = cx.required_scalar(at, "requests", limit.requests);
    let burst =
        if limit.burst.is_written() { limit.burst.value() } else { requests.as_ref().map(|(Int(n), _)| Int(*n)) };
    let Period(per) = limit.per.value()?;
    if per < Duration::from_millis(1) || per > Duration::from_secs(86_400) {
        cx.error(per_at, "a rate is said for a time between 1ms and 1d; write one such as 1s or 1m");
    }
    let keys_at = limit.keys.place().unwrap_or(at);
    let keys = limit.keys.elements();
    let keys = cx.elements(keys_at, keys).into_iter().map(|(Scalar(key), _)| key).collect();
    let number = |Int(number): Int<1, 1_000_000_000>| u32::try_from(number).ok().and_then(NonZeroU32::new);
    Some(RateLimit {
        requests: number(requests?.0)?,
        per,
        burst: number(burst?)?,
        keys,
        most_keys: limit.most_keys.value()?.to(),
    })
}
