//! Tokens as a condition of being served.

use super::{Lowering, process::Names};
use crate::{
    diagnostic::quoted,
    document::{self, Field, Period, Scalar, Table},
    model::{Jwt, JwtAlgorithm, JwtForward, JwtKeys, JwtPlace, JwtPresence, JwtUrl, Secret},
    tree::Place,
};
use std::{path::Path, sync::Arc};

/// What signs with a private key.
const PUBLIC: [JwtAlgorithm; 9] = [
    JwtAlgorithm::Rs256,
    JwtAlgorithm::Rs384,
    JwtAlgorithm::Rs512,
    JwtAlgorithm::Ps256,
    JwtAlgorithm::Ps384,
    JwtAlgorithm::Ps512,
    JwtAlgorithm::Es256,
    JwtAlgorithm::Es384,
    JwtAlgorithm::EdDsa,
];
/// What signs with a secret.
const SECRET: [JwtAlgorithm; 3] = [JwtAlgorithm::Hs256, JwtAlgorithm::Hs384, JwtAlgorithm::Hs512];
/// Bytes of a file of keys.
const MAX_FILE: usize = 256 << 10;
/// Bytes of a secret: as many as the hash has (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;

pub(super) fn jwt(cx: &mut Lowering<'_, '_>, jwt: document::Jwt, at: Place, names: &mut Names) -> Option<Jwt> {
    let keys = cx.required(at, "keys", jwt.keys).and_then(|(keys, place)| self::keys(cx, keys, place, names));
    let algorithms = algorithms(cx, jwt.algorithms, at, keys.as_ref());
    let mut texts = |list: document::List<Scalar<String>>| {
        let place = list.place().unwrap_or(at);
        let list = list.elements();
        let count = list.len();
        let texts: Vec<String> = cx.elements(place, list).into_iter().map(|(Scalar(text), _)| text).collect();
        (texts.len() == count).then_some(texts)
    };
    let (issuers, audiences, scopes) = (texts(jwt.issuers), texts(jwt.audiences), texts(jwt.scopes));
    let places = places(cx, jwt.from, at);
    let mut claims = Vec::new();
    if let Some((Table(entries), table_at)) = jwt.claims_to_headers.at(at) {
        for (name, claim) in entries {
            let place = name.place().unwrap_or(table_at);
            let claim = cx.entry(place, claim);
            let (Some(name), Some((claim, claim_at))) = (name.value(), claim) else { continue };
            if claim.is_empty() || claim.split('.').any(str::is_empty) {
                cx.error(claim_at, format!("expected a claim such as sub or realm.groups, found {}", quoted(&claim)));
            }
            claims.push((name, claim.split('.').map(ToOwned::to_owned).collect()));
        }
    }
    let payload_in_metadata = if jwt.payload_in_metadata.is_written() {
        let name = jwt.payload_in_metadata.at(at);
        name.map(|(Scalar(name), place)| {
            if name.is_empty() {
                cx.error(place, "the claims need a name; write one, or leave the field out to keep none");
            }
            Some(name.into())
        })
    } else {
        Some(None)
    };
    let presence = |presence: document::JwtPresence| match presence {
        document::JwtPresence::Required => JwtPresence::Required,
        document::JwtPresence::Optional => JwtPresence::Optional,
    };
    Some(Jwt {
        presence: presence(jwt.presence.take()?),
        issuers: issuers?,
        audiences: audiences?,
        scopes: scopes?,
        algorithms: algorithms?,
        keys: keys?,
        clock_skew: jwt.clock_skew.value()?,
        expiry: presence(jwt.expiry.take()?),
        places: places?,
        forward: match jwt.forward.take()? {
            document::JwtForward::Keep => JwtForward::Keep,
            document::JwtForward::Strip => JwtForward::Strip,
        },
        claims,
        payload_in_metadata: payload_in_metadata?,
    })
}

fn keys(cx: &mut Lowering<'_, '_>, keys: document::JwtKeys, at: Place, names: &mut Names) -> Option<JwtKeys> {
    let ways = [("file", keys.file.place()), ("url", keys.url.place()), ("secret_file", keys.secret_file.place())];
    if cx.at_most_one(&ways) == 0 {
        cx.error(at, "no key vouches for a token; write one of file, url and secret_file");
    }
    if let (Some(place), None) = (keys.cluster.place(), keys.url.place()) {
        cx.error(place, "a cluster is asked for keys that have a `url`; write that, or remove this");
    }
    if let Some((Scalar(file), place)) = keys.file.at(at) {
        return read(cx, &file, place).map(|set| JwtKeys::Set(set.into()));
    }
    if let Some((Scalar(file), place)) = keys.secret_file.at(at) {
        let mut secret = read(cx, &file, place)?;
        while matches!(secret.last(), Some(b'\n' | b'\r')) {
            secret.pop();
        }
        if secret.len() < MIN_SECRET {
            cx.error(place, format!("a secret of {} bytes can be guessed; write at least {MIN_SECRET}", secret.len()));
        }
        return Some(JwtKeys::Secret(Secret(Arc::from(secret))));
    }
    let (Scalar(url), place) = keys.url.at(at)?;
    let cluster = cx.required_scalar(at, "cluster", keys.cluster);
    let cluster = cluster.and_then(|(name, place)| super::route::resolve(cx, &name, place, names).map(|_| name));
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some((host, path)) =
        rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))).filter(|(host, _)| !host.is_empty())
    else {
        cx.error(
            place,
            format!("expected a URL such as https://issuer.example.com/.well-known/jwks.json, found {}", quoted(&url)),
        );
        return None;
    };
    let (Period(refresh), Period(timeout)) = (keys.refresh.value()?, keys.timeout.value()?);
    Some(JwtKeys::Url(JwtUrl { cluster: cluster?, host: host.to_owned(), path: format!("/{path}"), refresh, timeout }))
}

