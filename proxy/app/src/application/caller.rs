//! Who asks by hand that the proxy leaves: a process of the application's, as a Job's last command is, which is not to be waited
//! for. It waits for the proxy itself; so does the shell that called it; and so does whoever reads what these write, as `tee` at the
//! end of their pipeline, who ends when they have. Only who asks can see that: what another user's process has open is not shown to us.

use super::processes;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
};

/// The process that asks, as it is called in its own process namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    process: u32,
    /// The namespace's inode: in another one the same number is another process.
    namespace: u64,
    /// Who else is not waited for.
    without: BTreeSet<u32>,
}

/// The fields of a query that say it.
const PROCESS: &str = "process";
const NAMESPACE: &str = "namespace";
const WITHOUT: &str = "without";
/// More ancestors than any process has for whom there is a container.
const MOST_ANCESTORS: usize = 64;
/// More processes than stand in any pipeline.
const MOST_WITHOUT: usize = 256;

/// Descriptors of every process.
const INPUT: u32 = 0;
const OUTPUTS: [u32; 2] = [1, 2];
/// Where a shell puts its own outputs aside while a command has others (`pillion quit >/dev/null`), as dash does before it forks.
const ASIDE: std::ops::RangeInclusive<u32> = 10..=15;
/// Names of shells. Whoever else has pipes there may have made them for workers of its own, which are waited for.
const SHELLS: [&str; 7] = ["sh", "dash", "ash", "bash", "ksh", "mksh", "busybox"];

impl Caller {
    /// This process, which says that those of `except` are not to be waited for either; `None` where it does not see its namespace,
    /// and then nobody knows who asked.
    #[must_use]
    pub fn own(except: &BTreeSet<u32>) -> Option<Self> {
        let (process, namespace) = (std::process::id(), namespace()?);
        let without = readers(&ancestry(process)).union(except).copied().take(MOST_WITHOUT).collect();
        Some(Self { process, namespace, without })
    }

    /// What it writes behind a path's question mark.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = format!("{PROCESS}={}&{NAMESPACE}={}", self.process, self.namespace);
        for (at, process) in self.without.iter().enumerate() {
            query += &if at == 0 { format!("&{WITHOUT}={process}") } else { format!(",{process}") };
        }
        query
    }

    /// What `field` finds in a query; `None` where who asked does not say who it is.
    pub fn read<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let without = field(WITHOUT).unwrap_or_default().split(',').filter_map(|process| process.parse().ok());
        Some(Self {
            process: field(PROCESS)?.parse().ok()?,
            namespace: field(NAMESPACE)?.parse().ok()?,
            without: without.take(MOST_WITHOUT).collect(),
        })
    }

    /// The process, its ancestors and whom it named, as far as they are seen from here: those in another namespace are not.
    pub(super) fn those_not_waited_for(self) -> BTreeSet<u32> {
        if namespace() != Some(self.namespace) {
            return BTreeSet::new();
        }
        let mut all = ancestry(self.process);
        all.extend(self.without);
        all
    }
}

/// A process and its ancestors, as far as this namespace shows them.
fn ancestry(process: u32) -> BTreeSet<u32> {
    let above = std::iter::successors(Some(process), |process| processes::parent_of(*process));
    above.take_while(|process| *process > 1).take(MOST_ANCESTORS).collect()
}

/// Whose standard input is a pipe that is an output of one of `writers`, and whose is one of theirs, and so on.
fn readers(writers: &BTreeSet<u32>) -> BTreeSet<u32> {
    let names =
        fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let inputs: Vec<(u32, Pipe)> = names
        .filter_map(|name| name.parse().ok())
        .filter_map(|process| Some((process, pipe(process, INPUT)?)))
        .collect();
    let mut all = writers.clone();
    loop {
        let written: BTreeSet<Pipe> = all.iter().flat_map(|process| outputs(*process)).collect();
        let before = all.len();
        all.extend(inputs.iter().filter(|(_, input)| written.contains(input)).map(|(process, _)| *process));
        if all.len() == before {
            return all.difference(writers).copied().collect();
        }
    }
}

/// The pipes that a process writes to.
fn outputs(process: u32) -> impl Iterator<Item = Pipe> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let aside = ASIDE.filter(move |_| SHELLS.contains(&name.trim_end()));
    OUTPUTS.into_iter().chain(aside).filter_map(move |output| pipe(process, output))
}

/// A pipe or FIFO, by its device and inode.
type Pipe = (u64, u64);

/// What a process has open at this number; `None`: no pipe, or it is not shown to us.
fn pipe(process: u32, descriptor: u32) -> Option<Pipe> {
    let meta = fs::metadata(format!("/proc/{process}/fd/{descriptor}")).ok()?;
    meta.file_type().is_fifo().then(|| (meta.dev(), meta.ino()))
}

fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    #[test]
    fn who_asks_is_told_and_known_with_its_ancestors() {
        let own = Caller::own(&BTreeSet::from([4_000_001, 4_000_002])).unwrap();
        let query = own.query();
        let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        assert_eq!(Caller::read(field), Some(own.clone()));
        assert_eq!(Caller::read(|name| field(name).filter(|_| name == PROCESS)), None);
        let elsewhere = Caller { namespace: own.namespace + 1, ..own.clone() };
        let process = own.process;
        let line = own.those_not_waited_for();
        assert!(line.contains(&process) && line.contains(&std::os::unix::process::parent_id()), "{line:?}");
        assert!(line.contains(&4_000_001) && line.contains(&4_000_002), "{line:?}");
        assert!(!line.contains(&1), "pause, or what stands for it: {line:?}");
        assert_eq!(elsewhere.those_not_waited_for(), BTreeSet::new());
    }

    /// A process that ends when it can read no more.
    fn cat(input: Stdio, output: Stdio) -> Child {
        Command::new("cat").stdin(input).stdout(output).stderr(Stdio::null()).spawn().expect("there is a cat")
    }

    #[test]
    fn who_reads_what_a_process_writes_is_found_to_the_pipelines_end() {
        let mut first = cat(Stdio::piped(), Stdio::piped());
        let mut second = cat(first.stdout.take().unwrap().into(), Stdio::piped());
        let mut third = cat(second.stdout.take().unwrap().into(), Stdio::null());
        let mut beside = cat(Stdio::piped(), Stdio::null());
        let found = readers(&BTreeSet::from([first.id()]));
        assert_eq!(found, BTreeSet::from([second.id(), third.id()]));
        assert_eq!(readers(&BTreeSet::from([third.id()])), BTreeSet::new(), "who writes to it is none");
        drop((first.stdin.take(), beside.stdin.take()));
        for child in [&mut first, &mut second, &mut third, &mut beside] {
            assert!(child.wait().unwrap().success());
        }
    }
}
