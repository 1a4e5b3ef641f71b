//! Why a machine died, for the log, the counters and the answers of its streams.

use super::{limits::size, log, memory::Reentered, state::Host};
use crate::{engine::GUEST_STACK, host::TooEarly};
use pillion_config::model::Name;
use pillion_core::exchange::filter::Failed;
use wasmtime::{Trap, WasmBacktrace};

/// Why, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The guest trapped: `unreachable` (a panic), a bad access, a division by zero, …
    Trap,
    /// A callback ran longer than it may.
    Timeout,
    /// Its frames did not fit the stack.
    Stack,
    /// It trapped after the host denied it memory.
    Memory,
    /// Memory was short: it had grown more than any other machine and was given back, or it trapped after it was denied more
    /// for that.
    Pressure,
    /// It broke the ABI: called what cannot be called then.
    Abi,
    /// Another filter in it died, of any of those.
    Neighbour,
    /// It could not be started again.
    Start,
    /// It is waiting to be started again.
    Down,
    /// It was entered while it ran. This is a bug of the host's.
    Busy,
    /// All ids of contexts are used up.
    Contexts,
}

impl Cause {
    /// The word, as counters and the access log have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Stack => "stack",
            Self::Memory => "memory",
            Self::Pressure => "pressure",
            Self::Abi => "abi",
            Self::Neighbour => "neighbour",
            Self::Start => "start",
            Self::Down => "down",
            Self::Busy => "busy",
            Self::Contexts => "contexts",
        }
    }

    /// What a stream is told: Envoy's details for all of them.
    #[must_use]
    pub fn failed(self) -> Failed {
        Failed { details: "wasm_fail_stream" }
    }
}

/// A failure, in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// Whose callback it was; `None`: no filter's.
    pub filter: Option<Name>,
    /// In which callback.
    pub callback: &'static str,
    /// In wasmtime's words, or by which limit and what raises it.
    pub words: String,
    /// The guest's functions, the innermost first.
    pub backtrace: Vec<String>,
}

impl Failure {
    /// Of a machine that is given back with so many bytes.
    #[must_use]
    pub fn pressure(bytes: usize) -> Self {
        let words = format!(
            "memory is short, and its machine, with {bytes} bytes, had grown more than any other: raise the container's limit, or lower \
             limits.memory"
        );
        Self { cause: Cause::Pressure, filter: None, callback: "none", words, backtrace: Vec::new() }
    }

    /// Whether both are of one kind: the same cause in the same callback of the same filter, and in the same functions where it is not chance which ones a
    /// limit ends.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let by_chance = matches!(self.cause, Cause::Timeout | Cause::Stack | Cause::Memory | Cause::Pressure);
        let same = || (&self.words, &self.backtrace) == (&other.words, &other.backtrace);
        (self.cause, &self.filter, self.callback) == (other.cause, &other.filter, other.callback)
            && (by_chance || same())
    }

    /// Of what a call of the guest's ended with.
    #[must_use]
    pub fn of(error: &wasmtime::Error, host: &Host) -> Self {
        let cause = if error.is::<Reentered>() || error.is::<TooEarly>() {
            Cause::Abi
        } else {
            match error.downcast_ref::<Trap>() {
                Some(Trap::Interrupt) if host.limiter.ending().is_some() => Cause::Pressure,
                Some(Trap::Interrupt) => Cause::Timeout,
                Some(Trap::StackOverflow) => Cause::Stack,
                Some(_) if host.limiter.was_short() => Cause::Pressure,
                Some(_) if host.limiter.denied() > 0 => Cause::Memory,
                Some(_) | None => Cause::Trap,
            }
        };
        let backtrace = error.downcast_ref::<WasmBacktrace>().map_or_else(Vec::new, |backtrace| {
            let frame = |frame: &wasmtime::FrameInfo| {
                frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), demangled)
            };
            backtrace.frames().iter().map(frame).collect()
        });
        let filter = host.whose().map(|plugin| plugin.name.clone());
        Self { cause, filter, callback: host.callback, words: words(cause, error, host), backtrace }
    }
}

/// What a call of the guest's ended with.
fn words(cause: Cause, error: &wasmtime::Error, host: &Host) -> String {
    let ended = error.root_cause();
    match (cause, host.limiter.denial()) {
        (Cause::Timeout, _) => host.out_of_time(),
        (Cause::Stack, _) => {
            format!("its functions' frames took more than {}, which no field raises: {ended}", size(GUEST_STACK))
        }
        (Cause::Memory | Cause::Pressure, Some(denial)) => format!("{denial}; then {ended}"),
        _ => ended.to_string(),
    }
}

/// A function's name as its author wrote it, fit to be told.
fn demangled(name: &str) -> String {
    log::name(&format!("{:#}", rustc_demangle::demangle(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_limit_ends_a_guest_is_chance_and_where_it_traps_is_not() {
        let death = |cause, callback, words: &str, function: &str| Failure {
            cause,
            filter: None,
            callback,
            words: words.to_owned(),
            backtrace: vec![function.to_owned()],
        };
        let spin = death(Cause::Timeout, "proxy_on_tick", "20ms", "a");
        assert!(spin.is_like(&death(Cause::Timeout, "proxy_on_tick", "33ms", "b")));
        assert!(!spin.is_like(&death(Cause::Timeout, "proxy_on_log", "20ms", "a")));
        assert!(!spin.is_like(&death(Cause::Memory, "proxy_on_tick", "20ms", "a")));
        assert!(!spin.is_like(&Failure { filter: Some(Name("other".into())), ..spin.clone() }));
        let trap = death(Cause::Trap, "proxy_on_tick", "unreachable", "a");
        assert!(trap.is_like(&trap.clone()));
        assert!(!trap.is_like(&death(Cause::Trap, "proxy_on_tick", "unreachable", "b")));
        assert!(!trap.is_like(&death(Cause::Trap, "proxy_on_tick", "divide by zero", "a")));
    }
}
