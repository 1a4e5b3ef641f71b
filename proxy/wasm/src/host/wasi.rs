//! WASI preview 1, as far as guests need it to start: clocks, randomness, the environment, the log.
//!
//! There are no files, no sockets, no arguments. What a language's runtime asks at its start gets an answer that lets it
//! go on; nothing here waits, and nothing reaches outside the machine.

use crate::{
    abi::LogLevel,
    vm::{
        memory::{put_u32, put_u64, slice, slice_mut, split},
        state::Host,
    },
};
use wasmtime::{Caller, Linker};

/// `errno` of WASI.
mod errno {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const BADF: u32 = 8;
    pub(super) const FAULT: u32 = 21;
    pub(super) const INVAL: u32 = 28;
    pub(super) const NOENT: u32 = 44;
    pub(super) const NOSYS: u32 = 52;
    pub(super) const NOTSUP: u32 = 58;
}

/// What a function of WASI answers.
type Errno = Result<(), u32>;

/// Bytes of randomness at once, as in Envoy.
const MOST_RANDOM: u32 = 64 * 1024;

/// Pieces of one write (IOV_MAX of Linux).
const MOST_PIECES: u32 = 1024;

/// Bytes of one write that are looked at; a line of the log is cut far below.
const MOST_LINE: usize = 64 * 1024;

fn fault<E>(_: E) -> u32 {
    errno::FAULT
}

/// Binds functions that do something.
macro_rules! bind {
    ($linker:expr, $module:expr, $($name:literal => $function:path, ($($arg:ident: $type:ty),*);)*) => {
        {$($linker.func_wrap($module, $name, |mut caller: Caller<'_, Host>, $($arg: $type),*| -> wasmtime::Result<u32> {
            caller.data_mut().in_time()?;
            Ok($function(&mut caller, $($arg),*).err().unwrap_or(errno::SUCCESS))
        })?;)*}
    };
}

/// Binds functions that have one answer.
macro_rules! answer {
    ($linker:expr, $module:expr, $($name:literal => $errno:expr, ($($type:ty),*);)*) => {
        {$($linker.func_wrap($module, $name, |mut caller: Caller<'_, Host>, $(_: $type),*| -> wasmtime::Result<u32> {
            caller.data_mut().in_time()?;
            Ok($errno)
        })?;)*}
    };
}

/// Binds the functions under one of the names modules import them by.
pub(super) fn bind(linker: &mut Linker<Host>, module: &str) -> wasmtime::Result<()> {
    bind! { linker, module,
        "fd_write" => fd_write, (fd: u32, pieces: u32, count: u32, size: u32);
        "fd_fdstat_get" => fd_fdstat_get, (fd: u32, stat: u32);
        "args_sizes_get" => args_sizes_get, (count: u32, size: u32);
        "environ_sizes_get" => environ_sizes_get, (count: u32, size: u32);
        "environ_get" => environ_get, (pointers: u32, data: u32);
        "clock_time_get" => clock_time_get, (clock: u32, precision: i64, time: u32);
        "random_get" => random_get, (data: u32, length: u32);
        "poll_oneoff" => poll_oneoff, (subscriptions: u32, room: u32, count: u32, events: u32);
    }
    answer! { linker, module,
        "fd_read" => errno::NOSYS, (u32, u32, u32, u32);
        // There is nothing to seek in; guests that try take a failure for a broken stream.
        "fd_seek" => errno::SUCCESS, (u32, i64, u32, u32);
        "fd_close" => errno::SUCCESS, (u32);
        "fd_fdstat_set_flags" => errno::NOSYS, (u32, u32);
        "fd_prestat_get" => errno::BADF, (u32, u32);
        "fd_prestat_dir_name" => errno::NOSYS, (u32, u32, u32);
        "path_open" => errno::NOENT, (u32, u32, u32, u32, u32, i64, i64, u32, u32);
        "args_get" => errno::SUCCESS, (u32, u32);
        "sched_yield" => errno::SUCCESS, ();
    }
    linker.func_wrap(module, "proc_exit", |mut caller: Caller<'_, Host>, code: u32| -> wasmtime::Result<()> {
        caller.data_mut().in_time()?;
        // As in Envoy, the guest goes on; most trap right after.
        let line = format!("the filter called proc_exit({code})");
        caller.data_mut().log(LogLevel::Error, line.as_bytes());
        Ok(())
    })?;
    Ok(())
}

