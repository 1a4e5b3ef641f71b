//! Compiled modules on disk: kept, found again, never run when they are not ours.

#![allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

mod warnings;

use pillion_wasm::{
    Compiler, Directory,
    artefact::{self, Wanted, module, sha256},
    engine,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use warnings::warned;

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
    Compiler::Child { program: "/nonexistent".into(), arguments: Vec::new(), memory: artefact::MEMORY }
}

fn load(directory: &Directory, compiler: &Compiler) -> Result<(), String> {
    let bytes = wat::parse_str(MODULE).unwrap();
    let runtime = engine::runtime().unwrap();
    let loaded = module(runtime, directory, compiler, &bytes, &sha256(&bytes), &|| Wanted::Yes)
        .map_err(|error| error.to_string())?;
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
fn a_damaged_key_is_said_and_made_anew() {
    for damage in [&b""[..], b"short", &[0; 32], &[7; 33]] {
        let place = Place::new();
        load(&place.open(), &Compiler::Here).unwrap();
        let key = place.0.join("key");
        fs::write(&key, damage).unwrap();
        let (directory, said) = warned(|| place.open());
        let [line] = &said[..] else { panic!("one line, not {said:?}") };
        assert!(
            line.starts_with(&format!("{}: the key", key.display())) && line.contains("PILLION_WASM_CACHE"),
            "{line}"
        );
        assert_eq!((fs::metadata(&key).unwrap().len(), mode(&key)), (32, 0o600));
        assert!(load(&directory, &compiler_that_must_not_run()).is_err(), "what the lost key vouched for is not run");
        load(&directory, &Compiler::Here).unwrap();
        let (directory, said) = warned(|| place.open());
        assert!(said.is_empty(), "{said:?}");
        load(&directory, &compiler_that_must_not_run()).unwrap();
        let left: Vec<_> = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "a key and an artefact: {left:?}");
    }
}

#[test]
fn a_directory_that_is_passed_over_is_said() {
    let (place, other) = (Place::new(), Place::new());
    load(&place.open(), &Compiler::Here).unwrap();
    fs::remove_file(place.0.join("key")).unwrap();
    fs::create_dir(place.0.join("key")).unwrap();
    let ((), said) = warned(|| load(&Directory::open(&[place.0.clone(), other.0.clone()]), &Compiler::Here).unwrap());
    let [line] = &said[..] else { panic!("one line, not {said:?}") };
    let (place, other_is) = (place.0.display(), other.0.display());
    assert!(line.starts_with(&format!("{place}: not used")) && line.contains(&other_is.to_string()), "{line}");
    assert!(line.contains(&format!("{place}/key: it is no file; remove it")), "{line}");
    assert_eq!(other.artefacts().len(), 1);
    let (_, said) = warned(|| Directory::open(&["/proc/nowhere/at/all".into(), other.0.clone()]));
    assert!(said.is_empty(), "what was never there is no news: {said:?}");
}

#[test]
fn without_a_directory_modules_live_in_memory() {
    load(&Directory::memory(), &Compiler::Here).unwrap();
    load(&Directory::open(&["/proc/nowhere".into()]), &Compiler::Here).unwrap();
}

/// Whatever lies in the directory but its key and artefacts.
fn rest(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.ends_with("key") && path.extension().is_none_or(|end| end != "aot")).collect()
}

/// The compiler as a full disk lets it be: what it writes to a file of the directory does not fit.
#[test]
fn where_an_artefact_has_no_room_it_lives_in_memory() {
    let (place, full) = (Place::new(), Place::new());
    load(&place.open(), &Compiler::Here).unwrap();
    let script = format!(
        "cat >/dev/null; case $(readlink /proc/$$/fd/1) in /memfd:*) cat {};; *) echo 'No space left on device' >&2; exit 1;; esac",
        place.artefacts()[0].display()
    );
    let compiler = Compiler::Child {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        memory: artefact::MEMORY,
    };
    let directory = full.open();
    let (loaded, said) = warned(|| load(&directory, &compiler));
    loaded.unwrap();
    let folder = full.0.display().to_string();
    let named = |line: &&String| {
        line.contains(&folder) && line.contains("No space left") && line.contains("PILLION_WASM_CACHE")
    };
    assert_eq!(said.iter().filter(named).count(), 1, "{said:?}");
    assert_eq!(rest(&full), Vec::<PathBuf>::new());
}

