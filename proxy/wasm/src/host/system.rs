//! Logging, clock, timers, contexts, the status of calls.

use crate::{
    abi::{LogLevel, Status},
    vm::{
        log as lines,
        memory::{Answer, give, put_u32, put_u64, slice, split},
        state::{Context, Host},
    },
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasmtime::Caller;

pub(super) fn log(caller: &mut Caller<'_, Host>, level: u32, text: u32, length: u32) -> Answer {
    let level = LogLevel::of(level)?;
    let (memory, host) = split(caller);
    let text = slice(memory, text, length)?;
    host.log(level, text);
    Ok(())
}

pub(super) fn get_log_level(caller: &mut Caller<'_, Host>, level: u32) -> Answer {
    let (memory, host) = split(caller);
    // What it logs while it starts is told where it refuses, whatever the log shows.
    let most = if host.complaint.is_some() { LogLevel::Warn } else { LogLevel::Critical };
    Ok(put_u32(memory, level, lines::level().min(most) as u32)?)
}

pub(super) fn get_status(caller: &mut Caller<'_, Host>, code: u32, text: u32, length: u32) -> Answer {
    let (status, message) = caller.data().status.clone();
    put_u32(split(caller).0, code, status)?;
    give(caller, &message, text, length)
}

pub(super) fn set_tick_period(caller: &mut Caller<'_, Host>, period: u32) -> Answer {
    let host = caller.data_mut();
    let root = host.root_id();
    host.timers.retain(|(known, _)| *known != root);
    host.timers.push((root, Duration::from_millis(period.into())));
    Ok(())
}

pub(super) fn get_current_time(caller: &mut Caller<'_, Host>, time: u32) -> Answer {
    Ok(put_u64(split(caller).0, time, now())?)
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn set_effective_context(caller: &mut Caller<'_, Host>, id: u32) -> Answer {
    let host = caller.data_mut();
    // 0 is the callback's own again.
    if id == 0 {
        host.effective = host.current;
        return Ok(());
    }
    Ok(host.act_on(id)?)
}

pub(super) fn done(caller: &mut Caller<'_, Host>) -> Answer {
    let host = caller.data_mut();
    match host.contexts.get(&host.effective) {
        Some(Context::Root(_)) => {
            let root = host.effective;
            if !host.done.contains(&root) {
                host.done.push(root);
            }
            // Only one that said it is not done yet is waited for.
            if host.held.contains(&root) { Ok(()) } else { Err(Status::NotFound.into()) }
        }
        // A stream's end is held up by nobody.
        Some(Context::Stream(_)) | None => Err(Status::NotFound.into()),
    }
}
