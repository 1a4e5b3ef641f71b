//! Copies of requests to another cluster, whose answers nobody waits for: a new version sees real traffic before anyone
//! depends on it.
//!
//! ```json
//! { "cluster": "next", "percent": 10, "paths": ["/api/"], "body_bytes": 65536, "timeout_ms": 2000 }
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `cluster` | where copies go |
//! | `percent` (100) | of the requests on these paths, evenly spread |
//! | `paths` (`["/"]`) | prefixes by whole segments: `/api` has `/api/x`, not `/apix` |
//! | `authority` (the request's own) | the copy's host, with or without a port |
//! | `body_bytes` (65536) | a request with more is not copied: half of it would be another request |
//! | `timeout_ms` (1000) | how long the host waits for the answer it throws away |
//!
//! The copy has the request's method, path, headers and body, and `x-shadow: 1`. Fields of one connection do not go along.
//! Upgrades and CONNECT are not copied.

#[cfg(target_arch = "wasm32")]
mod guest;

use serde::Deserialize;

/// The plugin's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// Where copies go.
    pub cluster: String,
    /// Of a hundred requests.
    #[serde(default = "hundred")]
    pub percent: u32,
    /// Prefixes of paths.
    #[serde(default = "everywhere")]
    pub paths: Vec<String>,
    /// The copy's host.
    pub authority: Option<String>,
    /// The most of a body that is kept.
    #[serde(default = "body_bytes")]
    pub body_bytes: usize,
    /// Milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

fn hundred() -> u32 {
    100
}

fn everywhere() -> Vec<String> {
    vec!["/".to_owned()]
}

fn body_bytes() -> usize {
    65_536
}

fn timeout_ms() -> u64 {
    1_000
}

impl Shadow {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let shadow: Self = serde_json::from_slice(bytes).map_err(|error| format!("request-shadow: {error}"))?;
        if shadow.cluster.is_empty() {
            return Err("request-shadow: cluster: is empty; it names a cluster of the proxy's".to_owned());
        }
        if shadow.percent > 100 {
            return Err(format!("request-shadow: percent: {} is not within 0 and 100", shadow.percent));
        }
        if shadow.body_bytes > 1 << 20 {
            return Err(format!("request-shadow: body_bytes: {} is more than 1048576", shadow.body_bytes));
        }
        if !(1..=60_000).contains(&shadow.timeout_ms) {
            return Err(format!("request-shadow: timeout_ms: {} is not within 1 and 60000", shadow.timeout_ms));
        }
        if let Some(path) = shadow.paths.iter().find(|path| !path.starts_with('/')) {
            return Err(format!("request-shadow: paths: {path:?} does not begin with a slash"));
        }
        if let Some(authority) = shadow.authority.as_deref().filter(|authority| !is_authority(authority)) {
            return Err(format!(
                "request-shadow: authority: {authority:?} is none; write a host such as next.example or next.example:8080"
            ));
        }
        Ok(shadow)
    }

    /// Whether requests like this are copied at all.
    #[must_use]
    pub fn concerns(&self, headers: &[(String, Vec<u8>)]) -> bool {
        let value = |name: &str| headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_slice());
        let path = value(":path").unwrap_or_default();
        let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        self.paths.iter().any(|prefix| is_within(path, prefix.as_bytes()))
            && value(":method").is_some_and(|method| method != b"CONNECT")
            && value("upgrade").is_none()
            // A shadow of a shadow would go round for ever where clusters point at each other.
            && value("x-shadow").is_none()
    }

    /// The copy's headers. Its length is that of `body`, which was read whole.
    #[must_use]
    pub fn copy(&self, headers: &[(String, Vec<u8>)], body: usize) -> Vec<(String, Vec<u8>)> {
        let named: Vec<String> = headers
            .iter()
            .filter(|(name, _)| name == "connection")
            .flat_map(|(_, value)| {
                String::from_utf8_lossy(value)
                    .to_ascii_lowercase()
                    .split(',')
                    .map(|word| word.trim().to_owned())
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut copy: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()) && !named.contains(name))
            .filter(|(name, _)| name != "content-length")
            .cloned()
            .collect();
        if let Some(authority) = &self.authority {
            copy.retain(|(name, _)| name != ":authority" && name != "host");
            copy.insert(0, (":authority".to_owned(), authority.clone().into_bytes()));
        }
        if body > 0 {
            copy.push(("content-length".to_owned(), body.to_string().into_bytes()));
        }
        copy.push(("x-shadow".to_owned(), b"1".to_vec()));
        copy
    }
}

/// A prefix by whole segments.
fn is_within(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with(b"/") || rest.starts_with(b"/"))
}

/// A host by RFC 3986 §3.2.2, and a port. A host function takes any text, and the request is never sent.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => !literal.is_empty() && literal.bytes().all(address),
        None => !host.is_empty() && host.bytes().all(name),
    };
    host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// RFC 9110 §7.6.1, and what expects an answer before the body.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Every so-manieth of a sequence, evenly: an error diffusion, so that 10 percent of ten requests are exactly one.
#[derive(Debug, Clone, Default)]
pub struct Sampler(u32);

impl Sampler {
    /// Whether the next is taken.
    pub fn takes(&mut self, percent: u32) -> bool {
        self.0 += percent;
        let taken = self.0 >= 100;
        if taken {
            self.0 -= 100;
        }
        taken
    }
}

