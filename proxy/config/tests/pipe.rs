//! A document that comes out of a pipe, as shells give one for `<(…)`.

use pillion_config::DocumentFile;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{fs, thread};

const DOCUMENT: &str = "listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    routes: [{ match: { prefix: / }, cluster: site }]\n\
    clusters:\n  - name: site\n    endpoints: [127.0.0.1:9090]\n";

#[test]
fn it_is_read_once_and_loaded_again_without_a_writer() {
    let path = std::env::temp_dir().join(format!("pillion-document-{}", std::process::id()));
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let file = DocumentFile::new(&path);
    let there = path.clone();
    let writing = thread::spawn(move || fs::write(there, DOCUMENT));
    let first = file.load().unwrap();
    writing.join().unwrap().unwrap();
    let second = file.load().unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(first.config, second.config);
    assert!(first.files.is_empty() && second.files.is_empty(), "nothing of it can change: {:?}", first.files);
}
