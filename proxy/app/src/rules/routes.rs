//! Return routes for TPROXY: packets with the return mark are for this machine, whatever their address.

use super::{
    Failure, programs,
    settings::{Families, Family, RETURN_MARK, RETURN_TABLE},
};

fn flag(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "-4",
        Family::Ipv6 => "-6",
    }
}

fn any(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "0.0.0.0/0",
        Family::Ipv6 => "::/0",
    }
}

/// What [`add`] runs.
pub(super) fn text(family: Family) -> String {
    let (flag, any) = (flag(family), any(family));
    format!(
        "# ip {flag} rule add fwmark {RETURN_MARK} lookup {RETURN_TABLE}\n\
         # ip {flag} route replace local {any} dev lo table {RETURN_TABLE}\n"
    )
}

/// Adds what is missing.
pub(super) fn add(family: Family) -> Result<(), Failure> {
    let (mark, table) = (RETURN_MARK.to_string(), RETURN_TABLE.to_string());
    if !asked_first(family)? {
        programs::ask("ip", &[flag(family), "rule", "add", "fwmark", &mark, "lookup", &table])?;
    }
    programs::ask("ip", &[flag(family), "route", "replace", "local", any(family), "dev", "lo", "table", &table])?;
    Ok(())
}

/// Whether both are there.
pub(super) fn there(family: Family) -> Result<bool, Failure> {
    let table = RETURN_TABLE.to_string();
    // A table that nobody ever used does not exist, which is an error to ip.
    let routes = programs::ask("ip", &[flag(family), "route", "show", "table", &table]).unwrap_or_default();
    Ok(asked_first(family)? && routes.lines().any(|line| line.starts_with("local default ")))
}

/// Whether packets with the mark are asked for in our table before any other: rules are tried in the order of the listing.
fn asked_first(family: Family) -> Result<bool, Failure> {
    let listing = programs::ask("ip", &[flag(family), "rule", "show"])?;
    let marked = format!("fwmark {RETURN_MARK:#x} ");
    let first = listing.lines().find(|line| line.contains(&marked));
    Ok(first.is_some_and(|line| line.trim_end().ends_with(&format!("{marked}lookup {RETURN_TABLE}"))))
}

/// Removes both, of both families.
pub(super) fn remove() -> Result<(), Failure> {
    let (mark, table) = (RETURN_MARK.to_string(), RETURN_TABLE.to_string());
    for family in Families::Both.each() {
        // Without `ip`, nothing was ever added.
        let Ok(count) = rules(family) else { continue };
        for _ in 0..count {
            programs::ask("ip", &[flag(family), "rule", "del", "fwmark", &mark, "lookup", &table])?;
        }
        programs::ask("ip", &[flag(family), "route", "flush", "table", &table]).ok();
    }
    Ok(())
}

fn rules(family: Family) -> Result<usize, Failure> {
    let listing = programs::ask("ip", &[flag(family), "rule", "show"])?;
    let wanted = format!("fwmark {RETURN_MARK:#x} lookup {RETURN_TABLE}");
    Ok(listing.lines().filter(|line| line.trim_end().ends_with(&wanted)).count())
}