fn fd_write(caller: &mut Caller<'_, Host>, fd: u32, pieces: u32, count: u32, size_at: u32) -> Errno {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Err(errno::BADF),
    };
    if count > MOST_PIECES {
        return Err(errno::INVAL);
    }
    let (memory, host) = split(caller);
    let mut line = Vec::new();
    let mut written = 0_u32;
    for piece in slice(memory, pieces, count * 8).map_err(fault)?.chunks_exact(8) {
        let word = |at: usize| piece[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let bytes = slice(memory, word(0), word(4)).map_err(fault)?;
        written = written.checked_add(word(4)).ok_or(errno::INVAL)?;
        let room = MOST_LINE.saturating_sub(line.len()).min(bytes.len());
        line.extend_from_slice(&bytes[..room]);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if !line.is_empty() {
        host.log(level, &line);
    }
    put_u32(memory, size_at, written).map_err(fault)
}

fn fd_fdstat_get(caller: &mut Caller<'_, Host>, fd: u32, stat: u32) -> Errno {
    if !matches!(fd, 1 | 2) {
        return Err(errno::BADF);
    }
    // filetype: character device; flags: append; rights: fd_write; nothing inherited.
    let bytes = slice_mut(split(caller).0, stat, 24).map_err(fault)?;
    bytes.fill(0);
    bytes[0] = 2;
    bytes[2] = 1;
    bytes[8] = 64;
    Ok(())
}

fn args_sizes_get(caller: &mut Caller<'_, Host>, count: u32, size: u32) -> Errno {
    let memory = split(caller).0;
    put_u32(memory, count, 0).map_err(fault)?;
    put_u32(memory, size, 0).map_err(fault)
}

fn environ_sizes_get(caller: &mut Caller<'_, Host>, count_at: u32, size_at: u32) -> Errno {
    let (memory, host) = split(caller);
    let environment = &host.spec.environment;
    let size: usize = environment.iter().map(|one| one.len() + 1).sum();
    put_u32(memory, count_at, u32::try_from(environment.len()).map_err(|_| errno::INVAL)?).map_err(fault)?;
    put_u32(memory, size_at, u32::try_from(size).map_err(|_| errno::INVAL)?).map_err(fault)
}

fn environ_get(caller: &mut Caller<'_, Host>, pointers: u32, data: u32) -> Errno {
    let (memory, host) = split(caller);
    let (mut pointer, mut at) = (pointers, data);
    for one in &host.spec.environment {
        put_u32(memory, pointer, at).map_err(fault)?;
        let length = u32::try_from(one.len()).map_err(|_| errno::INVAL)?;
        let whole = length.checked_add(1).ok_or(errno::INVAL)?;
        let bytes = slice_mut(memory, at, whole).map_err(fault)?;
        bytes[..one.len()].copy_from_slice(one);
        bytes[one.len()] = 0;
        at = at.checked_add(whole).ok_or(errno::FAULT)?;
        pointer = pointer.checked_add(4).ok_or(errno::FAULT)?;
    }
    Ok(())
}

fn clock_time_get(caller: &mut Caller<'_, Host>, clock: u32, _precision: i64, time: u32) -> Errno {
    let now = match clock {
        0 => super::system::now(),
        1 => monotonic(),
        _ => return Err(errno::NOTSUP),
    };
    put_u64(split(caller).0, time, now).map_err(fault)
}

/// Nanoseconds of a clock that only goes forward.
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

fn random_get(caller: &mut Caller<'_, Host>, data: u32, length: u32) -> Errno {
    if length > MOST_RANDOM {
        return Err(errno::INVAL);
    }
    let bytes = slice_mut(split(caller).0, data, length).map_err(fault)?;
    aws_lc_rs::rand::fill(bytes).map_err(|_| errno::INVAL)
}

/// Nothing waits here; a guest that sleeps goes on at once.
fn poll_oneoff(caller: &mut Caller<'_, Host>, _subscriptions: u32, _room: u32, _count: u32, events: u32) -> Errno {
    put_u32(split(caller).0, events, 0).map_err(fault)
}
