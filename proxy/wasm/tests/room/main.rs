//! Machines that start where memory is short. What is free is the process's: these have one of their own, and run one after the other.

#[path = "../machine/world.rs"]
#[expect(dead_code, reason = "other tests share more of it")]
mod world;

use pillion_wasm::{
    abi::Status,
    census::{
        self, Room,
        starts::{self, Ending, PATIENCE, Promise, Trial},
    },
    shared::{Queues, SharedData},
    vm::{Cause, Had, StartError, Starts},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use world::{Refused, World, guest};

const MIB: usize = 1 << 20;

/// So much is free for starts, and nobody else says so, until what is returned goes.
struct Free(#[expect(dead_code, reason = "its end is what counts")] MutexGuard<'static, ()>);

fn free(bytes: usize) -> Free {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    looked(bytes);
    Free(one)
}

/// Memory was looked at: so much is free.
fn looked(bytes: usize) {
    looked_at(Room { growth: u64::MAX - 1, starts: bytes as u64, machines: 2 });
}

fn looked_at(room: Room) {
    let before = census::before_look();
    census::allow(room, u64::MAX, before);
}

impl Drop for Free {
    fn drop(&mut self) {
        let before = census::before_look();
        census::allow(Room { growth: u64::MAX, starts: u64::MAX, machines: 1 }, u64::MAX, before);
    }
}

/// Declares so many MiB, and does that as it is configured.
fn configured(declared: usize, body: &str) -> String {
    format!(
        r#"(module (memory (export "memory") {})
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 8))
            (func (export "proxy_on_configure") (param i32 i32) (result i32) (local $n i32) {body} (i32.const 1)))"#,
        declared * 16
    )
}

/// Asks for a MiB again and again, and goes on without.
const TAKES_WHAT_THERE_IS: &str = "(loop $again (drop (memory.grow (i32.const 16)))
    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))";

const DIES_WITHOUT: &str = "(loop $again
    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))";

