//! Words for people. A reader that has gone, or a disk that is full, ends no measurement: what was started is still ended in
//! order, and the command fails in the end.

use std::{
    fmt::Arguments,
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
};

/// Why standard output could not be written.
static LOST: Mutex<Option<String>> = Mutex::new(None);

/// Writes to standard output.
pub(crate) fn to_stdout(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
    }
}

/// Writes to standard error. That nobody reads it is nobody's loss.
pub(crate) fn to_stderr(text: Arguments<'_>) {
    drop(io::stderr().lock().write_fmt(text));
}

/// Why standard output was lost, if it was.
#[must_use]
pub fn lost() -> Option<String> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// `println!` that never panics.
macro_rules! out {
    ($($words:tt)*) => { $crate::say::to_stdout(format_args!("{}\n", format_args!($($words)*))) };
}

/// `eprintln!` that never panics.
macro_rules! err {
    ($($words:tt)*) => { $crate::say::to_stderr(format_args!("{}\n", format_args!($($words)*))) };
}

pub(crate) use {err, out};
