//! Why a request did not simply end well, in Envoy's words, and who ended it.
//!
//! Set by the stages on a [`Record`](super::Record), printed in the access log, used as a label by `respond`.

use std::fmt;

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// One reason, with Envoy's meaning and short code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ResponseFlag { $($(#[$doc])* $name,)* }

        impl ResponseFlag {
            /// Every flag, in the order in which a set is printed.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Envoy's short code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

flags! {
    /// No endpoint of the cluster may be used.
    NoHealthyUpstream = "UH",
    /// The connection to upstream could not be made.
    UpstreamConnectionFailure = "UF",
    /// A limit of the cluster is used up.
    UpstreamOverflow = "UO",
    /// No route matches.
    NoRoute = "NR",
    /// Upstream closed the connection before its response ended.
    UpstreamConnectionTermination = "UC",
    /// Upstream's response did not begin in time.
    UpstreamTimeout = "UT",
    /// Upstream broke its protocol.
    UpstreamProtocolError = "UPE",
    /// Downstream closed the connection or reset the stream before its response ended.
    DownstreamConnectionTermination = "DC",
    /// Downstream broke its protocol.
    DownstreamProtocolError = "DPE",
    /// The proxy reset the request to upstream.
    LocalReset = "LR",
    /// Upstream reset the stream.
    UpstreamRemoteReset = "UR",
    /// The last allowed attempt failed too.
    RetryLimitExceeded = "URX",
    /// Silence lasted longer than the route's idle timeout.
    StreamIdleTimeout = "SI",
    /// The request lasted longer than it may.
    DurationTimeout = "DT",
    /// The route's cluster does not exist.
    NoCluster = "NC",
    /// The cluster's name has no address.
    DnsFailure = "DF",
    /// Rules deny it.
    Unauthorized = "UAEX",
    /// A filter failed, or made a message that cannot be sent. Envoy has no word for it.
    FilterFailed = "FF",
    /// Memory is short.
    OverloadManager = "OM",
    /// A rate limit is used up.
    RateLimited = "RL",
}

/// A set of [`ResponseFlag`]s; prints as `UF,URX`, and `-` when empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseFlags(u32);

const _: () = assert!(ResponseFlag::ALL.len() <= u32::BITS as usize);

impl ResponseFlags {
    /// Adds a flag.
    pub fn insert(&mut self, flag: ResponseFlag) {
        self.0 |= 1 << flag as u8;
    }

    /// Whether the flag is set.
    #[must_use]
    pub const fn contains(self, flag: ResponseFlag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags set, in the order of [`ResponseFlag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        ResponseFlag::ALL.iter().copied().filter(move |flag| self.contains(*flag))
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, flag) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(flag.code())?;
        }
        Ok(())
    }
}

/// Who ended a request that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client.
    Downstream,
    /// The server.
    Upstream,
    /// The proxy itself: a limit, a deadline, a drain.
    Proxy,
}

impl Blame {
    /// Who is to blame where the proxy cut a connection for this: the client where it broke a rule.
    #[must_use]
    pub const fn of_cut(flag: ResponseFlag) -> Self {
        match flag {
            ResponseFlag::DownstreamProtocolError => Self::Downstream,
            _ => Self::Proxy,
        }
    }

    /// In the access log's words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_and_every_flag_prints_alone() {
        let mut seen = HashSet::new();
        for flag in ResponseFlag::ALL {
            let mut set = ResponseFlags::default();
            set.insert(*flag);
            assert_eq!(set.to_string(), flag.code());
            assert_eq!(set.iter().collect::<Vec<_>>(), [*flag]);
            assert!(seen.insert(flag.code()));
        }
    }

    #[test]
    fn a_set_prints_in_order_and_an_empty_one_as_a_dash() {
        let mut set = ResponseFlags::default();
        assert_eq!(set.to_string(), "-");
        set.insert(ResponseFlag::RetryLimitExceeded);
        set.insert(ResponseFlag::UpstreamConnectionFailure);
        set.insert(ResponseFlag::UpstreamConnectionFailure);
        assert_eq!(set.to_string(), "UF,URX");
    }
}
