//! Which rule decides: `/authorization/explain`. Pure.
//!
//! The question is a query string, and says what is known of a client; the answer is what the rules of the configuration
//! in force make of it. A request's path is cleaned as its listener cleans it. What is not said is taken for absent, and
//! without a method there is no request: the connection is opaque, and closed where only HTTP is served. A SPIFFE ID is not seen
//! where nobody is asked for a certificate. A server name may be hidden, too: TLS that is passed on encrypts it, or nobody
//! waits to read it.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pillion_config::model::{
    Authorization, ClientCertificates, Config, Enforcement, Listener, ListenerProtocol, ListenerTlsMode, NotHttp,
    RuleAction, SpiffeId,
};
use pillion_core::{
    downstream::admit::{Attributes, Decision, Fact, Rules, Verdict},
    exchange::route::{
        RequestView, RouteTable,
        path::{self, Cleaned},
    },
    framing::{Layout, Limits, RequestFramer},
};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

/// What can be asked, for whoever asks wrongly.
const USAGE: &str = "say what is known of the client: listener=NAME, source=ADDRESS (127.0.0.1 by default), \
                     direct_source=ADDRESS (source by default), peer=SPIFFE-ID, server_name=NAME (or server_name= for \
                     a client that names none, or server_name=? for a name that nobody can read), port=NUMBER (the \
                     listener's by default), destination=ADDRESS or ADDRESS:PORT (the listener's by \
                     default) and, for a request, method=GET with path=/, host=NAME and header.NAME=VALUE";

/// A server name that nobody can read. No name has this in it.
const HIDDEN: &str = "?";

/// A question, read.
#[derive(Debug)]
struct Question {
    listener: String,
    source: IpAddr,
    direct: Option<IpAddr>,
    peer: Option<SpiffeId>,
    server_name: Fact<Option<String>>,
    port: Option<u16>,
    destination: Option<IpAddr>,
    method: Option<Method>,
    target: String,
    host: String,
    headers: HeaderMap,
}

/// The answer; an error is the sentence about what is wrong.
pub(super) fn explain(config: &Config, query: Option<&str>) -> Result<Value, String> {
    let asked = Question::read(query.unwrap_or_default())?;
    let listener = config.listeners.iter().find(|listener| listener.name.as_str() == asked.listener);
    let Some(listener) = listener else {
        let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
        return Err(format!("there is no listener {:?}; there are {}; {USAGE}", asked.listener, names.join(", ")));
    };
    let cleaned = match asked.method.as_ref().map(|_| path::clean(&asked.target, &listener.http.path)) {
        None | Some(Cleaned::Unchanged) => None,
        Some(Cleaned::Changed(cleaned)) => Some(cleaned),
        Some(Cleaned::Refused(refusal)) => {
            let because = format!("the listener refuses the path before its rules are asked: {refusal}");
            let judged = json!({ "decision": "deny", "rule": null, "because": because });
            let path = json!({ "asked": asked.target, "matched": null });
            return Ok(json!({ "decision": "deny", "path": path, "listener": judged, "route": null }));
        }
    };
    let target = cleaned.as_deref().unwrap_or(&asked.target);
    let (path, rest) = match target.split_once('?') {
        Some((path, rest)) => (path, Some(rest)),
        None => (target, None),
    };
    let port = asked.port.unwrap_or(listener.address.port());
    let unseen = peer_unseen(listener, port);
    let view = asked.method.as_ref().map(|method| RequestView {
        method,
        destination: (asked.destination.unwrap_or(listener.address.ip()), port).into(),
        host: &asked.host,
        path,
        query: rest,
        headers: &asked.headers,
    });
    let attributes = Attributes {
        source: asked.source,
        direct: asked.direct.unwrap_or(asked.source),
        port,
        peer: Fact::Is(asked.peer.as_ref().filter(|_| unseen.is_none())),
        server_name: asked.server_name.as_ref().map(Option::as_deref),
        request: Fact::Is(view),
    };
    let (decision, of_listener) = judged(listener.authorization.as_ref(), &attributes);
    let table = RouteTable::compile(&listener.routes);
    let found = view.as_ref().and_then(|view| table.find(view));
    let of_route = found.map(|found| {
        let (decision, judged) = judged(found.route.authorization.as_deref(), &attributes);
        (decision, json!({ "route": found.route.name.as_str(), "verdict": judged }))
    });
    let denied = |decision| decision == Decision::Deny;
    let closed = if view.is_none() { not_served(listener, port) } else { None };
    let may =
        closed.is_none() && !denied(decision) && !of_route.as_ref().is_some_and(|(decision, _)| denied(*decision));
    let matched = view.map(|_| json!({ "asked": asked.target, "matched": target }));
    // Nobody connects to a listener's 0.0.0.0, nor what is captured to the listener at all.
    let assumed = asked.destination.is_none();
    let destination = view.map(|view| json!({ "address": view.destination.to_string(), "assumed": assumed }));
    // The whole decision once more: what is passed on is said of nobody whom the rules keep out.
    let connection = view.is_none().then(|| {
        let because = closed.unwrap_or(match (decision, &listener.protocol) {
            (Decision::Deny, _) => {
                "the listener's rules keep out a connection that is not HTTP, whose requests nobody sees; for a request say method=GET"
            }
            (_, ListenerProtocol::Detect(_)) => {
                "without method= it is asked for a connection that is not HTTP, which is passed on; for a request say method=GET"
            }
            (_, ListenerProtocol::Opaque(_) | ListenerProtocol::Http) => {
                "the listener passes on whatever comes, and looks at no request"
            }
        });
        json!({ "decision": if may { "allow" } else { "deny" }, "because": because })
    });
    let peer = asked.peer.as_ref().map(|peer| {
        let because = unseen.unwrap_or("clients show certificates there");
        json!({ "asked": peer.as_str(), "seen": unseen.is_none(), "because": because })
    });
    Ok(json!({
        "opaque": connection,
        "peer": peer,
        "decision": if may { "allow" } else { "deny" },
        "http1": asked.method.as_ref().and_then(|method| refused_by_http1(method, &asked)),
        "path": matched,
        "destination": destination,
        "listener": of_listener,
        // Asked only where the listener lets it through.
        "route": if denied(decision) { None } else { of_route.map(|(_, judged)| judged) },
    }))
}

