//! Buffers: bodies, opaque bytes, configurations, what a call brought.

use super::headers::give_nothing;
use crate::{
    abi::{BufferType, Status},
    vm::{
        memory::{Answer, give, give_made, put_u32, slice, split},
        state::{Host, Shown},
    },
};
use bytes::Bytes;
use pillion_core::exchange::filter::{Side, Stream, StreamKind};
use wasmtime::Caller;

/// Where a buffer is.
enum Place {
    /// A stream's, which the guest may change.
    Stream(Stream, Side),
    /// Bytes that are there to be read.
    Bytes(Bytes),
    /// One that is there and holds nothing now, as Envoy has it: of the other kind of stream, say.
    Empty,
    /// Not now.
    Absent,
}

fn place(host: &Host, kind: BufferType) -> Place {
    let body = |kind, side| match host.stream() {
        Ok(stream) if stream.kind() == kind => Place::Stream(stream.clone(), side),
        Ok(_) | Err(_) => Place::Empty,
    };
    match (kind, &host.shown) {
        (BufferType::RequestBody, _) => body(StreamKind::Http, Side::Request),
        (BufferType::ResponseBody, _) => body(StreamKind::Http, Side::Response),
        (BufferType::DownstreamData, _) => body(StreamKind::Tcp, Side::Request),
        (BufferType::UpstreamData, _) => body(StreamKind::Tcp, Side::Response),
        (BufferType::VmConfiguration, _) => Place::Bytes(host.spec.configuration.clone()),
        (BufferType::PluginConfiguration, Shown::PluginConfiguration(configuration)) => {
            Place::Bytes(configuration.clone())
        }
        (BufferType::CallBody, Shown::HttpCall { body, .. }) => Place::Bytes(body.clone()),
        (BufferType::GrpcMessage, Shown::GrpcMessage(message)) => Place::Bytes(message.clone()),
        (BufferType::GrpcMessage | BufferType::ForeignArguments, _) => Place::Empty,
        _ => Place::Absent,
    }
}

pub(super) fn get(caller: &mut Caller<'_, Host>, kind: u32, start: u32, length: u32, data: u32, size: u32) -> Answer {
    let kind = BufferType::of(kind)?;
    match place(caller.data(), kind) {
        Place::Absent => Err(Status::NotFound.into()),
        Place::Bytes(bytes) => {
            let bytes = &bytes[range(bytes.len(), start, length)];
            give(caller, bytes, data, size)?;
            match kind {
                // Read once more wherever it is worked on.
                BufferType::VmConfiguration | BufferType::PluginConfiguration => {}
                _ => caller.data_mut().count(bytes.len()),
            }
            Ok(())
        }
        Place::Empty => give_nothing(caller, data, size),
        Place::Stream(stream, side) => {
            let mut read = 0;
            give_made(caller, data, size, |_, _, out| {
                // Where there is no body, there are no bytes.
                stream.body(side, |buffer| {
                    buffer.range(start as usize, length as usize).for_each(|piece| out.extend_from_slice(piece));
                });
                read = out.len();
                Ok(())
            })?;
            caller.data_mut().count(read);
            Ok(())
        }
    }
}

/// What of `len` bytes `start` and `length` mean: guests ask for 0xFFFFFFFF bytes and mean all.
fn range(len: usize, start: u32, length: u32) -> std::ops::Range<usize> {
    let from = (start as usize).min(len);
    from..from.saturating_add(length as usize).min(len)
}

pub(super) fn get_configuration(caller: &mut Caller<'_, Host>, data: u32, size: u32) -> Answer {
    let configuration = match &caller.data().shown {
        Shown::PluginConfiguration(configuration) => configuration.clone(),
        _ => caller.data().spec.configuration.clone(),
    };
    give(caller, &configuration, data, size)
}

pub(super) fn status(caller: &mut Caller<'_, Host>, kind: u32, size: u32, flags: u32) -> Answer {
    let kind = BufferType::of(kind)?;
    let (memory, host) = split(caller);
    let len = match place(host, kind) {
        Place::Absent => return Err(Status::NotFound.into()),
        Place::Empty => 0,
        Place::Bytes(bytes) => bytes.len(),
        Place::Stream(stream, side) => stream.body(side, |buffer| buffer.len()).unwrap_or(0),
    };
    put_u32(memory, size, u32::try_from(len).unwrap_or(u32::MAX))?;
    put_u32(memory, flags, 0)?;
    Ok(())
}

/// What a write does, by where it begins and how much it takes away. Envoy knows these and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Prepend,
    Replace,
    DropAndPrepend(usize),
    Append,
}

fn write(len: usize, start: u32, length: u32) -> Result<Write, Status> {
    let (start, length) = (start as usize, length as usize);
    match (start, length) {
        (0, 0) => Ok(Write::Prepend),
        (0, length) if length >= len => Ok(Write::Replace),
        (0, length) => Ok(Write::DropAndPrepend(length)),
        (start, _) if start >= len => Ok(Write::Append),
        _ => Err(Status::BadArgument),
    }
}

pub(super) fn set(caller: &mut Caller<'_, Host>, kind: u32, start: u32, length: u32, data: u32, size: u32) -> Answer {
    let kind = BufferType::of(kind)?;
    let (memory, host) = split(caller);
    let data = slice(memory, data, size)?;
    let (stream, side) = match place(host, kind) {
        Place::Stream(stream, side) => (stream, side),
        Place::Bytes(_) | Place::Empty => return Err(Status::BadArgument.into()),
        Place::Absent => return Err(Status::NotFound.into()),
    };
    let done = stream.body(side, |buffer| {
        match write(buffer.len(), start, length)? {
            Write::Prepend => buffer.prepend(data),
            Write::Replace => buffer.replace(data),
            Write::Append => buffer.append(data),
            Write::DropAndPrepend(length) => {
                buffer.drop_front(length);
                buffer.prepend(data);
            }
        }
        Ok(())
    });
    done.unwrap_or(Err(Status::BadArgument)).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped() {
        assert_eq!(range(10, 2, u32::MAX), 2..10);
        assert_eq!(range(10, 11, 1), 10..10);
        assert_eq!(range(10, u32::MAX, u32::MAX), 10..10);
        assert_eq!(range(10, 3, 4), 3..7);
    }

    #[test]
    fn writes_are_envoys() {
        assert_eq!(write(6, 0, 0), Ok(Write::Prepend));
        assert_eq!(write(6, 0, 6), Ok(Write::Replace));
        assert_eq!(write(6, 0, u32::MAX), Ok(Write::Replace));
        assert_eq!(write(6, 0, 2), Ok(Write::DropAndPrepend(2)));
        assert_eq!(write(6, 6, 0), Ok(Write::Append));
        assert_eq!(write(6, u32::MAX, 3), Ok(Write::Append));
        assert_eq!(write(6, 2, 1), Err(Status::BadArgument));
        assert_eq!(write(0, 0, 0), Ok(Write::Prepend));
    }
}
