//! Changes to the target of a forwarded request.

use super::{Lowering, regexes};
use crate::{
    document::{self, Field, RewriteHost, Scalar, Text, UrlPath},
    model::{HostRewrite, PathRewrite, Rewrite},
    tree::Place,
};

pub(super) fn rewrite(
    cx: &mut Lowering<'_, '_>,
    field: Field<Box<document::Rewrite>>,
    at: Place,
    matches_prefix: Option<bool>,
) -> Option<Rewrite> {
    if !field.is_written() {
        return Some(Rewrite { path: PathRewrite::Keep, host: HostRewrite::Keep });
    }
    let (rewrite, at) = field.at(at)?;
    let written = cx.at_most_one(&[
        ("prefix", rewrite.prefix.place()),
        ("path", rewrite.path.place()),
        ("regex", rewrite.regex.place()),
    ]);
    needs_prefix(cx, rewrite.prefix.place(), matches_prefix);
    if let (Some(place), false) = (rewrite.to.place(), rewrite.regex.is_written()) {
        cx.error(place, "`to` replaces what `regex` matches; write `regex` too");
    }
    let path = if written == 0 {
        Some(PathRewrite::Keep)
    } else if rewrite.prefix.is_written() {
        rewrite.prefix.value().map(|UrlPath(prefix)| PathRewrite::Prefix(prefix))
    } else if rewrite.path.is_written() {
        rewrite.path.value().map(|UrlPath(path)| PathRewrite::Full(path))
    } else {
        regex_rewrite(cx, rewrite.regex, rewrite.to, at)
    };
    let host = if rewrite.host.is_written() {
        match rewrite.host.value()? {
            RewriteHost::Endpoint => HostRewrite::Endpoint,
            RewriteHost::Literal(host) => HostRewrite::Literal(host),
        }
    } else {
        HostRewrite::Keep
    };
    Some(Rewrite { path: path?, host })
}

fn regex_rewrite(cx: &mut Lowering<'_, '_>, regex: Text<String>, to: Text<String>, at: Place) -> Option<PathRewrite> {
    let to = cx.required_scalar(at, "to", to);
    let (Scalar(expression), place) = regex.at(at)?;
    let regex = regexes::anywhere(&expression).map_err(|message| cx.error(place, message)).ok()?;
    let (to, place) = to?;
    if let Err(message) = regexes::check_replacement(&regex, &to) {
        cx.error(place, message);
    }
    Some(PathRewrite::Regex(regex, to))
}

/// Replacing the matched prefix needs a match by prefix.
pub(super) fn needs_prefix(cx: &mut Lowering<'_, '_>, place: Option<Place>, matches_prefix: Option<bool>) {
    if let (Some(place), Some(false)) = (place, matches_prefix) {
        cx.error(place, "there is no matched prefix to replace; match by `prefix`, or write `path` here");
    }
}
