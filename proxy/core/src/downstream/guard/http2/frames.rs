//! [`FrameGuard`]: follows the frames a client sends. What each kind of them may be: [`kinds`].

mod kinds;

use super::{
    Breach, Credit, FrameLimits, Window,
    blocks::Blocks,
    head::{ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Head, SETTINGS, WINDOW_UPDATE},
    streams::Streams,
    unread::Unread,
};
use crate::io::{FLAGS, Gone, KIND, NOTHING};
use std::rc::Rc;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where in the bytes of a slice the guard stopped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Bytes of the slice before the frame (or the part of it in this slice) that broke the rule.
    pub at: usize,
    /// The rule.
    pub breach: Breach,
}

/// Follows the frames a client sends, fed with arbitrary slices of the byte stream from its first byte on.
#[derive(Debug)]
pub struct FrameGuard {
    limits: Rc<FrameLimits>,
    step: Step,
    /// The frame whose payload is passing.
    head: Head,
    /// The first bytes of a frame header, or of a payload looked into.
    scratch: [u8; 9],
    filled: u8,
    look: Look,
    /// Whether the HEADERS looked into does not open its stream.
    trailers: bool,
    started: bool,
    /// The header block that awaits END_HEADERS.
    block: Option<Block>,
    streams: Streams,
    /// Those that we have reset.
    gone: Rc<Gone>,
    /// To be told which streams the client has reset.
    unread: Rc<Unread>,
    /// What of the last slice h2 is to see otherwise.
    marks: Vec<Mark>,
    /// What of the last slice h2 may refuse to decode.
    blocks: Blocks,
    /// Whether the payload that passes belongs to them.
    kept: Kept,
    /// Frames begun, HEADERS weighing [`HEADERS_WEIGHT`]; wraps.
    weight: u32,
    /// Streams that a HEADERS opened, as far as h2 accepts them.
    opened: u32,
    /// Frames begun outside a header block; wraps.
    begun: u32,
    resets: Window,
    earned_resets: Window,
    pings: Window,
    settings: Window,
    empty_data: Window,
    window_updates: Window,
    priorities: Window,
}

/// How many other frames a HEADERS counts for in [`FrameGuard::weight`]: its materialised fields are what memory goes to.
const HEADERS_WEIGHT: u32 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This many bytes of the preface came.
    Preface(u8),
    /// Within, or before, a frame header.
    Head,
    /// This many bytes of the payload are to come.
    Payload(u32),
}

/// What h2 is to see in place of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The flags of a frame that it is to throw away are there: see [`Gone`].
    Last(usize),
    /// The kind of DATA without a byte is there, which moves nothing: h2 counts it over the life of a connection and ends that at the
    /// hundred-and-first, and our own count is of a time.
    Nothing(usize),
}

impl Mark {
    /// Changes the slice that was fed last.
    pub(super) fn change(self, slice: &mut [u8]) {
        match self {
            Self::Last(at) => slice[at] |= END_STREAM,
            Self::Nothing(at) => slice[at] = NOTHING,
        }
    }
}

/// What of a payload is looked into. These frames are rare or their look ends after a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    /// Each setting (6 bytes).
    Settings,
    /// The head of HEADERS: pad length, dependency, and the first field of trailers.
    Headers,
}

/// Whether a payload is kept until h2 has looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    No,
    Yes,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    continuations: u32,
    bytes: u32,
}

impl FrameGuard {
    /// A guard before the connection's first byte.
    #[must_use]
    pub fn new(limits: Rc<FrameLimits>) -> Self {
        Self {
            limits,
            step: Step::Preface(0),
            head: Head { length: 0, kind: 0, flags: 0, stream: 0 },
            scratch: [0; 9],
            filled: 0,
            look: Look::Nothing,
            trailers: false,
            started: false,
            block: None,
            streams: Streams::default(),
            gone: Rc::default(),
            unread: Rc::default(),
            marks: Vec::new(),
            blocks: Blocks::default(),
            kept: Kept::No,
            weight: 0,
            opened: 0,
            begun: 0,
            resets: Window::default(),
            earned_resets: Window::default(),
            pings: Window::default(),
            settings: Window::default(),
            empty_data: Window::default(),
            window_updates: Window::default(),
            priorities: Window::default(),
        }
    }