fn read(cx: &mut Lowering<'_, '_>, file: &str, at: Place) -> Option<Vec<u8>> {
    let path = cx.file.path().parent().unwrap_or(Path::new("")).join(file);
    if !cx.files.contains(&path) {
        cx.files.push(path.clone());
    }
    match (cx.read)(&path) {
        Ok(bytes) if bytes.len() > MAX_FILE => {
            cx.error(at, format!("the file {} is larger than {MAX_FILE} bytes", quoted(&path.to_string_lossy())));
            None
        }
        Ok(bytes) => Some(bytes),
        Err(error) => {
            cx.error(
                at,
                format!("the file {} cannot be read: {}", quoted(&path.to_string_lossy()), crate::reason(&error)),
            );
            None
        }
    }
}

fn algorithms(
    cx: &mut Lowering<'_, '_>,
    list: document::List<document::JwtAlgorithm>,
    at: Place,
    keys: Option<&JwtKeys>,
) -> Option<Vec<JwtAlgorithm>> {
    let by_secret = matches!(keys, Some(JwtKeys::Secret(_)));
    let Some(list_at) = list.place() else {
        return Some(if by_secret { SECRET.to_vec() } else { PUBLIC.to_vec() });
    };
    let list = list.elements();
    if list.is_empty() {
        cx.error(list_at, "no algorithm is left, so that no token is good; leave the field out for all");
    }
    let mut algorithms = Vec::with_capacity(list.len());
    for (algorithm, place) in cx.elements(at, list) {
        let algorithm = match algorithm {
            document::JwtAlgorithm::Rs256 => JwtAlgorithm::Rs256,
            document::JwtAlgorithm::Rs384 => JwtAlgorithm::Rs384,
            document::JwtAlgorithm::Rs512 => JwtAlgorithm::Rs512,
            document::JwtAlgorithm::Ps256 => JwtAlgorithm::Ps256,
            document::JwtAlgorithm::Ps384 => JwtAlgorithm::Ps384,
            document::JwtAlgorithm::Ps512 => JwtAlgorithm::Ps512,
            document::JwtAlgorithm::Es256 => JwtAlgorithm::Es256,
            document::JwtAlgorithm::Es384 => JwtAlgorithm::Es384,
            document::JwtAlgorithm::EdDsa => JwtAlgorithm::EdDsa,
            document::JwtAlgorithm::Hs256 => JwtAlgorithm::Hs256,
            document::JwtAlgorithm::Hs384 => JwtAlgorithm::Hs384,
            document::JwtAlgorithm::Hs512 => JwtAlgorithm::Hs512,
        };
        if keys.is_some() && algorithm.is_by_secret() != by_secret {
            let words = if by_secret {
                "a secret signs by HS256, HS384 and HS512 alone; write those, or other keys"
            } else {
                "HS256, HS384 and HS512 sign with a secret, which these keys are none; write secret_file, or other algorithms"
            };
            cx.error(place, words);
        }
        algorithms.push(algorithm);
    }
    Some(algorithms)
}

fn places(cx: &mut Lowering<'_, '_>, list: document::List<document::JwtPlace>, at: Place) -> Option<Vec<JwtPlace>> {
    let Some(list_at) = list.place() else {
        return Some(vec![JwtPlace::Header(http::header::AUTHORIZATION, Some("Bearer".to_owned()))]);
    };
    let list: Vec<Field<document::JwtPlace>> = list.elements();
    let count = list.len();
    if count == 0 {
        cx.error(list_at, "a token is looked for nowhere; leave the field out for `authorization`");
    }
    let mut places = Vec::with_capacity(count);
    for (place, at) in cx.elements(at, list) {
        let ways = [("header", place.header.place()), ("query", place.query.place()), ("cookie", place.cookie.place())];
        if cx.at_most_one(&ways) == 0 {
            cx.error(at, "this is no place; write one of header, query and cookie");
        }
        if let (Some(prefix), None) = (place.prefix.place(), place.header.place()) {
            cx.error(prefix, "a prefix stands in a header; write `header`, or remove this");
        }
        places.extend(match (place.header.value(), place.query.value(), place.cookie.value()) {
            (Some(name), ..) => Some(JwtPlace::Header(name, place.prefix.value())),
            (None, Some(name), _) => Some(JwtPlace::Query(name)),
            (None, None, Some(name)) => Some(JwtPlace::Cookie(name)),
            (None, None, None) => None,
        });
    }
    (places.len() == count).then_some(places)
}
