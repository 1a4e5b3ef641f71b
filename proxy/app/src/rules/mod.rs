//! The kernel's rules that send an application's connections to the proxy: install, check, remove.
//!
//! ```text
//!  Settings ─► nft::ruleset   (one table, both families, replaced in one transaction)  ─► nft -f -
//!          └─► iptables::…    (a text for each family, one transaction for each table) ─► iptables-restore
//!              judge()  ◄─ what the kernel lists: each rule carries its place and the set's digest as a comment
//!              seal     ◄─ a digest of that very listing, kept beside the rules: what was changed under its comment, or put
//!                          before ours, no longer fits it
//! ```
//!
//! Beside the path, in a command of its own (an init container, a unit's `ExecStartPre`): it runs the system's programs and
//! no library, since whoever debugs the rules does it with them. What is installed is a pure function of [`Settings`], so
//! that a set is recognised, a half-installed one repaired, and a changed one replaced.

mod iptables;
mod nft;
mod programs;
mod rivals;
mod routes;
mod settings;
mod turn;

#[cfg(test)]
mod tests;

pub(crate) use programs::digest;
pub use programs::{Failure, Hidden};
pub use settings::{Backend, Families, InboundMode, Network, Settings, SettingsError};

use programs::Programs;
use std::fmt::Write as _;
use turn::{To, turn};

/// How far a set of rules is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// Nothing of it is there.
    Absent,
    /// All of it, and nothing else of ours.
    Whole,
    /// Something is missing, of other settings, or somebody else's; in words.
    Partly(String),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// In lines; none: nothing that can be seen.
    pub words: String,
    /// What could not be looked at.
    pub hidden: Option<Hidden>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How far the rules are installed.
    pub installed: Installed,
    /// By which of the kernel's sets of tables.
    pub tables: &'static str,
    /// Rules of others that leave connections untracked, which ours then do not meet.
    pub untracked: Vec<String>,
    /// Rules of others that may be asked before ours where to send a connection.
    pub rivals: Vec<String>,
    /// What could not be looked at.
    pub hidden: Option<Hidden>,
}

/// One rule of a set: the chain it stands in and what it carries as its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marked {
    chain: &'static str,
    comment: String,
}

/// A rule as the kernel lists it, or something else that stands in a table of ours, such as a set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    /// The chain it stands in, or what it is.
    chain: String,
    place: Place,
    comment: Option<String>,
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a chain.
    Chain,
    /// In the table, beside its chains.
    Table,
}

/// Judges what is listed of our chains against what should be there, in order.
fn judge(expected: &[Marked], listed: &[Listed]) -> Installed {
    if listed.is_empty() {
        return Installed::Absent;
    }
    let mut chains: Vec<&str> = expected.iter().map(|rule| rule.chain).collect();
    chains.dedup();
    for chain in &chains {
        let wanted: Vec<&str> =
            expected.iter().filter(|rule| rule.chain == *chain).map(|rule| rule.comment.as_str()).collect();
        let found: Vec<&Listed> = listed.iter().filter(|rule| rule.chain == *chain).collect();
        let same = wanted.len() == found.len()
            && wanted.iter().zip(&found).all(|(wanted, found)| found.comment.as_deref() == Some(*wanted));
        if !same {
            return Installed::Partly(format!(
                "the chain {chain} has {} rules, of which {} are of this set's {}",
                found.len(),
                found.iter().filter(|found| found.comment.as_deref().is_some_and(|c| wanted.contains(&c))).count(),
                wanted.len()
            ));
        }
    }
    let other = listed.iter().find(|rule| rule.place == Place::Table || !chains.contains(&rule.chain.as_str()));
    match other.map(|other| (other.place, &other.chain)) {
        Some((Place::Chain, chain)) => Installed::Partly(format!("the chain {chain} belongs to other settings")),
        Some((Place::Table, what)) => Installed::Partly(format!("`{what}` in our table is none of these settings'")),
        None => Installed::Whole,
    }
}

