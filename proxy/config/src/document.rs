//! The document: what a person writes, field by field.
//!
//! The doc comments here *are* the configuration's reference: they become the descriptions of the JSON Schema and the
//! tables of `REFERENCE.md`, and each default says in them why it is that number. Types here are private to the crate;
//! they are lowered to [`crate::model`] and forgotten. Nothing here looks at more than one value at a time.

mod authorization;
mod cluster;
#[cfg(test)]
mod described;
mod filter;
mod hosts;
mod jwt;
mod kubernetes;
mod listener;
mod metrics;
mod root;
mod route;
mod scalars;
mod sockmap;
mod source_filter;
mod tcp;
mod tls;
mod value;
mod words;

pub(crate) use authorization::*;
pub(crate) use cluster::*;
pub(crate) use filter::*;
pub(crate) use jwt::*;
pub(crate) use kubernetes::*;
pub(crate) use listener::*;
pub(crate) use metrics::*;
pub(crate) use root::*;
pub(crate) use route::*;
pub use scalars::write_size;
pub(crate) use scalars::*;
pub(crate) use sockmap::*;
pub(crate) use source_filter::*;
pub(crate) use tcp::*;
pub(crate) use tls::*;
pub(crate) use value::*;
pub(crate) use words::*;
