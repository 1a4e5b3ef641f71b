//! Runs cases on a host and compares what they showed with what was expected.

use super::{
    case::{self, Case},
    drive, guest,
    host::{Host, Loaded, Running},
    upstream::Upstream,
};
use pillion_tests::{port, tempdir::TempDir};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As expected.
    Ok,
    /// As expected of this host, which differs from the reference on purpose.
    Deviates,
    /// Not asked: the host is known to crash.
    Crashes,
    /// Not asked: its module has not been built here.
    Absent,
    /// Otherwise: the difference, line by line.
    Wrong(Vec<String>),
}

/// How long the guest's last lines may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must come before a step counts as over: blessing, where the count of lines is not known.
const QUIET: Duration = Duration::from_millis(400);
/// The same after the lines that were expected: for lines too many.
const SETTLE: Duration = Duration::from_millis(15);

/// Runs all cases: those that can be together in one process, the others one by one.
pub(crate) fn all(
    host: Host,
    program: &Path,
    cases: &[Case],
    upstream: &Upstream,
    bless: bool,
) -> Result<Vec<Verdict>, String> {
    let folder = TempDir::new();
    let mut loaded = Vec::new();
    let mut faults = String::new();
    let mut verdicts = vec![Verdict::Ok; cases.len()];
    for (number, case) in cases.iter().enumerate() {
        let module = match &case.module {
            None => match guest::build(case) {
                Ok(module) => folder.write(&format!("{}.wasm", case.name), module),
                Err(words) => {
                    faults.push_str(&words);
                    continue;
                }
            },
            Some(name) => match compiled(name) {
                Some(path) => path,
                None => {
                    verdicts[number] = Verdict::Absent;
                    continue;
                }
            },
        };
        loaded.push((number, Loaded { case, module, address: port::free() }));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    for (number, loaded) in loaded {
        if host == Host::Envoy && loaded.case.envoy_crashes.is_some() {
            verdicts[number] = Verdict::Crashes;
        } else if loaded.case.alone() {
            apart.push((number, loaded));
        } else {
            together.push((number, loaded));
        }
    }
    let mut groups = vec![together];
    groups.extend(apart.into_iter().map(|one| vec![one]));
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let (numbers, loaded): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        for (number, verdict) in numbers.into_iter().zip(run_group(host, program, loaded, upstream, bless)) {
            verdicts[number] = verdict;
        }
    }
    Ok(verdicts)
}

/// Where a module is that the kit does not make itself. Third parties' are built by `conformance/third-party`, never kept.
fn compiled(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let path = match name.split_once('/')? {
        ("prebuilt", name) => root.join("filters/prebuilt").join(name),
        (_, name) => match std::env::var_os("KIT_THIRD_PARTY") {
            Some(folder) => Path::new(&folder).join(name),
            None => root.join("target/third-party").join(name),
        },
    };
    let path = path.with_file_name(format!("{}.wasm", path.file_name()?.to_string_lossy()));
    path.is_file().then_some(path)
}

/// Runs cases in one process. Where it does not start, each gets one of its own, so that the guilty one is known.
fn run_group(host: Host, program: &Path, loaded: Vec<Loaded<'_>>, upstream: &Upstream, bless: bool) -> Vec<Verdict> {
    match host.start(program, &loaded, upstream) {
        Ok(running) => one_by_one(host, program, loaded, upstream, bless, running),
        Err(words) => match loaded.as_slice() {
            [one] => vec![judge_refusal(one.case, &words)],
            _ => loaded.into_iter().flat_map(|one| run_group(host, program, vec![one], upstream, bless)).collect(),
        },
    }
}

fn one_by_one(
    host: Host,
    program: &Path,
    loaded: Vec<Loaded<'_>>,
    upstream: &Upstream,
    bless: bool,
    mut running: Running,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut rest = loaded.into_iter();
    while let Some(one) = rest.next() {
        if one.case.refused.is_some() {
            verdicts
                .push(Verdict::Wrong(vec!["  the configuration was taken and should have been refused".to_owned()]));
            continue;
        }
        let lines = transcript(host, &one, upstream, &mut running, bless);
        if let Some(words) = running.fallen() {
            verdicts.push(Verdict::Wrong([lines, vec![format!("  the host {words}")]].concat()));
            // The others are asked all the same.
            let left: Vec<_> = rest.collect();
            if !left.is_empty() {
                verdicts.extend(run_group(host, program, left, upstream, bless));
            }
            return verdicts;
        }
        if bless {
            let written = case::bless(&one.case.path, "expect", &lines);
            verdicts.push(written.map_or_else(|error| Verdict::Wrong(vec![error.to_string()]), |()| Verdict::Ok));
            continue;
        }
        verdicts.push(judge(host, one.case, &lines));
    }
    verdicts
}

fn judge_refusal(case: &Case, words: &str) -> Verdict {
    let Some(expected) = &case.refused else {
        return Verdict::Wrong(vec![format!("  the host did not start: {words}")]);
    };
    let missing: Vec<_> = expected.iter().filter(|word| !words.contains(word.as_str())).collect();
    if missing.is_empty() {
        return Verdict::Ok;
    }
    Verdict::Wrong(vec![format!("  refused, but without the words {missing:?}: {words}")])
}

