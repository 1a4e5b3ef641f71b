//! The lines of a watch, put together from whatever pieces arrive. Pure.

/// Bytes of one event: etcd keeps no object beyond 1.5 MiB, which JSON may write in twice as many.
pub(super) const MAX_LINE: usize = 4 << 20;
/// What is kept allocated between two events.
const KEPT: usize = 16 << 10;

/// Bytes that are no whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

/// A line is longer than any event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {MAX_LINE} bytes")]
pub(super) struct TooLong;

impl Lines {
    /// Takes a piece and hands over each line that is whole now, without its end; empty ones are passed over. What `each`
    /// returns first as an error ends it.
    ///
    /// # Errors
    /// What `each` says, or that a line is too long.
    pub(super) fn feed<E: From<TooLong>>(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&piece[..end], &piece[end + 1..]);
            piece = after;
            if self.rest.len() + line.len() > MAX_LINE {
                return Err(TooLong.into());
            }
            if self.rest.is_empty() {
                given(line, &mut each)?;
            } else {
                self.rest.extend_from_slice(line);
                given(&self.rest, &mut each)?;
                self.rest.clear();
                self.rest.shrink_to(KEPT);
            }
        }
        if self.rest.len() + piece.len() > MAX_LINE {
            return Err(TooLong.into());
        }
        self.rest.extend_from_slice(piece);
        Ok(())
    }
}

fn given<E>(line: &[u8], each: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let line = line.trim_ascii();
    if line.is_empty() { Ok(()) } else { each(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces(lines in proptest::collection::vec("[a-z]{0,20}", 0..20), sizes in proptest::collection::vec(1_usize..40, 1..40)) {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>() + "rest";
            let (mut all, mut left, mut size) = (Lines::default(), text.as_bytes(), sizes.iter().cycle());
            let mut seen = Vec::new();
            while !left.is_empty() {
                let (piece, after) = left.split_at((*size.next().unwrap()).min(left.len()));
                left = after;
                all.feed(piece, |line| { seen.push(String::from_utf8(line.to_vec()).unwrap()); Ok::<(), TooLong>(()) }).unwrap();
            }
            let expected: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        let mut feed = || lines.feed(&piece, |_| Ok::<(), TooLong>(()));
        for _ in 0..4 {
            feed().unwrap();
        }
        assert_eq!(feed(), Err(TooLong));
        assert_eq!(Lines::default().feed(&[vec![b'x'; MAX_LINE + 1], vec![b'\n']].concat(), |_| Ok(())), Err(TooLong));
    }
}