#[test]
fn a_directory_in_an_artefacts_place_keeps_nobody_from_starting() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    let path = place.artefacts().remove(0);
    fs::remove_file(&path).unwrap();
    fs::create_dir_all(path.join("x")).unwrap();
    for _ in 0..2 {
        let (loaded, said) = warned(|| load(&place.open(), &Compiler::Here));
        loaded.unwrap();
        assert!(said.iter().any(|line| line.contains("it is a directory; remove it")), "{said:?}");
    }
    assert_eq!(rest(&place), Vec::<PathBuf>::new(), "each attempt takes away what it wrote");
}

#[test]
fn links_in_the_places_of_files_are_not_followed() {
    let (place, other) = (Place::new(), Place::new());
    load(&place.open(), &Compiler::Here).unwrap();
    fs::create_dir(&other.0).unwrap();
    let named = |said: &[String]| said.iter().any(|line| line.contains("it is a symbolic link, which is not followed"));
    let path = place.artefacts().remove(0);
    let away = other.0.join("artefact");
    fs::rename(&path, &away).unwrap();
    symlink(&away, &path).unwrap();
    let (loaded, said) = warned(|| load(&place.open(), &Compiler::Here));
    loaded.unwrap();
    assert!(named(&said) && away.is_file() && place.artefacts()[0].is_file(), "{said:?}");
    fs::remove_file(place.0.join("key")).unwrap();
    symlink("/dev/zero", place.0.join("key")).unwrap();
    let (loaded, said) = warned(|| load(&place.open(), &Compiler::Here));
    loaded.unwrap();
    assert!(named(&said), "{said:?}");
}

/// Reading it would take hours.
#[test]
fn a_huge_file_in_an_artefacts_place_is_not_read() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    let path = place.artefacts().remove(0);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let (loaded, said) = warned(|| load(&place.open(), &Compiler::Here));
    loaded.unwrap();
    assert!(said.iter().any(|line| line.contains("larger than compiled modules are")), "{said:?}");
    load(&place.open(), &compiler_that_must_not_run()).unwrap();
}

#[test]
fn a_huge_file_in_a_fetched_modules_place_is_not_read() {
    let place = Place::new();
    let directory = place.open();
    let digest = sha256(b"module");
    directory.keep_fetched(&digest, b"module");
    let path = place.0.join(artefact::hex(&digest) + ".wasm");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(directory.fetched(&digest), None);
    directory.keep_fetched(&digest, b"module");
    assert!(directory.fetched(&digest).is_some());
}

/// What was put there for an artefact's own name by somebody, and what cannot be removed, costs no artefact of ours its place.
#[test]
fn what_others_leave_by_the_thousand_costs_a_start_little_and_ours_stays() {
    let place = Place::new();
    load(&place.open(), &Compiler::Here).unwrap();
    let ours = place.artefacts().remove(0);
    let name = ours.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    fs::remove_file(&ours).unwrap();
    for number in 0..3000 {
        fs::write(place.0.join(format!("{name}.{number:064x}.aot")), [0; 100]).unwrap();
        fs::write(place.0.join(format!("stray{number}")), "").unwrap();
    }
    for number in 0..100 {
        fs::create_dir(place.0.join(format!("{number}.aot"))).unwrap();
    }
    let (loaded, said) = warned(|| load(&place.open(), &Compiler::Here));
    loaded.unwrap();
    assert!(said.len() <= 64, "{} lines", said.len());
    load(&place.open(), &compiler_that_must_not_run()).unwrap();
    assert!(ours.is_file());
    assert!(place.artefacts().iter().filter(|path| path.is_file()).count() <= 64);
}

/// Those used last are kept, and a module that was found is one that was used.
#[test]
fn a_fetched_module_that_is_used_is_kept() {
    let place = Place::new();
    let directory = place.open();
    let of = |number: u32| (sha256(&number.to_le_bytes()), number.to_le_bytes());
    let (digest, bytes) = of(0);
    directory.keep_fetched(&digest, &bytes);
    for number in 1..100 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        if number % 2 == 0 {
            directory.use_fetched(&digest);
        } else {
            assert!(directory.fetched(&digest).is_some(), "before {number}");
        }
        let (digest, bytes) = of(number);
        directory.keep_fetched(&digest, &bytes);
    }
    assert!(directory.fetched(&digest).is_some());
    assert_eq!(directory.fetched(&of(1).0), None);
}

