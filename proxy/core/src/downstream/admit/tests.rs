//! The compiled rules beside a plain evaluator that reads the model rule by rule.

use super::{Attributes, Decision, Fact, Rules};
use crate::exchange::route::RequestView;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pillion_config::model::{
    Authorization, AuthorizationRule, Cidr, Enforcement, HeaderMatch, HostPattern, Name, PathMatch, RouteMatch,
    RuleAction, SpiffeId, SpiffeMatch, TrustDomain, ValueMatch,
};
use proptest::{prelude::*, sample::select};
use std::net::IpAddr;

const IDS: [&str; 5] = [
    "spiffe://a.org/ns/shop/sa/web",
    "spiffe://a.org/ns/shop",
    "spiffe://a.org/ns/shopping/sa/web",
    "spiffe://a.org/ns/shop/sa/web/x",
    "spiffe://b.org/ns/shop/sa/web",
];
const ADDRESSES: [&str; 7] =
    ["10.0.0.1", "10.0.0.255", "10.1.2.3", "192.0.2.1", "::ffff:10.0.0.1", "2001:db8::1", "2001:db9::1"];
const NAMES: [&str; 4] = ["api.example.com", "example.com", "A.B.Example.Com", "other.org"];
const PATHS: [&str; 15] = [
    "/",
    "/v1",
    "/v1/x",
    "/v10",
    "/admin/",
    "*",
    "/v1;a",
    "/v1;/x",
    "/v1/x;a=b",
    "/;a/v1/x",
    "/v1;a/x;b",
    "/v10;a",
    "/admin;",
    "/;",
    "/v;/v1",
];

/// Everything there is to know, owned.
#[derive(Debug, Clone)]
struct Facts {
    source: IpAddr,
    direct: IpAddr,
    port: u16,
    peer: Option<SpiffeId>,
    server_name: Option<&'static str>,
    request: Option<(Method, &'static str, HeaderMap)>,
}

impl Facts {
    /// What is known of it at a stage: bit by bit the certificate, the name, the request.
    fn at(&self, known: u8) -> Attributes<'_> {
        let request = self.request.as_ref().map(|(method, path, headers)| RequestView {
            method,
            destination: (self.direct, self.port).into(),
            host: "api.example.com",
            path,
            query: None,
            headers,
        });
        Attributes {
            source: self.source,
            direct: self.direct,
            port: self.port,
            peer: if known & 1 == 0 { Fact::Pending } else { Fact::Is(self.peer.as_ref()) },
            server_name: if known & 2 == 0 { Fact::Pending } else { Fact::Is(self.server_name) },
            request: if known & 4 == 0 { Fact::Pending } else { Fact::Is(request) },
        }
    }
}

/// The rules read as they stand.
fn plainly(rules: &[AuthorizationRule], facts: &Facts) -> Decision {
    let any = |empty: bool, found: bool| empty || found;
    let matches = |rule: &AuthorizationRule| {
        let peer = facts.peer.as_ref();
        let named = |pattern: &HostPattern| {
            facts.server_name.map(str::to_ascii_lowercase).is_some_and(|name| match pattern {
                HostPattern::Exact(exact) => name == *exact,
                HostPattern::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(&**suffix),
                HostPattern::Prefix(prefix) => name.len() > prefix.len() && name.starts_with(&**prefix),
            })
        };
        let asked = |wanted: &RouteMatch| match &facts.request {
            None => rule.action == RuleAction::Deny,
            Some((method, path, headers)) => {
                let below = |path: &str| match &wanted.path {
                    PathMatch::Exact(exact) => path == exact,
                    PathMatch::Prefix(prefix) if prefix == "/" => true,
                    PathMatch::Prefix(prefix) => {
                        let prefix = prefix.trim_end_matches('/');
                        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ';']))
                    }
                    PathMatch::Regex(_) => unreachable!("none is made here"),
                };
                let parameters = regex::Regex::new("/;[^/]*(/)|/;[^/]*$|;[^/]*").unwrap();
                let bare = parameters
                    .replace_all(path, |found: &regex::Captures<'_>| if found[0].starts_with('/') { "/" } else { "" });
                let below = below(path) || rule.action == RuleAction::Deny && below(&bare);
                let fields = wanted.headers.iter().all(|field| headers.contains_key(&field.name) != field.invert);
                below && any(wanted.methods.is_empty(), wanted.methods.contains(method)) && fields
            }
        };
        any(rule.peers.is_empty(), peer.is_some_and(|id| rule.peers.iter().any(|wanted| wanted.meets(id))))
            && any(rule.sources.is_empty(), rule.sources.iter().any(|net| net.contains(facts.source)))
            && any(rule.direct_sources.is_empty(), rule.direct_sources.iter().any(|net| net.contains(facts.direct)))
            && any(rule.server_names.is_empty(), rule.server_names.iter().any(named))
            && any(rule.ports.is_empty(), rule.ports.contains(&facts.port))
            && any(rule.requests.is_empty(), rule.requests.iter().any(asked))
    };
    let of = |action| move |rule: &&AuthorizationRule| rule.action == action;
    if rules.iter().filter(of(RuleAction::Deny)).any(matches) {
        return Decision::Deny;
    }
    let mut allows = rules.iter().filter(of(RuleAction::Allow)).peekable();
    if allows.peek().is_none() || allows.any(matches) { Decision::Allow } else { Decision::Deny }
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn network(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').unwrap();
    Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn some<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![2 => Just(Vec::new()), 3 => proptest::sample::subsequence(values.clone(), 0..=values.len().min(3))]
}

