//! WASI preview 1: clocks, randomness, the environment, the log; of the rest what Envoy binds, with its answers.
//!
//! There are no files, no sockets, no arguments, but the names of their functions are here: guests whose libraries could
//! use them import them, whether they are called or not. What a language's runtime asks at its start gets an answer that
//! lets it go on; nothing here waits, and nothing reaches outside the machine. `path_link`, `path_symlink` and
//! `proc_raise` are not here, as in Envoy.

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
    /// Envoy's answer for a directory: the number of Linux's ENOTDIR, not of WASI's.
    pub(super) const NOT_A_DIRECTORY: u32 = 20;
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

/// Binds functions that succeed, and do nothing, on standard output and error.
macro_rules! on_stream {
    ($linker:expr, $module:expr, $($name:literal => ($($type:ty),*);)*) => {
        {$($linker.func_wrap($module, $name, |mut caller: Caller<'_, Host>, fd: u32, $(_: $type),*| -> wasmtime::Result<u32> {
            caller.data_mut().in_time()?;
            Ok(stream(fd).err().unwrap_or(errno::SUCCESS))
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
        "clock_res_get" => clock_res_get, (clock: u32, resolution: u32);
        "clock_time_get" => clock_time_get, (clock: u32, precision: i64, time: u32);
        "random_get" => random_get, (data: u32, length: u32);
        "poll_oneoff" => poll_oneoff, (subscriptions: u32, room: u32, count: u32, events: u32);
        "fd_pwrite" => fd_pwrite, (fd: u32, pieces: u32, count: u32, offset: i64, size: u32);
        "fd_tell" => fd_tell, (fd: u32, offset: u32);
        "fd_renumber" => fd_renumber, (from: u32, to: u32);
        "fd_readdir" => fd_readdir, (fd: u32, entries: u32, room: u32, cookie: i64, size: u32);
        "path_readlink" => path_readlink,
            (fd: u32, path: u32, path_length: u32, target: u32, room: u32, size: u32);
        "sock_accept" => sock_accept, (fd: u32, flags: u32, accepted: u32);
        "sock_recv" => sock_recv, (fd: u32, pieces: u32, count: u32, flags: u32, size: u32, got: u32);
        "sock_send" => sock_send, (fd: u32, pieces: u32, count: u32, flags: u32, size: u32);
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
        "fd_advise" => errno::SUCCESS, (u32, i64, i64, u32);
        "fd_pread" => errno::NOSYS, (u32, u32, u32, i64, u32);
        "fd_filestat_get" => errno::BADF, (u32, u32);
        "path_create_directory" => errno::NOTSUP, (u32, u32, u32);
        "path_filestat_get" => errno::NOTSUP, (u32, u32, u32, u32, u32);
        "path_filestat_set_times" => errno::NOTSUP, (u32, u32, u32, u32, i64, i64, u32);
        "path_remove_directory" => errno::NOTSUP, (u32, u32, u32);
        "path_rename" => errno::NOTSUP, (u32, u32, u32, u32, u32, u32);
        "path_unlink_file" => errno::NOTSUP, (u32, u32, u32);
        "sock_shutdown" => errno::NOTSUP, (u32, u32);
    }
    on_stream! { linker, module,
        "fd_allocate" => (i64, i64);
        "fd_datasync" => ();
        "fd_sync" => ();
        "fd_fdstat_set_rights" => (i64, i64);
        "fd_filestat_set_size" => (i64);
        "fd_filestat_set_times" => (i64, i64, u32);
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

/// The log cannot be written at a place.
fn fd_pwrite(caller: &mut Caller<'_, Host>, fd: u32, pieces: u32, count: u32, _offset: i64, size_at: u32) -> Errno {
    fd_write(caller, fd, pieces, count, size_at)
}

/// Standard output and error, which are all there is.
fn stream(fd: u32) -> Errno {
    if matches!(fd, 1 | 2) { Ok(()) } else { Err(errno::BADF) }
}

fn fd_tell(caller: &mut Caller<'_, Host>, fd: u32, offset_at: u32) -> Errno {
    stream(fd)?;
    put_u64(split(caller).0, offset_at, 0).map_err(fault)
}

fn fd_renumber(_caller: &mut Caller<'_, Host>, from: u32, to: u32) -> Errno {
    stream(from).and(stream(to)).and(Err(errno::NOTSUP))
}

fn fd_readdir(caller: &mut Caller<'_, Host>, _fd: u32, _entries: u32, _room: u32, _cookie: i64, size_at: u32) -> Errno {
    put_u32(split(caller).0, size_at, 0).map_err(fault)?;
    Err(errno::NOT_A_DIRECTORY)
}

fn path_readlink(
    caller: &mut Caller<'_, Host>,
    _fd: u32,
    _path: u32,
    _path_length: u32,
    _target: u32,
    _room: u32,
    size_at: u32,
) -> Errno {
    put_u32(split(caller).0, size_at, 0).map_err(fault)?;
    Err(errno::NOTSUP)
}

/// Eight bytes of zero, as in Envoy, where WASI's descriptor has four.
fn sock_accept(caller: &mut Caller<'_, Host>, _fd: u32, _flags: u32, accepted_at: u32) -> Errno {
    put_u64(split(caller).0, accepted_at, 0).map_err(fault)?;
    Err(errno::NOTSUP)
}

fn sock_recv(
    caller: &mut Caller<'_, Host>,
    _fd: u32,
    _pieces: u32,
    _count: u32,
    _flags: u32,
    size_at: u32,
    flags_at: u32,
) -> Errno {
    let memory = split(caller).0;
    put_u32(memory, size_at, 0).map_err(fault)?;
    slice_mut(memory, flags_at, 2).map_err(fault)?.fill(0);
    Err(errno::NOTSUP)
}

fn sock_send(caller: &mut Caller<'_, Host>, _fd: u32, _pieces: u32, _count: u32, _flags: u32, size_at: u32) -> Errno {
    put_u32(split(caller).0, size_at, 0).map_err(fault)?;
    Err(errno::NOTSUP)
}

fn fd_fdstat_get(caller: &mut Caller<'_, Host>, fd: u32, stat: u32) -> Errno {
    stream(fd)?;
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

/// Envoy's answer: a nanosecond, whatever the clock has.
fn clock_res_get(caller: &mut Caller<'_, Host>, clock: u32, resolution: u32) -> Errno {
    if clock > 1 {
        return Err(errno::NOTSUP);
    }
    put_u64(split(caller).0, resolution, 1).map_err(fault)
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
