//! Who may use a listener or a route.

use super::{Cidr, HostPattern, Name, RouteMatch, SpiffeMatch};

/// Rules; empty: everybody may.
#[derive(Debug, Clone, PartialEq)]
pub struct Authorization {
    /// In the order written; names are unique.
    pub rules: Vec<AuthorizationRule>,
}

/// One rule: everything given must hold, of each list any; an empty list holds of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationRule {
    /// Its name; where none is written, its position.
    pub name: Name,
    /// What happens to what it matches.
    pub action: RuleAction,
    /// Whether it decides.
    pub enforcement: Enforcement,
    /// SPIFFE IDs of clients.
    pub peers: Vec<SpiffeMatch>,
    /// Networks of clients, as a trusted PROXY protocol header tells, otherwise of the socket's peers.
    pub sources: Vec<Cidr>,
    /// Networks of the socket's peers.
    pub direct_sources: Vec<Cidr>,
    /// Server names asked for.
    pub server_names: Vec<HostPattern>,
    /// Ports reached.
    pub ports: Vec<u16>,
    /// What requests look like.
    pub requests: Vec<RouteMatch>,
}

/// What happens to what a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// It may, unless a deny rule matches it too; what no allow rule matches may not.
    Allow,
    /// It may not.
    Deny,
}

/// Whether a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// It does.
    Enforced,
    /// What it would do is counted.
    DryRun,
}
