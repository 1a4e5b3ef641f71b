//! `pillion inject`: manifests in, manifests with the proxy out.
//!
//! Standard output gets manifests (or a diff) and nothing else; everything that is said goes to standard error. Where
//! something must be changed by its author nothing at all is put out, so that no half of it is applied.

use super::{
    configuration::faults,
    manifest::Manifests,
    settings::Settings,
    workload::{Namespaces, Verdict, Wanted},
};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Largest text. The API server takes objects of some MiB; a hundred of them are a release of a large chart.
const MAX_BYTES: u64 = 64 << 20;
/// Deepest folder within a folder given.
const MAX_DEPTH: usize = 32;
/// What the kernel says of symbolic links that lead to each other.
const LOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Files, folders, or `-`; none: standard input.
    pub files: Vec<PathBuf>,
    /// In or out.
    pub wanted: Wanted,
    /// Show what would change instead.
    pub diff: bool,
    /// The namespace of objects that do not name one.
    pub namespace: Option<String>,
    /// What holds unless a pod's annotations say otherwise.
    pub settings: Settings,
}

/// Carries it out.
///
/// # Errors
/// Everything that stands in the way, a line each.
pub fn run(request: &Request, out: &mut dyn io::Write, say: &mut dyn FnMut(&str)) -> Result<(), Vec<String>> {
    let mut errors: Vec<String> = Vec::new();
    let faults = faults(&request.settings);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut manifests = Vec::new();
    for (name, text) in texts(&request.files)? {
        match Manifests::read(&name, text) {
            Ok(read) => manifests.push(read),
            Err(words) => errors.push(words),
        }
    }
    let mut namespaces = Namespaces::within(request.namespace.clone());
    for object in manifests.iter().flat_map(Manifests::objects) {
        namespaces.learn(object);
    }
    let mut written = Vec::new();
    for read in &manifests {
        let (text, remarks, warnings) = read.change(request.wanted, &request.settings, &namespaces);
        warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
        for remark in remarks {
            match remark.report.verdict {
                Verdict::Wrong(_) => errors.push(remark.to_string()),
                Verdict::Injected
                | Verdict::Uninjected
                | Verdict::Refused(_)
                | Verdict::NotInjected
                | Verdict::Note(_) => {
                    say(&remark.to_string());
                }
            }
        }
        written.push(if request.diff { unified(read.text(), &text, &read.name) } else { text });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    write(&written, request.diff, out).map_err(|error| vec![format!("standard output: {error}")])
}

fn write(texts: &[String], diff: bool, out: &mut dyn io::Write) -> io::Result<()> {
    for (index, text) in texts.iter().enumerate() {
        let separated = text.trim_start_matches('\u{feff}').starts_with("---");
        if index > 0 && !diff && !separated {
            out.write_all(b"---\n")?;
        }
        out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') && index + 1 < texts.len() {
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

fn unified(before: &str, after: &str, name: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    diff.unified_diff().header(name, &format!("{name} (with Pillion)")).to_string()
}

/// The texts to read, each with its name.
fn texts(files: &[PathBuf]) -> Result<Vec<(String, String)>, Vec<String>> {
    let stdin = [PathBuf::from("-")];
    let files = if files.is_empty() { &stdin[..] } else { files };
    let (mut texts, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        if let Err(words) = gather(file, None, &mut texts) {
            errors.push(words);
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(errors) }
}

/// A folder that is read, within those above it.
struct Folder<'a> {
    path: &'a Path,
    /// Device and inode.
    identity: (u64, u64),
    above: Option<&'a Folder<'a>>,
}

/// Reads a file, or what is in a folder. `within`: the folder it was found in; `None` where somebody asked for it.
fn gather(path: &Path, within: Option<&Folder<'_>>, texts: &mut Vec<(String, String)>) -> Result<(), String> {
    let name = path.display().to_string();
    let cannot = |error: io::Error| format!("{name}: cannot be read: {error}");
    if path.as_os_str() == "-" && within.is_none() {
        texts.push(("<stdin>".to_owned(), bounded(&mut io::stdin().lock(), "<stdin>")?));
        return Ok(());
    }
    let metadata = fs::metadata(path).map_err(|error| match error.raw_os_error() {
        Some(LOOP) => format!("{name}: symbolic links lead from it back to it: remove one of them"),
        _ => cannot(error),
    })?;
    if metadata.is_dir() {
        let folder = Folder { path, identity: (metadata.dev(), metadata.ino()), above: within };
        let mut above = std::iter::successors(within, |folder| folder.above);
        if let Some(same) = above.find(|above| above.identity == folder.identity) {
            let of = same.path.display();
            return Err(format!("{name}: a symbolic link leads back to {of}, in which it is: remove it"));
        }
        if std::iter::successors(within, |folder| folder.above).count() >= MAX_DEPTH {
            return Err(format!("{name}: folders deeper than {MAX_DEPTH}"));
        }
        let entries = fs::read_dir(path).map_err(cannot)?;
        let mut entries =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
        entries.sort();
        let before = texts.len();
        for entry in &entries {
            gather(entry, Some(&folder), texts)?;
        }
        if within.is_none() && texts.len() == before {
            return Err(format!("{name}: no .yaml, .yml or .json file in it"));
        }
        return Ok(());
    }
    let manifest = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
    if within.is_none() || manifest {
        let mut file = fs::File::open(path).map_err(cannot)?;
        texts.push((name.clone(), bounded(&mut file, &name)?));
    }
    Ok(())
}

fn bounded(from: &mut dyn io::Read, name: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{name}: more than {MAX_BYTES} bytes (64 MiB): give it in several files"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}:{line}: not UTF-8 text")
    })
}
