//! The guests of `filters/`: their logic, tested on the host, and their artefacts, held against their sources. What the
//! artefacts do in a proxy is the conformance kit's (`conformance/modules/`).

use aws_lc_rs::digest::{SHA256, digest};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn filters() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository").join("filters")
}

/// They have a workspace of their own, which `cargo test` here does not reach.
#[test]
fn logic_on_the_host() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let test = env::current_exe().expect("a running test has a path");
    let target = test.ancestors().nth(3).expect("tests lie in a target directory").join("filters");
    let output = Command::new(cargo)
        .args(["test", "--locked", "--quiet", "--manifest-path"])
        .arg(filters().join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs");
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words}");
    // Four crates, so at least as many that say so.
    assert!(words.matches("test result: ok.").count() >= 4, "{words}");
}

/// Without a compiler for wasm: what `filters/build` recorded is true of the sources and of the artefacts.
#[test]
fn artefacts_are_those_of_their_sources() {
    let recorded = fs::read_to_string(filters().join("prebuilt/sources")).expect("filters/build has recorded digests");
    let guests = guests();
    assert_eq!(recorded.lines().count(), guests.len(), "one line for each of {guests:?}");
    for (name, line) in guests.iter().zip(recorded.lines()) {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some(name.as_str()));
        assert_eq!(
            words.next(),
            Some(source_digest(name).as_str()),
            "filters/prebuilt/{name}.wasm is older than its source: run filters/build and commit what changes"
        );
        let module = fs::read(filters().join(format!("prebuilt/{name}.wasm"))).expect("the artefact is there");
        assert_eq!(words.next(), Some(hex(&module).as_str()), "{name}.wasm is not the one that was recorded");
    }
}

fn guests() -> Vec<String> {
    let folders = fs::read_dir(filters()).expect("filters/ is there").flatten();
    let crates = folders.filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut names: Vec<_> = crates.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// As `filters/build` counts it: `sha256sum` of each file by path, and of those lines.
fn source_digest(name: &str) -> String {
    let mut files = vec!["Cargo.lock".to_owned(), "Cargo.toml".to_owned()];
    list(&filters(), name, &mut files);
    files.sort();
    let lines: String = files
        .iter()
        .map(|file| format!("{}  {file}\n", hex(&fs::read(filters().join(file)).expect("a source can be read"))))
        .collect();
    hex(lines.as_bytes())
}

fn list(root: &Path, folder: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder can be read").flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(root, &path, files);
        } else {
            files.push(path);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
