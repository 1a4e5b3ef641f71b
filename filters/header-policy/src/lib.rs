//! Headers by policy: what requests and responses must have, must not have, and get.
//!
//! ```json
//! {
//!   "request":  { "require": ["x-tenant"], "remove": ["x-debug"], "set": {"x-edge": "1"}, "default": {"accept": "*/*"} },
//!   "response": { "remove": ["server"], "append": {"via": "1.1 edge"}, "security": true }
//! }
//! ```
//!
//! In this order: demanded, removed, set (one value in place of all), defaulted (only where there is none), appended.
//! `security` defaults the headers that browsers are protected by. A request that lacks a demanded header is answered 400;
//! one that is empty is there. Fields of one connection (`te`, `upgrade`, …) can be demanded and removed, and get no value.

#[cfg(target_arch = "wasm32")]
mod guest;

use serde::Deserialize;
use std::collections::BTreeMap;

/// The plugin's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// For requests.
    pub request: Rules,
    /// For responses.
    pub response: Rules,
}

/// What happens to one direction's headers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Names without which a request is refused.
    pub require: Vec<String>,
    /// Names that are taken away, all values.
    pub remove: Vec<String>,
    /// One value in place of all.
    pub set: BTreeMap<String, String>,
    /// A value where there is none.
    pub default: BTreeMap<String, String>,
    /// A value more.
    pub append: BTreeMap<String, String>,
    /// Whether browsers are told to be careful.
    pub security: bool,
}

/// One change, in the words of the host's functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Takes a header away.
    Remove(String),
    /// Replaces all its values by one.
    Set(String, String),
    /// Adds a value.
    Append(String, String),
}

/// What `security` defaults: the values OWASP's secure headers project names for an API or site that embeds nothing.
const SECURITY: [(&str, &str); 4] = [
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
];

impl Policy {
    /// Reads a configuration. Names are checked, so that a typing error is found at start and not by the first request.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and what would be right.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let bytes = if bytes.is_empty() { b"{}" } else { bytes };
        let mut policy: Self = serde_json::from_slice(bytes).map_err(|error| format!("header-policy: {error}"))?;
        for (side, rules) in [("request", &mut policy.request), ("response", &mut policy.response)] {
            rules.check().map_err(|what| format!("header-policy: {side}.{what}"))?;
            rules.lower_names();
        }
        if !policy.response.require.is_empty() {
            return Err("header-policy: response.require: only requests can be refused for what they lack".to_owned());
        }
        Ok(policy)
    }
}

impl Rules {
    fn check(&self) -> Result<(), String> {
        let lists = [("require", &self.require), ("remove", &self.remove)];
        let maps = [("set", &self.set), ("default", &self.default), ("append", &self.append)];
        for (field, names) in lists {
            for name in names {
                valid_name(name).map_err(|what| format!("{field}: {what}"))?;
            }
        }
        for (field, pairs) in maps {
            for (name, value) in pairs {
                valid_name(name).map_err(|what| format!("{field}: {what}"))?;
                if HOP_BY_HOP.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                    return Err(format!("{field}: {name:?} is of one connection, and does not reach who is behind it"));
                }
                if value.bytes().any(|byte| byte == 0x7f || (byte < b' ' && byte != b'\t')) {
                    return Err(format!("{field}.{name}: a value cannot hold control characters"));
                }
            }
        }
        Ok(())
    }

    /// Names are the same in capitals and small letters: what is set under one is not to be defaulted under the other.
    fn lower_names(&mut self) {
        self.remove.iter_mut().for_each(|name| name.make_ascii_lowercase());
        for pairs in [&mut self.set, &mut self.default, &mut self.append] {
            *pairs =
                std::mem::take(pairs).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        }
    }

    /// The first demanded header that is missing.
    pub fn missing(&self, has: impl Fn(&str) -> bool) -> Option<&str> {
        self.require.iter().map(String::as_str).find(|name| !has(name))
    }

    /// What is to be changed in headers of which `has` tells whether they are there.
    pub fn changes(&self, has: impl Fn(&str) -> bool) -> Vec<Change> {
        let mut changes: Vec<_> = self.remove.iter().cloned().map(Change::Remove).collect();
        changes.extend(self.set.iter().map(|(name, value)| Change::Set(name.clone(), value.clone())));
        let removed = |name: &str| self.remove.iter().any(|removed| removed == name);
        let absent = |name: &str| (!has(name) || removed(name)) && !self.set.contains_key(name);
        let wanted = self.default.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let security = SECURITY.into_iter().filter(|(name, _)| self.security && !self.default.contains_key(*name));
        changes.extend(
            wanted
                .chain(security)
                .filter(|(name, _)| absent(name))
                .map(|(name, value)| Change::Set(name.to_owned(), value.to_owned())),
        );
        changes.extend(self.append.iter().map(|(name, value)| Change::Append(name.clone(), value.clone())));
        changes
    }
}