fn judge(host: Host, case: &Case, lines: &[String]) -> Verdict {
    let expected = case.expected(host.key());
    if lines == expected {
        let differs = host == Host::Pillion && case.expect_pillion.is_some();
        return if differs { Verdict::Deviates } else { Verdict::Ok };
    }
    Verdict::Wrong(difference(expected, lines))
}

/// Both sides, the common lines once: `-` expected, `+` seen.
fn difference(expected: &[String], seen: &[String]) -> Vec<String> {
    // Longest common subsequence; transcripts are short.
    let (rows, columns) = (expected.len(), seen.len());
    let mut length = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            length[row][column] = if expected[row] == seen[column] {
                length[row + 1][column + 1] + 1
            } else {
                length[row + 1][column].max(length[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut out) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && expected[row] == seen[column] {
            out.push(format!("    {}", seen[column]));
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && length[row + 1][column] >= length[row][column + 1]) {
            out.push(format!("  - {}", expected[row]));
            row += 1;
        } else {
            out.push(format!("  + {}", seen[column]));
            column += 1;
        }
    }
    out
}

/// Does what the case says and writes down what is seen.
fn transcript(host: Host, one: &Loaded<'_>, upstream: &Upstream, running: &mut Running, bless: bool) -> Vec<String> {
    let case = one.case;
    let expected = sections(case.expected(host.key()));
    upstream.take(&case.name);
    let mut seen_roots = Vec::new();
    let mut lines = guest_lines(case, running, expected.first().map(|section| section.guest), bless, &mut seen_roots);
    for (number, step) in case.steps.iter().enumerate() {
        lines.push(format!("# {step}"));
        let client = if let Some(words) = step.strip_prefix("wait ") {
            await_words(running, case, words)
        } else {
            drive::run(step, one.address)
        };
        lines.extend(guest_lines(
            case,
            running,
            expected.get(number + 1).map(|section| section.guest),
            bless,
            &mut seen_roots,
        ));
        let reached = reached(upstream, case, expected.get(number + 1).map_or(0, |section| section.upstream));
        if !case.has("upstream-races") {
            lines.extend(reached);
        }
        lines.extend(client);
    }
    lines.into_iter().map(|line| normal(&line, one, upstream)).collect()
}

/// How many lines are expected in a section: before the first step, or of one step.
#[derive(Debug, Clone, Copy, Default)]
struct Section {
    guest: usize,
    upstream: usize,
}

fn sections(expected: &[String]) -> Vec<Section> {
    let mut counts = vec![Section::default()];
    for line in expected {
        if line.starts_with("# ") {
            counts.push(Section::default());
        } else if let Some(last) = counts.last_mut() {
            match &line[..line.len().min(2)] {
                "^ " => last.upstream += 1,
                "> " => {}
                _ => last.guest += 1,
            }
        }
    }
    counts
}

/// What reached the upstream, once as much is there as is expected: a copy of a request may come after its answer.
fn reached(upstream: &Upstream, case: &Case, expected: usize) -> Vec<String> {
    let begun = Instant::now();
    let mut lines = upstream.take(&case.name);
    while lines.len() < expected && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(3));
        lines.extend(upstream.take(&case.name));
    }
    lines.sort();
    lines
}

fn await_words(running: &Running, case: &Case, words: &str) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if running.peek(case).iter().any(|line| line.contains(words)) {
            return Vec::new();
        }
        thread::sleep(Duration::from_millis(5));
    }
    vec![format!("> never logged {words:?}")]
}

/// Callbacks of root contexts. A host may keep a VM per thread, and one more to try the configuration on: what it does in
/// each is the same, so a line that came before is not told again.
const ROOT: [&str; 7] =
    ["start|", "context_create| root", "context_create| buffer", "vm_start|", "configure|", "tick|", "queue_ready|"];

fn guest_lines(
    case: &Case,
    running: &mut Running,
    expected: Option<usize>,
    bless: bool,
    roots: &mut Vec<String>,
) -> Vec<String> {
    let (mut kept, begun) = (Vec::new(), Instant::now());
    let mut last = Instant::now();
    loop {
        for line in running.lines(case) {
            last = Instant::now();
            if case.module.is_some() && !case.log.as_ref().is_some_and(|words| line.contains(words.as_str())) {
                continue;
            }
            let own = case.chain.iter().find_map(|word| line.strip_prefix(&format!("{word}: "))).unwrap_or(&line);
            if case.module.is_some() || ROOT.iter().any(|prefix| own.starts_with(prefix)) {
                if roots.contains(&line) {
                    continue;
                }
                roots.push(line.clone());
            }
            kept.push(line);
        }
        let quiet = last.elapsed();
        let over = match expected {
            _ if bless => quiet > QUIET,
            Some(count) => kept.len() >= count && quiet > SETTLE,
            None => quiet > QUIET,
        };
        if over || begun.elapsed() > PATIENCE {
            return kept;
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// Addresses that differ by run get names.
fn normal(line: &str, one: &Loaded<'_>, upstream: &Upstream) -> String {
    line.replace(&one.address.to_string(), "LISTENER")
        .replace(&upstream.address.to_string(), "UPSTREAM")
        .replace(&upstream.bytes.to_string(), "BYTES")
        .replace(&upstream.secure.address.to_string(), "SECURE")
}
