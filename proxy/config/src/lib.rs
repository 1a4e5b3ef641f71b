//! The configuration of Pillion: from a document a person writes to a model the proxy can trust.
//!
//! A leaf: it knows files and text, never sockets. Configuration takes three forms, one way:
//! *document* (YAML, private to this crate) → [`model`] (validated, no `Option` that means a default) →
//! *snapshot* (compiled, in `pillion-core`).
//!
//! ```text
//! text ─► tree (YAML with places) ─► document (fields, each good or told) ─► lower ─► model::Config
//!            │ syntax, duplicate keys     │ types, unknown fields               │ names, files, what fits together
//!            └────────────────────────────┴──────────────► Errors, all at once ◄┘
//! ```

mod diagnostic;
mod document;
mod files;
mod lower;
pub mod model;
#[cfg(test)]
mod reference;
mod schema;
pub mod template;
mod tree;

pub use diagnostic::{Diagnostic, Errors, SourceName, nearest};
pub use document::write_size;
pub use files::{MAX_REFERENCED, read_referenced};
pub use lower::{COMPONENT, is_component};
pub use schema::schema;

use document::{Document, Field};
use lower::Lowering;
use std::{
    cell::OnceCell,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tree::{Fault, Place, Sink, Tree};

/// A configuration that holds together.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub config: model::Config,
    /// What deserves a second look, in the order of the text.
    pub warnings: Vec<Diagnostic>,
    /// Every file that was read, to be watched for changes; the document itself first when it was loaded from one that is no pipe.
    pub files: Vec<PathBuf>,
}

/// Reads a configuration file and the files it refers to. Blocks on the file system.
///
/// # Errors
/// Everything that is wrong, at once, in the order of the text.
pub fn load(path: &Path) -> Result<Loaded, Errors> {
    DocumentFile::new(path).load()
}

/// A file that a configuration is read from, again and again. It may be a pipe, as shells give one for `<(…)`: what comes
/// out of it comes once, so it is kept, and later only the files it refers to are read again.
#[derive(Debug)]
pub struct DocumentFile {
    path: PathBuf,
    kept: OnceCell<Vec<u8>>,
}

impl DocumentFile {
    /// The file at `path`, not looked at yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), kept: OnceCell::new() }
    }

    /// Reads it and the files it refers to. Blocks on the file system, and at most ten seconds on a pipe.
    ///
    /// # Errors
    /// Everything that is wrong, at once, in the order of the text.
    pub fn load(&self) -> Result<Loaded, Errors> {
        let file = SourceName::new(&self.path);
        let whole = |line, column, message| {
            Errors::one(Diagnostic { file: file.clone(), line, column, path: String::new(), message })
        };
        let read;
        let bytes = match self.kept.get() {
            Some(kept) => kept,
            None => {
                let (bytes, once) = files::read_document(&self.path)
                    .map_err(|error| whole(0, 0, format!("cannot be read: {}", reason(&error))))?;
                if once {
                    self.kept.get_or_init(|| bytes)
                } else {
                    read = bytes;
                    &read
                }
            }
        };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            let message = format!("not UTF-8 text: the byte 0x{:02x} cannot stand here", bytes[error.valid_up_to()]);
            whole(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX), message)
        })?;
        let mut loaded = parse(&file, text, &read_referenced)?;
        if self.kept.get().is_none() {
            loaded.files.insert(0, self.path.clone());
        }
        Ok(loaded)
    }
}

/// Reads a configuration from text. Files it refers to are asked of `read`, by paths relative to the document's own.
///
/// Pure but for `read`: time and memory are bounded by the length of the text, of which at most 16 MiB are accepted.
///
/// # Errors
/// Everything that is wrong, at once, in the order of the text.
pub fn parse(file: &SourceName, text: &str, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Loaded, Errors> {
    let from_fault = |tree: Option<&Tree<'_>>, fault: Fault| Diagnostic {
        file: file.clone(),
        line: fault.line,
        column: fault.column,
        path: tree.zip(fault.place).map_or(String::new(), |(tree, place)| tree.path(place)),
        message: fault.message,
    };
    let (tree, faults) = Tree::parse(text).map_err(|fault| Errors::one(from_fault(None, fault)))?;
    let mut errors: Vec<Diagnostic> = faults.into_iter().map(|fault| from_fault(Some(&tree), fault)).collect();
    let sink = Sink::default();
    let document: Field<Document> = tree.read(&sink);
    let told = sink.found.borrow();
    errors.extend(told.iter().map(|(place, message)| lower::diagnostic(&tree, file, *place, message.clone())));
    let mut lowering = Lowering::new(&tree, file, read);
    let written = document.is_written();
    let config = match document.take() {
        Some(document) => lowering.document(document),
        None if written => None,
        None => {
            lowering.error(Place(0), "the document is empty; it needs at least `listeners`");
            None
        }
    };
    errors.append(&mut lowering.errors);
    let (mut warnings, files) = (lowering.warnings, lowering.files);
    diagnostic::sort(&mut warnings);
    match (Errors::from_all(errors), config) {
        (None, Some(config)) => Ok(Loaded { config, warnings, files }),
        (Some(errors), _) => Err(errors),
        (None, None) => Err(Errors::one(Diagnostic {
            file: file.clone(),
            line: 1,
            column: 1,
            path: String::new(),
            message: "this configuration cannot be used, for a reason that was not found; please report it".into(),
        })),
    }
}

/// The configuration of `pillion run --listen ADDRESS --upstream UPSTREAM`: one listener, one route, one cluster, and
/// the defaults of a document. `upstream` is `host:port` or `http://host:port`.
///
/// # Errors
/// Where the upstream is not an address, or the listener's own.
pub fn simple(listen: SocketAddr, upstream: &str) -> Result<model::Config, Errors> {
    let fail = |message: String| {
        let file = SourceName::new("--upstream");
        Errors::one(Diagnostic { file, line: 0, column: 0, path: String::new(), message })
    };
    if upstream.starts_with("https://") {
        return Err(fail(format!(
            "{upstream} wants TLS, and nothing here says whom to trust: write a configuration with `tls: {{ mode: tls, trusted_ca: \
             FILE }}` at its cluster"
        )));
    }
    let plain = upstream.strip_prefix("http://").map_or(upstream, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let no_port = plain.ends_with(']') || !plain.contains(':');
    let with_port = if plain.len() < upstream.len() && no_port && !plain.is_empty() {
        format!("{plain}:80")
    } else {
        plain.to_owned()
    };
    let address = <model::EndpointAddress as document::FromText>::from_text(&with_port).map_err(fail)?;
    if address == model::EndpointAddress::Ip(listen) {
        return Err(fail(format!("{upstream} is where this proxy listens; requests would go round in circles")));
    }
    // An address has no character that would end a quoted text, so this document says exactly what is meant.
    let text = format!(
        "listeners: [{{name: listener, address: \"{listen}\", routes: [{{match: {{}}, cluster: upstream}}]}}]\n\
         clusters: [{{name: upstream, endpoints: [\"{address}\"]}}]\n"
    );
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    parse(&SourceName::new("--upstream"), &text, &none).map(|loaded| loaded.config)
}

/// An operating system's error in words, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
