//! [`SentFrames`]: follows the frames we send; [`Credit`]: what they earn the peer.

use super::{
    Breach, Counted, FrameLimits, Unread, Window,
    head::{ACK, DATA, END_STREAM, GOAWAY, HEADERS, Head, PING, RST_STREAM, SETTINGS},
};
use std::rc::Rc;

/// Frames that what we sent has earned the peer: they are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credit {
    /// WINDOW_UPDATE and PING.
    pub(super) for_data: u32,
    /// RST_STREAM: whoever has seen an answer begin may have enough of it.
    pub(super) resets: u32,
    /// PING with ACK: one for each that we sent.
    pub(super) pongs: u32,
    /// SETTINGS with ACK: likewise.
    pub(super) acks: u32,
}

impl Credit {
    /// Takes one of these, if there is one.
    #[inline]
    pub(super) fn take(earned: &mut u32) -> bool {
        let one = earned.checked_sub(1);
        *earned = one.unwrap_or(0);
        one.is_some()
    }
}

/// Follows the frames we send: they earn the peer [`Credit`], RST_STREAM that blames the peer is counted.
#[derive(Debug)]
pub struct SentFrames {
    limits: Rc<FrameLimits>,
    /// Bytes to come of the payload that passes, unless collected.
    left: u32,
    /// A frame header, then the payload of RST_STREAM or the first eight bytes of GOAWAY's.
    scratch: [u8; 17],
    filled: u8,
    want: u8,
    resets: Window,
    /// Answers to what came for streams that h2 has forgotten.
    late: Window,
    blamed: u32,
    /// Whether GOAWAY with an error was said.
    refused: bool,
    /// Told what is written.
    unread: Rc<Unread>,
}

/// What is wanted of RST_STREAM: all of it.
const RESET: u8 = 13;

/// What is wanted of GOAWAY: the last stream and the error code.
const GO_AWAY: u8 = 17;

/// WINDOW_UPDATE frames that a DATA frame earns: of its stream and of the connection. Go's `net/http` sends a pair for every
/// 4 KiB read, four for a frame of 16 KiB; Envoy bears 20 (`max_inbound_window_update_frames_per_data_frame_sent`).
const FOR_DATA: u32 = 20;

/// WINDOW_UPDATE and PING frames kept in credit; more than a peer owes for what one window of ours can hold.
const MOST_CREDIT: u32 = 1 << 16;

/// RST_STREAM kept in credit: as many streams are open at once at most, with many a proxy's settings.
const MOST_RESETS: u32 = 1_000;

/// Frames that may come late for each reset that blames the peer: a refused upload has a window of them under way.
const LATE: u32 = 20;

impl SentFrames {
    /// Before the first byte.
    #[must_use]
    pub fn new(limits: Rc<FrameLimits>) -> Self {
        Self {
            limits,
            left: 0,
            scratch: [0; 17],
            filled: 0,
            want: 9,
            resets: Window::default(),
            late: Window::default(),
            blamed: 0,
            refused: false,
            unread: Rc::default(),
        }
    }

    /// With somebody who is told what is written.
    #[must_use]
    pub fn telling(self, unread: &Rc<Unread>) -> Self {
        Self { unread: Rc::clone(unread), ..self }
    }

    /// Streams reset by us for the peer's errors so far, what h2 itself refuses included.
    #[must_use]
    pub fn blamed(&self) -> u32 {
        self.blamed
    }

