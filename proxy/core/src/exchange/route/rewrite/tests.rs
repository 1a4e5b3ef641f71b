use super::*;
use pillion_config::model::EscapedSlashes;
use proptest::prelude::*;
use regex::Regex;

const POLICY: PathPolicy =
    PathPolicy { resolve_dots: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Keep };

const AS_IS: PathPolicy =
    PathPolicy { resolve_dots: false, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };

fn rewritten(rewrite: &PathRewrite, from: &str, matched: usize) -> String {
    match target(rewrite, from, matched, &POLICY) {
        Ok(Some(new)) => new.to_string(),
        Ok(None) => "as it is".into(),
        Err(error) => error.name().into(),
    }
}

#[test]
fn a_prefix_is_replaced_with_one_slash_between() {
    for (from, prefix, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/", "/foo/", "/xyz/", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/x?q=/foo", "/foo", "/", "/x?q=/foo"),
        ("/x?q", "/", "/app", "/app/x?q"),
        ("/", "/", "/app", "/app/"),
        ("/", "/", "/", "/"),
        ("/foo;a=b/bar", "/foo", "/xyz", "/xyz;a=b/bar"),
        ("/foo;a/bar", "/foo", "/xyz/", "/xyz;a/bar"),
        ("/foo/;a", "/foo/", "/xyz", "/xyz/;a"),
    ] {
        let rewrite = PathRewrite::Prefix(replacement.into());
        assert_eq!(rewritten(&rewrite, from, prefix.len()), expected, "{from} {prefix} {replacement}");
    }
}

#[test]
fn other_rewrites() {
    let regex = |text: &str, to: &str| PathRewrite::Regex(Regex::new(text).expect("valid"), to.to_owned());
    for (rewrite, from, expected) in [
        (PathRewrite::Keep, "/a?b", "as it is"),
        (PathRewrite::Full("/x".into()), "/a/b?c=d", "/x?c=d"),
        (PathRewrite::Full("/x?y".into()), "/a?b", "/x%3Fy?b"),
        (PathRewrite::Full("x y".into()), "/a", "/x%20y"),
        (PathRewrite::Full("/..".into()), "/a", "rewrite_path_refused"),
        (PathRewrite::Full("/x".into()), "*", "as it is"),
        (PathRewrite::Full("/x".into()), "", "as it is"),
        (regex("^/u/([0-9]+)$", "/user/$1"), "/u/7?q=1", "/user/7?q=1"),
        (regex("^/u/([0-9]+)$", "/user/$1"), "/u/x", "as it is"),
        (regex("/", "//"), "/a/b", "/a/b"),
        (regex("/a/", "/."), "/a/./x", "rewrite_path_refused"),
        (regex("^/", ""), "/a/b", "/a/b"),
        (regex("2", ""), "/%2F", "rewrite_path_refused"),
        (regex("a", &"b".repeat(70_000)), "/a", "rewrite_too_long"),
        (regex("a", "#\r\n"), "/a", "/%23%0D%0A"),
    ] {
        assert_eq!(rewritten(&rewrite, from, 1), expected, "{rewrite:?} {from}");
    }
}

fn redirect() -> Redirect {
    Redirect { status: StatusCode::FOUND, scheme: None, host: None, port: None, path: None, strip_query: false }
}

fn from<'a>(authority: Option<&'a str>, target: &'a str) -> RedirectFrom<'a> {
    RedirectFrom {
        scheme: Scheme::Http,
        authority: authority.map(|text| Authority::parse(text.as_bytes()).expect("valid")),
        target,
        matched: 2,
    }
}

#[test]
fn where_a_redirect_leads() {
    let https = Redirect { scheme: Some(Scheme::Https), ..redirect() };
    let host = |host: &str| Redirect { host: Some(host.into()), ..redirect() };
    let path = |path| Redirect { path: Some(path), ..redirect() };
    let port = |port| Redirect { port: Some(port), ..redirect() };
    for (redirect, authority, target, expected) in [
        (https.clone(), Some("a.example:8080"), "/x?y", "https://a.example/x?y"),
        (https.clone(), Some("[::1]:8080"), "/", "https://[::1]/"),
        (Redirect { port: Some(443), ..https.clone() }, Some("a"), "/", "https://a/"),
        (Redirect { port: Some(8443), ..https.clone() }, Some("a:80"), "/", "https://a:8443/"),
        (redirect(), Some("a:8080"), "/x", "http://a:8080/x"),
        (redirect(), Some("a:80"), "/x", "http://a/x"),
        (host("b.example"), Some("a:8080"), "/x", "http://b.example/x"),
        (host("b.example:81"), Some("a"), "/x", "http://b.example:81/x"),
        (host("[::2]:81"), Some("a"), "/x", "http://[::2]:81/x"),
        (host("[::2]"), Some("a"), "/x", "http://[::2]/x"),
        (Redirect { host: Some("b:81".into()), ..port(82) }, Some("a"), "/", "http://b:82/"),
        (path(RedirectPath::Full("/new".into())), Some("a"), "/v/x?q", "http://a/new?q"),
        (path(RedirectPath::Prefix("/w/".into())), Some("a"), "/v/x?q", "http://a/w/x?q"),
        (Redirect { strip_query: true, ..redirect() }, Some("a"), "/x?q", "http://a/x"),
        (redirect(), Some("a"), "*", "http://a/"),
        (redirect(), None, "/x?q", "/x?q"),
        (https, None, "/x", "/x"),
    ] {
        let location = location(&redirect, from(authority, target), &POLICY).expect("a location");
        assert_eq!(location, expected, "{redirect:?} {target}");
    }
}

#[test]
fn no_redirect_can_be_led_to_another_host() {
    for target in ["//evil.example/", "///evil.example", "/\\evil.example", "//\\/evil.example"] {
        let relative = location(&redirect(), from(None, target), &AS_IS).expect("a location");
        assert_eq!(relative.as_bytes()[..2], *b"/e", "{relative:?}");
        let absolute = location(&redirect(), from(Some("a"), target), &AS_IS).expect("a location");
        assert!(absolute.as_bytes().starts_with(b"http://a/"), "{absolute:?}");
    }
}

proptest! {
    #[test]
    fn what_comes_out_is_a_clean_absolute_target(
        path in "/[a-z/.%0-9]{0,12}", query in "(\\?[a-z=/]{0,6})?", to in ".{0,8}", matched in 0usize..16,
    ) {
        let old = match path::clean(&format!("{path}{query}"), &POLICY) {
            Cleaned::Unchanged => format!("{path}{query}"),
            Cleaned::Changed(clean) => clean,
            Cleaned::Refused(_) => return Ok(()),
        };
        if let Ok(Some(new)) = target(&PathRewrite::Prefix(to), &old, matched, &POLICY) {
            prop_assert_eq!(path::clean(new.as_str(), &POLICY), Cleaned::Unchanged);
            prop_assert!(new.as_str().starts_with('/') && !new.as_str().starts_with("//"));
            prop_assert_eq!(path::split(new.as_str()).1, query);
        }
    }
}
