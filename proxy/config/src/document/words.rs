//! Names, addresses, hosts and the other words that are parsed once, here, into types that cannot be invalid.

use super::{
    hosts::{host_name, ipv6_without_brackets},
    value::FromText,
};
use crate::{
    diagnostic::quoted,
    model::{AdminAddress, Cidr, Destination, EndpointAddress, LogDestination, Name, without_final_dot},
    template::Template,
};
use http::{HeaderName, Method};
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

impl FromText for Name {
    fn words() -> Cow<'static, str> {
        "a name of 1 to 255 printable ASCII characters without spaces".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > 255 || !printable {
            return Err(Self::expected(text, ""));
        }
        Ok(Self(text.into()))
    }
}

impl FromText for SocketAddr {
    fn words() -> Cow<'static, str> {
        "an IP address and a port such as 0.0.0.0:8080 or [::]:8080".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let any = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).filter(|port| port.parse::<u16>().is_ok());
        let remedy = if text.parse::<u16>().is_ok() {
            format!("write 0.0.0.0:{text}")
        } else if let Some(port) = any {
            format!("write 0.0.0.0:{port} for IPv4, [::]:{port} for IPv6")
        } else if let Some(port) = text.strip_prefix("localhost:") {
            format!("names are not resolved here: write 127.0.0.1:{port}")
        } else if let Ok(address) = text.parse::<IpAddr>() {
            format!("add a port: {}", SocketAddr::new(address, 8080))
        } else {
            ipv6_without_brackets(text).unwrap_or_default()
        };
        Err(Self::expected(text, &remedy))
    }
}

impl FromText for AdminAddress {
    fn words() -> Cow<'static, str> {
        "a loopback address such as 127.0.0.1:15000, or a socket such as unix:/run/pillion.sock".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // sun_path holds 108 bytes with its final zero (unix(7)).
            if path.is_empty() || path.len() > 107 || path.contains('\0') {
                return Err(Self::expected(text, "a socket's path has 1 to 107 bytes"));
            }
            return Ok(Self::Unix(path.into()));
        }
        let address = SocketAddr::from_text(text).map_err(|error| match error.split_once("; ") {
            Some((_, remedy)) if !remedy.contains("0.0.0.0") => Self::expected(text, remedy),
            _ => Self::expected(text, ""),
        })?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(format!(
                "the admin port can stop the proxy and must not be reachable from the network, but {text} is not a \
                 loopback address: write 127.0.0.1:{}, and use `probes` for what others may read",
                address.port()
            ));
        }
        Ok(Self::Tcp(address))
    }
}

impl FromText for LogDestination {
    fn words() -> Cow<'static, str> {
        "stdout or the path of a file".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err(Self::expected(text, "")),
            "-" | "stdout" | "/dev/stdout" => Ok(Self::Stdout),
            "stderr" | "/dev/stderr" => Err(Self::expected(text, "standard error is for the proxy's own messages")),
            path if path.contains('\0') => Err(Self::expected(text, "")),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl FromText for EndpointAddress {
    fn words() -> Cow<'static, str> {
        "a host and a port such as 10.0.0.7:8080, [2001:db8::7]:8080 or api.local:8080".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            if address.port() == 0 {
                return Err(Self::expected(text, "port 0 cannot be connected to"));
            }
            return Ok(Self::Ip(address));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.split('/').next().unwrap_or(rest);
            let port = match (rest.contains(':'), scheme) {
                (true, _) => "",
                (false, "https") => ":443",
                (false, _) => ":80",
            };
            return Err(Self::expected(text, &format!("write {rest}{port}, without scheme and path")));
        }
        if let Some(remedy) = ipv6_without_brackets(text) {
            return Err(Self::expected(text, &remedy));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(Self::expected(text, "a port is missing"));
        };
        let number = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit())).and_then(|p| p.parse().ok());
        let Some(port @ 1..) = number else {
            return Err(Self::expected(text, "a port is a number from 1 to 65535"));
        };
        // A name that ends in a dot is absolute: the search list of the system has no say.
        let relative = without_final_dot(host);
        if relative.parse::<IpAddr>().is_ok() {
            return Err(Self::expected(text, "an address has no final dot"));
        }
        host_name(relative).map_err(|remedy| Self::expected(text, &remedy))?;
        Ok(Self::Name(host.to_ascii_lowercase().into(), port))
    }
}

