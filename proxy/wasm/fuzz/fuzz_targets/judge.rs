//! What must hold whatever a guest does.

use crate::{
    guest,
    world::{Kind, SECRET, World},
};
use std::sync::Arc;
use tokio::task::LocalSet;

/// Runs the guest that `input` is the program of.
pub(crate) fn judge(input: &[u8]) {
    let Some((&kind, program)) = input.split_first() else { return };
    let program = &program[..program.len().min(guest::MOST_PROGRAM)];
    let kind = Kind::of(kind);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let tasks = LocalSet::new();
    let shared = tasks.block_on(&runtime, async {
        let world = World::start(program, kind).await;
        // Another plugin's stream, whose field is nobody else's.
        served(&world.kept().await, "before");
        let (answer, sent) = world.ask(kind).await;
        for bytes in [&answer, &sent] {
            assert!(!bytes.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "another stream's field");
        }
        // Whatever became of the guest's machine, others are served.
        served(&world.kept().await, "after");
        let kept = world.shared.data.get("keeper", b"secret").expect("the other plugin has its data");
        assert_eq!(kept.0, &b"other"[..], "another plugin's data");
        Arc::clone(&world.shared)
    });
    drop((tasks, runtime));
    assert_eq!(Arc::strong_count(&shared), 1, "streams that have ended keep nothing");
}

fn served(answer: &[u8], when: &str) {
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{when}: {}", answer.escape_ascii());
}
