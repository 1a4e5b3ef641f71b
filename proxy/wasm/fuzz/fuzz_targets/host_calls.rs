//! A guest that calls host functions as the input says: whatever it gives them, the host does not panic, the stream
//! ends, streams without it are served, and nothing of another plugin's reaches it.

#![no_main]

mod guest;
mod world;

use libfuzzer_sys::fuzz_target;
use tokio::task::LocalSet;
use world::{Kind, SECRET, World};

fuzz_target!(|input: &[u8]| {
    let Some((&kind, program)) = input.split_first() else { return };
    let program = &program[..program.len().min(guest::MOST_PROGRAM)];
    let kind = Kind::of(kind);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let world = World::start(program, kind).await;
        // Another plugin's stream, whose field is nobody else's.
        assert!(world.kept().await.starts_with(b"HTTP/1.1 200 "));
        let (answer, sent) = world.ask(kind).await;
        for bytes in [&answer, &sent] {
            assert!(!bytes.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "another stream's field");
        }
        // Whatever became of the guest's machine, others are served.
        assert!(world.kept().await.starts_with(b"HTTP/1.1 200 "));
        let kept = world.shared.data.get("keeper", b"secret").expect("the other plugin has its data");
        assert_eq!(kept.0, &b"other"[..], "another plugin's data");
    });
});