impl FromText for Destination {
    fn words() -> Cow<'static, str> {
        "an address, a network, a port or both such as 10.0.0.7:5432, 10.96.0.0/16, [2001:db8::/32]:443 or :9000".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let port_of = |port: &str| match port.parse::<u16>() {
            Ok(port @ 1..) if !port.to_string().is_empty() => Ok(Some(port)),
            _ => Err(Self::expected(text, "a port is a number from 1 to 65535")),
        };
        let network_of = |network: &str| match Cidr::from_text(network) {
            Ok(network) => Ok(Some(network)),
            Err(error) => Err(Self::expected(text, error.split_once("; ").map_or("", |(_, remedy)| remedy))),
        };
        if let Some(port) = text.strip_prefix(':').filter(|rest| !rest.contains(':')) {
            return Ok(Self { network: None, port: port_of(port)? });
        }
        if let Some((network, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            return Ok(Self { network: network_of(network)?, port: port_of(port)? });
        }
        match text.split_once(':') {
            Some((network, port)) if !port.contains(':') => {
                Ok(Self { network: network_of(network)?, port: port_of(port)? })
            }
            // No colon, or several: an address of IPv6 without a port.
            Some(_) | None => Ok(Self { network: network_of(text)?, port: None }),
        }
    }
}

impl FromText for Cidr {
    fn words() -> Cow<'static, str> {
        "a network such as 10.0.0.0/8 or 2001:db8::/32".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| Self::expected(text, ""))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(bits) => match bits.parse::<u8>() {
                Ok(bits @ 0..=128) if bits <= most => bits,
                _ => {
                    return Err(Self::expected(text, &format!("the prefix length is a number from 0 to {most}")));
                }
            },
        };
        let network = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        if network != address {
            let remedy = format!("bits beyond the prefix are set: write {network}/{prefix}, or {address} for one host");
            return Err(Self::expected(text, &remedy));
        }
        Ok(Self { address, prefix })
    }
}

impl FromText for HeaderName {
    fn words() -> Cow<'static, str> {
        "a header name such as x-request-id".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with(':') {
            return Err(Self::expected(text, "pseudo-headers are matched and changed by fields of their own"));
        }
        Self::from_str(text).map_err(|_| Self::expected(text, "letters, digits and hyphens, no spaces"))
    }
}

impl FromText for Method {
    fn words() -> Cow<'static, str> {
        "a method such as GET".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        // RFC 9110 §9.1: methods are case-sensitive, so a lower-case one would silently never match.
        if upper != text && Self::from_str(&upper).is_ok() {
            return Err(Self::expected(text, &format!("methods are case-sensitive: write {upper}")));
        }
        Self::from_str(text).map_err(|_| Self::expected(text, ""))
    }
}

impl FromText for Template {
    fn words() -> Cow<'static, str> {
        "text, with variables such as %REQ(USER-AGENT)%".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        // Most values are a variable and nothing else: the place says it all.
        Self::parse(text).map_err(|error| if error.at == 0 { error.message } else { error.to_string() })
    }
}

/// A path, as far as it can be judged without knowing what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlPath(pub(crate) String);

impl FromText for UrlPath {
    fn words() -> Cow<'static, str> {
        "a path that begins with /".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(Self::expected(text, &format!("write {}", quoted(&format!("/{text}")))));
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(Self::expected(text, &format!("{bad:?} is written percent-encoded in a path")));
        }
        if text.contains('?') || text.contains('#') {
            return Err(Self::expected(text, "a path has no query and no fragment; match those with `query`"));
        }
        Ok(Self(text.to_owned()))
    }
}
