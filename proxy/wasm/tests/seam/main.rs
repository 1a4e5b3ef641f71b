//! Wasm filters through the real seam: a worker on loopback, an origin that echoes, guests in text.

mod faults;
mod http;
mod world;
