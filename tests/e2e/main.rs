//! End-to-end tests: real clients through the real program to real servers, capabilities in path order.
//!
//! A test that needs what the machine lacks says so loudly and passes; with `CI=true` it fails.

mod clients;
mod handshakes;
mod identity;
mod tls;
mod trust;

mod admit;
mod detect;
mod head;
mod jwt;
mod proxy_protocol;
mod source_filter;

mod framing;

mod differential;

mod routes;
mod upgrade;
mod upstream;

mod late;
mod redirect;
mod resets;
mod tcp;

mod capture;
mod discovery;
mod inject;

mod abuse;
mod access_log;
mod admin;
mod compiled;
mod compiling;
mod config;
mod fetched;
mod filter_calls;
mod filter_memory;
mod filter_storms;
mod filters;
mod life;
mod memory;
mod metric_tags;
