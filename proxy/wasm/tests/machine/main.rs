//! Machines without streams: guests in text, started, configured, ticked; what they may and may not do.

mod bounds;
mod functions;
mod start;
mod world;
