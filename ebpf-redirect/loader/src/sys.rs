//! bpf(2) where aya does not wrap it: links and programs by number, and the replacement of a link's program.
//!
//! Each call fills the fields of `union bpf_attr` (linux/bpf.h) that its command reads; the kernel takes what is missing at the
//! end as zero.

use crate::shapes::Form;
use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_NEXT_KEY: u32 = 4;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_ATTACH: u32 = 8;
const PROG_TEST_RUN: u32 = 10;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

/// asm-generic/socket.h.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Where a program hooks in (`enum bpf_attach_type`).
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    SockOps = 3,
    SkMsg = 7,
    Connect4 = 10,
    Connect6 = 11,
    Getsockopt = 21,
    Setsockopt = 22,
    Getpeername4 = 29,
    Getpeername6 = 30,
    SkLookup = 36,
    Xdp = 37,
}

/// Words of `union bpf_attr`, zero where nothing is said.
#[repr(C, align(8))]
struct Attributes([u32; 32]);

impl Attributes {
    fn new(words: &[u32]) -> Self {
        let mut all = [0; 32];
        all[..words.len()].copy_from_slice(words);
        Self(all)
    }

    /// A pointer, at an even word.
    fn pointer(mut self, at: usize, pointer: *const u8) -> Self {
        let pointer = pointer as u64;
        let bytes = pointer.to_ne_bytes();
        self.0[at] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.0[at + 1] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        self
    }
}

fn bpf(command: u32, attributes: &mut Attributes, words: usize) -> io::Result<i32> {
    // SAFETY: the structure lives through the call and is as long as is said; pointers in it point to what the callers
    // below keep alive.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, (&raw mut attributes.0).cast::<u8>(), words * 4) };
    i32::try_from(done).ok().filter(|done| *done >= 0).ok_or_else(io::Error::last_os_error)
}

fn descriptor(command: u32, attributes: &mut Attributes, words: usize) -> io::Result<OwnedFd> {
    let raw = bpf(command, attributes, words)?;
    // SAFETY: the kernel just made it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn word(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A new array of one entry of so many bytes (`BPF_MAP_TYPE_ARRAY`), which programs know nothing of.
pub(crate) fn array(name: &str, bytes: u32) -> io::Result<OwnedFd> {
    /// map_type, key_size, value_size, max_entries; map_flags, inner_map_fd, numa_node; then sixteen bytes of map_name.
    const NAME: usize = 7;
    let mut attributes = Attributes::new(&[2, 4, bytes, 1]);
    for (word, four) in attributes.0[NAME..NAME + 4].iter_mut().zip(name.as_bytes().chunks(4)) {
        let mut bytes = [0; 4];
        bytes[..four.len()].copy_from_slice(four);
        *word = u32::from_ne_bytes(bytes);
    }
    descriptor(MAP_CREATE, &mut attributes, NAME + 4)
}

/// What a map is, whoever made it: `struct bpf_map_info` begins with map_type, id, key_size, value_size.
pub(crate) fn form(map: BorrowedFd<'_>) -> io::Result<Form> {
    let mut info = [0_u32; 4];
    let length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let mut attributes = Attributes::new(&[word(map), length]).pointer(2, (&raw mut info).cast());
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes, 4)?;
    let [kind, _, key, value] = info;
    Ok(Form { kind, key, value })
}

/// Entry 0 of an array, whose values have so many bytes.
pub(crate) fn entry(array: BorrowedFd<'_>, bytes: u32) -> io::Result<Vec<u8>> {
    let (index, mut value) = (0_u32, vec![0_u8; usize::try_from(bytes).map_err(io::Error::other)?]);
    let mut attributes =
        Attributes::new(&[word(array)]).pointer(2, (&raw const index).cast()).pointer(4, value.as_mut_ptr());
    bpf(MAP_LOOKUP, &mut attributes, 8)?;
    Ok(value)
}

/// Writes it, as long as it was read.
pub(crate) fn set_entry(array: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let index = 0_u32;
    let mut attributes =
        Attributes::new(&[word(array)]).pointer(2, (&raw const index).cast()).pointer(4, value.as_ptr());
    bpf(MAP_UPDATE, &mut attributes, 8).map(drop)
}

/// How many entries a map has, whose keys have so many bytes. One that is removed meanwhile may have it counted again, so there is an
/// end to it.
pub(crate) fn count(map: BorrowedFd<'_>, key: u32) -> io::Result<u64> {
    const MOST: u64 = 1 << 20;
    let mut next = vec![0_u8; usize::try_from(key).map_err(io::Error::other)?];
    let (mut before, mut count) = (None::<Vec<u8>>, 0);
    while count < MOST {
        let from = before.as_ref().map_or(std::ptr::null(), |key| key.as_ptr());
        let mut attributes = Attributes::new(&[word(map)]).pointer(2, from).pointer(4, next.as_mut_ptr());
        match bpf(MAP_NEXT_KEY, &mut attributes, 8) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            found => drop(found?),
        }
        (before, count) = (Some(next.clone()), count + 1);
    }
    Ok(count)
}

