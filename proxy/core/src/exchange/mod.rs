//! One request, one response.

pub mod head;
pub mod route;