/// Why HTTP/1.1 answers a request before any rule is asked; HTTP/2 may carry what its lines cannot.
fn refused_by_http1(method: &Method, asked: &Question) -> Option<String> {
    // What CONNECT asks for is no path.
    if method == Method::CONNECT {
        return None;
    }
    let host = if asked.host.is_empty() { "localhost" } else { &asked.host };
    let head = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n\r\n", asked.target);
    let refusal = RequestFramer::new(Limits::default()).step(head.as_bytes(), &mut Layout::default()).err()?;
    Some(format!("over HTTP/1.1 it is answered with {} before rules are asked: {refusal}", refusal.status()))
}

/// Why a connection that brings no request is not served, whatever the rules say of it.
fn not_served(listener: &Listener, port: u16) -> Option<&'static str> {
    match &listener.protocol {
        ListenerProtocol::Http => {
            Some("the listener serves HTTP alone, and refuses what is not HTTP; for a request say method=GET")
        }
        ListenerProtocol::Detect(tcp) => (tcp.not_http_at(port) == NotHttp::Refuse).then_some(
            "not_http: filters or rules of routes judge requests, so that what is not HTTP is closed \
             (tcp.not_http, tcp.server_first); for a request say method=GET",
        ),
        ListenerProtocol::Opaque(_) => None,
    }
}

/// Why nobody's SPIFFE ID is seen on a port.
fn peer_unseen(listener: &Listener, port: u16) -> Option<&'static str> {
    match &listener.tls {
        None => Some("the listener has no tls: nobody shows a certificate, and the client is judged without"),
        Some(tls) if tls.mode_at(port) == ListenerTlsMode::Off => {
            Some("tls is off on this port: nobody shows a certificate, and the client is judged without")
        }
        Some(tls) if tls.clients == ClientCertificates::Off => {
            Some("client_certificates is off: nobody is asked for one, and the client is judged without")
        }
        Some(_) => None,
    }
}

