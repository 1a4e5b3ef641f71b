//! The one rule about where load may go: nowhere but this machine.

use std::{fmt, net::IpAddr};

/// An address that is not loopback, and so is neither loaded nor listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct NotLoopback(IpAddr);

impl fmt::Display for NotLoopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a loopback address: load stays on this machine; use 127.0.0.1 or ::1", self.0)
    }
}

/// Lets loopback addresses pass.
///
/// # Errors
///
/// For any other address, 0.0.0.0 among them.
pub(crate) fn only(address: IpAddr) -> Result<IpAddr, NotLoopback> {
    if address.to_canonical().is_loopback() { Ok(address) } else { Err(NotLoopback(address)) }
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn only_this_machine_passes() {
        for (address, passes) in [
            ("127.0.0.1", true),
            ("127.9.8.7", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(only(address.parse().unwrap()).is_ok(), passes, "{address}");
        }
    }
}