    /// Follows `bytes`, the next of the stream. `credit` holds what frames sent have earned;
    /// `clock` gives milliseconds since the connection began.
    ///
    /// # Errors
    ///
    /// The first rule broken. The guard must not be fed any more after that.
    pub fn feed(&mut self, bytes: &[u8], credit: &mut Credit, clock: impl Fn() -> u32 + Copy) -> Result<(), Stopped> {
        self.blocks.turn(self.block.is_some() || (self.kept == Kept::Yes && self.step != Step::Head));
        self.marks.clear();
        let watched = !self.gone.is_empty();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (taken, result) = match self.step {
                Step::Preface(matched) => (self.preface(matched, rest), Ok(())),
                Step::Head if self.filled == 0 && rest.len() >= 9 => {
                    let mut head = [0; 9];
                    head.copy_from_slice(&rest[..9]);
                    let head = Head::parse(&head);
                    self.mark(head, at, 0, watched);
                    (9, self.begin(head, credit, clock))
                }
                Step::Head => {
                    let before = usize::from(self.filled);
                    let taken = self.collect(rest, 9);
                    if self.filled < 9 {
                        (taken, Ok(()))
                    } else {
                        self.filled = 0;
                        let head = Head::parse(&self.scratch);
                        self.mark(head, at, before, watched);
                        (taken, self.begin(head, credit, clock))
                    }
                }
                Step::Payload(left) => {
                    let here = rest.len().min(left as usize);
                    if self.kept == Kept::Yes {
                        self.blocks.push(&rest[..here]);
                    }
                    let result = match self.look {
                        Look::Nothing => Ok(()),
                        Look::Settings => self.look_at_settings(&rest[..here]),
                        Look::Headers => self.look_at_headers(&rest[..here], left),
                    };
                    let left = left - here as u32;
                    self.step = if left == 0 { Step::Head } else { Step::Payload(left) };
                    if left == 0 {
                        self.filled = 0;
                        self.finish_block();
                    }
                    (here, result)
                }
            };
            if let Err(breach) = result {
                return Err(Stopped { at, breach });
            }
            at += taken;
        }
        Ok(())
    }

    /// To be told which streams were reset.
    #[must_use]
    pub fn gone(&self) -> &Rc<Gone> {
        &self.gone
    }

    /// Told which streams were reset; to be told what is written.
    #[must_use]
    pub fn unread(&self) -> &Rc<Unread> {
        &self.unread
    }

    /// What of the slice that was fed last h2 is to see otherwise.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Notes what is to be changed of the frame that begins so, of whose header `before` bytes came with an earlier slice: where that
    /// would have to be changed it stays as it is.
    #[inline]
    fn mark(&mut self, head: Head, at: usize, before: usize, watched: bool) {
        if head.kind != DATA {
            return;
        }
        let mark = if head.is_empty_data() && self.streams.is_open(head.stream) {
            KIND.checked_sub(before).map(|place| Mark::Nothing(at + place))
        } else if watched && self.gone.concerns(head) {
            FLAGS.checked_sub(before).map(|place| Mark::Last(at + place))
        } else {
            None
        };
        self.marks.extend(mark);
    }

    /// Whether the peer owes the end of a header block or of a frame other than DATA, and which: another number is
    /// another one.
    #[must_use]
    pub fn owed(&self) -> Option<u32> {
        let owes = match self.step {
            Step::Preface(_) => false,
            Step::Head => self.filled != 0 || self.block.is_some(),
            Step::Payload(_) => self.head.kind != DATA,
        };
        owes.then_some(self.begun)
    }

    /// Bytes that wait for the end which the peer owes: those of the header block so far, or those for which h2 has made
    /// room since it has seen the frame's head.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        match (self.owed(), &self.block) {
            (None, _) => 0,
            // As compressed, and the fields that h2 has made of it.
            (Some(_), Some(block)) => 2 * block.bytes as usize,
            (Some(_), None) => self.head.length as usize,
        }
    }

    /// Whether the first SETTINGS came whole.
    #[must_use]
    pub fn started(&self) -> bool {
        self.started && (self.step == Step::Head || self.head.kind != SETTINGS)
    }

    /// Frames begun so far, a HEADERS counting for several; wraps. Differences bound the work of one turn.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Streams that a HEADERS asked to open so far; wraps.
    #[must_use]
    pub fn opened(&self) -> u32 {
        self.opened
    }

    /// Whether h2's GOAWAY with PROTOCOL_ERROR, which names `processed` as the last stream, answers a header block of
    /// the last slice that cannot be decoded (RFC 9113 §4.3).
    #[must_use]
    pub fn undecodable(&self, processed: u32) -> bool {
        self.blocks.undecodable(processed)
    }

    /// A wrong preface is left to h2, which ends the connection there; nothing after it is read.
    fn preface(&mut self, matched: u8, rest: &[u8]) -> usize {
        let taken = rest.len().min(PREFACE.len() - usize::from(matched));
        let matched = matched + taken as u8;
        self.step = if usize::from(matched) == PREFACE.len() { Step::Head } else { Step::Preface(matched) };
        taken
    }

    /// The payload came whole.
    #[inline]
    fn finish_block(&mut self) {
        if self.kept == Kept::Yes && self.head.flags & END_HEADERS != 0 {
            self.blocks.finish();
        }
    }

    /// Moves bytes to the scratch until it holds `want`; returns how many.
    fn collect(&mut self, rest: &[u8], want: usize) -> usize {
        let filled = usize::from(self.filled);
        let taken = rest.len().min(want - filled);
        self.scratch[filled..filled + taken].copy_from_slice(&rest[..taken]);
        self.filled += taken as u8;
        taken
    }

    #[inline]
    fn begin(&mut self, head: Head, credit: &mut Credit, clock: impl Fn() -> u32) -> Result<(), Breach> {
        self.head = head;
        self.look = Look::Nothing;
        self.step = if head.length == 0 { Step::Head } else { Step::Payload(head.length) };
        self.weight = self.weight.wrapping_add(1);
        if self.block.is_none() {
            self.begun = self.begun.wrapping_add(1);
        }
        if head.length > self.limits.frame_bytes {
            return Err(Breach::FrameSize);
        }
        if !self.started {
            if head.kind != SETTINGS || head.flags & ACK != 0 {
                return Err(Breach::FirstFrame);
            }
            self.started = true;
        }
        let opens = head.kind == HEADERS && head.stream > self.streams.last();
        self.kept = match head.kind {
            HEADERS => Kept::Yes,
            CONTINUATION if self.block.is_some() => Kept::Yes,
            _ => Kept::No,
        };
        if head.kind != CONTINUATION || self.kept == Kept::No {
            self.blocks.frame(head, opens);
        }
        if head.length == 0 {
            self.finish_block();
        }
        match head.kind {
            DATA => self.data(head, clock),
            HEADERS => self.headers(head, opens),
            CONTINUATION => self.continuation(head),
            WINDOW_UPDATE => self.window_update(head, credit, clock),
            _ => self.rare(head, credit, clock),
        }
    }
}
