//! The rules for iptables, whichever kernel interface it uses: chains of ours, and one jump to each.

use super::{
    Failure, Listed, Marked, Place, nft,
    programs::{self, Iptables},
    settings::{Family, InboundMode, LINK_LOCAL, RETURN_MARK, Settings},
};
use std::fmt::Write as _;

/// A chain of ours, where it is jumped to from, and its rules without comments.
pub(super) struct Chain {
    table: &'static str,
    name: &'static str,
    hook: &'static str,
    rules: Vec<String>,
}

/// What all our chains begin with.
pub(super) const PREFIX: &str = "PILLION_";

/// The chain that keeps the seal; nothing jumps to it.
const SEAL: &str = "PILLION_SEAL";

/// The tables that may hold something of ours.
pub(super) const TABLES: [&str; 2] = ["nat", "mangle"];

/// The rules of one family.
pub(super) fn rules(settings: &Settings, family: Family) -> Vec<Chain> {
    let mut chains = Vec::new();
    if let Some(port) = settings.outbound_port {
        let rules = outbound(settings, family, port);
        chains.push(Chain { table: "nat", name: "PILLION_OUTBOUND", hook: "OUTPUT", rules });
    }
    match (settings.inbound_port, settings.inbound_mode) {
        (None, _) => {}
        (Some(port), InboundMode::Redirect) => {
            let mut rules = inbound(settings, family);
            rules.push(format!("-p tcp -j REDIRECT --to-ports {port}"));
            chains.push(Chain { table: "nat", name: "PILLION_INBOUND", hook: "PREROUTING", rules });
        }
        (Some(port), InboundMode::Tproxy) => {
            let mark = settings.mark.unwrap_or_default();
            let mut rules = Vec::new();
            match family {
                Family::Ipv4 => {}
                // As with nft: no client's name is of this kind.
                Family::Ipv6 => rules.push(format!("-s {LINK_LOCAL} -i lo -j RETURN")),
            }
            rules.push(format!(
                "-i lo -p tcp -m mark --mark {mark} -m addrtype ! --src-type LOCAL -j CONNMARK --set-mark {RETURN_MARK}"
            ));
            rules.extend(inbound(settings, family));
            rules.push("-m conntrack --ctdir REPLY -j RETURN".to_owned());
            rules.push(format!("-p tcp -j TPROXY --on-port {port} --tproxy-mark {RETURN_MARK}"));
            chains.push(Chain { table: "mangle", name: "PILLION_INBOUND", hook: "PREROUTING", rules });
            chains.push(Chain {
                table: "mangle",
                name: "PILLION_ANSWERS",
                hook: "OUTPUT",
                rules: vec![format!(
                    "-p tcp -m conntrack --ctdir REPLY -m connmark --mark {RETURN_MARK} -j MARK --set-mark {RETURN_MARK}"
                )],
            });
        }
    }
    chains
}

fn outbound(settings: &Settings, family: Family, port: u16) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(probe) = settings.probe_port {
        let address = match family {
            Family::Ipv4 => "127.0.0.1/32",
            Family::Ipv6 => "::1/128",
        };
        rules.push(format!("-d {address} -p tcp --dport {probe} -j REDIRECT --to-ports {port}"));
    }
    rules.extend(settings.uids.iter().map(|uid| format!("-m owner --uid-owner {uid} -j RETURN")));
    rules.extend(settings.mark.map(|mark| format!("-m mark --mark {mark} -j RETURN")));
    rules.push("-o lo -j RETURN".to_owned());
    rules.push("-m addrtype --dst-type LOCAL -j RETURN".to_owned());
    match family {
        Family::Ipv4 => {}
        // What is told of the destination afterwards lacks the interface, without which it is nowhere.
        Family::Ipv6 => rules.push(format!("-d {LINK_LOCAL} -j RETURN")),
    }
    rules.extend(settings.exclude_users.iter().map(|uid| format!("-m owner --uid-owner {uid} -j RETURN")));
    rules.extend(settings.exclude_outbound_ports.iter().map(|port| format!("-p tcp --dport {port} -j RETURN")));
    let networks = settings.exclude_outbound_cidrs.iter().filter(|network| network.is_of(family));
    rules.extend(networks.map(|network| format!("-d {network} -j RETURN")));
    rules.push(format!("-p tcp -j REDIRECT --to-ports {port}"));
    rules
}