/// Fields of one connection (RFC 9110 §7.6.1), beside those that [`valid_name`] knows.
const HOP_BY_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// A field name by RFC 9110 §5.1; pseudo headers and framing are the proxy's.
fn valid_name(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is no header name"));
    }
    if ["content-length", "transfer-encoding", "connection", "host"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("{name:?} belongs to the proxy's framing and routing"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::read(text.as_bytes()).expect("the configuration is right")
    }

    #[test]
    fn changes_come_in_their_order() {
        let policy = policy(
            r#"{"request": {"remove": ["x-a"], "set": {"x-b": "2"}, "default": {"x-a": "d", "x-c": "d", "x-b": "d"},
                "append": {"via": "edge"}}}"#,
        );
        let changes = policy.request.changes(|name| ["x-a", "x-c"].contains(&name));
        // x-a was there, but is removed first; x-c is there; x-b is set.
        assert_eq!(
            changes,
            [
                Change::Remove("x-a".into()),
                Change::Set("x-b".into(), "2".into()),
                Change::Set("x-a".into(), "d".into()),
                Change::Append("via".into(), "edge".into()),
            ]
        );
    }

    #[test]
    fn what_is_demanded_and_missing_is_named() {
        let policy = policy(r#"{"request": {"require": ["x-tenant", "x-id"]}}"#);
        assert_eq!(policy.request.missing(|name| name == "x-tenant"), Some("x-id"));
        assert_eq!(policy.request.missing(|_| true), None);
    }

    #[test]
    fn fields_of_a_connection_can_be_taken_away() {
        let policy = policy(r#"{"request": {"remove": ["Upgrade"], "require": ["te"]}}"#);
        assert_eq!(policy.request.changes(|_| true), [Change::Remove("upgrade".into())]);
    }

    #[test]
    fn security_fills_in_and_never_overrides() {
        let policy = policy(r#"{"response": {"security": true, "default": {"x-frame-options": "SAMEORIGIN"}}}"#);
        let changes = policy.response.changes(|name| name == "referrer-policy");
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert!(changes.contains(&Change::Set("x-frame-options".into(), "SAMEORIGIN".into())));
        assert!(changes.contains(&Change::Set("x-content-type-options".into(), "nosniff".into())));
    }

    #[test]
    fn names_are_the_same_in_capitals() {
        let policy = policy(
            r#"{"response": {"security": true, "set": {"x-b": "2"}, "default": {"X-Frame-Options": "SAMEORIGIN", "X-B": "d"}}}"#,
        );
        let changes = policy.response.changes(|_| false);
        let of = |wanted: &str| {
            let set = |change: &Change| match change {
                Change::Set(name, value) if name == wanted => Some(value.clone()),
                Change::Set(..) | Change::Remove(_) | Change::Append(..) => None,
            };
            changes.iter().filter_map(set).collect::<Vec<_>>()
        };
        assert_eq!((of("x-frame-options"), of("x-b")), (vec!["SAMEORIGIN".to_owned()], vec!["2".to_owned()]));
    }

    #[test]
    fn nothing_configured_changes_nothing() {
        assert!(policy("").request.changes(|_| false).is_empty());
        assert!(policy("{}").response.changes(|_| true).is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, words) in [
            (r#"{"request": {"removes": []}}"#, "unknown field `removes`"),
            (r#"{"request": {"remove": ["x y"]}}"#, "request.remove: \"x y\" is no header name"),
            (r#"{"request": {"set": {"Content-Length": "1"}}}"#, "belongs to the proxy"),
            (r#"{"request": {"set": {"TE": "trailers"}}}"#, "request.set: \"TE\" is of one connection"),
            (r#"{"request": {"default": {"upgrade": "x"}}}"#, "request.default: \"upgrade\" is of one"),
            (r#"{"response": {"append": {"Keep-Alive": "x"}}}"#, "response.append: \"Keep-Alive\" is of one"),
            (r#"{"response": {"set": {"x": "a\r\nb"}}}"#, "response.set.x: a value cannot hold control"),
            (r#"{"response": {"require": ["x"]}}"#, "only requests"),
            (r#"{"request": {"remove": [":path"]}}"#, "is no header name"),
        ] {
            let error = Policy::read(text.as_bytes()).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
