//! The limits of a message, as numbers from the model.

/// How large a message's framing may be. Bodies have no limit here: their bytes are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Field lines in a head.
    pub max_headers: u16,
    /// Bytes of a head, from its first line to the empty line that ends it.
    pub max_head_bytes: u32,
    /// Bytes of a request's target.
    pub max_target_bytes: u32,
    /// Field lines in a trailer section.
    pub max_trailers: u16,
    /// Bytes of a trailer section.
    pub max_trailer_bytes: u32,
    /// Bytes of all chunk extensions of one body together.
    pub max_chunk_extension_bytes: u32,
    /// Interim (1xx) responses before a final one.
    pub max_interim: u8,
    /// What to do with an underscore in a field's name.
    pub underscores: Underscores,
}

/// What to do with a field whose name has an underscore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underscores {
    /// Pass it on: it is a token like another.
    Accept,
    /// Refuse the message: an application behind CGI conventions takes `a_b` for `a-b`.
    Reject,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What Apache and HAProxy take, and three times what a browser sends.
            max_headers: 100,
            // Envoy's advice for an edge; four times what nginx gives a single field.
            max_head_bytes: 32 * 1024,
            // What nginx and Apache allow a request line.
            max_target_bytes: 8 * 1024,
            max_trailers: 32,
            // A few checksums and a signature.
            max_trailer_bytes: 8 * 1024,
            // Signed uploads carry some 80 bytes a chunk: a hundred chunks of them.
            max_chunk_extension_bytes: 8 * 1024,
            max_interim: 16,
            underscores: Underscores::Accept,
        }
    }
}

impl Limits {
    /// The same, brought within what the `http` types and a connection's buffer can carry, so that what is found good is
    /// never refused later.
    #[must_use]
    pub fn within_codec(self) -> Self {
        Self {
            // What one connection may hold of a head.
            max_head_bytes: self.max_head_bytes.min(256 * 1024),
            // `http::Uri` counts in 16 bits; the scheme and authority of an absolute form count too.
            max_target_bytes: self.max_target_bytes.min(65_000),
            max_trailer_bytes: self.max_trailer_bytes.min(15 * 1024),
            max_trailers: self.max_trailers.min(100),
            max_chunk_extension_bytes: self.max_chunk_extension_bytes.min(15 * 1024),
            ..self
        }
    }
}
