//! inbound: what comes into a proxy's network namespace is given to its listener, by programs that a node agent has attached.
//!
//! ```text
//!  proxy  bind ─► claim ─► listen             without privileges: the agent's programs on its cgroup take the claim
//!  agent  claim seen ─► the namespace's file ─► link: from then on connections come to that socket
//! ```

mod namespaces;

pub use namespaces::{Change, NAMESPACES, Namespaces, Waiting};
pub use redirect_common::claim::{Claim, MOST_EXCLUDED};

use redirect_common::claim;
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// linux/in6.h.
const IPV6_V6ONLY: libc::c_int = 26;

/// Says that a socket, which is bound and about to listen, is to be given what comes into its network namespace but for the claim's excluded
/// ports, loopback left alone but for its probe port. Said again it holds instead of what was said before for the namespace,
/// from whatever socket: on one that listens already it changes the ports, and no more than those.
///
/// Connections come from when the agent has seen that the socket listens. That they do is proven by one to the probe port on 127.0.0.1 or
/// `[::1]`: accepted, it has that very address as its local one.
///
/// # Errors
///
/// `ENOPROTOOPT`, what the kernel itself says of the option: no programs that take it are on the cgroup of this process, or they do not
/// know it as the proxy. `ENOSPC`: they have no room; 1,024 namespaces can be claimed at a time. `EPERM`: the namespace is the node's own,
/// whose connections are no proxy's to claim, or a user namespace's. Others are about the socket.
pub fn claim(socket: BorrowedFd<'_>, claim: &Claim) -> io::Result<()> {
    let claim = Claim { families: families(socket)?, ..*claim };
    let (level, name) = (claim::LEVEL.cast_signed(), claim::NAME.cast_signed());
    let length = libc::socklen_t::try_from(size_of_val(&claim)).map_err(io::Error::other)?;
    // SAFETY: the value and its length live through the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const claim).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which families a listening socket takes.
fn families(socket: BorrowedFd<'_>) -> io::Result<u32> {
    match option(socket, libc::SOL_SOCKET, libc::SO_DOMAIN)? {
        libc::AF_INET => Ok(claim::V4),
        libc::AF_INET6 if option(socket, libc::IPPROTO_IPV6, IPV6_V6ONLY)? == 0 => Ok(claim::V4 | claim::V6),
        libc::AF_INET6 => Ok(claim::V6),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn option(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: both options are an `int`, as is what they are written to; both places live through the call.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, os::fd::AsFd as _};

    #[test]
    fn without_an_agent_the_kernel_does_not_know_the_option() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let wanted = Claim::new(15_098, [15_001, 15_020]).unwrap();
            let error = claim(socket.as_fd(), &wanted).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT), "{error}");
        }
    }

    #[test]
    fn a_claim_holds_as_many_ports_as_it_says() {
        let most = u16::try_from(MOST_EXCLUDED).unwrap();
        assert_eq!(Claim::new(1, 1..=most).unwrap().count, most);
        assert_eq!(Claim::new(1, 1..=most + 1), None);
        assert_eq!(&Claim::new(1, [7, 9]).unwrap().excluded[..3], [7, 9, 0]);
    }
}
