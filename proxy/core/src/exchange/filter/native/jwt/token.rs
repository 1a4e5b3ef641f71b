//! Where a token is found in a request, and how it is taken out. Pure.

use crate::exchange::filter::Headers;
use http::header::COOKIE;
use pillion_config::model::JwtPlace;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Nothing.
    Nothing,
    /// A token, and the place it is in.
    Token(&'a str, usize),
    /// Two in one place: which one the server behind would read is not known.
    Several,
}

/// Looks for a token, in the order of the places.
pub(super) fn find<'a>(places: &[JwtPlace], headers: &'a Headers) -> Found<'a> {
    for (at, place) in places.iter().enumerate() {
        let mut found = Found::Nothing;
        each(place, headers, |token| {
            found = match found {
                Found::Nothing => Found::Token(token, at),
                Found::Token(..) | Found::Several => Found::Several,
            };
        });
        if found != Found::Nothing {
            return found;
        }
    }
    Found::Nothing
}

/// Gives all that stands in a place.
fn each<'a>(place: &JwtPlace, headers: &'a Headers, give: impl FnMut(&'a str)) {
    match place {
        JwtPlace::Header(name, word) => {
            let values = headers.fields().get_all(name).iter().filter_map(|value| value.to_str().ok());
            // Fields that came twice may be one by now, and no token has a comma.
            let values = values.flat_map(|value| value.split(',')).map(str::trim);
            let behind = |value: &'a str| match word {
                None => Some(value),
                Some(word) => {
                    let (first, rest) = value.split_at_checked(word.len())?;
                    let token = rest.strip_prefix(' ').filter(|_| first.eq_ignore_ascii_case(word))?;
                    Some(token.trim())
                }
            };
            values.filter_map(behind).for_each(give);
        }
        JwtPlace::Query(name) => query(headers).filter_map(|pair| named(pair, name)).for_each(give),
        JwtPlace::Cookie(name) => {
            let lines = headers.fields().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(';')).filter_map(|pair| named(pair.trim(), name)).for_each(give);
        }
    }
}

fn query(headers: &Headers) -> impl Iterator<Item = &str> {
    let target = headers.get(b":path").and_then(|target| std::str::from_utf8(target).ok());
    let query = target.and_then(|target| target.split_once('?')).map_or("", |(_, query)| query);
    query.split('&')
}

/// The value of a pair of this name. A token holds nothing that would be escaped.
fn named<'a>(pair: &'a str, name: &str) -> Option<&'a str> {
    pair.strip_prefix(name)?.strip_prefix('=').filter(|value| !value.is_empty())
}

/// Takes what is in a place out of the request.
pub(super) fn strip(place: &JwtPlace, headers: &mut Headers) {
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
            let rest: Vec<&str> = query.split('&').filter(|pair| named(pair, name).is_none()).collect();
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
    use http::{HeaderName, Request, header::AUTHORIZATION};

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
        for (target, fields, at) in [
            ("/x?a=1", vec![("authorization", "Bearer t.o.k"), ("x-a", "1")], 0),
            ("/x?a=1", vec![("authorization", "bearer  t.o.k"), ("x-a", "1")], 0),
            ("/x?a=1", vec![("authorization", "Basic abc"), ("x-token", "t.o.k"), ("x-a", "1")], 1),
            ("/x?access_token=t.o.k&a=1", vec![("x-a", "1")], 2),
            ("/x?a=1", vec![("cookie", "a=b; session=t.o.k; c=d"), ("x-a", "1")], 3),
        ] {
            let mut headers = head(target, &fields);
            assert_eq!(find(&places(), &headers), Found::Token("t.o.k", at), "{fields:?}");
            strip(&places()[at], &mut headers);
            assert_eq!(find(&places(), &headers), Found::Nothing, "{fields:?}");
            assert_eq!(headers.get(b":path"), Some(&b"/x?a=1"[..]));
            assert_eq!(headers.get(b"x-a"), Some(&b"1"[..]));
            if at == 3 {
                assert_eq!(headers.get(b"cookie"), Some(&b"a=b; c=d"[..]));
            }
        }
        let mut alone = head("/x?access_token=t", &[("cookie", "session=t")]);
        strip(&places()[2], &mut alone);
        strip(&places()[3], &mut alone);
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
            ("/?access_token=a&access_token=b", vec![]),
            ("/", vec![("cookie", "session=a; session=b")]),
        ] {
            assert_eq!(find(&places(), &head(target, &fields)), Found::Several, "{target} {fields:?}");
        }
    }
}