/// The number of the program in an array of programs; `None`: there is none.
pub(crate) fn program_at(array: BorrowedFd<'_>, index: u32) -> Option<u32> {
    let mut number = 0_u32;
    let mut attributes =
        Attributes::new(&[word(array)]).pointer(2, (&raw const index).cast()).pointer(4, (&raw mut number).cast());
    bpf(MAP_LOOKUP, &mut attributes, 8).ok().map(|_| number)
}

/// Puts a program into an array of programs: who calls it from now on gets this one.
pub(crate) fn set_program_at(array: BorrowedFd<'_>, index: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let value = word(program);
    let mut attributes =
        Attributes::new(&[word(array)]).pointer(2, (&raw const index).cast()).pointer(4, (&raw const value).cast());
    bpf(MAP_UPDATE, &mut attributes, 8).map(drop)
}

/// Attaches a program to a map of sockets, in the place of the one that is there.
pub(crate) fn attach_to_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>, hook: Hook) -> io::Result<()> {
    bpf(PROG_ATTACH, &mut Attributes::new(&[word(map), word(program), hook as u32]), 5).map(drop)
}

/// Attaches a program beside others to a cgroup (Linux 5.7), or to a network namespace by its file (Linux 5.9).
pub(crate) fn link(program: BorrowedFd<'_>, to: BorrowedFd<'_>, hook: Hook) -> io::Result<OwnedFd> {
    descriptor(LINK_CREATE, &mut Attributes::new(&[word(program), word(to), hook as u32, 0]), 4)
}

/// Attaches a program to a network interface, as long as the link lives (Linux 5.9). `flags` names the mode.
pub(crate) fn link_interface(program: BorrowedFd<'_>, index: u32, flags: u32) -> io::Result<OwnedFd> {
    descriptor(LINK_CREATE, &mut Attributes::new(&[word(program), index, Hook::Xdp as u32, flags]), 4)
}

/// Runs a program over a frame so many times. Its last verdict, and the mean of the times it took.
pub(crate) fn test_run(program: BorrowedFd<'_>, frame: &[u8], times: u32) -> io::Result<(u32, Duration)> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    // prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration.
    let mut attributes =
        Attributes::new(&[word(program), 0, length, 0, 0, 0, 0, 0, times, 0]).pointer(4, frame.as_ptr());
    bpf(PROG_TEST_RUN, &mut attributes, 10)?;
    Ok((attributes.0[1], Duration::from_nanos(attributes.0[9].into())))
}

/// Puts another program in the place of a link's: no packet and no connection in between meets neither.
pub(crate) fn update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    bpf(LINK_UPDATE, &mut Attributes::new(&[word(link), word(program), 0, 0]), 4).map(drop)
}

/// Detaches at once, whoever else holds the link (Linux 5.9).
pub(crate) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(LINK_DETACH, &mut Attributes::new(&[word(link)]), 1).map(drop)
}

/// Gives an object a name in a BPF file system.
pub(crate) fn pin(object: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    let name = path(at)?;
    bpf(OBJ_PIN, &mut Attributes::new(&[0, 0, word(object), 0]).pointer(0, name.as_ptr().cast()), 4).map(drop)
}

/// An object by its name.
pub(crate) fn pinned(at: &Path) -> io::Result<OwnedFd> {
    let name = path(at)?;
    descriptor(OBJ_GET, &mut Attributes::new(&[0, 0, 0, 0]).pointer(0, name.as_ptr().cast()), 4)
}

/// A loaded program by its number.
pub(crate) fn program(number: u32) -> io::Result<OwnedFd> {
    descriptor(PROG_GET_FD_BY_ID, &mut Attributes::new(&[number]), 3)
}

/// What the kernel says of a link to a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The number of its program.
    pub(crate) program: u32,
    /// The number of its cgroup; `None`: that was removed, and the link does nothing any more.
    pub(crate) cgroup: Option<u64>,
}

/// Asks for it: `cgroup.cgroup_id` is 0 once the cgroup has gone.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let info = info(link)?;
    let cgroup = u64::from_ne_bytes(info.place);
    Ok(LinkInfo { program: info.program, cgroup: (cgroup != 0).then_some(cgroup) })
}

/// The number of the program of a link to a network namespace; `None`: the namespace has gone (`netns.netns_ino` is 0 then), and the link
/// does nothing any more.
pub(crate) fn namespace_program(link: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let info = info(link)?;
    Ok((info.place[..4] != [0; 4]).then_some(info.program))
}

/// `struct bpf_link_info` (Linux 5.8): what follows the four bytes that align it differs by the kind of link.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    zero: u32,
    place: [u8; 8],
    hook: u64,
}

fn info(link: BorrowedFd<'_>) -> io::Result<Info> {
    let mut info = Info::default();
    let length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let mut attributes = Attributes::new(&[word(link), length]).pointer(2, (&raw mut info).cast());
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes, 4)?;
    Ok(info)
}

/// The cookie of the network namespace of this thread (SO_NETNS_COOKIE, Linux 5.14), by which programs know it.
pub(crate) fn netns_cookie() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&cookie)).map_err(io::Error::other)?;
    // SAFETY: the option is eight bytes long, as is what it is written to; both places live through the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
