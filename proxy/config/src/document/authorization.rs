//! Who may use a listener or a route.

use super::{Field, Int, List, Match, Scalar, Text, fields, words};
use crate::model::{Cidr, HostPattern, Name, SpiffeMatch};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;

/// Who may. What a deny rule matches is denied, whatever else allows it; once there is an allow rule, what none of them matches is denied too. A listener's rules and its route's must both allow. Both judge the request as its client sent it, before any filter sees it, as Envoy's RBAC filter does ahead of the others: what filters make of its path, method and headers is not asked about again, whether or not these rules would deny that. One exception: where it takes another route after filters have changed it, that route's rules judge it as it is then, the listener's not once more. A filter that may write paths is to be trusted with all that its route's cluster serves, or what it must not reach has a route of its own, with rules.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["rules"])))]
pub(crate) struct Authorization {
    /// Only count what these rules would do. `false`: rules are written to hold.
    pub dry_run: Field<bool>,
    /// The rules. An empty list allows everything.
    pub rules: List<AuthorizationRule>,
}

fields! { Authorization { dry_run, rules } }

impl Default for Authorization {
    fn default() -> Self {
        Self { dry_run: Field::of(false), rules: Field::ABSENT }
    }
}

/// One rule. All that is given must hold, of each list any; a rule without a condition matches everything.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["action"])))]
pub(crate) struct AuthorizationRule {
    /// Its name, in metrics and the access log; unique within its list. Absent: its position, as in `0`.
    pub name: Text<Name>,
    /// What happens to what it matches.
    pub action: Field<RuleAction>,
    /// Only count what this rule would do. `false`, as above.
    pub dry_run: Field<bool>,
    /// SPIFFE IDs of clients, from their certificates: `spiffe://example.org/ns/shop/sa/api`, all below a path as `spiffe://example.org/ns/shop/*`, all of a trust domain as `spiffe://example.org/*`.
    pub peers: List<Scalar<SpiffeMatch>>,
    /// Networks of clients, such as `10.0.0.0/8`: of the address that a trusted PROXY protocol header tells, otherwise of the socket's peer. What headers such as `X-Forwarded-For` say is not looked at.
    pub sources: List<Scalar<Cidr>>,
    /// Networks of the socket's peers, whatever they say of others.
    pub direct_sources: List<Scalar<Cidr>>,
    /// Server names that TLS clients ask for (SNI): `api.example.com`, `*.example.com`. Of TLS that is not ended here they are read too, for which connections are waited for as `detect_timeout` says. Where the name cannot be read, since nothing came in time or the TLS is broken, no allow rule with this matches and every deny rule with this does whose other conditions hold. On ports of `server_first` nothing is read unless `tcp.server_names` wants it, so that a deny rule with this does not hold there: whoever speaks TLS to one counts as asking for no name.
    pub server_names: List<Scalar<HostPattern>>,
    /// Ports that clients reached.
    pub ports: List<Scalar<Int<1, 65_535>>>,
    /// What HTTP requests look like. A deny rule matches a path as it stands, or as it is without parameters (`;` and what follows in a segment: `/v1;a/x` is `/v1/x` to servlet containers), an allow rule as it stands. An opaque connection is no request: no allow rule with this matches it, and every deny rule with this does whose other conditions hold.
    pub requests: List<Match>,
}

fields! { AuthorizationRule { name, action, dry_run, peers, sources, direct_sources, server_names, ports, requests } }

impl Default for AuthorizationRule {
    fn default() -> Self {
        Self {
            name: Field::ABSENT,
            action: Field::ABSENT,
            dry_run: Field::of(false),
            peers: Field::ABSENT,
            sources: Field::ABSENT,
            direct_sources: Field::ABSENT,
            server_names: Field::ABSENT,
            ports: Field::ABSENT,
            requests: Field::ABSENT,
        }
    }
}

/// What happens to what a rule matches.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum RuleAction {
    /// It may, unless a deny rule matches it too.
    Allow,
    /// It may not: an opaque connection is closed, a request answered with 403.
    Deny,
}

words! { RuleAction { "allow" => Allow, "deny" => Deny } }
