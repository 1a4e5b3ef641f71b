//! What the API server says about EndpointSlices (discovery.k8s.io/v1): pages of a list, and events of a watch. Pure.
//!
//! Only what is used is read; all else may be there, and may change. What is no list or no event is an error and never an
//! empty one: a cluster is emptied by an API server that says so and by nothing else.

use serde::Deserialize;
use std::borrow::Cow;

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// Its slices.
    pub(super) items: Vec<EndpointSlice<'a>>,
    /// Where a watch goes on.
    pub(super) version: Cow<'a, str>,
    /// Where the next page begins; `None`: this is the last one.
    pub(super) next: Option<Cow<'a, str>>,
}

/// An event of a watch.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A slice is there, new or changed, as of a version.
    Set(EndpointSlice<'a>, Cow<'a, str>),
    /// A slice of that name has gone, as of a version.
    Gone(Cow<'a, str>, Cow<'a, str>),
    /// Nothing happened up to a version.
    Bookmark(Cow<'a, str>),
    /// The watch cannot go on: a status and what it means.
    Error(u16, Cow<'a, str>),
}

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// It is no JSON, or something in it has another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error("it is no {expected} but {found:?}")]
    Kind {
        /// What was asked for.
        expected: &'static str,
        /// What it says it is.
        found: String,
    },
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// An EndpointSlice.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct EndpointSlice<'a> {
    /// Its name and version.
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(borrow)]
    pub(super) address_type: Cow<'a, str>,
    /// Ports, by name.
    #[serde(borrow)]
    pub(super) ports: Option<Vec<Port<'a>>>,
    /// Who is there.
    #[serde(borrow)]
    pub(super) endpoints: Option<Vec<Endpoint<'a>>>,
}

/// What every object has.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata<'a> {
    /// Its name.
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    /// Its version, or the list's.
    #[serde(borrow)]
    pub(super) resource_version: Cow<'a, str>,
    /// Of a list: where the next page begins.
    #[serde(borrow, rename = "continue")]
    pub(super) next: Option<Cow<'a, str>>,
}

/// A port of a slice.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct Port<'a> {
    /// The name that the service's port has; none or empty: it has none.
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    /// `TCP` where there is none.
    #[serde(borrow)]
    pub(super) protocol: Option<Cow<'a, str>>,
    /// Its number; none: any.
    pub(super) port: Option<u16>,
}

/// A pod, as a rule.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Endpoint<'a> {
    /// Where it is; only the first is looked at, as kube-proxy does.
    #[serde(borrow)]
    pub(super) addresses: Vec<Cow<'a, str>>,
    /// Whether it should get requests.
    pub(super) conditions: Conditions,
    /// For whom it is meant.
    #[serde(borrow)]
    pub(super) hints: Option<Hints<'a>>,
    /// What it is.
    #[serde(borrow)]
    pub(super) target_ref: Option<TargetRef<'a>>,
}

/// Whether an endpoint should get requests.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct Conditions {
    /// It should; where nothing is said, it should as well.
    pub(super) ready: Option<bool>,
    /// It could; as `ready` where nothing is said.
    pub(super) serving: Option<bool>,
    /// It is going away.
    pub(super) terminating: Option<bool>,
}

/// For whom an endpoint is meant.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Hints<'a> {
    /// Zones.
    #[serde(borrow)]
    pub(super) for_zones: Option<Vec<Named<'a>>>,
    /// Nodes, since Kubernetes 1.33.
    #[serde(borrow)]
    pub(super) for_nodes: Option<Vec<Named<'a>>>,
}

/// Something with a name.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct Named<'a> {
    /// Its name.
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
}

/// The object behind an endpoint.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct TargetRef<'a> {
    /// Which one, for ever.
    #[serde(borrow)]
    pub(super) uid: Cow<'a, str>,
}

/// Reads a page of a list.
///
/// # Errors
/// As [`WireError`] says.
pub(super) fn page(bytes: &[u8]) -> Result<Page<'_>, WireError> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow, default)]
        kind: Cow<'a, str>,
        #[serde(borrow, default)]
        metadata: Metadata<'a>,
        #[serde(borrow, default)]
        items: Option<Vec<EndpointSlice<'a>>>,
    }
    const KIND: &str = "EndpointSliceList";
    let List { kind, metadata, items } = serde_json::from_slice(bytes)?;
    if kind != KIND {
        return Err(WireError::Kind { expected: KIND, found: kind.into_owned() });
    }
    let Metadata { resource_version: version, next, .. } = metadata;
    if version.is_empty() {
        return Err(WireError::Missing("metadata.resourceVersion"));
    }
    let items = items.unwrap_or_default();
    if items.iter().any(|item| item.metadata.name.is_empty()) {
        return Err(WireError::Missing("metadata.name of an item"));
    }
    Ok(Page { items, version, next: next.filter(|next| !next.is_empty()) })
}

