//! Sources of connections at the edge.

use super::{Field, List, Scalar, Text, fields, words};
use crate::model::{Cidr, Name};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;

/// Whose packets come in at all, by their source address alone: the longest of all prefixes that match it decides. An XDP program on the named interfaces drops them before the kernel has made anything of them, and holds changed rules without being loaded again; it needs root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. Where it cannot be attached the proxy says so once and closes such connections when it has accepted them, by the same rules, as it does in any case. Connections from loopback addresses, also over the interface `lo`, and those of outbound listeners are never asked.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["rules"])))]
pub(crate) struct SourceFilter {
    /// Network interfaces that packets come from, such as `eth0`. Absent: none, and the rules hold for accepted connections only.
    pub interfaces: List<Scalar<Name>>,
    /// Where packets meet the program. `auto`: in the driver where it can, otherwise behind it; the driver is tried when the program comes to an interface, and again when this is written where another mode was.
    pub mode: Field<FilterMode>,
    /// Which packets are looked at. `listeners`: an operator's own way into the machine, and answers to what the machine asks elsewhere, are not cut by a list of clients.
    pub covers: Field<FilterCovers>,
    /// What becomes of packets that end too early or contradict themselves. `pass`: the kernel knows what to do with them.
    pub malformed: Field<FilterMalformed>,
    /// What becomes of sources that no prefix matches. `allow`; with `deny`, only who is allowed comes in.
    pub otherwise: Field<SourceAction>,
    /// The rules, at most 256. Their order does not matter.
    pub rules: List<SourceRule>,
}

fields! { SourceFilter { interfaces, mode, covers, malformed, otherwise, rules } }

impl Default for SourceFilter {
    fn default() -> Self {
        Self {
            interfaces: Field::ABSENT,
            mode: Field::of(FilterMode::Auto),
            covers: Field::of(FilterCovers::Listeners),
            malformed: Field::of(FilterMalformed::Pass),
            otherwise: Field::of(SourceAction::Allow),
            rules: Field::ABSENT,
        }
    }
}

/// One rule.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["action", "sources"])))]
pub(crate) struct SourceRule {
    /// Its name, in metrics and the access log; unique. Absent: its position, as in `0`.
    pub name: Text<Name>,
    /// What becomes of sources whose longest prefix is one of these.
    pub action: Field<SourceAction>,
    /// Networks, such as `10.0.0.0/8` or `2001:db8::/32`. Each stands in one rule only.
    pub sources: List<Scalar<Cidr>>,
}

fields! { SourceRule { name, action, sources } }

/// What becomes of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum SourceAction {
    /// It comes in.
    Allow,
    /// Its packets are dropped, its connections closed.
    Deny,
}

words! { SourceAction { "allow" => Allow, "deny" => Deny } }

/// Where packets meet the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum FilterMode {
    /// In the driver if that can, otherwise behind it.
    Auto,
    /// In the driver only.
    Native,
    /// Behind the driver, which every one can, at a higher price.
    Generic,
}

words! { FilterMode { "auto" => Auto, "native" => Native, "generic" => Generic } }

/// Which packets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum FilterCovers {
    /// TCP to the ports of this configuration's listeners, outbound ones aside.
    Listeners,
    /// Whatever comes over the interfaces.
    Interface,
}

words! { FilterCovers { "listeners" => Listeners, "interface" => Interface } }

/// What becomes of malformed packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum FilterMalformed {
    /// They go on as they came.
    Pass,
    /// They end at the interface.
    Drop,
}

words! { FilterMalformed { "pass" => Pass, "drop" => Drop } }