/// What a list of rules says, and how it is told.
fn judged(model: Option<&Authorization>, attributes: &Attributes<'_>) -> (Decision, Value) {
    let Some(model) = model else {
        return (Decision::Allow, json!({ "decision": "allow", "because": "there are no rules" }));
    };
    let rules = Rules::compile(model);
    let told = |Verdict { decision, rule }: Verdict| {
        let word = match decision {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
            Decision::Undecided => "undecided",
        };
        let because = match (decision, rule.and_then(|rule| model.rules.get(rule))) {
            (_, Some(rule)) => {
                let action = match rule.action {
                    RuleAction::Allow => "allows",
                    RuleAction::Deny => "denies",
                };
                format!("rule {} {action} it", rule.name)
            }
            (Decision::Deny, None) => "no allow rule matches".to_owned(),
            (_, None) => "no deny rule matches, and there is no allow rule".to_owned(),
        };
        let rule = rule.and_then(|rule| rules.name(rule)).map(|name| name.as_str());
        json!({ "decision": word, "rule": rule, "because": because })
    };
    let verdict = rules.judge(attributes);
    let mut answer = told(verdict);
    if let Some(rehearsed) = rules.rehearse(attributes) {
        answer["with_dry_run_rules"] = told(rehearsed);
    }
    let dry = model.rules.iter().filter(|rule| rule.enforcement == Enforcement::DryRun).count();
    answer["rules"] = json!(model.rules.len());
    answer["dry_run_rules"] = json!(dry);
    (verdict.decision, answer)
}

impl Question {
    fn read(query: &str) -> Result<Self, String> {
        let mut asked = Self {
            listener: String::new(),
            source: IpAddr::from([127, 0, 0, 1]),
            direct: None,
            peer: None,
            server_name: Fact::Is(None),
            port: None,
            destination: None,
            method: None,
            target: "/".to_owned(),
            host: String::new(),
            headers: HeaderMap::new(),
        };
        let mut of_request = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            let bad = |wanted: &str| format!("{name}: expected {wanted}, found {value:?}");
            if matches!(name, "path" | "host") || name.starts_with("header.") {
                of_request = Some(name);
            }
            match name {
                "listener" => asked.listener = value.into_owned(),
                "source" => asked.source = value.parse().map_err(|_| bad("an address"))?,
                "direct_source" => asked.direct = Some(value.parse().map_err(|_| bad("an address"))?),
                "peer" => asked.peer = Some(SpiffeId::parse(&value).ok_or_else(|| bad("a SPIFFE ID"))?),
                "server_name" => {
                    asked.server_name = match &*value {
                        HIDDEN => Fact::Hidden,
                        "" => Fact::Is(None),
                        name => Fact::Is(Some(name.to_owned())),
                    };
                }
                "port" => asked.port = Some(value.parse().map_err(|_| bad("a port"))?),
                "destination" => match value.parse::<SocketAddr>() {
                    Ok(both) => (asked.destination, asked.port) = (Some(both.ip()), Some(both.port())),
                    Err(_) => {
                        let alone = value.parse().map_err(|_| bad("an address, with or without a port"))?;
                        asked.destination = Some(alone);
                    }
                },
                "method" => {
                    asked.method = Some(Method::from_bytes(value.as_bytes()).map_err(|_| bad("a method"))?);
                }
                "path" => asked.target = value.into_owned(),
                "host" => asked.host = value.into_owned(),
                _ => {
                    let field = name.strip_prefix("header.");
                    let field = field.ok_or_else(|| format!("unknown parameter {name:?}; {USAGE}"))?;
                    let field: HeaderName = field.parse().map_err(|_| bad("a header name behind header."))?;
                    let value = HeaderValue::from_str(&value).map_err(|_| bad("a header value"))?;
                    asked.headers.append(field, value);
                }
            }
        }
        if asked.listener.is_empty() {
            return Err(format!("which listener? {USAGE}"));
        }
        if let (Some(name), None) = (of_request, &asked.method) {
            return Err(format!(
                "{name} is a request's, and without a method there is none: add method=GET, or leave {name} out to ask \
                 about a connection that is not HTTP"
            ));
        }
        Ok(asked)
    }
}

/// A value without its percent escapes. What is no escape stays as it is.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let digit = |at: usize| value.as_bytes().get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.as_bytes().get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::{SourceName, parse};

    const CONFIG: &str = "