/// Two proxies of two containers that share a directory have one number each, and the same.
#[test]
fn a_key_that_another_process_is_making_is_left_to_it() {
    let place = Place::new();
    fs::create_dir(&place.0).unwrap();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o700)).unwrap();
    let theirs = place.0.join(format!("key.{}", std::process::id()));
    fs::write(&theirs, "begun").unwrap();
    load(&place.open(), &Compiler::Here).unwrap();
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "begun");
}

#[test]
fn a_compiler_that_fails_leaves_nothing() {
    let place = Place::new();
    let fails = Compiler::Child { program: "/bin/false".into(), arguments: Vec::new(), memory: artefact::MEMORY };
    let words = load(&place.open(), &fails).unwrap_err();
    assert!(words.contains("the compiler did not run"), "{words}");
    let left: Vec<_> = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["key"]);
}

/// What fails for the lack of something else than room in the directory is neither tried twice nor blamed on it.
#[test]
fn a_compiler_that_is_killed_or_cannot_start_is_not_tried_again() {
    let place = Place::new();
    let ran = place.0.join("ran");
    let script = format!("echo >>{}; kill -9 $$", ran.display());
    let killed = Compiler::Child {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        memory: artefact::MEMORY,
    };
    let (loaded, said) = warned(|| load(&place.open(), &killed));
    let words = loaded.unwrap_err();
    assert!(words.contains("SIGKILL") && words.contains("memory") && words.contains("pillion check"), "{words}");
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(fs::read_to_string(&ran).unwrap(), "\n");
    let (loaded, said) = warned(|| load(&place.open(), &compiler_that_must_not_run()));
    let words = loaded.unwrap_err();
    assert!(words.contains("/proc/self/exe") && words.contains("No such file"), "{words}");
    assert_eq!(said, Vec::<String>::new());
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

#[test]
fn what_a_killed_process_left_is_removed_and_what_another_one_writes_stays() {
    let place = Place::new();
    let another = place.open();
    let begun = another.new_file().unwrap();
    let written = rest(&place);
    assert_eq!(written.len(), 1);
    fs::write(place.0.join("0123456789abcdef.new"), "left").unwrap();
    let directory = place.open();
    assert_eq!(rest(&place), written);
    load(&directory, &Compiler::Here).unwrap();
    assert_eq!(rest(&place), written, "nor is it removed later");
    another.keep("name", begun).unwrap();
    assert_eq!(rest(&place), Vec::<PathBuf>::new());
    assert_eq!(place.artefacts().len(), 2);
}

/// As a process that was killed while it compiled leaves it: its file is open in the child alone, which writes on.
#[test]
fn what_a_child_still_writes_stays() {
    let place = Place::new();
    let begun = place.open().new_file().unwrap();
    let output = begun.file.try_clone().unwrap();
    let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::from(output)).spawn().unwrap();
    let path = &rest(&place)[0];
    let copy = path.with_extension("copy");
    fs::hard_link(path, &copy).unwrap();
    drop(begun);
    fs::rename(copy, path).unwrap();
    place.open();
    assert_eq!(rest(&place), std::slice::from_ref(path));
    drop(child.stdin.take());
    child.wait().unwrap();
    place.open();
    assert_eq!(rest(&place), Vec::<PathBuf>::new());
}

/// Its words are longer than a pipe holds, and they are the module's.
#[test]
fn what_a_compiler_says_of_a_hostile_module_is_heard_at_once_cut_and_escaped() {
    let script = r"printf 'duplicate\nERROR forged \033[31m\0'>&2; head -c 500000 /dev/zero | tr '\0' a >&2; cat >/dev/null; exit 3";
    let compiler = Compiler::Child {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        memory: artefact::MEMORY,
    };
    let begun = Instant::now();
    let words = load(&Directory::memory(), &compiler).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(words.starts_with(r"duplicate\nERROR forged \u{1b}[31m\u{0}aaaa"), "{words}");
    assert!(words.len() < 1200, "{}", words.len());
}