/// What of a body was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gathered {
    /// All of it so far.
    Whole(Vec<u8>),
    /// More than may be kept.
    TooLarge,
}

impl Gathered {
    /// Takes in what came.
    pub fn add(&mut self, bytes: &[u8], most: usize) {
        let fits = matches!(self, Self::Whole(so_far) if so_far.len() + bytes.len() <= most);
        match self {
            Self::Whole(so_far) if fits => so_far.extend_from_slice(bytes),
            _ => *self = Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    fn shadow(text: &str) -> Shadow {
        Shadow::read(text.as_bytes()).expect("the configuration is right")
    }

    #[test]
    fn the_share_is_even() {
        for percent in [0, 1, 10, 33, 50, 99, 100] {
            let mut sampler = Sampler::default();
            let taken = (0..1_000).filter(|_| sampler.takes(percent)).count();
            assert_eq!(taken, percent as usize * 10);
        }
        let mut sampler = Sampler::default();
        let taken: Vec<_> = (0..6).map(|_| sampler.takes(50)).collect();
        assert_eq!(taken, [false, true, false, true, false, true]);
    }

    #[test]
    fn only_what_can_be_repeated_is_copied() {
        let shadow = shadow(r#"{"cluster": "next", "paths": ["/api/"]}"#);
        let get = [(":method", "GET"), (":path", "/api/x")];
        assert!(shadow.concerns(&headers(&get)));
        assert!(!shadow.concerns(&headers(&[(":method", "GET"), (":path", "/other")])));
        assert!(!shadow.concerns(&headers(&[(":method", "CONNECT"), (":path", "/api/x")])));
        assert!(!shadow.concerns(&headers(&[get[0], get[1], ("upgrade", "websocket")])));
        assert!(!shadow.concerns(&headers(&[get[0], get[1], ("x-shadow", "1")])));
    }

    #[test]
    fn paths_are_whole_segments() {
        let concerned = |paths: &str, path: &str| {
            let shadow = shadow(&format!(r#"{{"cluster": "next", "paths": [{paths:?}]}}"#));
            shadow.concerns(&headers(&[(":method", "GET"), (":path", path)]))
        };
        for path in ["/api", "/api/", "/api/x", "/api?x=1", "/api/x?y"] {
            assert!(concerned("/api", path), "{path}");
        }
        for path in ["/apix", "/ap", "/", "/x/api", "/x?/api", ""] {
            assert!(!concerned("/api", path), "{path}");
        }
        assert!(concerned("/api/", "/api/x") && !concerned("/api/", "/api") && concerned("/", "/anything"));
    }

    #[test]
    fn an_authority_is_one() {
        for authority in ["next", "next.example:8080", "10.0.0.1:80", "[::1]", "[2001:db8::1]:443"] {
            let text = format!(r#"{{"cluster": "c", "authority": {authority:?}}}"#);
            assert_eq!(shadow(&text).authority.as_deref(), Some(authority));
        }
        for authority in
            ["", "a b", "a\r\nx: y", "a/b", "u@a", ":80", "a:", "a:http", "a:0", "a:65536", "::1", "[::1", "[]", "é"]
        {
            let text = serde_json::json!({ "cluster": "c", "authority": authority }).to_string();
            let error = Shadow::read(text.as_bytes()).expect_err(authority);
            assert!(error.contains("authority: ") && error.contains("is none; write a host"), "{error}");
        }
    }

    #[test]
    fn the_copy_leaves_the_connection_behind() {
        let original = headers(&[
            (":method", "POST"),
            (":path", "/"),
            (":authority", "site"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "99"),
            ("x-kept", "1"),
            ("x-kept", "2"),
        ]);
        let copy = shadow(r#"{"cluster": "next"}"#).copy(&original, 4);
        assert_eq!(
            copy,
            headers(&[
                (":method", "POST"),
                (":path", "/"),
                (":authority", "site"),
                ("x-kept", "1"),
                ("x-kept", "2"),
                ("content-length", "4"),
                ("x-shadow", "1"),
            ])
        );
        let other = shadow(r#"{"cluster": "next", "authority": "next.test"}"#).copy(&original, 0);
        assert_eq!(other[0], (":authority".to_owned(), b"next.test".to_vec()));
        assert_eq!(other.iter().filter(|(name, _)| name == ":authority").count(), 1);
        assert!(other.iter().all(|(name, _)| name != "content-length"));
    }

    #[test]
    fn half_a_body_is_none() {
        let mut body = Gathered::Whole(Vec::new());
        body.add(b"abc", 5);
        body.add(b"de", 5);
        assert_eq!(body, Gathered::Whole(b"abcde".to_vec()));
        body.add(b"f", 5);
        body.add(b"", 5);
        assert_eq!(body, Gathered::TooLarge);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("{}", "missing field `cluster`"),
            (r#"{"cluster": ""}"#, "cluster: is empty"),
            (r#"{"cluster": "c", "percent": 101}"#, "percent: 101"),
            (r#"{"cluster": "c", "paths": ["api"]}"#, "does not begin with a slash"),
            (r#"{"cluster": "c", "timeout_ms": 0}"#, "timeout_ms: 0"),
            (r#"{"cluster": "c", "body_bytes": 99999999}"#, "body_bytes"),
        ] {
            let error = Shadow::read(text.as_bytes()).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
