//! Shared data, queues and metrics.

use crate::{
    abi::{MetricType, Status},
    shared::MOST_NAME,
    vm::{
        memory::{Answer, give, put_u32, put_u64, slice, split},
        state::{Context, Host},
    },
};
use wasmtime::Caller;

pub(super) fn get_data(
    caller: &mut Caller<'_, Host>,
    key: u32,
    key_length: u32,
    value: u32,
    length: u32,
    cas_at: u32,
) -> Answer {
    let (memory, host) = split(caller);
    let key = slice(memory, key, key_length)?;
    let (bytes, cas) = host.spec.shared.data.get(&host.spec.vm_id, key).ok_or(Status::NotFound)?;
    give(caller, &bytes, value, length)?;
    Ok(put_u32(split(caller).0, cas_at, cas)?)
}

pub(super) fn set_data(
    caller: &mut Caller<'_, Host>,
    key: u32,
    key_length: u32,
    value: u32,
    length: u32,
    cas: u32,
) -> Answer {
    let (memory, host) = split(caller);
    let (key, value) = (slice(memory, key, key_length)?, slice(memory, value, length)?);
    Ok(host.spec.shared.data.set(&host.spec.vm_id, key, value, cas)?)
}

pub(super) fn register_queue(caller: &mut Caller<'_, Host>, name: u32, length: u32, id_at: u32) -> Answer {
    let (memory, host) = split(caller);
    let name = slice(memory, name, length)?;
    let id = host.spec.shared.queues.register(&host.spec.vm_id, name, host.root_id(), &host.ready)?;
    Ok(put_u32(memory, id_at, id)?)
}

pub(super) fn resolve_queue(
    caller: &mut Caller<'_, Host>,
    vm_id: u32,
    vm_id_length: u32,
    name: u32,
    length: u32,
    id_at: u32,
) -> Answer {
    let (memory, host) = split(caller);
    let vm_id = slice(memory, vm_id, vm_id_length)?;
    if vm_id.len() > MOST_NAME {
        return Err(Status::NotFound.into());
    }
    let vm_id = match std::str::from_utf8(vm_id).map_err(|_| Status::NotFound)? {
        // The guest's own.
        "" => &host.spec.vm_id,
        other => other,
    };
    let id = host.spec.shared.queues.resolve(vm_id, slice(memory, name, length)?).ok_or(Status::NotFound)?;
    Ok(put_u32(memory, id_at, id)?)
}

pub(super) fn enqueue(caller: &mut Caller<'_, Host>, id: u32, message: u32, length: u32) -> Answer {
    let (memory, host) = split(caller);
    Ok(host.spec.shared.queues.enqueue(id, slice(memory, message, length)?)?)
}

pub(super) fn dequeue(caller: &mut Caller<'_, Host>, id: u32, message: u32, length: u32) -> Answer {
    let item = caller.data().spec.shared.queues.dequeue(id)?;
    give(caller, &item, message, length)
}

pub(super) fn define_metric(caller: &mut Caller<'_, Host>, kind: u32, name: u32, length: u32, id_at: u32) -> Answer {
    let kind = MetricType::of(kind)?;
    let (memory, host) = split(caller);
    let name = slice(memory, name, length)?;
    slice(memory, id_at, 4)?;
    let filter = match host.contexts.get(&host.root_id()) {
        Some(Context::Root(root)) => root.plugin.name.as_str(),
        Some(Context::Stream(_)) | None => "",
    };
    let id = host.metrics.define(&host.spec.shared.metrics, filter, kind, name)?;
    Ok(put_u32(memory, id_at, id)?)
}

pub(super) fn increment_metric(caller: &mut Caller<'_, Host>, id: u32, by: i64) -> Answer {
    Ok(caller.data().metrics.increment(id, by)?)
}

pub(super) fn record_metric(caller: &mut Caller<'_, Host>, id: u32, value: u64) -> Answer {
    Ok(caller.data().metrics.record(id, value)?)
}

pub(super) fn get_metric(caller: &mut Caller<'_, Host>, id: u32, value_at: u32) -> Answer {
    let value = caller.data().metrics.get(id)?;
    Ok(put_u64(split(caller).0, value_at, value)?)
}
