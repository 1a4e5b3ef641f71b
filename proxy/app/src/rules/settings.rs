//! What rules are wanted, validated.

use std::{fmt, net::IpAddr};

/// What rules are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where outgoing connections are sent; `None`: nowhere.
    pub outbound_port: Option<u16>,
    /// Where incoming connections are sent; `None`: nowhere.
    pub inbound_port: Option<u16>,
    /// How incoming connections are sent there.
    pub inbound_mode: InboundMode,
    /// The port on loopback by which the proxy proves that outgoing connections are captured, its own too; `None`: none.
    pub probe_port: Option<u16>,
    /// The proxy runs as one of these users.
    pub uids: Vec<u32>,
    /// The proxy marks its connections so (`capture.mark`).
    pub mark: Option<u32>,
    /// Outgoing connections to these ports are left alone.
    pub exclude_outbound_ports: Vec<u16>,
    /// Incoming connections to these ports are left alone.
    pub exclude_inbound_ports: Vec<u16>,
    /// Outgoing connections to these networks are left alone.
    pub exclude_outbound_cidrs: Vec<Network>,
    /// Incoming connections from these networks are left alone.
    pub exclude_inbound_cidrs: Vec<Network>,
    /// Connections of these users are left alone.
    pub exclude_users: Vec<u32>,
    /// For which address families.
    pub families: Families,
    /// By which programs.
    pub backend: Backend,
}

/// How incoming connections reach the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundMode {
    /// Their destination is rewritten.
    Redirect,
    /// They are given to the proxy's socket as they are, and answers to the clients' addresses find back to it.
    Tproxy,
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// Both; one that cannot be had is an error.
    Both,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

/// One address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// The programs that install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `nft` where it works, otherwise iptables.
    Auto,
    /// `nft`.
    Nft,
    /// `iptables-restore` and `ip6tables-restore`, or those of one kind.
    Iptables(&'static str),
}

/// A network: no bit of its address is set behind the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Settings that would do harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The proxy's own connections would be captured.
    #[error("how is the proxy's own traffic told from the application's? Write --uid, --mark or both")]
    NobodyExempt,
    /// The proxy as root exempts everything that runs as root.
    #[error(
        "--uid 0 would leave every process of root alone, the application too perhaps; run the proxy as a user of its own"
    )]
    RootExempt,
    /// Nothing is captured.
    #[error("nothing would be captured; write a port for --outbound-port or --inbound-port")]
    Nothing,
    /// Marked answers find back to the proxy.
    #[error("--inbound-mode tproxy needs --mark, the number of capture.mark in the proxy's configuration")]
    NoMark,
    /// It is how answers are routed.
    #[error("--mark {RETURN_MARK} is what the rules themselves mark answers with; choose another")]
    MarkTaken,
    /// One port for two things.
    #[error("the outbound port, the inbound port and the probe port must differ")]
    SamePorts,
}

/// The mark of packets that are to be delivered to the proxy whatever their address, and the routing table that does it.
pub(super) const RETURN_MARK: u32 = 1338;
/// See [`RETURN_MARK`].
pub(super) const RETURN_TABLE: u32 = 1338;

/// Addresses of IPv6 that mean something on one interface alone (RFC 4291 §2.5.6): as loopback, they are never captured on
/// their way out.
pub(super) const LINK_LOCAL: &str = "fe80::/10";

impl Settings {
    /// Whether these settings can be installed without harm. Lists come out in one order: what says the same is the same set.
    ///
    /// # Errors
    ///
    /// What is wrong, and the remedy.
    pub fn validate(mut self) -> Result<Self, SettingsError> {
        ordered(&mut self.uids);
        ordered(&mut self.exclude_outbound_ports);
        ordered(&mut self.exclude_inbound_ports);
        ordered(&mut self.exclude_outbound_cidrs);
        ordered(&mut self.exclude_inbound_cidrs);
        ordered(&mut self.exclude_users);
        let tproxy = self.inbound_mode == InboundMode::Tproxy && self.inbound_port.is_some();
        let ports = [self.outbound_port, self.inbound_port, self.probe_port.filter(|_| self.outbound_port.is_some())];
        let same = |at: usize, other: usize| ports[at].is_some() && ports[at] == ports[other];
        match &self {
            settings if settings.outbound_port.is_none() && settings.inbound_port.is_none() => {
                Err(SettingsError::Nothing)
            }
            settings if settings.uids.is_empty() && settings.mark.is_none() => Err(SettingsError::NobodyExempt),
            settings if settings.uids.contains(&0) => Err(SettingsError::RootExempt),
            settings if tproxy && settings.mark.is_none() => Err(SettingsError::NoMark),
            settings if settings.mark == Some(RETURN_MARK) => Err(SettingsError::MarkTaken),
            _ if same(0, 1) || same(1, 2) || same(0, 2) => Err(SettingsError::SamePorts),
            _ => Ok(self),
        }
    }
}

fn ordered<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            outbound_port: Some(15_001),
            inbound_port: Some(15_006),
            inbound_mode: InboundMode::Redirect,
            probe_port: Some(15_099),
            uids: Vec::new(),
            mark: None,
            exclude_outbound_ports: Vec::new(),
            // `admin.probes`: a kubelet speaks no mutual TLS.
            exclude_inbound_ports: vec![15_020],
            exclude_outbound_cidrs: Vec::new(),
            exclude_inbound_cidrs: Vec::new(),
            exclude_users: Vec::new(),
            families: Families::Both,
            backend: Backend::Auto,
        }
    }
}

impl Families {
    pub(super) fn each(self) -> impl Iterator<Item = Family> {
        let (four, six) = match self {
            Self::Both => (true, true),
            Self::Ipv4 => (true, false),
            Self::Ipv6 => (false, true),
        };
        four.then_some(Family::Ipv4).into_iter().chain(six.then_some(Family::Ipv6))
    }
}

impl Family {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    pub(super) fn iptables(self) -> &'static str {
        match self {
            Self::Ipv4 => "iptables-restore",
            Self::Ipv6 => "ip6tables-restore",
        }
    }
}

impl Network {
    pub(super) fn is_of(self, family: Family) -> bool {
        self.address.is_ipv4() == (family == Family::Ipv4)
    }
}

impl std::str::FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WORDS: &str = "write a network as 10.0.0.0/8 or 2001:db8::/32";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| WORDS)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), |bits| bits.parse().map_err(|_| WORDS))?;
        if prefix > most {
            return Err(WORDS);
        }
        let address = match address {
            IpAddr::V4(address) => {
                IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into())
            }
            IpAddr::V6(address) => {
                IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
            }
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
