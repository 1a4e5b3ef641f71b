//! Sources of connections at the edge.

use super::{Cidr, Name, RuleAction};

/// Whose packets come in. Of all prefixes of all rules the longest that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFilter {
    /// The interfaces where an XDP program holds the rules.
    pub interfaces: Vec<Name>,
    /// How it is attached.
    pub mode: FilterMode,
    /// What it looks at.
    pub covers: FilterCovers,
    /// What becomes of malformed packets.
    pub malformed: FilterMalformed,
    /// What becomes of other sources.
    pub otherwise: RuleAction,
    /// The rules; names are unique, and so are prefixes over all of them.
    pub rules: Vec<SourceRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRule {
    /// Its name; where none is written, its position.
    pub name: Name,
    /// What it does.
    pub action: RuleAction,
    /// Its prefixes.
    pub sources: Vec<Cidr>,
}

/// Where packets meet the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterMode {
    /// In the driver if that can, otherwise behind it.
    Auto,
    /// In the driver only.
    Native,
    /// Behind the driver.
    Generic,
}

/// Which packets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterCovers {
    /// TCP to ports of listeners.
    Listeners,
    /// Whatever comes.
    Interface,
}

/// What becomes of malformed packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterMalformed {
    /// They go on.
    Pass,
    /// They do not.
    Drop,
}
