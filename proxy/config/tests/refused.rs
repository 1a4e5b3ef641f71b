//! The golden table of refused documents: `refused.txt` holds each with the exact words it is refused with.
//!
//! A case is `### FRAME: title`, the text, `---`, the messages. FRAME says what the text is put into: `root` (nothing),
//! `listener`, `route` or `cluster` (a document that is right but for it). `PILLION_BLESS=1` rewrites the messages.

use pillion_config::{SourceName, parse};
use std::{env, fmt::Write as _, fs, io, path::Path};

const ROUTE: &str = "{match: {prefix: /}, cluster: api}";
const CLUSTER: &str = "{name: api, endpoints: ['10.0.0.7:80']}";

fn document(frame: &str, text: &str) -> String {
    let text = text.trim_end();
    match frame {
        "root" => text.to_owned(),
        "listener" => format!("listeners:\n- {}\nclusters: [{CLUSTER}]\n", text.replace('\n', "\n  ")),
        "route" => {
            format!("listeners: [{{name: web, address: '0.0.0.0:80', routes: [\n{text}\n]}}]\nclusters: [{CLUSTER}]\n")
        }
        "cluster" => format!(
            "listeners: [{{name: web, address: '0.0.0.0:80', routes: [{ROUTE}]}}]\nclusters: [\n  {text}\n  ]\n"
        ),
        other => panic!("no such frame: {other}"),
    }
}

fn answer(text: &str) -> String {
    let read = |path: &Path| match path.to_str() {
        Some("dir/large.html") => Ok(vec![b'x'; 70_000]),
        Some("dir/component.wasm") => Ok(b"\0asm\x0d\0\x01\0".to_vec()),
        _ => Err(io::Error::from_raw_os_error(2)),
    };
    match parse(&SourceName::new("dir/p.yaml"), text, &read) {
        Err(errors) => errors.to_string(),
        Ok(loaded) if loaded.warnings.is_empty() => "accepted".to_owned(),
        Ok(loaded) => loaded.warnings.iter().map(|warning| format!("warning {warning}")).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn refused_documents_get_exactly_these_words() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused.txt");
    let golden = fs::read_to_string(&path).unwrap();
    let mut now = String::new();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for case in golden.split("### ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (frame, _) = title.split_once(": ").unwrap();
        let (text, expected) = rest.split_once("---\n").unwrap_or((rest, ""));
        let found = answer(&document(frame, text));
        assert_ne!(found, "accepted", "{title}");
        if found.trim_end() != expected.trim_end() {
            wrong.push(format!("{title}\n  expected:\n{}\n  found:\n{found}\n", expected.trim_end()));
        }
        write!(now, "### {title}\n{}\n---\n{found}\n\n", text.trim_end()).unwrap();
        cases += 1;
    }
    if env::var_os("PILLION_BLESS").is_some() {
        fs::write(&path, now).unwrap();
        return;
    }
    assert!(
        wrong.is_empty(),
        "{}\nPILLION_BLESS=1 cargo test -p pillion-config accepts the new words",
        wrong.join("\n")
    );
    assert!(cases >= 60, "{cases} cases");
}

/// A mistake told twice, or told under a path that is not there, would be noise: each message stands once.
#[test]
fn nothing_is_told_twice() {
    let golden = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused.txt")).unwrap();
    for case in golden.split("### ").skip(1) {
        let (_, messages) = case.split_once("---\n").unwrap();
        let lines: Vec<&str> = messages.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            assert!(line.is_empty() || !lines[..n].contains(line), "{line}");
        }
    }
}
