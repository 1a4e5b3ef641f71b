//! Routes that no request reaches, since their path is not written as requests have theirs once they are cleaned.
//!
//! Beside the path. A request's path is cleaned before it is matched (`pillion_core::exchange::route::path`), so that
//! `/%c3%a9` and `/a/../b` in a route match nothing, not even themselves.

use pillion_config::model::{Config, Listener, PathMatch, Route};
use pillion_core::exchange::route::path::{Cleaned, clean};

/// What to tell an operator of each such route.
pub fn routes(config: &Config) -> impl Iterator<Item = String> {
    config.listeners.iter().flat_map(|listener| listener.routes.iter().filter_map(|route| remark(listener, route)))
}

fn remark(listener: &Listener, route: &Route) -> Option<String> {
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = &route.matcher.path else { return None };
    let remedy = match clean(path, &listener.http.path) {
        Cleaned::Unchanged => return None,
        Cleaned::Changed(cleaned) => format!("requests for it come as {cleaned:?}; write that"),
        Cleaned::Refused(refusal) => format!("requests for it are refused: {refusal}"),
    };
    Some(format!("no request reaches the route {}: its path is {path:?}, and {remedy}", route.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::routes;
    use pillion_config::{SourceName, parse};
    use std::io;

    fn told(paths: &[&str]) -> Vec<String> {
        let written: String = paths
            .iter()
            .map(|path| format!("      - {{ match: {{ {path} }}, respond: {{ status: 200 }} }}\n"))
            .collect();
        let text = format!("listeners:\n  - name: web\n    address: 127.0.0.1:1\n    routes:\n{written}");
        let none = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
        let loaded = parse(&SourceName::new("test"), &text, &none).unwrap();
        routes(&loaded.config).collect()
    }

    #[test]
    fn paths_that_requests_never_have_are_told_with_what_to_write() {
        for (wrong, remedy) in [
            ("path: /%c3%a9", "\"/%C3%A9\""),
            ("prefix: /t%7Eu", "\"/t~u\""),
            ("path: /a/../b", "\"/b\""),
            ("prefix: /a//b", "\"/a/b\""),
            ("path: /%00", "refused"),
        ] {
            let told = told(&[wrong]);
            assert!(told.len() == 1 && told[0].contains("web/0") && told[0].contains(remedy), "{wrong}: {told:?}");
        }
        let right = ["path: /", "prefix: /a/b/", "path: /%C3%A9", "regex: '/%c3.*'"];
        assert_eq!(told(&right), Vec::<String>::new());
    }
}
