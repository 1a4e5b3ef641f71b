//! What each kind of frame may be, and how often.

use super::{Block, FrameGuard, HEADERS_WEIGHT, Look};
use crate::downstream::guard::http2::{
    Breach, Counted, Credit,
    head::{
        ACK, END_HEADERS, END_STREAM, GOAWAY, HAS_PRIORITY, Head, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
        SETTINGS, begins_with_pseudo,
    },
};

/// Times as many RST_STREAM are borne that answers have earned: by default 1,000, and 33 a second, as Envoy bears.
const EARNED: u32 = 2;

impl FrameGuard {
    #[inline]
    pub(super) fn data(&mut self, head: Head, clock: impl Fn() -> u32) -> Result<(), Breach> {
        // Within a header block h2 refuses it.
        if self.block.is_none() && self.streams.is_ended(head.stream) {
            return Err(Breach::StreamClosed);
        }
        if head.flags & END_STREAM != 0 {
            self.streams.end(head.stream);
        }
        if !head.is_empty_data() {
            return Ok(());
        }
        let counted = self.empty_data.count(self.limits.empty_data, self.limits.window, clock);
        borne(counted, Breach::EmptyData)
    }

    #[inline]
    pub(super) fn headers(&mut self, head: Head, opens: bool) -> Result<(), Breach> {
        self.weight = self.weight.wrapping_add(HEADERS_WEIGHT - 1);
        self.trailers = !opens;
        if opens {
            self.opened = self.opened.wrapping_add(1);
            self.streams.open(head.stream);
        } else if self.block.is_none() && self.streams.is_over(head.stream) {
            return Err(Breach::StreamClosed);
        }
        if head.flags & END_STREAM != 0 {
            self.streams.end(head.stream);
        }
        if self.trailers || head.flags & HAS_PRIORITY != 0 {
            self.look = Look::Headers;
        }
        if head.flags & END_HEADERS == 0 {
            self.block = Some(Block { continuations: 0, bytes: head.length });
        }
        Ok(())
    }

    #[cold]
    pub(super) fn continuation(&mut self, head: Head) -> Result<(), Breach> {
        // Without an open block h2 refuses it.
        let Some(block) = &mut self.block else {
            return Ok(());
        };
        block.continuations += 1;
        block.bytes = block.bytes.saturating_add(head.length);
        if block.continuations > self.limits.continuations {
            return Err(Breach::Continuations);
        }
        if block.bytes > self.limits.block_bytes {
            return Err(Breach::HeaderBlockBytes);
        }
        if head.flags & END_HEADERS != 0 {
            self.block = None;
        }
        Ok(())
    }

    pub(super) fn rare(&mut self, head: Head, credit: &mut Credit, clock: impl Fn() -> u32) -> Result<(), Breach> {
        let limits = &self.limits;
        match head.kind {
            RST_STREAM => {
                sized(head.length == 4)?;
                self.unread.reset(head.stream);
                // Some clients answer each frame that comes late on a stream that they gave up: that costs nothing here.
                if self.streams.reset(head.stream) {
                    return borne(self.priorities.count(limits.priorities, limits.window, clock), Breach::Priorities);
                }
                if Credit::take(&mut credit.resets) {
                    // It may be another stream's, so there is a bound to them as well.
                    let most = limits.resets.saturating_mul(EARNED);
                    return borne(self.earned_resets.count(most, limits.window, clock), Breach::ResetsReceived);
                }
                borne(self.resets.count(limits.resets, limits.window, clock), Breach::ResetsReceived)
            }
            SETTINGS => {
                sized(if head.flags & ACK != 0 { head.length == 0 } else { head.length.is_multiple_of(6) })?;
                self.look = if head.stream == 0 { Look::Settings } else { Look::Nothing };
                if head.flags & ACK != 0 && Credit::take(&mut credit.acks) {
                    return Ok(());
                }
                borne(self.settings.count(limits.settings, limits.window, clock), Breach::Settings)
            }
            PING => {
                sized(head.length == 8)?;
                if head.flags & ACK != 0 && Credit::take(&mut credit.pongs) {
                    return Ok(());
                }
                // Who measures bandwidth (grpc-go, C core) asks once for each DATA that finds no other question under way.
                if Credit::take(&mut credit.for_data) {
                    return Ok(());
                }
                borne(self.pings.count(limits.pings, limits.window, clock), Breach::Pings)
            }
            PUSH_PROMISE => Err(Breach::PushPromise),
            kind => {
                match kind {
                    PRIORITY => sized(head.length == 5)?,
                    GOAWAY => sized(head.length >= 8)?,
                    _ => {}
                }
                borne(self.priorities.count(limits.priorities, limits.window, clock), Breach::Priorities)
            }
        }
    }

    #[cold]
    pub(super) fn look_at_settings(&mut self, mut here: &[u8]) -> Result<(), Breach> {
        while !here.is_empty() {
            let taken = self.collect(here, 6);
            here = &here[taken..];
            if self.filled == 6 {
                self.filled = 0;
                let [a, b, value @ ..] = self.scratch;
                let value = u32::from_be_bytes([value[0], value[1], value[2], value[3]]);
                // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
                if (a, b) == (0, 4) && value > 0x7fff_ffff {
                    return Err(Breach::InitialWindow);
                }
            }
        }
        Ok(())
    }

    /// Pad length (1), dependency and weight (5), then three bytes of the first field: nine at most.
    #[cold]
    pub(super) fn look_at_headers(&mut self, here: &[u8], left: u32) -> Result<(), Breach> {
        let padded = usize::from(self.head.flags & PADDED != 0);
        let weighted = if self.head.flags & HAS_PRIORITY != 0 { 5 } else { 0 };
        let want = padded + weighted + 3;
        self.collect(here, want);
        let known = &self.scratch[..usize::from(self.filled)];
        let ends = left as usize <= here.len();
        if known.len() < want && !ends {
            return Ok(());
        }
        self.look = Look::Nothing;
        if let (5, Some(priority)) = (weighted, known.get(padded..padded + 4)) {
            let dependency = u32::from_be_bytes([priority[0], priority[1], priority[2], priority[3]]) & 0x7fff_ffff;
            if dependency == self.head.stream {
                return Err(Breach::SelfDependency);
            }
        }
        match known.get(padded + weighted..) {
            Some(field) if self.trailers && begins_with_pseudo(field) => Err(Breach::TrailerPseudo),
            Some(_) | None => Ok(()),
        }
    }

    #[inline]
    pub(super) fn window_update(
        &mut self,
        head: Head,
        credit: &mut Credit,
        clock: impl Fn() -> u32,
    ) -> Result<(), Breach> {
        sized(head.length == 4)?;
        if Credit::take(&mut credit.for_data) {
            return Ok(());
        }
        let limits = &self.limits;
        let counted = self.window_updates.count(limits.window_updates, limits.window, clock);
        borne(counted, Breach::WindowUpdates)
    }
}

fn sized(fits: bool) -> Result<(), Breach> {
    if fits { Ok(()) } else { Err(Breach::FrameSize) }
}

fn borne(counted: Counted, breach: Breach) -> Result<(), Breach> {
    match counted {
        Counted::Borne => Ok(()),
        Counted::Exceeded => Err(breach),
    }
}
