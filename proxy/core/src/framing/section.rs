//! Lines and fields: what heads and trailer sections have in common.
//!
//! A section is looked at line by line, each once its LF is there, so that the verdict never depends on how the bytes
//! were cut into reads. Sizes are judged first, from the place of the LF alone.

use memchr::memchr;

use super::class;
use super::fault::Fault;
use super::layout::Layout;
use super::limits::Underscores;

/// Longer names than this have no use, and the codec's name type has a bound of its own.
const MAX_NAME: usize = 256;

/// How far a section has been looked at. Positions count from the first byte of the section's slice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section {
    /// Where the line being looked at begins.
    line: usize,
    /// Up to here there is no LF after `line`.
    scanned: usize,
    fields: u16,
}

/// What a section may hold, and what to say when it holds more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Where the section must have ended, counted from the slice's first byte.
    pub(super) end: usize,
    pub(super) too_large: Fault,
    pub(super) fields: u16,
    pub(super) too_many: Fault,
    pub(super) underscores: Underscores,
}

/// One field line, its value trimmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// What comes next in a section.
pub(super) enum Next<'a> {
    Field(Field<'a>),
    /// The empty line: the section is this many bytes long.
    End(usize),
    /// The line is not all there.
    Partial,
}

impl Section {
    /// The bytes of the next line up to its LF, or `None` while that has not come. Does not move on.
    #[inline(always)]
    pub(super) fn peek<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match memchr(b'\n', &bytes[self.scanned..]) {
            Some(at) => Some(&bytes[self.line..self.scanned + at]),
            None => {
                self.scanned = bytes.len();
                None
            }
        }
    }

    /// Moves past a line that [`peek`](Self::peek) gave.
    #[inline(always)]
    pub(super) fn pass(&mut self, line: &[u8]) {
        self.line += line.len() + 1;
        self.scanned = self.line;
    }

    /// Where the line being looked at begins.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.line
    }

    /// The next field line, looked at whole, and its place noted.
    #[inline(always)]
    pub(super) fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        bounds: &Bounds,
        layout: &mut Layout,
    ) -> Result<Next<'a>, Fault> {
        let start = self.line;
        let Some(line) = self.peek(bytes) else {
            return if bytes.len() > bounds.end { Err(bounds.too_large) } else { Ok(Next::Partial) };
        };
        self.pass(line);
        if self.line > bounds.end {
            return Err(bounds.too_large);
        }
        let [line @ .., b'\r'] = line else {
            return Err(Fault::BareLf);
        };
        if line.is_empty() {
            return Ok(Next::End(self.line));
        }
        if self.fields == bounds.fields {
            return Err(bounds.too_many);
        }
        self.fields += 1;
        let field = field(line, bounds.underscores)?;
        // The value lies within the line: their distance is its place.
        let value = start + (field.value.as_ptr() as usize - line.as_ptr() as usize);
        layout.field(start, field.name.len(), value..value + field.value.len());
        Ok(Next::Field(field))
    }
}

#[inline(always)]
fn field(line: &[u8], underscores: Underscores) -> Result<Field<'_>, Fault> {
    let colon = class::span(line, class::TOKEN);
    if colon == 0 || line.get(colon) != Some(&b':') {
        return Err(bad_name(line, colon));
    }
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if colon > MAX_NAME {
        return Err(Fault::FieldNameTooLong);
    }
    if underscores == Underscores::Reject && memchr(b'_', name).is_some() {
        return Err(Fault::Underscore);
    }
    // The whole line is looked at: the name and colon pass, and longer runs are quicker by the word.
    if !class::is_field_value(line) {
        return Err(if memchr(b'\r', value).is_some() { Fault::BareCr } else { Fault::ControlByte });
    }
    Ok(Field { name, value: class::trim(value) })
}

#[cold]
fn bad_name(line: &[u8], at: usize) -> Fault {
    match (at, line.get(at)) {
        (0, Some(b' ' | b'\t')) => Fault::ObsFold,
        (_, Some(b' ' | b'\t')) => Fault::SpaceBeforeColon,
        (_, Some(b'\r')) => Fault::BareCr,
        (_, Some(0..=0x1f | 0x7f)) => Fault::ControlByte,
        (_, Some(_) | None) => Fault::BadFieldName,
    }
}