fn looks() -> Vec<RouteMatch> {
    let look = |path, methods, headers| RouteMatch {
        hosts: Vec::new(),
        destinations: Vec::new(),
        path,
        methods,
        headers,
        query: Vec::new(),
    };
    let field = |invert| HeaderMatch { name: HeaderName::from_static("x-a"), value: ValueMatch::Present, invert };
    vec![
        look(PathMatch::Prefix("/".into()), Vec::new(), Vec::new()),
        look(PathMatch::Prefix("/v1".into()), vec![Method::GET], Vec::new()),
        look(PathMatch::Exact("/v1/x".into()), Vec::new(), vec![field(true)]),
        look(PathMatch::Prefix("/admin".into()), vec![Method::POST, Method::GET], vec![field(false)]),
    ]
}

fn rule() -> impl Strategy<Value = AuthorizationRule> {
    let peers = vec![
        SpiffeMatch::Exact(id(IDS[0])),
        SpiffeMatch::Below(id(IDS[1])),
        SpiffeMatch::Domain(TrustDomain::parse("b.org").unwrap()),
        SpiffeMatch::Exact(id(IDS[3])),
    ];
    let networks = || {
        [
            "10.0.0.0/24",
            "10.0.0.0/8",
            "10.0.1.0/24",
            "192.0.2.1/32",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/32",
            "::ffff:10.0.0.0/120",
        ]
        .map(network)
        .to_vec()
    };
    let names = vec![
        HostPattern::Exact("api.example.com".into()),
        HostPattern::Suffix(".example.com".into()),
        HostPattern::Exact("other.org".into()),
        HostPattern::Prefix("other.".into()),
    ];
    (
        any::<(bool, bool)>(),
        some(peers),
        some(networks()),
        some(networks()),
        some(names),
        some(vec![80, 443, 8080]),
        some(looks()),
    )
        .prop_map(|((allow, dry), peers, sources, direct_sources, server_names, ports, requests)| {
            AuthorizationRule {
                name: Name("r".into()),
                action: if allow { RuleAction::Allow } else { RuleAction::Deny },
                enforcement: if dry { Enforcement::DryRun } else { Enforcement::Enforced },
                peers,
                sources,
                direct_sources,
                server_names,
                ports,
                requests,
            }
        })
}

