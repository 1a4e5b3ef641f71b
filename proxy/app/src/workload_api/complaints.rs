//! What the operator was told of an agent, so that the same trouble every few seconds is told once, and again after it was over.
//!
//! Pure. A trouble is over when what it was of goes well: an agent may tell roots well and, each time, no identity.

/// What a trouble is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The connection.
    Connection,
    /// The stream of identities.
    Identities,
    /// The stream of roots.
    Roots,
}

/// What the operator was told last, of each.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<(Of, String)>);

impl Complaints {
    /// Whether this is to be told. What is wrong with both streams, as one agent's refusal, is told once.
    pub(super) fn is_news(&mut self, of: Of, words: &str) -> bool {
        if self.0.iter().any(|(_, told)| told == words) {
            return false;
        }
        self.forget(of);
        self.0.push((of, words.to_owned()));
        true
    }

    /// It goes well.
    pub(super) fn forget(&mut self, of: Of) {
        self.0.retain(|(known, _)| *known != of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_until_it_went_well() {
        let mut complaints = Complaints::default();
        let denied = "refused with gRPC status 7";
        assert!(complaints.is_news(Of::Identities, denied));
        assert!(!complaints.is_news(Of::Identities, denied) && !complaints.is_news(Of::Roots, denied));
        // Another stream's success says nothing of this one.
        complaints.forget(Of::Roots);
        assert!(!complaints.is_news(Of::Identities, denied));
        complaints.forget(Of::Identities);
        assert!(complaints.is_news(Of::Identities, denied));
        // Of each the last is known: what comes in turns is news each time.
        assert!(complaints.is_news(Of::Connection, "cannot connect") && !complaints.is_news(Of::Identities, denied));
        assert!(
            complaints.is_news(Of::Connection, "no answer") && complaints.is_news(Of::Connection, "cannot connect")
        );
    }
}
