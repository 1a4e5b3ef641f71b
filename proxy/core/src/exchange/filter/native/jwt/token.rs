//! Where a token is found in a request, and how it is taken out. Pure.

use crate::exchange::{filter::Headers, route::decoded};
use http::{HeaderName, HeaderValue, header::COOKIE};
use pillion_config::model::JwtPlace;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Nothing.
    Nothing,
    /// A token.
    Token(&'a str),
    /// Two, or one beside another credential in its field: which one the server behind would read is not known.
    Several,
}

/// Looks for a token in all places. The same one in several is one.
pub(super) fn find<'a>(places: &[JwtPlace], headers: &'a Headers) -> Found<'a> {
    let mut found = Found::Nothing;
    for place in places {
        found = match (found, in_place(place, headers)) {
            (Found::Several, _) | (_, Here::Several) => return Found::Several,
            (found, Here::Nothing) => found,
            (Found::Nothing, Here::Token(token)) => Found::Token(token),
            (Found::Token(known), Here::Token(token)) if known == token => found,
            (Found::Token(_), Here::Token(_)) => return Found::Several,
        };
    }
    found
}

/// What a place holds.
#[derive(Debug, Clone, Copy)]
enum Here<'a> {
    Nothing,
    Token(&'a str),
    Several,
}

fn in_place<'a>(place: &JwtPlace, headers: &'a Headers) -> Here<'a> {
    match place {
        JwtPlace::Header(name, word) => in_header(name, word.as_deref(), headers),
        JwtPlace::Query(name) => only(query(headers).filter_map(|pair| queried(pair, name))),
        JwtPlace::Cookie(name) => {
            let lines = headers.fields().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
            only(lines.flat_map(|line| line.split(';')).filter_map(|pair| named(pair.trim(), name)))
        }
    }
}

fn only<'a>(mut tokens: impl Iterator<Item = &'a str>) -> Here<'a> {
    match (tokens.next(), tokens.next()) {
        (None, _) => Here::Nothing,
        (Some(token), None) => Here::Token(token),
        (Some(_), Some(_)) => Here::Several,
    }
}

/// A field's only credential. Fields that came twice may be one by now, with a comma between, and no token has one.
fn in_header<'a>(name: &HeaderName, word: Option<&str>, headers: &'a Headers) -> Here<'a> {
    let lines = headers.fields().get_all(name).iter().map(HeaderValue::as_bytes);
    let credentials = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let mut credentials = credentials.map(<[u8]>::trim_ascii).filter(|credential| !credential.is_empty());
    let behind = |credential: &'a [u8]| {
        let credential = std::str::from_utf8(credential).ok()?;
        let Some(word) = word else { return Some(credential) };
        let (first, rest) = credential.split_at_checked(word.len())?;
        let token = rest.strip_prefix(' ').filter(|_| first.eq_ignore_ascii_case(word))?;
        Some(token.trim())
    };
    let (Some(first), second) = (credentials.next(), credentials.next()) else { return Here::Nothing };
    let further = second.into_iter().chain(credentials);
    match (behind(first), second) {
        (Some(token), None) => Here::Token(token),
        (None, None) => Here::Nothing,
        (Some(_), Some(_)) => Here::Several,
        (None, Some(_)) if further.filter_map(behind).next().is_some() => Here::Several,
        (None, Some(_)) => Here::Nothing,
    }
}

fn query(headers: &Headers) -> impl Iterator<Item = &str> {
    let target = headers.get(b":path").and_then(|target| std::str::from_utf8(target).ok());
    let query = target.and_then(|target| target.split_once('?')).map_or("", |(_, query)| query);
    query.split('&')
}

/// The value of a parameter of this name, however the name is written. A token holds nothing that would be escaped.
fn queried<'a>(pair: &'a str, name: &str) -> Option<&'a str> {
    let (written, value) = pair.split_once('=')?;
    (decoded(written).eq(name.bytes()) && !value.is_empty()).then_some(value)
}

/// The value of a cookie of this name.
fn named<'a>(pair: &'a str, name: &str) -> Option<&'a str> {
    pair.strip_prefix(name)?.strip_prefix('=').filter(|value| !value.is_empty())
}

/// Takes the token out of the request, wherever it is.
pub(super) fn strip(places: &[JwtPlace], headers: &mut Headers) {
    for place in places {
        if let Here::Token(_) = in_place(place, headers) {
            strip_from(place, headers);
        }
    }
}

