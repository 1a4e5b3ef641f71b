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
    if !is_default(&routes(family)) {
        programs::ask("ip", &[flag(family), "route", "flush", "table", &table]).ok();
    }
    if !asked_first(family)? {
        programs::ask("ip", &[flag(family), "rule", "add", "fwmark", &mark, "lookup", &table])?;
    }
    programs::ask("ip", &[flag(family), "route", "replace", "local", any(family), "dev", "lo", "table", &table])?;
    Ok(())
}

/// Whether both are there, and nothing that goes before them.
pub(super) fn there(family: Family) -> Result<bool, Failure> {
    Ok(asked_first(family)? && is_default(&routes(family)))
}

fn routes(family: Family) -> String {
    // A table that nobody ever used does not exist, which is an error to ip.
    programs::ask("ip", &[flag(family), "route", "show", "table", &RETURN_TABLE.to_string()]).unwrap_or_default()
}

/// Whether a table leads every address here, and to nowhere else. Pure.
fn is_default(routes: &str) -> bool {
    let mut lines = routes.lines();
    lines.next().is_some_and(|line| line.starts_with("local default ")) && lines.next().is_none()
}

/// Whether packets with the mark, all of them, are asked for in our table before any other.
fn asked_first(family: Family) -> Result<bool, Failure> {
    Ok(comes_first(&programs::ask("ip", &[flag(family), "rule", "show"])?))
}

/// The same, by `ip rule show`: rules are tried in the order of the listing. Pure.
fn comes_first(listing: &str) -> bool {
    let marked = format!("fwmark {RETURN_MARK:#x}");
    // `ip` writes "32765:\tfrom all fwmark …".
    let first = listing.lines().find(|line| line.contains(&marked));
    let rule = first.and_then(|line| line.split_once(':')).map(|(_, rule)| rule.trim());
    rule == Some(&format!("from all {marked} lookup {RETURN_TABLE}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_not_for_all_or_not_first_is_none() {
        let ours = format!("32765:\tfrom all fwmark {RETURN_MARK:#x} lookup {RETURN_TABLE}");
        let rest = "32766:\tfrom all lookup main\n";
        assert!(comes_first(&format!("0:\tfrom all lookup local\n{ours}\n{rest}")));
        for wrong in [
            String::new(),
            ours.replace("from all", "not from all"),
            ours.replace("from all", "from 203.0.113.0/24"),
            ours.replace(" lookup", "/0xff lookup"),
            ours.replace("lookup", "iif eth9 lookup"),
            format!("5:\tfrom all fwmark {RETURN_MARK:#x} lookup main\n{ours}"),
        ] {
            assert!(!comes_first(&format!("0:\tfrom all lookup local\n{wrong}\n{rest}")), "{wrong}");
        }
        assert!(is_default("local default dev lo scope host \n"));
        for wrong in ["", "local 10.0.0.0/8 dev lo\n", "blackhole 0.0.0.0/1 \nlocal default dev lo scope host \n"] {
            assert!(!is_default(wrong), "{wrong}");
        }
    }
}
