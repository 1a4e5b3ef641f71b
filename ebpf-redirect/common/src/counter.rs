//! Counters, per CPU: nothing that happens to a connection goes uncounted.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// One of the programs' counters: an index into the map `COUNTERS`.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Counter { $($(#[$doc])* $name,)+ }

        /// All counters, in the order of their indices.
        pub const COUNTERS: &[Counter] = &[$(Counter::$name,)+];

        impl Counter {
            /// Its name in metrics and status.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

counters! {
    /// Ends of connections between the proxy and something local.
    Eligible = "eligible",
    /// Ends taken into the socket map.
    Enrolled = "enrolled",
    /// Ends that the socket map did not take.
    EnrolFailed = "enrol_failed",
    /// Ends left alone because they speak MPTCP.
    SkippedMptcp = "skipped_mptcp",
    /// Enrolled ends that are closed.
    Closed = "closed",
    /// Messages handed over.
    RedirectedMessages = "redirected_messages",
    /// Their bytes.
    RedirectedBytes = "redirected_bytes",
    /// Messages through TCP because the switch is off.
    PassedOff = "passed_off",
    /// Because the other end is not enrolled (yet).
    PassedNoPeer = "passed_no_peer",
    /// Because the other end has left the map.
    PassedGone = "passed_gone",
    /// Because earlier bytes are in TCP's hands still.
    PassedOrder = "passed_order",
    /// Because the reader is slow.
    PassedSlow = "passed_slow",
    /// Because they are large.
    PassedLarge = "passed_large",
    /// Because the proxy's end did not say that it is ready for redirected ones.
    PassedUnready = "passed_unready",
    /// Times that the proxy wanted to send through TCP while redirected bytes waited unread, and was told to wait.
    Held = "held",
    /// Bytes of all messages passed.
    PassedBytes = "passed_bytes",
    /// Enrolled sockets of which nothing is known.
    PassedUnknown = "passed_unknown",
    /// Events that found no room.
    EventsDropped = "events_dropped",
    /// Outbound connections taken to the proxy.
    Captured = "captured",
    /// Outbound connections that an exclusion left alone.
    CaptureExcluded = "capture_excluded",
    /// Outbound connections left alone since no proxy has claimed their network namespace.
    CaptureUnclaimed = "capture_unclaimed",
    /// Original destinations told to the proxy.
    OriginalsTold = "originals_told",
    /// Claims to what comes into a network namespace.
    Claims = "claims",
    /// Claims that the programs did not take: not by the proxy, not understood, or for no pod's namespace.
    ClaimsRefused = "claims_refused",
    /// Claims that there was no room for.
    ClaimsFull = "claims_full",
    /// First packets of inbound connections that were given to a claimed listener.
    InboundCaptured = "inbound_captured",
    /// Those that an excluded port left alone.
    InboundExcluded = "inbound_excluded",
    /// Those that were refused since the claim's listener is not there.
    InboundRefused = "inbound_refused",
}
