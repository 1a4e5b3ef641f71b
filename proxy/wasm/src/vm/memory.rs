//! The guest's memory: every pointer and length that a guest gives is checked here, with sums of 64 bits.

use super::state::Host;
use crate::abi::Status;
use wasmtime::Caller;

/// Why a host function does not end well.
#[derive(Debug)]
pub enum Stop {
    /// The guest is told.
    Status(Status),
    /// The guest's machine ends.
    Trap(wasmtime::Error),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// What a host function does: nothing more to say, or why not.
pub type Answer = Result<(), Stop>;

/// Turns an answer into what the guest gets.
pub fn answer(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(0),
        Err(Stop::Status(status)) => Ok(status as u32),
        Err(Stop::Trap(error)) => Err(error),
    }
}

/// A host function called the guest's allocator, which called a host function that needs it again.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the guest's allocator called a host function that allocates")]
pub struct Reentered;

/// The guest's memory and the host's state, both at once. Without a memory of the guest's there are no bytes.
pub fn split<'a>(caller: &'a mut Caller<'_, Host>) -> (&'a mut [u8], &'a mut Host) {
    match caller.data().memory {
        Some(memory) => memory.data_and_store_mut(caller),
        None => (&mut [], caller.data_mut()),
    }
}

/// The bytes at `pointer`.
///
/// # Errors
///
/// [`Status::InvalidMemoryAccess`] when they are not all within the memory.
pub fn slice(memory: &[u8], pointer: u32, length: u32) -> Result<&[u8], Status> {
    let (start, end) = range(pointer, length)?;
    memory.get(start..end).ok_or(Status::InvalidMemoryAccess)
}

/// The bytes at `pointer`, to be written.
///
/// # Errors
///
/// [`Status::InvalidMemoryAccess`] when they are not all within the memory.
pub fn slice_mut(memory: &mut [u8], pointer: u32, length: u32) -> Result<&mut [u8], Status> {
    let (start, end) = range(pointer, length)?;
    memory.get_mut(start..end).ok_or(Status::InvalidMemoryAccess)
}

fn range(pointer: u32, length: u32) -> Result<(usize, usize), Status> {
    let end = u64::from(pointer) + u64::from(length);
    let end = usize::try_from(end).map_err(|_| Status::InvalidMemoryAccess)?;
    Ok((pointer as usize, end))
}

/// Writes a word.
///
/// # Errors
///
/// [`Status::InvalidMemoryAccess`].
pub fn put_u32(memory: &mut [u8], pointer: u32, value: u32) -> Result<(), Status> {
    slice_mut(memory, pointer, 4)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Writes a double word.
///
/// # Errors
///
/// [`Status::InvalidMemoryAccess`].
pub fn put_u64(memory: &mut [u8], pointer: u32, value: u64) -> Result<(), Status> {
    slice_mut(memory, pointer, 8)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Gives the guest bytes: memory of its own allocator, its address and size written where the guest wants them. No
/// bytes are a null pointer. The callback has time for them.
///
/// # Errors
///
/// [`Status::InvalidMemoryAccess`] when the guest's pointers are bad, and those of [`place`].
pub fn give(caller: &mut Caller<'_, Host>, bytes: &[u8], pointer_at: u32, size_at: u32) -> Answer {
    let (memory, _) = split(caller);
    slice(memory, pointer_at, 4)?;
    slice(memory, size_at, 4)?;
    let (address, size) = if bytes.is_empty() { (0, 0) } else { place(caller, bytes)? };
    let (memory, host) = split(caller);
    put_u32(memory, pointer_at, address)?;
    put_u32(memory, size_at, size)?;
    host.time.hand(bytes.len());
    Ok(())
}

/// Puts bytes into memory of the guest's own allocator, which is asked for a place of none, too: their address and size.
///
/// # Errors
///
/// [`Status::InvalidMemoryAccess`] when the guest has no allocator, or it gave no memory; a trap when the allocator trapped
/// or re-entered this function.
pub fn place(caller: &mut Caller<'_, Host>, bytes: &[u8]) -> Result<(u32, u32), Stop> {
    let size = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
    let host = caller.data_mut();
    let allocator = host.allocator.clone().ok_or(Status::InvalidMemoryAccess)?;
    if std::mem::replace(&mut host.allocating, true) {
        return Err(Stop::Trap(Reentered.into()));
    }
    let allocated = allocator.call(&mut *caller, (size,));
    caller.data_mut().allocating = false;
    let address = allocated.map_err(Stop::Trap)?;
    if size > 0 {
        if address == 0 {
            return Err(Status::InvalidMemoryAccess.into());
        }
        let (memory, _) = split(caller);
        slice_mut(memory, address, size)?.copy_from_slice(bytes);
    }
    Ok((address, size))
}

/// As [`give`], of bytes that `fill` puts into the host's scratch buffer.
///
/// # Errors
///
/// What `fill` says, and those of [`give`].
pub fn give_made(
    caller: &mut Caller<'_, Host>,
    pointer_at: u32,
    size_at: u32,
    fill: impl FnOnce(&mut [u8], &mut Host, &mut Vec<u8>) -> Answer,
) -> Answer {
    with_scratch(caller, fill, |caller, made, bytes| made.and_then(|()| give(caller, bytes, pointer_at, size_at)))
}

/// Puts bytes into the host's scratch buffer by `fill`, and does with them and with what that says what `then` does.
///
/// # Errors
///
/// What `then` says.
pub fn with_scratch<T>(
    caller: &mut Caller<'_, Host>,
    fill: impl FnOnce(&mut [u8], &mut Host, &mut Vec<u8>) -> T,
    then: impl FnOnce(&mut Caller<'_, Host>, T, &[u8]) -> Answer,
) -> Answer {
    let mut scratch = std::mem::take(&mut caller.data_mut().scratch);
    scratch.clear();
    let (memory, host) = split(caller);
    let made = fill(memory, host, &mut scratch);
    let done = then(caller, made, &scratch);
    // A buffer that grew for a large body is not kept.
    if scratch.capacity() <= MOST_SCRATCH {
        caller.data_mut().scratch = scratch;
    }
    done
}

/// Bytes of scratch kept between calls: a head's worth.
const MOST_SCRATCH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_what_lies_within_is_given(size in 0usize..256, pointer: u32, length: u32) {
            let memory = vec![0; size];
            let inside = u64::from(pointer) + u64::from(length) <= size as u64;
            prop_assert_eq!(slice(&memory, pointer, length).is_ok(), inside);
        }
    }

    #[test]
    fn sums_beyond_32_bits_do_not_wrap() {
        let mut memory = [0; 16];
        assert_eq!(slice(&memory, 8, u32::MAX), Err(Status::InvalidMemoryAccess));
        assert_eq!(put_u64(&mut memory, u32::MAX - 3, 1), Err(Status::InvalidMemoryAccess));
        assert_eq!(put_u32(&mut memory, 12, 7), Ok(()));
        assert_eq!(slice(&memory, 16, 0), Ok(&[][..]));
    }
}
