//! 2. Opaque bytes.