fn strip_from(place: &JwtPlace, headers: &mut Headers) {
    match place {
        JwtPlace::Header(name, _) => headers.remove(name.as_str().as_bytes()),
        JwtPlace::Query(name) => {
            let Some((path, query)) = headers
                .get(b":path")
                .and_then(|target| std::str::from_utf8(target).ok())
                .and_then(|target| target.split_once('?'))
            else {
                return;
            };
            let rest: Vec<&str> = query.split('&').filter(|pair| queried(pair, name).is_none()).collect();
            let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
            headers.replace(b":path", target.as_bytes());
        }
        JwtPlace::Cookie(name) => {
            let lines = headers.fields().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
            let kept: Vec<&str> = lines
                .flat_map(|line| line.split(';'))
                .map(str::trim)
                .filter(|pair| !pair.is_empty() && named(pair, name).is_none())
                .collect();
            let line = kept.join("; ");
            headers.remove(b"cookie");
            if !line.is_empty() {
                headers.add(b"cookie", line.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, header::AUTHORIZATION};

    fn head(target: &str, fields: &[(&str, &str)]) -> Headers {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Headers::request(request.body(()).unwrap().into_parts().0, "http")
    }

    fn places() -> Vec<JwtPlace> {
        vec![
            JwtPlace::Header(AUTHORIZATION, Some("Bearer".into())),
            JwtPlace::Header(HeaderName::from_static("x-token"), None),
            JwtPlace::Query("access_token".into()),
            JwtPlace::Cookie("session".into()),
        ]
    }

    #[test]
    fn a_token_is_found_where_it_may_be_and_taken_out_alone() {
        for (target, fields) in [
            ("/x?a=1", vec![("authorization", "Bearer t.o.k"), ("x-a", "1")]),
            ("/x?a=1", vec![("authorization", "bearer  t.o.k"), ("x-a", "1")]),
            ("/x?a=1", vec![("authorization", "Basic abc"), ("x-token", "t.o.k"), ("x-a", "1")]),
            ("/x?access_token=t.o.k&a=1", vec![("x-a", "1")]),
            ("/x?a=1", vec![("cookie", "a=b; session=t.o.k; c=d"), ("x-a", "1")]),
        ] {
            let mut headers = head(target, &fields);
            assert_eq!(find(&places(), &headers), Found::Token("t.o.k"), "{fields:?}");
            strip(&places(), &mut headers);
            assert_eq!(find(&places(), &headers), Found::Nothing, "{fields:?}");
            assert_eq!(headers.get(b":path"), Some(&b"/x?a=1"[..]));
            assert_eq!(headers.get(b"x-a"), Some(&b"1"[..]));
            if fields[0].0 == "cookie" {
                assert_eq!(headers.get(b"cookie"), Some(&b"a=b; c=d"[..]));
            }
        }
        let mut twice = head("/x?%61ccess_token=t", &[("x-token", "t"), ("authorization", "Basic a")]);
        assert_eq!(find(&places(), &twice), Found::Token("t"), "the same");
        strip(&places(), &mut twice);
        assert_eq!((twice.get(b":path"), twice.get(b"x-token")), (Some(&b"/x"[..]), None));
        assert_eq!(twice.get(b"authorization"), Some(&b"Basic a"[..]));
        let mut alone = head("/x?access%5Ftoken=t", &[("cookie", "session=t")]);
        strip(&places(), &mut alone);
        assert_eq!((alone.get(b":path"), alone.get(b"cookie")), (Some(&b"/x"[..]), None));
    }

    #[test]
    fn what_is_none_is_not_found_and_two_are_too_many() {
        for (target, fields) in [
            ("/", vec![("authorization", "Bearertoken")]),
            ("/", vec![("authorization", "Bear")]),
            ("/?access_tokens=t", vec![]),
            ("/?access_token=", vec![]),
            ("/", vec![("cookie", "xsession=t; session=")]),
        ] {
            assert_eq!(find(&places(), &head(target, &fields)), Found::Nothing, "{target} {fields:?}");
        }
        for (target, fields) in [
            ("/", vec![("authorization", "Bearer a"), ("authorization", "Bearer b")]),
            ("/", vec![("authorization", "Bearer a"), ("authorization", "Basic b")]),
            ("/", vec![("authorization", "Basic b,Bearer a")]),
            ("/", vec![("authorization", "Bearer a"), ("authorization", "Bearer\tb")]),
            ("/", vec![("x-token", "a"), ("x-token", "\u{e9}")]),
            ("/?access_token=a", vec![("x-token", "b")]),
            ("/?access_token=a&access_token=b", vec![]),
            ("/?%61ccess_token=a&access_token=b", vec![]),
            ("/", vec![("cookie", "session=a; session=b")]),
        ] {
            assert_eq!(find(&places(), &head(target, &fields)), Found::Several, "{target} {fields:?}");
        }
    }
}
