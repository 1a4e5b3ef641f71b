//! Network namespaces that a test makes: pods on one switch, as machines or Kubernetes' pods are.
//!
//! ```text
//!   pod a ── eth0 ══ veth ══╗
//!   pod b ── eth0 ══ veth ══╬══ br0 (a namespace of its own: everything between pods passes here)
//!   …                       ╝
//! ```
//!
//! Each pod has an IPv4 and an IPv6 address, loopback, and routes to the others and to nowhere else. Code runs in a pod by
//! [`Pod::enter`]: sockets made and programs started there belong to it for good, so every other fixture works in a pod.
//! Everything is removed on drop, a panic's unwinding included; what a killed test left is removed by the next one.

use crate::need;
use rustix::{
    net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    fs::File,
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{self, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A switch in a namespace of its own; pods are plugged into it.
#[derive(Debug)]
pub struct Switch {
    space: Space,
    next: AtomicU32,
}

/// A network namespace with an address of each family on a switch.
#[derive(Debug)]
pub struct Pod {
    space: Space,
    /// Its address.
    pub ipv4: Ipv4Addr,
    /// Its address.
    pub ipv6: Ipv6Addr,
}

/// All that passes between the pods of a switch, from its start on.
#[derive(Debug)]
pub struct Sniffer {
    seen: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A namespace known by name, removed on drop.
#[derive(Debug)]
struct Space {
    name: String,
    file: File,
}

/// What all names begin with: it says whose they are.
const PREFIX: &str = "pillion-e2e-";

impl Switch {
    /// Makes a switch, or skips loudly where this process may not.
    #[must_use]
    pub fn new() -> Option<Self> {
        need::program("ip", "iproute2")?;
        if !rustix::process::geteuid().is_root() {
            need::skip("network namespaces need root");
            return None;
        }
        sweep();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if let Err(words) = try_ip(&["netns", "add", &name]) {
            need::skip(&format!("network namespaces cannot be made here: {words}"));
            return None;
        }
        let space = Space::open(name);
        space.ip(&["link", "add", "br0", "type", "bridge"]);
        space.ip(&["link", "set", "br0", "up"]);
        Some(Self { space, next: AtomicU32::new(1) })
    }

    /// Plugs a new pod in.
    #[must_use]
    pub fn pod(&self) -> Pod {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-p{number}", self.space.name);
        ip(&["netns", "add", &name]);
        let space = Space::open(name);
        let port = format!("v{number}");
        self.space.ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space.name]);
        self.space.ip(&["link", "set", &port, "master", "br0", "up"]);
        let last = u8::try_from(number).expect("a switch has fewer than 256 pods");
        let (ipv4, ipv6) = (Ipv4Addr::new(10, 77, 0, last), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number as u16));
        space.ip(&["addr", "add", &format!("{ipv4}/24"), "dev", "eth0"]);
        // No waiting for duplicate address detection: nobody else is here.
        space.ip(&["addr", "add", &format!("{ipv6}/64"), "dev", "eth0", "nodad"]);
        space.ip(&["link", "set", "lo", "up"]);
        space.ip(&["link", "set", "eth0", "up"]);
        // As pods have one: what is not on the switch is sent there, and nobody takes it.
        space.ip(&["route", "add", "default", "via", "10.77.0.254"]);
        space.ip(&["route", "add", "default", "via", "fd77::fe"]);
        Pod { space, ipv4, ipv6 }
    }

    /// Keeps every byte that passes from now on.
    #[must_use]
    pub fn sniff(&self) -> Sniffer {
        // ETH_P_ALL, in network order.
        let all = Protocol::from_raw(NonZeroU32::new(0x0003_u16.to_be().into()).expect("it is not zero"));
        let socket: OwnedFd = self.space.enter(|| {
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(all))
                .expect("root may look at packets")
        });
        // Room for a burst while this thread is not scheduled; what is lost was not seen.
        drop(socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20));
        let (seen, stop) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || {
                let mut frame = vec![0; 256 << 10];
                while !stop.load(Ordering::Relaxed) {
                    match recv(&socket, &mut frame[..], RecvFlags::empty()) {
                        Ok((_, length)) => {
                            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                            seen.extend_from_slice(&frame[..length]);
                        }
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
            }
        });
        Sniffer { seen, stop, thread: Some(thread) }
    }
}

impl Pod {
    /// Runs this in the pod, on a thread of its own.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.space.enter(work)
    }

    /// Runs a program of the system in the pod to its end. Panics with its words where it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.enter(|| succeed(Command::new(program).args(arguments))).unwrap_or_else(|words| panic!("{words}"))
    }

    /// The namespace's name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.space.name
    }
}

impl Sniffer {
    /// Whether these bytes passed, in one piece or cut by frames.
    #[must_use]
    pub fn saw(&self, wanted: &[u8]) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.windows(wanted.len()).any(|window| window == wanted)
    }

    /// Bytes that passed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Space {
    fn open(name: String) -> Self {
        let file = File::open(Path::new("/run/netns").join(&name)).expect("ip made the namespace");
        Self { name, file }
    }

    fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            // Named as the test is, so that a skip or a panic says whose it was.
            let name = thread::current().name().unwrap_or("a test").to_owned();
            let inside = move || {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter a namespace");
                work()
            };
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, inside).expect("a thread can be made");
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", self.name.as_str()], arguments].concat());
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Programs in it are killed by their own handles; the kernel removes it behind the last of them.
        drop(try_ip(&["netns", "del", &self.name]));
    }
}

/// Removes what tests left that were killed: their processes are gone.
fn sweep() {
    let Ok(names) = std::fs::read_dir("/run/netns") else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            drop(try_ip(&["netns", "del", &name]));
        }
    }
}

fn ip(arguments: &[&str]) {
    try_ip(arguments).unwrap_or_else(|words| panic!("{words}"));
}

fn try_ip(arguments: &[&str]) -> Result<String, String> {
    succeed(Command::new("ip").args(arguments))
}

fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(words);
    }
    Err(format!("{command:?}: {}: {words}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
