//! Rules of listeners and routes as JSON.

use super::{cidr, host, route::match_of};
use pillion_config::model::*;
use serde_json::{Value, json};

pub(super) fn of(Authorization { rules }: &Authorization) -> Value {
    json!({ "rules": rules.iter().map(rule).collect::<Vec<_>>() })
}

fn rule(rule: &AuthorizationRule) -> Value {
    let AuthorizationRule { name, action, enforcement, peers, sources, direct_sources, server_names, ports, requests } =
        rule;
    json!({
        "name": name.as_str(),
        "action": match action {
            RuleAction::Allow => "allow",
            RuleAction::Deny => "deny",
        },
        "dry_run": *enforcement == Enforcement::DryRun,
        "peers": peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sources": sources.iter().map(cidr).collect::<Vec<_>>(),
        "direct_sources": direct_sources.iter().map(cidr).collect::<Vec<_>>(),
        "server_names": server_names.iter().map(host).collect::<Vec<_>>(),
        "ports": ports,
        "requests": requests.iter().map(match_of).collect::<Vec<_>>(),
    })
}