listeners:
  - name: web
    address: 0.0.0.0:8080
    authorization:
      rules:
        - { name: net, action: allow, sources: [10.0.0.0/8] }
        - { name: admin, action: deny, requests: [{ prefix: /admin }] }
        - { name: later, action: deny, dry_run: true, direct_sources: [192.0.2.0/24] }
    routes:
      - name: api
        match: { prefix: / }
        cluster: c
        authorization: { rules: [{ name: readers, action: allow, requests: [{ prefix: /, method: GET }] }] }
  - { name: open, address: '0.0.0.0:8081', tcp: { cluster: c } }
  - name: inner
    address: 0.0.0.0:8084
    authorization: { rules: [{ name: ten, action: deny, requests: [{ destination: 10.9.0.0/16 }] }] }
    routes: [{ match: {}, cluster: c }]
  - name: passed
    address: 0.0.0.0:8082
    authorization: { rules: [{ name: shop, action: allow, server_names: [shop.test] }] }
    tcp: { cluster: c }
  - name: barred
    address: 0.0.0.0:8083
    authorization: { rules: [{ name: bank, action: deny, server_names: [bank.test] }] }
    tcp: { cluster: c }
  - name: both
    address: 0.0.0.0:8085
    routes: [{ match: {}, cluster: c, authorization: { rules: [{ action: allow, sources: [0.0.0.0/0] }] } }]
    tcp: { cluster: c, server_first: [3306] }
  - name: plain
    address: 0.0.0.0:8086
    routes: [{ match: {}, cluster: c }]
    tcp: { cluster: c }
  - name: mesh
    address: 0.0.0.0:8087
    tls: { exceptions: [{ ports: [9000], mode: 'off' }] }
    authorization: { rules: [{ name: shop, action: allow, peers: ['spiffe://example.org/*'] }] }
    tcp: { cluster: c }