    /// Whether GOAWAY has ended the connection for an error.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// Follows `bytes`, the next sent. Heads that begin an answer, DATA and what must be acknowledged add to `credit`.
    ///
    /// # Errors
    ///
    /// [`Breach::ResetsSent`], every time the limit is passed; the bytes are sent all the same.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        credit: &mut Credit,
        clock: impl Fn() -> u32 + Copy,
    ) -> Result<(), Breach> {
        let mut result = Ok(());
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = bytes.len().min(self.left as usize);
                self.left -= here as u32;
                bytes = &bytes[here..];
                continue;
            }
            let filled = usize::from(self.filled);
            let taken = bytes.len().min(usize::from(self.want) - filled);
            self.scratch[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken as u8;
            bytes = &bytes[taken..];
            if self.filled < self.want {
                continue;
            }
            match self.want {
                9 => self.begin(credit),
                RESET => result = result.and(self.reset(clock)),
                _ => self.go_away(),
            }
        }
        result
    }

    /// If `bytes`, the next to be sent, end in a GOAWAY with PROTOCOL_ERROR and nothing more, as h2 says it: the last
    /// stream it names.
    #[must_use]
    #[inline]
    pub fn ends_in_protocol_error(&self, bytes: &[u8]) -> Option<u32> {
        match bytes.last_chunk::<17>() {
            Some([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 1])
                if self.frame_begins(bytes, bytes.len() - 17) =>
            {
                Some(u32::from_be_bytes([*a, *b, *c, *d]))
            }
            _ => None,
        }
    }

    /// Whether a frame begins there: the same bytes may stand within DATA.
    #[cold]
    fn frame_begins(&self, bytes: &[u8], place: usize) -> bool {
        let mut at = self.left as usize;
        while self.filled == 0
            && at < place
            && let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<9>())
        {
            at += 9 + Head::parse(head).length as usize;
        }
        self.filled == 0 && at == place
    }

    #[inline]
    fn begin(&mut self, credit: &mut Credit) {
        let mut head = [0; 9];
        head.copy_from_slice(&self.scratch[..9]);
        let head = Head::parse(&head);
        if self.unread.keeps() {
            self.unread.sent(&self.scratch);
        }
        if head.kind == RST_STREAM && head.length == 4 {
            self.want = RESET;
            return;
        }
        if head.kind == GOAWAY && head.length >= 8 {
            self.want = GO_AWAY;
            return;
        }
        if head.kind == DATA {
            credit.for_data = (credit.for_data + FOR_DATA).min(MOST_CREDIT);
        } else if head.kind == HEADERS && head.flags & END_STREAM == 0 {
            credit.resets = (credit.resets + 1).min(MOST_RESETS);
        } else if head.kind == PING && head.flags & ACK == 0 {
            credit.pongs = credit.pongs.saturating_add(1);
        } else if head.kind == SETTINGS && head.flags & ACK == 0 {
            credit.acks = credit.acks.saturating_add(1);
        }
        self.left = head.length;
        self.filled = 0;
    }

    fn go_away(&mut self) {
        self.filled = 0;
        self.want = 9;
        // What stands behind the code is debug data (RFC 9113 §6.8).
        self.left = u32::from_be_bytes([0, self.scratch[0], self.scratch[1], self.scratch[2]]) - 8;
        self.refused |= self.scratch[13..] != [0; 4];
    }

    fn reset(&mut self, clock: impl Fn() -> u32) -> Result<(), Breach> {
        self.filled = 0;
        self.want = 9;
        let code = u32::from_be_bytes([self.scratch[9], self.scratch[10], self.scratch[11], self.scratch[12]]);
        // NO_ERROR, INTERNAL_ERROR, CANCEL and the like are ours or nobody's fault (RFC 9113 §7).
        let counted = match code {
            // PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM.
            1 | 3 | 6 | 7 | 11 => {
                self.blamed = self.blamed.saturating_add(1);
                self.resets.count(self.limits.reset_by_us, self.limits.window, clock)
            }
            // STREAM_CLOSED. Whoever sends on a stream that it has ended is refused before h2 looks: this was under way as we
            // answered, or is sent all the same for ever.
            5 => self.late.count(self.limits.reset_by_us.saturating_mul(LATE), self.limits.window, clock),
            _ => return Ok(()),
        };
        match counted {
            Counted::Borne => Ok(()),
            Counted::Exceeded => Err(Breach::ResetsSent),
        }
    }
}
