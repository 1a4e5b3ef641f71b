//! Reading files: the document itself, and those it refers to.
//!
//! What is read is bounded. The document may come from a pipe, as shells give it for `<(…)`; what it refers to is a
//! regular file, since it is read again by whoever uses it and whoever watches it for changes. Opening a pipe would wait
//! for a writer, perhaps for ever, and a device has no end.

use crate::tree::MAX_BYTES;
use std::{
    fs::{self, File, FileType},
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

/// Bytes of a file that a document refers to. The largest real ones are wasm modules of about 10 MB.
pub const MAX_REFERENCED: u64 = 64 << 20;

/// One byte more than is accepted, so that the reader of the bytes sees that there are too many.
pub(crate) fn read_document(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file that a document refers to: a regular one, links followed, of at most [`MAX_REFERENCED`] bytes. Never waits
/// for anyone but the file system.
///
/// # Errors
/// The system's; in words of its own, what the file is where it is no regular one, and that it is too large.
pub fn read_referenced(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened, which is what a pipe would wait for, and after, in case it was changed in between.
    regular(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(MAX_REFERENCED)).unwrap_or(0));
    file.take(MAX_REFERENCED + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_REFERENCED {
        return Err(io::Error::other(format!("it is larger than {MAX_REFERENCED} bytes (64 MiB)")));
    }
    Ok(bytes)
}

fn regular(file: FileType) -> io::Result<()> {
    if file.is_file() {
        return Ok(());
    }
    let what = match file {
        it if it.is_dir() => "a directory",
        it if it.is_fifo() => "a named pipe",
        it if it.is_socket() => "a socket",
        it if it.is_char_device() || it.is_block_device() => "a device",
        _ => "something else",
    };
    Err(io::Error::other(format!("it is {what}; write the path of a regular file")))
}
