//! Processes and the machine, as the kernel counts them.
//!
//! [`group`] starts and ends processes, [`procfs`] reads what the kernel says of them, [`trace`] counts their system
//! calls, [`cores`] says who runs where, [`machine`] what all of it ran on.

pub mod cores;
pub mod group;
pub mod interrupt;
pub mod machine;
pub mod procfs;
pub mod trace;