fn facts() -> impl Strategy<Value = Facts> {
    let address = || select(&ADDRESSES[..]).prop_map(|text| text.parse().unwrap());
    let request = (select(vec![Method::GET, Method::POST, Method::PUT]), select(&PATHS[..]), any::<bool>()).prop_map(
        |(method, path, field)| {
            let mut headers = HeaderMap::new();
            if field {
                headers.insert("x-a", HeaderValue::from_static("1"));
            }
            (method, path, headers)
        },
    );
    (
        address(),
        address(),
        select(vec![80, 443, 9000]),
        proptest::option::of(select(&IDS[..]).prop_map(id)),
        proptest::option::of(select(&NAMES[..])),
        proptest::option::of(request),
    )
        .prop_map(|(source, direct, port, peer, server_name, request)| Facts {
            source,
            direct,
            port,
            peer,
            server_name,
            request,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// With all known the compiled rules say what the plain ones say, rehearsed ones counted and not.
    #[test]
    fn the_compiled_rules_say_what_the_plain_ones_say(
        rules in proptest::collection::vec(rule(), 0..6),
        facts in facts(),
    ) {
        let compiled = Rules::compile(&Authorization { rules: rules.clone() });
        let enforced: Vec<_> =
            rules.iter().filter(|rule| rule.enforcement == Enforcement::Enforced).cloned().collect();
        let verdict = compiled.judge(&facts.at(7));
        prop_assert_eq!(verdict.decision, plainly(&enforced, &facts));
        if let Some(rule) = verdict.rule {
            let allows = rules[rule].action == RuleAction::Allow;
            prop_assert_eq!(verdict.decision == Decision::Allow, allows);
            prop_assert_eq!(rules[rule].enforcement, Enforcement::Enforced);
        }
        match compiled.rehearse(&facts.at(7)) {
            Some(rehearsed) => prop_assert_eq!(rehearsed.decision, plainly(&rules, &facts)),
            None => prop_assert_eq!(enforced.len(), rules.len()),
        }
    }

    /// What is decided early is what is decided in the end, whatever comes between.
    #[test]
    fn an_early_decision_stands(
        rules in proptest::collection::vec(rule(), 0..6),
        facts in facts(),
        later in facts(),
        known in 0u8..7,
    ) {
        let compiled = Rules::compile(&Authorization { rules });
        let early = compiled.judge(&facts.at(known)).decision;
        // The address and the port are known from the start.
        let later = Facts {
            source: facts.source,
            direct: facts.direct,
            port: facts.port,
            peer: if known & 1 == 0 { later.peer } else { facts.peer },
            server_name: if known & 2 == 0 { later.server_name } else { facts.server_name },
            request: if known & 4 == 0 { later.request } else { facts.request },
        };
        let end = compiled.judge(&later.at(7)).decision;
        prop_assert!(early == Decision::Undecided || early == end, "{early:?} {end:?}");
        prop_assert_ne!(end, Decision::Undecided);
    }

    /// A name that nobody will tell is every name to a deny rule and none to an allow rule.
    #[test]
    fn what_a_hidden_name_passes_every_name_passes(
        rules in proptest::collection::vec(rule(), 0..6),
        facts in facts(),
    ) {
        let compiled = Rules::compile(&Authorization { rules });
        let hidden = compiled.judge(&Attributes { server_name: Fact::Hidden, ..facts.at(7) }).decision;
        prop_assert_ne!(hidden, Decision::Undecided);
        for name in NAMES.map(Some).into_iter().chain([None]) {
            let told = compiled.judge(&Attributes { server_name: Fact::Is(name), ..facts.at(7) }).decision;
            prop_assert!(hidden == Decision::Deny || told == Decision::Allow, "{name:?}");
        }
        prop_assert_eq!(
            compiled.look_at_names() || hidden == compiled.judge(&facts.at(7)).decision,
            true,
            "it matters where a rule looks at it"
        );
    }

    #[test]
    fn a_set_of_networks_has_what_any_of_them_has(
        networks in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..8),
        six in proptest::collection::vec((any::<u128>(), 0u8..=128), 0..4),
        at: u32,
    ) {
        let v4 = networks.iter().map(|(bits, prefix)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            Cidr { address: IpAddr::V4((bits & mask).into()), prefix: *prefix }
        });
        let v6 = six.iter().map(|(bits, prefix)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(*prefix)).unwrap_or(0);
            Cidr { address: IpAddr::V6((bits & mask).into()), prefix: *prefix }
        });
        let networks: Vec<Cidr> = v4.chain(v6).collect();
        let set = super::sets::Networks::new(&networks);
        let near = networks.iter().flat_map(|net| match net.address {
            IpAddr::V4(v4) => [v4.to_bits().wrapping_sub(1), v4.to_bits(), v4.to_bits() | at >> net.prefix.min(31)]
                .map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(v6) => [v6.to_bits().wrapping_sub(1), v6.to_bits(), v6.to_bits() | u128::from(at)]
                .map(|bits| IpAddr::V6(bits.into())),
        });
        for address in near.chain([IpAddr::V4(at.into())]) {
            prop_assert_eq!(set.have(address), networks.iter().any(|net| net.contains(address)), "{}", address);
        }
    }
}