/// Installs the rules, removes those of ours that another backend has installed, and looks whether they are there. Says
/// what was done.
///
/// # Errors
///
/// [`Failure`]: nothing is left half-done where the kernel allows transactions; what was installed for one family is
/// removed when the other fails.
pub fn install(settings: &Settings) -> Result<Done, Failure> {
    let _turn = turn(To::Change);
    let programs = Programs::find(settings.backend)?;
    let others = others(&programs)?;
    match look(settings, &programs)? {
        Installed::Whole if others.is_empty() => {
            return Ok(Done {
                words: format!("already installed ({})\n", programs.name()),
                hidden: Programs::hidden(),
            });
        }
        Installed::Whole | Installed::Absent | Installed::Partly(_) => {}
    }
    match &programs {
        Programs::Nft => programs::feed("nft", &["-f", "-"], &nft::ruleset(settings))?,
        Programs::Iptables(names) => {
            for family in settings.families.each() {
                if let Err(failure) = iptables::apply(names, family, &iptables::rules(settings, family)) {
                    // Traffic of one family alone would silently pass the proxy by.
                    clear(&programs)?;
                    return Err(failure);
                }
            }
        }
    }
    let mut done = String::new();
    // Now that there are these: nothing passes the proxy by meanwhile.
    for other in others {
        clear(&other)?;
        let _ = writeln!(done, "removed those of another backend ({})", other.tables());
    }
    if settings.inbound_mode == InboundMode::Tproxy {
        for family in settings.families.each() {
            routes::add(family)?;
        }
    } else {
        routes::remove()?;
    }
    seal(settings, &programs)?;
    match look(settings, &programs)? {
        Installed::Whole => {
            Ok(Done { words: format!("installed ({})\n{done}", programs.name()), hidden: Programs::hidden() })
        }
        Installed::Absent => Err(Failure::NotThere("none of the rules".to_owned())),
        Installed::Partly(words) => Err(Failure::NotThere(words)),
    }
}

/// Looks how far the rules are installed.
///
/// # Errors
///
/// When the system's programs cannot tell.
pub fn check(settings: &Settings) -> Result<Checked, Failure> {
    let _turn = turn(To::Look);
    let programs = Programs::find(settings.backend)?;
    let others = others(&programs)?;
    let judged = look(settings, &programs)?;
    let tables = programs.tables();
    let beside = others.iter().map(Programs::tables).collect::<Vec<_>>().join(" and ");
    let installed = match judged {
        judged if others.is_empty() => judged,
        Installed::Whole => Installed::Partly(format!("those of {beside} are there beside those of {tables}")),
        Installed::Absent => Installed::Partly(format!("none of {tables}, but some of {beside}")),
        Installed::Partly(words) => Installed::Partly(format!("{words}, and those of {beside} are there too")),
    };
    let listing = nft_listing()?;
    let rivals = rivals::rivals(&listing, settings, tables);
    Ok(Checked { installed, tables, untracked: untracked(&listing)?, rivals, hidden: Programs::hidden() })
}

/// Everything that nft shows, if it is there.
fn nft_listing() -> Result<String, Failure> {
    if Programs::all()?.iter().any(|programs| matches!(programs, Programs::Nft)) {
        return programs::ask("nft", &["list", "ruleset"]);
    }
    Ok(String::new())
}

/// Rules that keep the kernel from tracking connections, by either kind of program.
fn untracked(listing: &str) -> Result<Vec<String>, Failure> {
    let mut found: Vec<String> = nft::untracked(listing).collect();
    for programs in Programs::all()? {
        match &programs {
            Programs::Nft => {}
            // Its tables are made by whoever looks at them.
            Programs::Iptables(_) if programs.is_legacy() && !programs::has_legacy_table(iptables::RAW) => {}
            Programs::Iptables(names) => {
                found.extend(Families::Both.each().flat_map(|family| iptables::untracked(names, family)));
            }
        }
    }
    Ok(found)
}

/// Other backends that have rules of ours installed: a connection would meet both.
fn others(programs: &Programs) -> Result<Vec<Programs>, Failure> {
    let own = programs.tables();
    let mut others = Vec::new();
    for other in Programs::all()? {
        if other.tables() != own && has_rules(&other)? {
            others.push(other);
        }
    }
    Ok(others)
}

/// Whether anything of ours is installed by this kind of program.
fn has_rules(programs: &Programs) -> Result<bool, Failure> {
    match programs {
        Programs::Nft => Ok(nft::has_table(&programs::ask("nft", &["list", "tables"])?)),
        Programs::Iptables(names) => {
            // A kernel without IPv6 has no such tables.
            let mut saved = Families::Both.each().filter_map(|family| iptables::save(names, family).ok());
            Ok(saved.any(|saved| iptables::is_there(&saved)))
        }
    }
}

/// Removes whatever was ever installed, by either kind of program.
///
/// # Errors
///
/// When the system's programs cannot; what was removed before stays removed.
pub fn remove() -> Result<Done, Failure> {
    let _turn = turn(To::Change);
    let mut done = String::new();
    for programs in Programs::all()? {
        if clear(&programs)? {
            let _ = writeln!(done, "removed ({})", programs.name());
        }
    }
    routes::remove()?;
    let hidden = Programs::hidden();
    // Who may not look says nothing of the kind.
    if done.is_empty() && !hidden.as_ref().is_some_and(Hidden::is_ours) {
        done.push_str("nothing was installed\n");
    }
    Ok(Done { words: done, hidden })
}

