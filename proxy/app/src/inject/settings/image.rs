//! References to images: `[REGISTRY/]NAME[:TAG][@DIGEST]`, as kubelets read them.
//!
//! The grammar is that of <https://github.com/distribution/reference>, by which container runtimes judge `image`; one that is none
//! would be found out by a kubelet (`InvalidImageName`), in each pod anew.

use std::{fmt, str::FromStr};

/// Longest registry and name together.
const LONGEST_NAME: usize = 255;
/// Longest tag.
const LONGEST_TAG: usize = 128;
/// The tag of an image that names none and has no digest.
const LATEST: &str = "latest";
/// What the tag of the image that installs rules ends with.
const BESIDE: &str = "-init";

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Registry and name.
    pub name: String,
    /// Its tag.
    pub tag: Option<String>,
    /// The digest of the one and only image that is meant, whatever its tag names by now.
    pub digest: Option<String>,
}

impl Image {
    /// The image beside this one that has the programs which install rules: `TAG-init`.
    ///
    /// # Errors
    /// Why there is none, as of an image by its digest, which names that one and no other.
    pub fn beside(&self) -> Result<Self, &'static str> {
        if self.digest.is_some() {
            return Err("its digest names one image, and not the one beside it that installs the rules");
        }
        let tag = self.tag.as_deref().unwrap_or(LATEST);
        if tag.len() + BESIDE.len() > LONGEST_TAG {
            return Err("with -init, the tag of the image that installs the rules would be too long");
        }
        Ok(Self { name: self.name.clone(), tag: Some(format!("{tag}{BESIDE}")), digest: None })
    }
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let remedy = |what: &str| {
            format!("{text:?} is no image: {what}; write one as registry/pillion:0.1.0 or registry/pillion@sha256:…")
        };
        let (place, digest) = text.split_once('@').map_or((text, None), |(place, digest)| (place, Some(digest)));
        if let Some(digest) = digest {
            check_digest(digest).map_err(|what| remedy(&what))?;
        }
        // The colon of a port is followed by a path.
        let (name, tag) = match place.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (place, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(remedy(
                "a tag has letters, digits, _, - and ., 128 at most, and begins with none of the last two",
            ));
        }
        check_name(name).map_err(remedy)?;
        Ok(Self { name: name.to_owned(), tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) })
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, tag, digest } = self;
        f.write_str(name)?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let lengths = [("sha256", 64), ("sha512", 128)];
    let (algorithm, value) = digest.split_once(':').unwrap_or((digest, ""));
    let length = lengths.iter().find(|(name, _)| *name == algorithm).map(|(_, length)| *length);
    let length = length.ok_or("its digest begins with neither sha256: nor sha512:")?;
    let is_hex = value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_hex && value.len() == length {
        return Ok(());
    }
    Err(format!("behind @{algorithm}: there must be {length} digits 0-9 and a-f, and nothing else"))
}

fn is_tag(tag: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=LONGEST_TAG).contains(&tag.len()) && tag.bytes().all(inside) && !tag.starts_with(['-', '.'])
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.len() > LONGEST_NAME {
        return Err("registry and name have more than 255 characters");
    }
    let is_registry = |first: &str| {
        first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
    };
    let path = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => {
            check_registry(first)?;
            rest
        }
        _ => name,
    };
    if path.split('/').all(is_component) {
        return Ok(());
    }
    Err(
        "a name has lower-case letters and digits, with one ., one or two _, or some - between them, in parts between /",
    )
}

/// A host by its name or its address, with or without a port.
fn check_registry(registry: &str) -> Result<(), &'static str> {
    let words = "before the first / there is neither a registry, as registry.example:5000, nor a part of a name";
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.split('.').all(label),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_host && is_port { Ok(()) } else { Err(words) }
}

/// Letters and digits, with separators between them.
fn is_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    // Between two of them that are neighbours there is nothing, of which all bytes are what one likes.
    let mut between = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let ends = |at: Option<u8>| at.is_some_and(plain);
    ends(text.bytes().next())
        && ends(text.bytes().next_back())
        && between.all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(length: usize) -> String {
        "0123456789abcdef".repeat(8)[..length].to_owned()
    }

    #[test]
    fn what_runtimes_take_is_read_and_written_as_it_was() {
        let sha = digest(64);
        for text in [
            "pillion",
            "pillion:0.1.0",
            "library/pillion:1_2.3-4",
            "registry.example/mesh/pillion:0.1.0",
            "registry.example:5000/pillion",
            "localhost/pillion:V1",
            "LOCAL/pillion",
            "[fd00::1]:5000/pillion:1",
            "a--b/c__d.e_f",
            &format!("pillion@sha256:{sha}"),
            &format!("registry.example:5000/pillion:0.1.0@sha256:{sha}"),
            &format!("pillion@sha512:{}", digest(128)),
        ] {
            let image: Image = text.parse().unwrap_or_else(|words| panic!("{words}"));
            assert_eq!(image.to_string(), text);
        }
        let image: Image = format!("r.io:5000/p:1@sha256:{sha}").parse().unwrap();
        assert_eq!((image.name.as_str(), image.tag.as_deref()), ("r.io:5000/p", Some("1")));
        assert_eq!(image.digest, Some(format!("sha256:{sha}")));
    }

    #[test]
    fn what_no_runtime_takes_is_refused() {
        let sha = digest(64);
        for (text, words) in [
            ("", "a name has"),
            ("a b", "a name has"),
            ("Pillion", "a name has"),
            ("registry.example/Pillion", "a name has"),
            ("a/", "a name has"),
            ("/a", "a name has"),
            ("a//b", "a name has"),
            ("a..b", "a name has"),
            ("a___b", "a name has"),
            ("-a", "a name has"),
            ("https://registry.example/pillion", "neither a registry"),
            ("registry.example:port/pillion", "neither a registry"),
            ("registry.example:0/pillion", "neither a registry"),
            ("-a.b/c", "neither a registry"),
            ("pillion:", "a tag has"),
            ("pillion:.1", "a tag has"),
            ("pillion:1+2", "a tag has"),
            (&format!("pillion:{}", "1".repeat(129)), "a tag has"),
            (&"a".repeat(256), "more than 255"),
            ("pillion@", "neither sha256"),
            ("pillion@md5:00", "neither sha256"),
            ("pillion@sha256:00", "64 digits"),
            (&format!("pillion@sha256:{sha}:0.1.0"), "64 digits"),
            (&format!("pillion@sha256:{}", sha.to_uppercase()), "64 digits"),
            (&format!("@sha256:{sha}"), "a name has"),
        ] {
            let error = text.parse::<Image>().unwrap_err();
            assert!(error.contains(words) && error.contains("registry/pillion"), "{text}: {error}");
        }
    }

    #[test]
    fn the_image_that_installs_rules_is_beside_a_tag_and_beside_no_digest() {
        let beside = |text: &str| text.parse::<Image>().unwrap().beside().ok().map(|image| image.to_string());
        assert_eq!(beside("r.io:5000/p:1").as_deref(), Some("r.io:5000/p:1-init"));
        assert_eq!(beside("r.io:5000/p").as_deref(), Some("r.io:5000/p:latest-init"), "no tag is that one");
        assert_eq!(beside(&format!("p@sha256:{}", digest(64))), None);
        assert_eq!(beside(&format!("p:1@sha256:{}", digest(64))), None);
        assert_eq!(beside(&format!("p:{}", "1".repeat(128))), None, "a tag would be too long");
    }
}
