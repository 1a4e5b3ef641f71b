//! The assembly of Pillion around the data path: what makes a process of it.
//!
//! The main thread is the control thread ([`control`]): it loads, binds, starts the [`worker`] threads and then waits
//! for signals, files, admin calls, names and memory. It never touches a byte of traffic.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app_probes;
pub mod application;
pub mod assembly;
pub mod backoff;
pub mod cgroup;
pub mod cli;
pub mod control;
pub mod demo;
pub mod descriptors;
pub mod discovery;
pub mod dns;
pub mod drain;
pub mod edge;
pub mod filters;
pub mod folders;
pub mod in_the_clear;
pub mod inject;
pub mod injector;
pub mod kube;
pub mod log;
pub mod loopback;
pub mod memory;
pub mod metrics;
pub mod outgoing;
pub mod plane;
pub mod proof;
pub mod reload;
pub mod rules;
pub mod secrets;
pub mod signals;
pub mod sockets;
pub mod unreachable;
pub mod worker;
pub mod workload_api;