/// What `install` would give to the system's programs.
///
/// # Errors
///
/// When there are none and the settings do not say which.
pub fn dry_run(settings: &Settings) -> Result<Done, Failure> {
    let mut text = String::new();
    match settings.backend {
        Backend::Auto | Backend::Nft => {
            let _ = write!(text, "# nft -f -\n{}", nft::ruleset(settings));
        }
        Backend::Iptables(_) => {
            for family in settings.families.each() {
                let rules = iptables::rules(settings, family);
                let _ = write!(text, "# {} --noflush\n{}", family.iptables(), iptables::text(&rules, &[]));
            }
        }
    }
    if settings.inbound_mode == InboundMode::Tproxy {
        for family in settings.families.each() {
            text.push_str(&routes::text(family));
        }
    }
    Ok(Done { words: text, hidden: None })
}

/// What a seal's comment begins with.
const SEAL: &str = "pillion seal ";

fn seal_of(lines: impl Iterator<Item = String>) -> String {
    format!("{SEAL}{}", programs::digest(lines))
}

/// Puts a seal on what the kernel shows of the rules just installed.
fn seal(settings: &Settings, programs: &Programs) -> Result<(), Failure> {
    match programs {
        Programs::Nft => {
            let listing = programs::ask("nft", &["list", "table", "inet", nft::TABLE])?;
            programs::feed("nft", &["-f", "-"], &nft::seal(&seal_of(nft::sealed(&listing))))
        }
        Programs::Iptables(names) => settings.families.each().try_for_each(|family| {
            let saved = iptables::save(names, family)?;
            let text = iptables::seal(&seal_of(iptables::sealed(&saved)));
            programs::feed(&names.restore(family), &["--noflush"], &text)
        }),
    }
}

/// A set that is whole by its comments is so only if its rules are still those that were sealed. One without a seal was
/// installed by other hands, from `--dry-run`.
fn intact(judged: Installed, listing: &str, sealed: impl Iterator<Item = String>) -> Installed {
    let kept = listing.lines().find_map(|line| {
        let (_, rest) = line.split_once(SEAL)?;
        rest.split('"').next()
    });
    match (&judged, kept) {
        (Installed::Whole, Some(kept)) if format!("{SEAL}{kept}") != seal_of(sealed) => Installed::Partly(
            "a rule is not what was installed, though its comment is, or another stands before ours".to_owned(),
        ),
        _ => judged,
    }
}

fn look(settings: &Settings, programs: &Programs) -> Result<Installed, Failure> {
    match programs {
        Programs::Nft => {
            let listing = programs::ask("nft", &["list", "tables"])?;
            if !nft::has_table(&listing) {
                return Ok(Installed::Absent);
            }
            let listing = programs::ask("nft", &["list", "table", "inet", nft::TABLE])?;
            if nft::is_dormant(&listing) {
                return Ok(Installed::Partly("the table is dormant: the kernel applies none of its rules".to_owned()));
            }
            let judged = judge(&nft::marked(settings), &nft::listed(&listing));
            let judged = intact(judged, &listing, nft::sealed(&listing));
            complete(settings, judged)
        }
        Programs::Iptables(names) => {
            let mut outcomes = Vec::new();
            for family in settings.families.each() {
                let saved = iptables::save(names, family)?;
                let rules = iptables::rules(settings, family);
                let judged = judge(&iptables::marked(&rules), &iptables::listed(&saved));
                outcomes.push(intact(judged, &saved, iptables::sealed(&saved)));
            }
            let judged = match outcomes.iter().find(|outcome| matches!(outcome, Installed::Partly(_))) {
                Some(partly) => partly.clone(),
                None if outcomes.windows(2).any(|pair| pair[0] != pair[1]) => {
                    Installed::Partly("only one of the two address families has the rules".to_owned())
                }
                None => outcomes.pop().unwrap_or(Installed::Absent),
            };
            complete(settings, judged)
        }
    }
}

/// Rules are whole with their routes only.
fn complete(settings: &Settings, judged: Installed) -> Result<Installed, Failure> {
    if judged == Installed::Whole && settings.inbound_mode == InboundMode::Tproxy {
        for family in settings.families.each() {
            if !routes::there(family)? {
                return Ok(Installed::Partly(format!("the return route of {} is missing", family.name())));
            }
        }
    }
    Ok(judged)
}

/// Removes what one kind of program has installed; whether there was anything.
fn clear(programs: &Programs) -> Result<bool, Failure> {
    match programs {
        Programs::Nft => {
            if !nft::has_table(&programs::ask("nft", &["list", "tables"])?) {
                return Ok(false);
            }
            programs::feed("nft", &["-f", "-"], &format!("delete table inet {}\n", nft::TABLE))?;
            Ok(true)
        }
        Programs::Iptables(names) => {
            let mut any = false;
            for family in Families::Both.each() {
                // A kernel without IPv6 has no such tables.
                let Ok(saved) = iptables::save(names, family) else { continue };
                any |= iptables::clear(names, family, &saved)?;
            }
            Ok(any)
        }
    }
}