/// Reads a line of a watch.
///
/// # Errors
/// As [`WireError`] says.
pub(super) fn event(line: &[u8]) -> Result<Event<'_>, WireError> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type", default)]
        kind: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Of<T> {
        object: T,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Status<'a> {
        code: u16,
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    // What the object is depends on the kind, which may stand behind it.
    let Kind { kind } = serde_json::from_slice(line)?;
    match &*kind {
        "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" => {}
        "ERROR" => {
            let Of { object: Status { code, message } } = serde_json::from_slice(line)?;
            return Ok(Event::Error(code, message));
        }
        _ => return Err(WireError::Kind { expected: "event", found: kind.into_owned() }),
    }
    let Of { object: slice } = serde_json::from_slice::<Of<EndpointSlice<'_>>>(line)?;
    let version = slice.metadata.resource_version.clone();
    if version.is_empty() {
        return Err(WireError::Missing("object.metadata.resourceVersion"));
    }
    if kind == "BOOKMARK" {
        return Ok(Event::Bookmark(version));
    }
    if slice.metadata.name.is_empty() {
        return Err(WireError::Missing("object.metadata.name"));
    }
    Ok(if kind == "DELETED" { Event::Gone(slice.metadata.name, version) } else { Event::Set(slice, version) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = r#"{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"7",
        "continue":"abc","remainingItemCount":3},"items":[{"metadata":{"name":"api-1","managedFields":[{}]},
        "addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},"nodeName":"n",
        "targetRef":{"kind":"Pod","uid":"u\u002d1"},"hints":{"forZones":[{"name":"a"}],"forNodes":[{"name":"n"}]},
        "deprecatedTopology":{"x":"y"}}],"ports":[{"name":"http","port":80,"protocol":"TCP","appProtocol":"h2c"}]}]}"#;

    #[test]
    fn a_list_is_read_and_no_beginning_of_it_is_one() {
        let read = page(LIST.as_bytes()).unwrap();
        assert_eq!((read.version.as_ref(), read.next.as_deref(), read.items.len()), ("7", Some("abc"), 1));
        let endpoint = &read.items[0].endpoints.as_ref().unwrap()[0];
        assert_eq!(endpoint.target_ref.as_ref().unwrap().uid, "u-1");
        for end in 0..LIST.len() {
            assert!(page(&LIST.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn nothing_else_is_an_empty_list() {
        for (text, words) in [
            ("{}", "no EndpointSliceList"),
            ("[]", "no EndpointSliceList"),
            (r#"{"kind":"Status","code":200,"items":[]}"#, "no EndpointSliceList but \"Status\""),
            (r#"{"kind":"EndpointSliceList","items":[]}"#, "metadata.resourceVersion is missing"),
            (r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[{}]}"#, "metadata.name"),
            (r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":{}}"#, "invalid type"),
            (r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":7},"items":[]}"#, "invalid type"),
        ] {
            let error = page(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        // Go writes an empty list as null.
        let none = br#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7","continue":""},"items":null}"#;
        assert_eq!(page(none).map(|page| (page.items.len(), page.next.is_none())).unwrap(), (0, true));
    }

    #[test]
    fn events_are_read_in_any_order_of_fields() {
        let set = event(br#"{"object":{"metadata":{"resourceVersion":"8","name":"a"}},"type":"MODIFIED"}"#).unwrap();
        assert!(matches!(set, Event::Set(_, at) if at == "8"));
        let gone = event(br#"{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}"#).unwrap();
        assert!(matches!(gone, Event::Gone(name, at) if name == "a" && at == "9"));
        let mark = event(br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"10"}}}"#).unwrap();
        assert!(matches!(mark, Event::Bookmark(at) if at == "10"));
        let error = event(br#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#).unwrap();
        assert!(matches!(error, Event::Error(410, words) if words == "too old"));
        for text in [
            "{}",
            "null",
            r#"{"type":"ADDED"}"#,
            r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#,
            r#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"7"}}}"#,
            r#"{"type":"BOOKMARK","object":{}}"#,
            r#"{"type":"RENAMED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}"#,
        ] {
            assert!(event(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..LIST.len(), by in any::<u8>()) {
            page(&bytes).ok();
            event(&bytes).ok();
            let mut text = LIST.as_bytes().to_vec();
            text[at] = by;
            page(&text).ok();
            event(&text).ok();
        }
    }
}
