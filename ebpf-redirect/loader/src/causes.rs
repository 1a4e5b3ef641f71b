//! An error with what caused it: aya's say which call failed, and what the kernel answered only when they are asked.

use std::{error::Error, fmt};

/// Shows an error and its causes, in one line.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        f.write_str(&told)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some tell their cause themselves.
            if !told.contains(&words) {
                write!(f, ": {words}")?;
            }
            told = words;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{AttachError, LoadError, SelfTestError};
    use aya::{EbpfError, maps::MapError, programs::ProgramError, sys::SyscallError};
    use std::io;

    fn refused() -> SyscallError {
        SyscallError { call: "bpf_obj_get", io_error: io::Error::from_raw_os_error(1) }
    }

    #[test]
    fn what_the_kernel_answered_is_told_once() {
        let map = || MapError::SyscallError(refused());
        for error in [
            AttachError::Map(map()),
            AttachError::SelfTest(SelfTestError::Map(map())),
            AttachError::Load(LoadError::Object(EbpfError::MapError(map()))),
            AttachError::Load(LoadError::Program { name: "enrol", error: ProgramError::SyscallError(refused()) }),
        ] {
            let words = error.to_string();
            assert!(words.contains("bpf_obj_get"), "{words}");
            assert_eq!(words.matches("Operation not permitted (os error 1)").count(), 1, "{words}");
        }
    }
}
