//! [`Refused`]: how a refusal within a body reaches whoever reads the body, through the codec.

use crate::framing::Refusal;
use std::{error::Error, io};

/// The error of a read inside a body that broke its framing, or made no progress. Found by walking
/// [`source`](std::error::Error::source) from the codec's body error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub Refusal);

impl Refused {
    /// Looks for one behind `error`, along [`source`](Error::source) and within [`io::Error`]s.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(*found);
            }
            // An io::Error's source is that of the error within it, which this would step over.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(within) => Some(within),
                None => error.source(),
            };
        }
        None
    }
}
