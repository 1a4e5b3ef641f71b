//! Values of options: how a person writes them, and what is said when they are written wrongly.

use crate::{
    admin::client::{Address, NotAnAddress},
    log,
};
use std::{net::SocketAddr, time::Duration};

pub(super) fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    // `:8080` is how many other tools write "every address".
    let text = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    text.parse().map_err(|_| "write an address and a port, as 0.0.0.0:8080 or [::]:8080")
}

pub(super) fn level(text: &str) -> Result<log::Level, log::UnknownLevel> {
    text.parse()
}

pub(super) fn address(text: &str) -> Result<Address, NotAnAddress> {
    text.parse()
}

/// `300ms`, `5s`, `2m`, `1h`, or seconds without a unit.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    parsed.ok_or("write a number and a unit, as 500ms, 5s or 2m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("300ms", 300), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("1.5", 1500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 s", "soon", "infs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