identity: { workload_api: { address: 'unix:///run/agent.sock' } }
clusters: [{ name: c, endpoints: ['127.0.0.1:1'] }]
";

    fn ask(query: &str) -> Result<Value, String> {
        let config =
            parse(&SourceName::new("t"), CONFIG, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap().config;
        explain(&config, Some(query))
    }

    #[test]
    fn the_rule_that_decides_is_named() {
        for (query, decision, of_listener, of_route) in [
            ("listener=web&source=10.1.2.3&method=GET&path=/x%3fa=b", "allow", Some("net"), Some("readers")),
            ("listener=web&source=10.1.2.3&method=POST&path=/x", "deny", Some("net"), None),
            ("listener=web&source=11.1.2.3&method=GET", "deny", None, None),
            ("listener=web&source=10.1.2.3&method=GET&path=/admin/x", "deny", Some("admin"), None),
            ("listener=web&source=10.1.2.3", "deny", Some("admin"), None),
            ("listener=open&source=10.1.2.3", "allow", None, None),
            // Named, absent, hidden: nothing is allowed because of a name that may be another, and denied is what may be it.
            ("listener=passed&server_name=shop.test", "allow", Some("shop"), None),
            ("listener=passed&server_name=bank.test", "deny", None, None),
            ("listener=passed&server_name=", "deny", None, None),
            ("listener=passed&server_name=?", "deny", None, None),
            ("listener=barred&server_name=bank.test", "deny", Some("bank"), None),
            ("listener=barred&server_name=shop.test", "allow", None, None),
            ("listener=barred&server_name=", "allow", None, None),
            ("listener=barred", "allow", None, None),
            ("listener=barred&server_name=%3F", "deny", Some("bank"), None),
        ] {
            let answer = ask(query).unwrap();
            assert_eq!(answer["decision"], decision, "{query}: {answer:#}");
            assert_eq!(answer["listener"]["rule"].as_str(), of_listener, "{query}: {answer:#}");
            assert_eq!(answer["route"]["verdict"]["rule"].as_str(), of_route, "{query}: {answer:#}");
        }
        let rehearsed = ask("listener=web&source=10.1.2.3&direct_source=192.0.2.1&method=GET").unwrap();
        assert_eq!(rehearsed["decision"], "allow");
        assert_eq!(rehearsed["listener"]["with_dry_run_rules"]["rule"], "later");
    }

    #[test]
    fn a_path_is_cleaned_as_the_listener_cleans_it() {
        for (asked, matched) in [
            ("/admin", Some("/admin")),
            ("//admin", Some("/admin")),
            ("/x/../admin%3fa=b", Some("/admin?a=b")),
            ("/%2561dmin", Some("/admin")),
            ("/x/..%2fadmin", Some("/admin")),
            ("/../admin", None),
            ("http://a.test/admin", None),
        ] {
            let answer = ask(&format!("listener=web&source=10.1.2.3&method=GET&path={asked}")).unwrap();
            assert_eq!(answer["decision"], "deny", "{asked}: {answer:#}");
            assert_eq!(answer["path"]["matched"].as_str(), matched, "{asked}: {answer:#}");
            assert_eq!(answer["listener"]["rule"].as_str(), matched.map(|_| "admin"), "{asked}: {answer:#}");
        }
    }

    #[test]
    fn what_http1_refuses_before_rules_are_asked_is_told() {
        for (path, refused) in [("/x", false), ("/x%5Cy", true), ("/x%C3%A9", true), ("*", true), ("/x;a=b", false)] {
            let answer = ask(&format!("listener=web&source=10.1.2.3&method=GET&path={path}")).unwrap();
            let told = answer["http1"].as_str();
            assert_eq!(told.is_some_and(|told| told.contains("answered with 400")), refused, "{path}: {answer:#}");
        }
        for path in ["/admin;a=b", "/admin;/x", "/;a/admin", "/x/..;/admin"] {
            let answer = ask(&format!("listener=web&source=10.1.2.3&method=GET&path={path}")).unwrap();
            assert_eq!(answer["decision"], "deny", "{path}: {answer:#}");
        }
    }

    #[test]
    fn a_rule_about_the_destination_is_asked_for_the_one_that_is_named() {
        for (destination, decision) in [
            ("", "allow"),
            ("&destination=10.9.0.1", "deny"),
            ("&destination=10.9.0.1:8080", "deny"),
            ("&destination=10.8.0.1", "allow"),
        ] {
            let answer = ask(&format!("listener=inner&method=GET{destination}")).unwrap();
            assert_eq!(answer["destination"]["assumed"], destination.is_empty(), "{answer:#}");
            assert_eq!(answer["decision"], decision, "{destination}: {answer:#}");
        }
    }

    #[test]
    fn what_is_not_http_is_denied_where_only_requests_are_judged() {
        for (query, decision, because) in [
            ("listener=both", "deny", "not_http"),
            ("listener=both&port=3306", "allow", "passed on"),
            ("listener=both&method=GET", "allow", ""),
            ("listener=plain", "allow", "passed on"),
            ("listener=inner", "deny", "serves HTTP alone"),
            ("listener=open", "allow", "passes on whatever comes"),
            ("listener=barred&server_name=bank.test", "deny", "the listener's rules"),
        ] {
            let answer = ask(query).unwrap();
            assert_eq!(answer["decision"], decision, "{query}: {answer:#}");
            if !query.contains("method") {
                assert_eq!(answer["opaque"]["decision"], decision, "said of the whole: {query}: {answer:#}");
            }
            let words = answer["opaque"]["because"].as_str().unwrap_or_default();
            assert!(words.contains(because), "{query}: {answer:#}");
        }
    }

    #[test]
    fn a_peer_is_seen_only_where_certificates_are_shown() {
        for (query, decision, seen, because) in [
            ("listener=mesh&peer=spiffe://example.org/a", "allow", true, "certificates"),
            ("listener=mesh&port=9000&peer=spiffe://example.org/a", "deny", false, "tls is off on this port"),
            ("listener=passed&server_name=shop.test&peer=spiffe://example.org/a", "allow", false, "has no tls"),
        ] {
            let answer = ask(query).unwrap();
            assert_eq!(answer["decision"], decision, "{query}: {answer:#}");
            assert_eq!(answer["peer"]["seen"], seen, "{query}: {answer:#}");
            assert!(answer["peer"]["because"].as_str().unwrap().contains(because), "{query}: {answer:#}");
        }
    }

    #[test]
    fn a_bad_question_is_answered_with_what_to_ask() {
        for (query, words) in [
            ("", "which listener?"),
            ("listener=none", "there are web, open, inner, passed, barred, both, plain, mesh"),
            ("listener=web&source=x", "expected an address"),
            ("listener=web&peer=web", "expected a SPIFFE ID"),
            ("listener=web&port=99999", "expected a port"),
            ("listener=web&destination=here", "expected an address, with or without a port"),
            ("listener=web&path=/admin", "path is a request's, and without a method there is none: add method=GET"),
            ("listener=web&host=a.test", "host is a request's"),
            ("listener=web&header.x=1", "header.x is a request's"),
            ("listener=web&what=1", "unknown parameter \"what\""),
        ] {
            assert!(ask(query).unwrap_err().contains(words), "{query}");
        }
    }
}
