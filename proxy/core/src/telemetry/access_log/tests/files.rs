//! What becomes of the lines: real files and pipes, and what goes wrong with them.

use super::*;
use pillion_config::model::LogDestination;
use std::{
    fs,
    io::Read as _,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pillion-log-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(path: &Path, queue: usize) -> AccessLog {
    AccessLog { destination: LogDestination::File(path.into()), format: text(vec![request(RequestField::Path)]), queue }
}

const SECOND: Duration = Duration::from_secs(10);

#[test]
fn a_file_is_appended_to_flushed_and_opened_anew() {
    let folder = Folder::new();
    let (path, moved) = (folder.0.join("log"), folder.0.join("log.1"));
    fs::write(&path, "before\n").unwrap();
    let handle = AccessLogHandle::open(&config(&path, 100)).unwrap();
    let telemetry = listener(Some(handle.logger()));
    one(&telemetry, "/1");
    assert_eq!(handle.flush(SECOND), Flushed::All);
    assert_eq!(fs::read_to_string(&path).unwrap(), "before\n/1\n");
    fs::rename(&path, &moved).unwrap();
    one(&telemetry, "/2");
    assert_eq!(handle.flush(SECOND), Flushed::All);
    handle.reopen();
    one(&telemetry, "/3");
    assert_eq!(handle.flush(SECOND), Flushed::All);
    assert_eq!(fs::read_to_string(&moved).unwrap(), "before\n/1\n/2\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "/3\n");

    // The folder is gone: the open file stays in use.
    fs::remove_file(&path).unwrap();
    fs::rename(&folder.0, folder.0.with_extension("gone")).unwrap();
    handle.reopen();
    one(&telemetry, "/4");
    assert_eq!(handle.flush(SECOND), Flushed::All);
    fs::rename(folder.0.with_extension("gone"), &folder.0).unwrap();
}

#[test]
fn the_writer_writes_what_is_left_and_ends_with_the_last_logger() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let file = fs::File::from(std::os::fd::OwnedFd::from(writer));
        let handle = AccessLogHandle::start(&config(Path::new("-"), 100_000), Sink::new(file, None)).unwrap();
        let telemetry = listener(Some(handle.logger()));
        drop(handle);
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        for number in 0..20_000 {
            one(&telemetry, &format!("/{number}"));
        }
        drop(telemetry);
        // The pipe ends when the writer thread does.
        let all = reading.join().unwrap();
        let expected: String = (0..20_000).map(|number| format!("/{number}\n")).collect();
        assert_eq!(all, expected);
    });
    assert_eq!(recorded.get("pillion_access_log_written_total{}"), 20_000.0);
    assert_eq!(recorded.sum("pillion_access_log_dropped_total"), 0.0);
}

#[test]
fn a_full_disk_and_a_closed_pipe_cost_records_only() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let handle = AccessLogHandle::open(&config(Path::new("/dev/full"), 100)).unwrap();
        let telemetry = listener(Some(handle.logger()));
        one(&telemetry, "/1");
        one(&telemetry, "/2");
        assert_eq!(handle.flush(SECOND), Flushed::All);
        assert_eq!(recorded.get("pillion_access_log_dropped_total{reason=write}"), 2.0);

        let (reader, writer) = std::io::pipe().unwrap();
        let file = fs::File::from(std::os::fd::OwnedFd::from(writer));
        let handle = AccessLogHandle::start(&config(Path::new("-"), 100), Sink::new(file, None)).unwrap();
        let telemetry = listener(Some(handle.logger()));
        drop(reader);
        for path in ["/3", "/4"] {
            one(&telemetry, path);
            assert_eq!(handle.flush(SECOND), Flushed::All);
        }
        assert_eq!(recorded.get("pillion_access_log_dropped_total{reason=write}"), 4.0);
        assert_eq!(recorded.get("pillion_access_log_written_total{}"), 0.0);
    });
}

#[test]
fn a_reader_that_stalls_bounds_the_flush_and_fills_the_queue() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = fs::File::from(std::os::fd::OwnedFd::from(writer));
        let handle = AccessLogHandle::start(&config(Path::new("-"), 30_000), Sink::new(file, None)).unwrap();
        let telemetry = listener(Some(handle.logger()));
        for _ in 0..40_000 {
            one(&telemetry, "/a-path-long-enough-to-fill-a-pipe");
        }
        assert_eq!(handle.flush(Duration::from_millis(50)), Flushed::TimedOut);
        assert!(recorded.get("pillion_access_log_dropped_total{reason=queue}") >= 5_000.0);
        drop(reader);
        assert_eq!(handle.flush(SECOND), Flushed::All);
    });
}

#[test]
fn a_record_cut_off_by_a_failure_does_not_spoil_the_next() {
    use std::os::fd::OwnedFd;
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
        let sink = Sink::new(fs::File::from(writer), None);
        let handle = AccessLogHandle::start(&config(Path::new("-"), 1_000), sink).unwrap();
        let telemetry = listener(Some(handle.logger()));
        let long = format!("/{}", "a".repeat(4_990));
        for _ in 0..50 {
            one(&telemetry, &long);
        }
        // The pipe takes 64 KiB; the rest is given up after a second of refusals.
        assert_eq!(handle.flush(SECOND), Flushed::All);
        let whole = recorded.get("pillion_access_log_written_total{}");
        assert!((1.0..50.0).contains(&whole), "{whole}");
        assert_eq!(recorded.get("pillion_access_log_dropped_total{reason=write}"), 50.0 - whole);
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        one(&telemetry, "/next");
        assert_eq!(handle.flush(SECOND), Flushed::All);
        drop((telemetry, handle));
        let all = reading.join().unwrap();
        let lines: Vec<_> = all.lines().collect();
        assert_eq!(lines.iter().filter(|line| **line == long).count() as f64, whole);
        assert!(lines.len() as f64 == whole + 2.0 && lines[lines.len() - 2].len() < long.len());
        assert_eq!(lines[lines.len() - 1], "/next");
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = AccessLogHandle::open(&config(Path::new("/dev/null/log"), 1)).unwrap_err();
    assert!(error.to_string().starts_with("access log /dev/null/log: "), "{error}");
}

/// Opening it must not wait for a reader: the control thread does it, and would hear no signal.
#[test]
fn a_named_pipe_is_opened_without_a_reader_and_written_when_there_is_one() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let folder = Folder::new();
        let path = folder.0.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let handle = AccessLogHandle::open(&config(&path, 100)).unwrap();
        let telemetry = listener(Some(handle.logger()));
        one(&telemetry, "/1");
        assert_eq!(handle.flush(SECOND), Flushed::All);
        assert_eq!(recorded.get("pillion_access_log_dropped_total{reason=write}"), 1.0);

        // A reader comes, goes, and another one comes; the log is opened anew meanwhile.
        for path_asked in ["/2", "/3"] {
            let mut reader = fs::File::open(&path).unwrap();
            one(&telemetry, path_asked);
            assert_eq!(handle.flush(SECOND), Flushed::All);
            let mut text = [0; 3];
            reader.read_exact(&mut text).unwrap();
            assert_eq!(text, format!("{path_asked}\n").as_bytes());
            drop(reader);
            handle.reopen();
            one(&telemetry, "/lost");
            assert_eq!(handle.flush(SECOND), Flushed::All);
        }
        assert_eq!(recorded.get("pillion_access_log_dropped_total{reason=write}"), 3.0);
        assert_eq!(recorded.get("pillion_access_log_written_total{}"), 2.0);
    });
}
