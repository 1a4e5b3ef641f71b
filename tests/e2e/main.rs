//! End-to-end tests: real clients through the real program to real servers, capabilities in path order.
//!
//! A test that needs what the machine lacks says so loudly and passes; with `CI=true` it fails.

mod differential;
