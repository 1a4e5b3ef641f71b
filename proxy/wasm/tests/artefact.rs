//! Compiled modules on disk: kept, found again, never run when they are not ours.

#![allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

use pillion_wasm::{
    Compiler, Directory,
    artefact::{module, sha256},
    engine,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const MODULE: &str = r#"(module (func (export "f") (result i32) (i32.const 7)))"#;

/// A directory's place, taken away at its end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("pillion-artefact-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(unique))
    }

    fn open(&self) -> Directory {
        Directory::open(std::slice::from_ref(&self.0))
    }

    fn artefacts(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "aot")).collect();
        all.sort();
        all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn compiler_that_must_not_run() -> Compiler {
    Compiler::Child { program: "/nonexistent".into(), arguments: Vec::new() }
}

fn load(directory: &Directory, compiler: &Compiler) -> Result<(), String> {
    let bytes = wat::parse_str(MODULE).unwrap();
    let runtime = engine::runtime().unwrap();
    let loaded = module(runtime, directory, compiler, &bytes, &sha256(&bytes)).map_err(|error| error.to_string())?;
    assert!(loaded.get_export("f").is_some());
    Ok(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_compiled_is_found_again() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    assert_eq!(mode(&place.0), 0o700);
    assert_eq!(mode(&place.0.join("key")), 0o600);
    assert_eq!(place.artefacts().len(), 1);
    assert_eq!(mode(&place.artefacts()[0]), 0o600);
    load(&place.open(), &compiler_that_must_not_run()).unwrap();
}

#[test]
fn what_was_changed_is_compiled_anew() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    let path = place.artefacts().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(load(&place.open(), &compiler_that_must_not_run()).is_err(), "it is not run");
    assert!(place.artefacts().is_empty(), "and it is gone");
    load(&place.open(), &Compiler::Here).unwrap();
}

#[test]
fn what_another_directory_vouches_for_is_compiled_anew() {
    let (place, other) = (Place::new(), Place::new());
    load(&place.open(), &Compiler::Here).unwrap();
    load(&other.open(), &Compiler::Here).unwrap();
    let (ours, theirs) = (place.artefacts().remove(0), other.artefacts().remove(0));
    assert_ne!(ours.file_name(), theirs.file_name());
    fs::copy(&theirs, place.0.join(theirs.file_name().unwrap())).unwrap();
    fs::remove_file(ours).unwrap();
    assert!(load(&place.open(), &compiler_that_must_not_run()).is_err());
}

#[test]
fn a_directory_open_to_others_is_not_used() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(load(&place.open(), &compiler_that_must_not_run()).is_err(), "its artefacts are not believed");
    load(&place.open(), &Compiler::Here).unwrap();
    assert_eq!(place.artefacts().len(), 1, "nor is anything put there");
}

#[test]
fn a_link_in_a_directorys_place_is_not_followed() {
    let (place, link) = (Place::new(), Place::new());
    load(&place.open(), &Compiler::Here).unwrap();
    symlink(&place.0, &link.0).unwrap();
    assert!(load(&link.open(), &compiler_that_must_not_run()).is_err());
    fs::remove_file(&link.0).unwrap();
}

#[test]
fn a_key_open_to_others_is_not_believed() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    fs::set_permissions(place.0.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&place.open(), &compiler_that_must_not_run()).is_err());
}

#[test]
fn without_a_directory_modules_live_in_memory() {
    load(&Directory::memory(), &Compiler::Here).unwrap();
    load(&Directory::open(&["/proc/nowhere".into()]), &Compiler::Here).unwrap();
}

#[test]
fn a_compiler_that_fails_leaves_nothing() {
    let place = Place::new();
    let fails = Compiler::Child { program: "/bin/false".into(), arguments: Vec::new() };
    let words = load(&place.open(), &fails).unwrap_err();
    assert!(words.contains("the compiler did not run"), "{words}");
    let left: Vec<_> = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["key"]);
}

#[test]
fn fetched_modules_are_held_to_their_digest() {
    let place = Place::new();
    let directory = place.open();
    let digest = sha256(b"module");
    assert_eq!(directory.fetched(&digest), None);
    directory.keep_fetched(&digest, b"module");
    assert_eq!(directory.fetched(&digest).as_deref(), Some(&b"module"[..]));
    directory.keep_fetched(&digest, b"another");
    assert_eq!(directory.fetched(&digest), None);
}