fn tried(text: &str, trial: &Arc<Trial>) -> Result<(), StartError> {
    match (World { memory: 64 * MIB, ..World::default() }).staged(text, &Starts::OnTrial(Arc::clone(trial))) {
        Ok(_) => Ok(()),
        Err(Refused::Start(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_trial_waits_for_memory_once_however_often_it_asks() {
    let _free = free(3 * MIB);
    let begun = Instant::now();
    tried(&configured(1, TAKES_WHAT_THERE_IS), &Trial::new()).expect("it goes on without");
    assert!((PATIENCE..PATIENCE * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // It is gone, and what it had is there again.
    assert!(Promise::of(3 * MIB / 2).is_ok());
}

#[test]
fn a_trial_takes_what_comes_free_while_it_waits() {
    let _free = free(3 * MIB);
    let frees = thread::spawn(|| {
        thread::sleep(PATIENCE / 4);
        looked(30 * MIB);
    });
    tried(&configured(1, DIES_WITHOUT), &Trial::new()).expect("memory comes");
    frees.join().expect("it says so");
}

#[test]
fn a_trial_that_waits_or_spins_ends_when_it_is_to() {
    let _free = free(3 * MIB);
    for (text, why) in [
        (configured(1, DIES_WITHOUT), Ending::Pressure),
        (configured(1, "(loop $forever (br $forever))"), Ending::Unwanted),
        (guest("(func $spin (loop $forever (br $forever))) (start $spin)"), Ending::Unwanted),
    ] {
        let trial = Trial::new();
        let ends = {
            let trial = Arc::clone(&trial);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                trial.end(why);
            })
        };
        let begun = Instant::now();
        let error = tried(&text, &trial).expect_err("it is not to go on");
        // Within less than its patience, and its time.
        assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
        assert!(error.is_short_of_memory(), "{error}");
        ends.join().expect("it says so");
    }
}

/// A machine that serves is given back only if no trial gives memory back first.
#[test]
fn where_memory_is_short_a_trial_ends_before_who_serves() {
    let _free = free(3 * MIB);
    assert!(!starts::end_trials(), "nothing is tried");
    let trial = Trial::new();
    let ends = thread::spawn(|| {
        let until = Instant::now() + PATIENCE / 2;
        while !starts::end_trials() {
            assert!(Instant::now() < until, "no trial is found");
            thread::sleep(Duration::from_millis(5));
        }
    });
    let begun = Instant::now();
    let error = tried(&configured(1, DIES_WITHOUT), &trial).expect_err("it is ended");
    ends.join().expect("it finds the trial");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(trial.ending(), Some(Ending::Pressure));
    assert!(matches!(&error, StartError::Failed(failure, _) if failure.cause == Cause::Pressure), "{error}");
    assert!(!starts::end_trials(), "it has gone");
}

#[test]
fn what_a_module_declares_must_be_there_until_it_is_known_what_it_touches() {
    let _free = free(20 * MIB);
    let world = World { memory: 64 * MIB, ..World::default() };
    let module = world.module(&configured(30, "")).expect("it is right");
    assert_eq!((module.declared(), module.needs()), (30 * MIB, 30 * MIB));
    let refused = tried(&configured(30, ""), &Trial::new()).expect_err("it declares more");
    assert!(matches!(refused, StartError::NoRoom(needs, free) if (needs, free) == (30 * MIB, 20 * MIB)), "{refused}");
    module.saw(2 * MIB);
    module.saw(MIB);
    assert_eq!(module.needs(), 2 * MIB, "the most that was seen");
    // A small one starts however little there is.
    looked(0);
    tried(&configured(1, ""), &Trial::new()).expect("it declares little");
    let serving = world.machine(&configured(2, "")).err().expect("it declares more, and does not wait");
    assert!(matches!(serving, Refused::Start(StartError::NoRoom(..))), "{serving}");
}

#[test]
fn what_is_told_of_a_start_is_what_it_touched_and_grew_by() {
    let _free = free(40 * MIB);
    let world = World { memory: 64 * MIB, ..World::default() };
    let fills = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 4194304)) (drop (memory.grow (i32.const 32)))";
    let (machine, _) = world.staged(&configured(16, fills), &Starts::on_trial()).expect("there is room");
    let took = machine.took();
    assert!((4 * MIB..6 * MIB).contains(&took.declared), "{took:?}");
    assert_eq!(took.grown, 2 * MIB);
    // Whoever looks finds what it touched; the rest is owed.
    looked(40 * MIB);
    let left = Promise::of(10 * MIB).expect("two of them fit");
    assert!(Promise::of(4 * MIB).is_err(), "16 MiB and 2 less what was touched are not found yet");
    drop((left, machine));
    assert!(Promise::of(19 * MIB).is_ok(), "it has gone");
}

/// As much as the allocator of an SDK asks for as a guest starts: a small filter that died comes back where hardly anything is free.
#[test]
fn who_grows_by_little_as_it_starts_is_not_denied_it() {
    let _free = free(0);
    let little = configured(1, "(if (i32.eq (memory.grow (i32.const 2)) (i32.const -1)) (then (unreachable)))");
    World::default().staged(&little, &Starts::ToServe).expect("it is a worker's");
    tried(&little, &Trial::new()).expect("it is tried");
    let much = configured(1, DIES_WITHOUT);
    assert!(World::default().staged(&much, &Starts::ToServe).is_err());
}

/// All machines of a module share its data until they write to it.
#[test]
fn a_modules_data_is_not_what_its_start_touches() {
    let _free = free(40 * MIB);
    let data = "x".repeat(4 * MIB);
    let text = configured(8, "").replace(
        "(func (export \"malloc\")",
        &format!("(data (i32.const 65536) \"{data}\") (func (export \"malloc\")"),
    );
    let world = World { memory: 64 * MIB, ..World::default() };
    let (machine, _) = world.staged(&text, &Starts::on_trial()).expect("there is room");
    assert!(machine.took().declared < MIB / 2, "{:?}", machine.took());
}

/// A reload of twelve on four workers would have forty-eight times what each may have.
#[test]
fn what_many_small_ones_take_is_had_together_as_one_small_ones_is() {
    let _free = free(MIB);
    let small = || Promise::of(MIB / 2);
    let all = [small().expect("both are there"), small().expect("it is little"), small().expect("it is little yet")];
    assert_eq!(small().expect_err("in all that is much").free, 0);
    looked(3 * MIB);
    assert!(small().is_err(), "what is promised is not found");
    drop(all);
    looked(4 * MIB);
    assert!(small().is_ok());
}

/// Whoever reads it knows what is free, what small starts share, and what to do.
#[test]
fn who_is_promised_nothing_is_told_why_and_what_helps() {
    let _free = free(MIB / 2);
    let all = [Promise::of(MIB / 4), Promise::of(3 * MIB / 4)];
    assert!(all.iter().all(Result::is_ok), "the one is there, and the other little");
    let refused = |each| Promise::of(each).expect_err("there is nothing left").to_string();
    let small = refused(MIB / 2);
    for words in [
        "it takes 524288 bytes as it starts, on each worker (2)",
        "0 bytes of the container's memory are free for starts",
        "of the 2 MiB that all filters' starts have beyond that within 10 seconds 524288 bytes are left",
        "raise the container's limit, have fewer workers",
        "read the configuration again in 10 seconds",
    ] {
        assert!(small.contains(words), "{words}: {small}");
    }
    assert!(!refused(2 * MIB).contains("again"), "it never has as much");
}

#[test]
fn a_small_one_takes_what_is_there() {
    let _free = free(10 * MIB);
    let machine = World::default().staged(&configured(1, ""), &Starts::ToServe).expect("there is room");
    assert_eq!(Promise::of(5 * MIB).expect_err("a MiB is gone").free, 9 * MIB);
    drop(machine);
    assert!(Promise::of(5 * MIB).is_ok());
}

/// A page that was only read is no memory, and a guest may read all that its module declares.
#[tokio::test]
async fn what_a_dead_machine_had_is_free_and_its_next_start_has_as_much() {
    let _free = free(40 * MIB);
    let reads = "(loop $again (drop (i32.load (local.get $n)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 4096))) (i32.const 25165824))))
        (if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then (unreachable)))
        (memory.fill (i32.const 25165824) (i32.const 1) (i32.const 2097152))";
    let dies = r#"(func (export "proxy_on_tick") (param i32) (unreachable))"#;
    let text = configured(24, reads).replace("(func (export \"malloc\")", &format!("{dies} (func (export \"malloc\")"));
    let world = World { memory: 64 * MIB, ..World::default() };
    let (machine, root) = world.staged(&text, &Starts::ToServe).expect("there is room for it");
    machine.enter_census();
    looked(0);
    machine.tick(root);
    assert_eq!(machine.dead(), Some(Cause::Trap));
    let had = machine.touched();
    assert!((2 * MIB..3 * MIB).contains(&had), "{had}: what it only read it did not have");
    machine.release().await;
    assert_eq!(machine.touched(), 0);
    assert_eq!(Promise::of(6 * MIB).expect_err("it gave back what it had").free, had);
    // Beyond the line for starts; there is room for those that serve.
    looked(0);
    let small = configured(1, "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then (unreachable)))");
    assert!(world.staged(&small, &Starts::ToServe).is_err(), "another one");
    // What its module declares is among it.
    let had = Had { took: 3 * MIB, touched: 3 * MIB };
    world.staged(&small, &Starts::Again(had)).expect("it has what it had");
    let more = small.replace("(i32.const 32)", "(i32.const 64)");
    assert!(world.staged(&more, &Starts::Again(had)).is_err(), "it never had as much");
    // Half of what is free is what those may grow by that serve.
    looked_at(Room { growth: 3 * MIB as u64 / 2, starts: 0, machines: 2 });
    world.staged(&small, &Starts::Again(had)).expect("all that is free");
    assert!(world.staged(&small, &Starts::Again(had)).is_err(), "twice");
    // Who takes more than it touches gives back no more than that.
    looked_at(Room { growth: MIB as u64, starts: 0, machines: 2 });
    let doubled = Had { touched: 3 * MIB / 2, ..had };
    world.staged(&small, &Starts::Again(doubled)).expect("what the one before it had touched is there");
    assert!(world.staged(&small, &Starts::Again(doubled)).is_err(), "it took all that was left");
}

/// What they gave back is others' by then, and many small ones are large: nobody who is served is to be refused for them.
#[tokio::test]
async fn of_many_small_ones_that_start_again_where_little_is_there_a_few_do() {
    let _free = free(0);
    let (world, one) = (World::default(), Had { took: MIB, touched: MIB });
    let start = || world.staged(&configured(1, ""), &Starts::Again(one)).ok();
    for (growth, starts) in [(0, 0), (MIB / 4, 0), (MIB / 2, 1), (5 * MIB / 4, 2)] {
        looked_at(Room { growth: growth as u64, starts: 0, machines: 2 });
        let started: Vec<_> = (0..4).map_while(|_| start()).collect();
        assert_eq!(started.len(), starts, "{growth}");
    }
}

/// Few modules declare more than some hundred entries, and one may declare a hundred tables.
#[test]
fn large_tables_that_a_module_declares_must_be_there() {
    let _free = free(40 * MIB);
    let world = World { memory: 64 * MIB, ..World::default() };
    let with = |tables: &str| {
        configured(1, "").replace("(func (export \"malloc\")", &format!("{tables} (func (export \"malloc\")"))
    };
    looked(2 * MIB);
    let refused = world.staged(&with(&"(table 200000 funcref)".repeat(4)), &Starts::ToServe);
    assert!(refused.is_err(), "six MiB");
    looked(0);
    world.staged(&with("(table 5000 funcref)"), &Starts::ToServe).expect("what real filters have is not asked for");
    looked(10 * MIB);
    world.staged(&with(&"(table 200000 funcref)".repeat(4)), &Starts::ToServe).expect("they are there");
}

/// Where a program's top level is the module's start function, as AssemblyScript has it.
#[tokio::test]
async fn what_a_modules_start_function_takes_must_be_there() {
    let _free = free(40 * MIB);
    let world = World { memory: 64 * MIB, ..World::default() };
    let text = |pages: u32| {
        configured(1, "").replace(
            "(func (export \"malloc\")",
            &format!(
                "(func $top (if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then (unreachable))))
                (start $top)
                (func (export \"malloc\")"
            ),
        )
    };
    looked(3 * MIB);
    world.staged(&text(32), &Starts::ToServe).expect("a MiB that it declares, and two");
    looked(3 * MIB);
    assert!(world.staged(&text(64), &Starts::ToServe).is_err(), "four are not there");
}

#[test]
fn what_is_promised_is_there_for_those_who_start_and_for_nobody_else() {
    let _free = free(10 * MIB);
    let promise = Promise::of(4 * MIB).expect("two of them fit").expect("it counts");
    assert_eq!(Promise::of(2 * MIB).expect_err("two of them do not fit beside").free, 2 * MIB);
    // Who looks does not find what is promised.
    looked(10 * MIB);
    assert!(Promise::of(2 * MIB).is_err());
    promise.keep();
    let world = World { memory: 64 * MIB, ..World::default() };
    let machine = world.machine(&configured(4, "")).expect("it was promised");
    assert!(Promise::of(2 * MIB).is_err(), "it took it");
    drop(machine);
    assert!(Promise::of(MIB * 3).is_ok(), "it never served");
    drop(promise);
    assert!(Promise::of(5 * MIB).is_ok(), "the filter has gone");
}

/// Between what is read and what is allowed somebody takes: that is not allowed again.
#[test]
fn what_is_taken_while_memory_is_looked_at_is_not_had_twice() {
    let _free = free(10 * MIB);
    let before = census::before_look();
    let promise = Promise::of(3 * MIB).expect("two of them fit");
    let room = Room { growth: u64::MAX - 1, starts: 10 * MIB as u64, machines: 2 };
    census::allow(room, u64::MAX, before);
    assert_eq!(Promise::of(3 * MIB).expect_err("4 MiB are left").free, 4 * MIB);
    drop(promise);
}

/// Memory was looked at: so much may be stored.
fn storable(bytes: usize) {
    let before = census::before_look();
    census::allow(Room { growth: u64::MAX - 1, starts: u64::MAX - 1, machines: 1 }, bytes as u64, before);
}

/// What one stores without end leaves room for others, and each has a little in any case.
#[test]
fn where_memory_is_short_who_stores_much_is_refused_before_who_stores_little() {
    let _free = free(0);
    let (data, queues) = (SharedData::default(), Queues::default());
    let (ready, _told) = mpsc::channel(1);
    let value = vec![0; 100 << 10];
    let set = |vm_id: &str, key: u8| data.set(vm_id, &[key], &value, 0);
    let fill = |vm_id: &str, from: u8| (from..u8::MAX).find(|key| set(vm_id, *key).is_err()).expect("it is refused");
    storable(5 * MIB);
    let much = fill("leaks", 0);
    assert!((30..45).contains(&much), "{much}: four fifths of it");
    assert_eq!(set("other", 0), Ok(()));
    assert_eq!(set("other", 1), Ok(()));
    let queue = queues.register("other", b"q", 1, &ready).expect("there are none");
    assert_eq!(queues.enqueue(queue, &value), Ok(()));
    // Memory is looked at with nothing left: who holds little goes on for a while.
    storable(0);
    assert_eq!(set("leaks", 254), Err(Status::InternalFailure));
    assert_eq!(fill("third", 0), 2);
    assert_eq!(queues.enqueue(queue, &value), Ok(()));
    assert_eq!(queues.enqueue(queue, &value), Err(Status::InternalFailure));
    assert_eq!(data.set("leaks", &[0], &value, 0), Ok(()), "over another of its length");
    // Nor has one that holds little anything for which all would be refused.
    storable(4 * MIB);
    for (growth, stored) in [(90 << 10, Err(Status::InternalFailure)), (110 << 10, Ok(()))] {
        let before = census::before_look();
        census::allow(Room { growth, starts: 0, machines: 1 }, 0, before);
        assert_eq!(set("fourth", 0), stored, "{growth}");
    }
}