fn inbound(settings: &Settings, family: Family) -> Vec<String> {
    let mut rules = vec!["-i lo -j RETURN".to_owned()];
    rules.extend(settings.exclude_inbound_ports.iter().map(|port| format!("-p tcp --dport {port} -j RETURN")));
    let networks = settings.exclude_inbound_cidrs.iter().filter(|network| network.is_of(family));
    rules.extend(networks.map(|network| format!("-s {network} -j RETURN")));
    rules
}

/// The text for `iptables-restore --noflush`: chains are emptied or made, jumps that are there already (`leftovers`: a
/// table and a rule to delete each) are made anew, all in one transaction for each table.
pub(super) fn text(chains: &[Chain], leftovers: &[(&'static str, String)]) -> String {
    let digest = digest(chains);
    let mut text = String::new();
    for table in TABLES {
        let ours: Vec<&Chain> = chains.iter().filter(|chain| chain.table == table).collect();
        let jumps: Vec<&String> = leftovers.iter().filter(|(of, _)| *of == table).map(|(_, rule)| rule).collect();
        if ours.is_empty() && jumps.is_empty() {
            continue;
        }
        let _ = writeln!(text, "*{table}");
        for Chain { name, .. } in &ours {
            let _ = writeln!(text, ":{name} - [0:0]");
        }
        for rule in jumps {
            let _ = writeln!(text, "{rule}");
        }
        for Chain { name, rules, hook, .. } in &ours {
            for (at, rule) in rules.iter().enumerate() {
                let _ = writeln!(text, "-A {name} {}", with_comment(rule, &comment(at, rules.len(), &digest)));
            }
            let _ = writeln!(text, "-I {hook} 1 {}", with_comment(&format!("-p tcp -j {name}"), &jump(name, &digest)));
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// Matches stand before the target.
fn with_comment(rule: &str, comment: &str) -> String {
    let (matches, target) = rule.split_once("-j ").unwrap_or((rule, ""));
    format!("{matches}-m comment --comment \"{comment}\" -j {target}")
}

fn comment(at: usize, of: usize, digest: &str) -> String {
    format!("pillion {}/{of} {digest}", at + 1)
}

fn jump(name: &str, digest: &str) -> String {
    format!("pillion {name} {digest}")
}

/// What each rule is known by, the jumps included.
pub(super) fn marked(chains: &[Chain]) -> Vec<Marked> {
    let digest = digest(chains);
    let mut marked = Vec::new();
    for Chain { name, hook, rules, .. } in chains {
        marked.extend((0..rules.len()).map(|at| Marked { chain: name, comment: comment(at, rules.len(), &digest) }));
        marked.push(Marked { chain: hook, comment: jump(name, &digest) });
    }
    // Several jumps of one hook stand side by side.
    marked.sort_by_key(|rule| rule.chain);
    marked
}

/// What of `iptables-save` a seal is of: the rules of our chains but the seal's, the jumps to them, and whatever stands
/// before those and could take a connection from them.
pub(super) fn sealed(saved: &str) -> impl Iterator<Item = String> {
    let rules: Vec<&str> = saved.lines().filter(|line| line.starts_with('*') || line.starts_with("-A ")).collect();
    let chain = |line: &str| line.split(' ').nth(1).map(str::to_owned);
    let jumps = |line: &&&str| !line.starts_with(&format!("-A {PREFIX}")) && line.contains(&format!("-j {PREFIX}"));
    let mut table = "";
    let mut sealed = Vec::new();
    for (at, line) in rules.iter().enumerate() {
        if line.starts_with('*') {
            table = line;
            continue;
        }
        let of_table = rules[at..].iter().take_while(|line| !line.starts_with('*'));
        let before_jump = of_table.filter(jumps).any(|jump| chain(jump) == chain(line));
        let of_ours = line.starts_with(&format!("-A {PREFIX}")) && !line.starts_with(&format!("-A {SEAL} "));
        if before_jump || of_ours {
            sealed.push(format!("{table} {line}"));
        }
    }
    sealed.into_iter()
}

/// The text that puts a seal on a family's rules, in place of another.
pub(super) fn seal(comment: &str) -> String {
    let rule = with_comment("-j RETURN", comment);
    format!("*nat\n:{SEAL} - [0:0]\n-A {SEAL} {rule}\nCOMMIT\n")
}

/// Our rules in `iptables-save`, but the seal: those in chains of ours, and jumps to those.
pub(super) fn listed(saved: &str) -> Vec<Listed> {
    let mut listed: Vec<Listed> = saved.lines().filter_map(ours).filter(|rule| rule.chain != SEAL).collect();
    listed.sort_by(|one, other| one.chain.cmp(&other.chain));
    listed
}

fn ours(line: &str) -> Option<Listed> {
    let rest = line.strip_prefix("-A ")?;
    let chain = rest.split(' ').next()?;
    let jumps = rest.contains(&format!("-j {PREFIX}"));
    if !chain.starts_with(PREFIX) && !jumps {
        return None;
    }
    let comment = rest.split_once("--comment \"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
    Some(Listed { chain: chain.to_owned(), place: Place::Chain, comment })
}

fn digest(chains: &[Chain]) -> String {
    let lines = chains.iter().flat_map(|chain| {
        [chain.table, chain.name, chain.hook].into_iter().map(str::to_owned).chain(chain.rules.iter().cloned())
    });
    programs::digest(lines)
}

/// All that a family has, table by table.
pub(super) fn save(names: &Iptables, family: Family) -> Result<String, Failure> {
    let program = names.save(family);
    let mut saved = String::new();
    for table in TABLES {
        saved.push_str(&programs::ask(&program, &["-t", table])?);
    }
    Ok(saved)
}

/// The table that is asked before connections are tracked.
pub(super) const RAW: &str = "raw";

/// One family's rules that leave connections untracked; where there is no such table there are none.
pub(super) fn untracked(names: &Iptables, family: Family) -> Vec<String> {
    let saved = programs::ask(&names.save(family), &["-t", RAW]).unwrap_or_default();
    let leaves = |rule: &&str| (rule.contains("--notrack") || rule.contains("-j NOTRACK")) && !nft::is_udp_s(rule);
    saved.lines().filter(leaves).map(|rule| format!("-t {RAW} {rule}")).collect()
}

/// Installs one family's rules.
pub(super) fn apply(names: &Iptables, family: Family, chains: &[Chain]) -> Result<(), Failure> {
    let saved = save(names, family)?;
    // Chains of other settings go first; those of these settings are emptied in the transaction itself.
    let wanted: Vec<(&str, &str)> =
        chains.iter().map(|chain| (chain.table, chain.name)).chain([("nat", SEAL)]).collect();
    if chains_of(&saved).iter().any(|(table, name)| !wanted.contains(&(*table, name.as_str()))) {
        clear(names, family, &saved)?;
        return programs::feed(&names.restore(family), &["--noflush"], &text(chains, &[]));
    }
    programs::feed(&names.restore(family), &["--noflush"], &text(chains, &jumps(&saved)))
}

/// Whether any chain of ours, or a jump to one, is in `iptables-save`.
pub(super) fn is_there(saved: &str) -> bool {
    !chains_of(saved).is_empty() || !jumps(saved).is_empty()
}

/// Removes all that is ours in a family; whether there was anything.
pub(super) fn clear(names: &Iptables, family: Family, saved: &str) -> Result<bool, Failure> {
    let (chains, jumps) = (chains_of(saved), jumps(saved));
    if chains.is_empty() && jumps.is_empty() {
        return Ok(false);
    }
    let mut text = String::new();
    for table in TABLES {
        let _ = writeln!(text, "*{table}");
        for (_, rule) in jumps.iter().filter(|(of, _)| *of == table) {
            let _ = writeln!(text, "{rule}");
        }
        for (_, name) in chains.iter().filter(|(of, _)| *of == table) {
            let _ = writeln!(text, "-F {name}\n-X {name}");
        }
        text.push_str("COMMIT\n");
    }
    programs::feed(&names.restore(family), &["--noflush"], &text)?;
    Ok(true)
}

/// Deletions of the jumps to chains of ours, with their tables.
fn jumps(saved: &str) -> Vec<(&'static str, String)> {
    in_tables(saved, |line| {
        let rest = line.strip_prefix("-A ")?;
        (!rest.starts_with(PREFIX) && rest.contains(&format!("-j {PREFIX}"))).then(|| format!("-D {rest}"))
    })
}

/// The chains of ours, with their tables.
fn chains_of(saved: &str) -> Vec<(&'static str, String)> {
    in_tables(saved, |line| {
        let name = line.strip_prefix(':')?.split(' ').next()?;
        name.starts_with(PREFIX).then(|| name.to_owned())
    })
}

fn in_tables(saved: &str, pick: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let mut table = None;
    let mut picked = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = TABLES.into_iter().find(|known| *known == name);
        } else if let (Some(table), Some(line)) = (table, pick(line)) {
            picked.push((table, line));
        }
    }
    picked
}
