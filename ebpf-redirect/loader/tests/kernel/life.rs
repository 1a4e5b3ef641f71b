//! An instance's life under load: attached, replaced, rolled back, switched, detached, left behind.

use crate::ground::{Ground, connect, echo, listen, localhost, pair, talk, wait_for};
use redirect::{Alarm, AttachError, Counter, Detached, Ended, Object, PinError, Pins, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

const PROXY: u16 = 18080;

/// Threads that send and check without a pause.
const SENDERS: usize = 4;

/// What each of them has exchanged.
type Exchanges = [AtomicU64; SENDERS];

/// Runs `meanwhile` while connections, long ones and short ones, send and check without a pause.
fn under_load(ground: &Ground, meanwhile: impl FnOnce(&Exchanges) + Send) {
    let (ended, exchanges) = (AtomicBool::new(false), Exchanges::default());
    ground.pod(|| {
        echo(listen(PROXY));
        thread::scope(|scope| {
            for (number, exchanges) in (0_u8..).zip(&exchanges) {
                let ended = &ended;
                scope.spawn(move || {
                    let mut round = 0_u32;
                    while !ended.load(Ordering::Relaxed) {
                        let mut stream = connect(localhost(PROXY));
                        // Two keep theirs for the whole test.
                        let most = if number < 2 { u32::MAX } else { 20 };
                        for _ in 0..most {
                            let size = (round as usize * 37) % 9000 + 1;
                            let sent: Vec<u8> = (0..size).map(|at| (at as u32 ^ round) as u8 ^ number).collect();
                            stream.write_all(&sent).unwrap();
                            let mut got = vec![0; size];
                            stream.read_exact(&mut got).unwrap();
                            assert!(got == sent, "bytes are lost or moved in round {round}");
                            round += 1;
                            exchanges.fetch_add(1, Ordering::Relaxed);
                            if ended.load(Ordering::Relaxed) {
                                return;
                            }
                        }
                    }
                });
            }
            // A failure in here must end the load too.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meanwhile(&exchanges)));
            ended.store(true, Ordering::Relaxed);
            if let Err(panic) = done {
                std::panic::resume_unwind(panic);
            }
        });
    });
}

/// Waits until many more exchanges were made, some of them by each thread: what was on its way before has arrived.
fn go_on(exchanges: &Exchanges) {
    let now = || exchanges.each_ref().map(|made| made.load(Ordering::Relaxed));
    let before = now();
    wait_for("traffic to go on", || {
        let made: Vec<_> = now().iter().zip(before).map(|(now, before)| now - before).collect();
        made.iter().all(|made| *made >= 2) && made.iter().sum::<u64>() > 200
    });
}

/// A message to the echo and back.
fn echoed(mut stream: &TcpStream, words: &[u8]) {
    stream.write_all(words).unwrap();
    let mut got = vec![0; words.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == words, "other bytes come back than were sent");
}

#[test]
fn attached_replaced_switched_and_detached_under_load_without_a_byte_lost() {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.ports.insert(PROXY);
    let options = ground.options.clone();
    let instance = options.instance.clone();
    under_load(&ground, |exchanges| {
        go_on(exchanges);
        let attached = redirect::attach(&options).unwrap();
        assert!(!attached.replaced);
        go_on(exchanges);
        // Enrolled for certain, and held through everything: those of the load were there before, or come and go.
        let held = connect(localhost(PROXY));
        let redirected = || redirect::status(&instance).unwrap().unwrap().totals.get(Counter::RedirectedMessages);
        wait_for("new connections to be redirected", || redirected() > 100);
        for _ in 0..3 {
            assert!(redirect::attach(&options).unwrap().replaced);
            echoed(&held, b"replaced");
            let before = redirected();
            go_on(exchanges);
            wait_for("the new programs to redirect", || redirected() > before + 50);
        }
        redirect::switch(&instance, false).unwrap();
        go_on(exchanges);
        let off = redirected();
        go_on(exchanges);
        assert_eq!(redirected(), off, "the kill switch is pulled");
        // Nor does a replacement put it back.
        let replaced = redirect::attach(&options).unwrap();
        assert!(replaced.replaced && !replaced.on);
        let off = redirected();
        go_on(exchanges);
        assert_eq!(redirected(), off, "the kill switch is pulled still");
        redirect::switch(&instance, true).unwrap();
        wait_for("messages to be redirected again", || redirected() > off + 100);
        let detached = redirect::detach(&instance).unwrap();
        assert!(matches!(detached, Detached::Draining(ends) if ends >= 2), "{detached:?}");
        echoed(&held, b"detached");
        go_on(exchanges);
        let status = redirect::status(&instance).unwrap().unwrap();
        assert!(status.links.is_empty() && !status.on);
        // And once more over the maps that are still in use.
        redirect::attach(&options).unwrap();
        echoed(&held, b"attached again");
        go_on(exchanges);
        wait_for("old maps to serve new programs", || redirected() > off + 300);
    });
    ground.await_empty();
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), Detached::Gone);
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), Detached::Absent);
    assert!(!Pins::of(&ground.options.instance).unwrap().exist());
}

#[test]
fn what_does_not_load_or_fails_its_self_test_replaces_nothing() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let fine = ground.options.clone();
    under_load(&ground, |exchanges| {
        let before = redirect::status(&fine.instance).unwrap().unwrap();
        let mut broken = fine.clone();
        broken.object = Object::of(vec![0; 4096], "broken");
        assert!(matches!(redirect::attach(&broken), Err(AttachError::Load(_))));
        // This kernel's splice fails: who does not waive it is declined.
        let mut strict = fine.clone();
        strict.waived.clear();
        match redirect::attach(&strict) {
            Err(AttachError::Declined(declined)) => assert_eq!(declined.outcome.property.name(), "splice"),
            Err(error) => panic!("{error}"),
            // A kernel that has it mended.
            Ok(attached) => assert!(attached.replaced),
        }
        go_on(exchanges);
        let now = redirect::status(&fine.instance).unwrap().unwrap();
        assert_eq!((now.links, now.on, now.ports), (before.links, true, before.ports));
        let redirected = now.totals.get(Counter::RedirectedMessages);
        wait_for("the programs before to go on", || {
            redirect::status(&fine.instance).unwrap().unwrap().totals.get(Counter::RedirectedMessages) > redirected + 50
        });
    });
}

#[test]
fn a_declined_first_attach_leaves_nothing_behind() {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.waived.clear();
    if let Err(error) = redirect::attach(&ground.options) {
        // All that failed, and what to write: whoever is told of one at a time tries as often as there are.
        let words = error.to_string();
        assert!(words.contains("the self-test failed: splice"), "{words}");
        assert!(words.contains("; duplex: ") && words.contains("; wait_all: "), "{words}");
        assert!(words.contains("`--waive splice,duplex,wait_all`"), "{words}");
        assert!(!Pins::of(&ground.options.instance).unwrap().exist());
    }
}

#[test]
fn what_a_crash_left_is_cleaned_up_and_another_version_is_refused() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let folder = Pins::of(&ground.options.instance).unwrap().directory().join(format!("v{}", redirect_common::LAYOUT));
    // Died while it pinned its maps.
    for gone in ["links/enrol", "links/connect4", "links/connect6", "COUNTS", "SOCKETS"] {
        fs::remove_file(folder.join(gone)).unwrap();
    }
    assert!(!redirect::attach(&ground.options).unwrap().replaced);
    ground.pod(|| {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"after a crash");
    });
    assert!(ground.count(Counter::RedirectedMessages) >= 2);
    // Died after it attached only some of its programs.
    fs::remove_file(folder.join("links/enrol")).unwrap();
    assert!(redirect::attach(&ground.options).unwrap().replaced);
    assert_eq!(ground.status().links, ["connect4", "connect6", "enrol", "setsockopt"]);
    // Nobody's.
    let strange = folder.with_file_name("strange");
    fs::create_dir(&strange).unwrap();
    let error = redirect::attach(&ground.options).map(drop).unwrap_err();
    assert!(matches!(error, AttachError::Pin(PinError::Stray { .. })), "{error}");
    assert!(error.to_string().contains("strange"), "{error}");
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), Detached::Gone);
    assert_eq!(
        redirect::detach(&ground.options.instance).unwrap(),
        Detached::Absent,
        "nothing of anybody's is attached"
    );
    // A layout's name alone is nothing that was attached.
    fs::create_dir(folder.with_file_name("v999")).unwrap();
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), Detached::Absent);
    assert!(!folder.with_file_name("v999").exists());
    assert!(strange.exists(), "what is nobody's is left alone");
    fs::remove_dir(&strange).unwrap();
    redirect::detach(&ground.options.instance).unwrap();
}

/// As an earlier build would have left it: attached, in a directory of another number.
#[test]
fn what_another_layout_attached_is_refused_shown_switched_and_detached() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let instance = &ground.options.instance;
    let folder = Pins::of(instance).unwrap().directory().to_owned();
    let (ours, theirs) = (folder.join(format!("v{}", redirect_common::LAYOUT)), folder.join("v5"));
    ground.pod(|| {
        let listener = listen(PROXY);
        let (client, server) = pair(&listener);
        talk(&client, &server, b"redirected");
        fs::rename(&ours, &theirs).unwrap();
        for refused in [redirect::attach(&ground.options).map(drop), redirect::status(instance).map(drop)] {
            let words = refused.unwrap_err().to_string();
            for told in ["v5", &format!("v{}", redirect_common::LAYOUT), &format!("detach --instance {instance}`")] {
                assert!(words.contains(told), "{told:?} is not in {words}");
            }
        }
        let shown = || redirect::foreign(instance).unwrap().remove(0);
        assert_eq!((shown().layout.as_str(), shown().on, shown().ends), ("v5", Some(true), 2));
        assert_eq!(shown().links, ["connect4", "connect6", "enrol", "setsockopt"]);
        redirect::switch(instance, false).unwrap();
        assert_eq!(shown().on, Some(false));
        talk(&client, &server, b"through TCP");
        redirect::switch(instance, true).unwrap();
        talk(&client, &server, b"redirected again");
        let detached = redirect::detach(instance).unwrap();
        assert_eq!(detached, Detached::Foreign { layout: "v5".into(), ends: 2 });
        talk(&client, &server, b"goes on");
        assert!(shown().links.is_empty());
        assert!(redirect::status(instance).unwrap().is_none());
        assert!(matches!(redirect::switch(instance, true), Err(AttachError::Pin(PinError::Absent(_)))));
        // What is left of it is in nobody's way, and goes with its last connection.
        ground.attach();
        let (second, accepted) = pair(&listener);
        talk(&second, &accepted, b"ours");
        talk(&client, &server, b"theirs");
        assert!(ground.count(Counter::RedirectedMessages) >= 2);
        assert!(theirs.exists());
    });
    ground.await_empty();
    wait_for("their last connection to end", || {
        redirect::attach(&ground.options).unwrap();
        !theirs.exists()
    });
    assert_eq!(redirect::detach(instance).unwrap(), Detached::Gone);
    assert!(!folder.exists());
}

/// Two builds with one number: what should not be, and what is told all the same, by name and size.
#[test]
fn a_map_of_another_build_under_our_number_is_named_and_detached() {
    use aya::maps::{Map, MapData, PerCpuArray};
    use redirect_common::Counts;
    let Some(ground) = Ground::attached(PROXY) else { return };
    let instance = &ground.options.instance;
    let folder = Pins::of(instance).unwrap().directory().to_owned();
    let ours = folder.join(format!("v{}", redirect_common::LAYOUT));
    ground.pod(|| {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"redirected");
        // Another of the maps stands where this one should: COUNTS, for want of a build that has it larger.
        fs::remove_file(ours.join("CLAIMS")).unwrap();
        let map = Map::PerCpuArray(MapData::from_pin(ours.join("COUNTS")).unwrap());
        let counts: PerCpuArray<_, Counts> = PerCpuArray::try_from(map).unwrap();
        counts.pin(ours.join("CLAIMS")).unwrap();
        for refused in [redirect::attach(&ground.options).map(drop), redirect::status(instance).map(drop)] {
            let error = refused.unwrap_err();
            assert!(matches!(error, AttachError::Pin(PinError::Form { .. })), "{error}");
            let size = size_of::<Counts>();
            let claimed = size_of::<redirect_common::Claimed>();
            for told in [
                format!("/v{}/CLAIMS ", redirect_common::LAYOUT),
                format!("keys of 4 bytes, values of {size}"),
                format!("keys of 8 bytes, values of {claimed}"),
                format!("detach --instance {instance}`"),
            ] {
                assert!(error.to_string().contains(&told), "{told:?} is not in {error}");
            }
        }
        redirect::switch(instance, false).unwrap();
        assert_eq!(redirect::foreign(instance).unwrap().remove(0).on, Some(false));
        assert!(matches!(redirect::detach(instance).unwrap(), Detached::Foreign { ends: 2, .. }));
        talk(&client, &server, b"goes on");
        // Its name is free at once.
        ground.attach();
        talk(&client, &server, b"goes on still");
    });
    wait_for("its last connection to end", || {
        redirect::attach(&ground.options).unwrap();
        redirect::foreign(instance).unwrap().is_empty()
    });
    assert_eq!(redirect::detach(instance).unwrap(), Detached::Gone);
    assert!(!folder.exists());
}

#[test]
fn who_may_not_read_the_pins_is_told_which_and_who_may() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    const USER: u32 = 61_341;
    let errors = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let user = rustix::thread::Uid::from_raw(USER);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            let instance = &ground.options.instance;
            [
                redirect::status(instance).map(drop),
                redirect::switch(instance, false),
                redirect::detach(instance).map(drop),
            ]
        });
        inside.join().unwrap()
    });
    for refused in errors {
        let words = refused.unwrap_err().to_string();
        let at = format!("/pillion/{}/v{}/", ground.options.instance, redirect_common::LAYOUT);
        assert!(words.contains(&at) && words.contains("Permission denied"), "{words}");
        assert!(words.contains("for root"), "{words}");
    }
}

#[test]
fn a_watch_is_told_how_connections_ended() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut watch = Watch::new(&ground.options.instance).unwrap();
    assert!(watch.takes_events());
    assert!(!Watch::new(&ground.options.instance).unwrap().takes_events(), "one of them takes the events");
    // Of the self-test, whose last connections may have ended after the instance was switched on.
    watch.look(|_| {}).unwrap();
    watch.ended = Ended::default();
    ground.pod(|| {
        let listener = listen(PROXY);
        for _ in 0..5 {
            let (client, server) = pair(&listener);
            talk(&client, &server, b"hello");
        }
        let (client, server) = pair(&listener);
        socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        drop(server);
    });
    let mut cgroups = Vec::new();
    // A socket tells of its end when TCP has done with it, which may be after it has left the map.
    wait_for("the events of all ends", || {
        let look = watch.look(|event| cgroups.push(event.cgroup)).unwrap();
        assert_eq!((look.alarm, look.on), (None, true));
        cgroups.len() >= 12
    });
    let own = redirect::cgroup_number(&ground.cgroup).unwrap();
    assert!(cgroups.iter().all(|cgroup| *cgroup == own), "{cgroups:?} are of {own}");
    let ended = &watch.ended;
    assert_eq!(ended.by_reason.iter().sum::<u64>(), 12, "{ended:?}");
    assert!(ended.by_reason[1] >= 1, "{ended:?}");
    assert_eq!((ended.lived.count(), ended.malformed), (12, 0));
    assert_eq!(ended.connecting.count(), 6, "of clients: {ended:?}");
    assert!(ended.redirected.sum >= 50.0, "{ended:?}");
}

/// What the programs count is what the watchdog judges by: here it is made to look as if sockets could not be enrolled.
#[test]
fn the_watchdog_pulls_the_switch_and_connections_go_on() {
    use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
    use redirect_common::{Counts, LAYOUT, counts};
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut watch = Watch::new(&ground.options.instance).unwrap();
    ground.pod(|| {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"as it should be");
        assert!(watch.look(|_| {}).unwrap().on);
        let folder = Pins::of(&ground.options.instance).unwrap().directory().join(format!("v{LAYOUT}"));
        let map = Map::PerCpuArray(MapData::from_pin(folder.join("COUNTS")).unwrap());
        let mut counted: PerCpuArray<_, Counts> = PerCpuArray::try_from(map).unwrap();
        let mut cpus = counted.get(&counts::TRAFFIC, 0).unwrap().to_vec();
        cpus[0].0[Counter::EnrolFailed as usize] += 500;
        counted.set(counts::TRAFFIC, PerCpuValues::try_from(cpus).unwrap(), 0).unwrap();
        // Who only observes has no say in it.
        let seen = Watch::observe(&ground.options.instance).unwrap().look(|_| {}).unwrap();
        assert_eq!((seen.alarm, seen.on), (None, true));
        let look = watch.look(|_| {}).unwrap();
        assert_eq!((look.alarm, look.on), (Some(Alarm::EnrolFailures), false));
        assert!(!ground.status().on, "the switch is pulled");
        let before = ground.count(Counter::RedirectedMessages);
        talk(&client, &server, b"through TCP");
        assert_eq!(ground.count(Counter::RedirectedMessages), before);
        // Once: an operator may put it back.
        redirect::switch(&ground.options.instance, true).unwrap();
        assert_eq!(watch.look(|_| {}).unwrap().alarm, None);
        talk(&client, &server, b"as before");
        assert_eq!(ground.count(Counter::RedirectedMessages), before + 2);
    });
}

/// The object of this build with every `exit` of its programs turned into something else: they run off their ends.
#[test]
fn what_the_verifier_refuses_is_told_in_its_own_words() {
    let Some(ground) = Ground::new() else { return };
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
    const MOVE: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
    let mut bytes = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../prebuilt/redirect.o")).unwrap();
    // What looks like one in the type information, which comes behind the programs, is a number of something else.
    let types = bytes.windows(4).position(|bytes| bytes == [0x9f, 0xeb, 1, 0]).unwrap();
    let mut changed = 0;
    for instruction in bytes[..types].as_chunks_mut().0.iter_mut().filter(|instruction| **instruction == EXIT) {
        *instruction = MOVE;
        changed += 1;
    }
    assert!(changed > 0);
    let mut broken = ground.options.clone();
    broken.object = Object::of(bytes, "broken");
    let error = redirect::attach(&broken).unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, AttachError::Load(_)) && words.contains("is refused by the kernel"), "{words}");
    let log = words.split_once("the end of the verifier's log").unwrap().1;
    assert!(log.contains("insn"), "{words}");
    assert!(!Pins::of(&broken.instance).unwrap().exist(), "nothing is left behind");
}

/// So many connections that end in order, both ends of each.
fn connections(ground: &Ground, count: usize) {
    ground.pod(|| {
        let listener = listen(PROXY);
        for _ in 0..count {
            let (client, server) = pair(&listener);
            talk(&client, &server, b"hello");
        }
    });
    ground.await_empty();
}

fn ends(watch: &Watch) -> u64 {
    watch.ended.by_reason.iter().sum()
}

/// Looks until a watch knows of so many ends, and says how many of them it was told of itself.
fn await_ends(watch: &mut Watch, count: u64) -> u64 {
    let mut told = 0;
    wait_for("the ends of connections", || {
        watch.look(|_| told += 1).unwrap();
        ends(watch) >= count
    });
    assert_eq!(ends(watch), count, "{:?}", watch.ended);
    told
}

#[test]
fn who_came_second_takes_the_events_when_the_first_has_gone_and_goes_on_from_what_it_knew() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut first = Watch::new(&ground.options.instance).unwrap();
    let mut second = Watch::new(&ground.options.instance).unwrap();
    first.look(|_| {}).unwrap();
    let before = ends(&first);
    connections(&ground, 3);
    assert_eq!(await_ends(&mut first, before + 6), 6);
    assert_eq!(await_ends(&mut second, before + 6), 0, "it sees what the first made of them");
    drop(first);
    connections(&ground, 2);
    assert_eq!(await_ends(&mut second, before + 10), 4);
    assert!(second.takes_events());
    let kept = ground.status().ended.unwrap();
    assert_eq!((kept.by_reason.iter().sum::<u64>(), kept.lived.count()), (before + 10, before + 10));
}

/// The ring holds the ends of some 1,000 connections. Whoever waits for it as well as for the next look loses none of more.
#[test]
fn ends_that_are_taken_when_the_ring_has_them_are_not_dropped() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut watch = Watch::new(&ground.options.instance).unwrap();
    watch.look(|_| {}).unwrap();
    let before = ends(&watch);
    let mut told = 0;
    for _ in 0..4 {
        connections(&ground, 600);
        // A socket tells of its end when TCP has done with it.
        wait_for("the ends of connections", || {
            let ring = watch.ring().expect("it takes the events");
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&second)).unwrap();
            watch.take(|_| told += 1);
            told % 1_200 == 0 && told > 0
        });
    }
    let look = watch.look(|_| told += 1).unwrap();
    assert_eq!((told, ends(&watch) - before), (4_800, 4_800));
    assert_eq!(look.reading.totals.get(Counter::EventsDropped), 0);
}

#[test]
fn who_only_observes_is_in_nobodys_way() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut observer = Watch::observe(&ground.options.instance).unwrap();
    observer.look(|_| {}).unwrap();
    let before = ends(&observer);
    connections(&ground, 2);
    // Alone it takes them, so that they are not lost to it.
    assert_eq!(await_ends(&mut observer, before + 4), 4);
    let mut stays = Watch::new(&ground.options.instance).unwrap();
    wait_for("the events to be free", || {
        stays.look(|_| {}).unwrap();
        stays.takes_events()
    });
    connections(&ground, 2);
    assert_eq!(await_ends(&mut stays, before + 8), 4);
    assert_eq!(await_ends(&mut observer, before + 8), 0);
}

#[test]
fn a_watch_follows_what_others_detach_and_attach_again() {
    use redirect::Standing;
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut watch = Watch::new(&ground.options.instance).unwrap();
    connections(&ground, 3);
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), Detached::Gone);
    let mut told = 0;
    let look = watch.look(|_| told += 1).unwrap();
    assert_eq!((look.standing, look.on), (Standing::Gone, false));
    assert_eq!((told, ends(&watch)), (6, 6), "nor is what ended before");
    assert_eq!(look.reading.totals.get(Counter::Enrolled), 6, "the last that was counted is not lost");
    assert_eq!(watch.look(|_| {}).unwrap().standing, Standing::Gone);
    ground.attach();
    let look = watch.look(|_| {}).unwrap();
    assert_eq!((look.standing, look.on), (Standing::Anew, true));
    assert_eq!(look.reading.totals.get(Counter::Enrolled), 0);
    connections(&ground, 1);
    let before = ends(&watch);
    assert_eq!(await_ends(&mut watch, before.max(2)), 2 - before);
    let look = watch.look(|_| {}).unwrap();
    assert_eq!((look.standing, look.reading.totals.get(Counter::Enrolled)), (Standing::There, 2));
    assert!(watch.takes_events());
    // Its maps are kept for the connections that are left.
    ground.pod(|| {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"lives on");
        assert!(matches!(redirect::detach(&ground.options.instance).unwrap(), Detached::Draining(_)));
        for _ in 0..2 {
            let look = watch.look(|_| {}).unwrap();
            assert_eq!((look.standing, look.on), (Standing::Detached, false));
        }
        redirect::attach(&ground.options).unwrap();
        let look = watch.look(|_| {}).unwrap();
        assert_eq!((look.standing, look.on), (Standing::There, true));
    });
}

#[test]
fn what_drains_is_removed_when_it_is_empty_and_left_alone_when_it_is_attached_again() {
    use redirect::{Tidied, tidy};
    let Some(ground) = Ground::attached(PROXY) else { return };
    let instance = &ground.options.instance;
    assert_eq!(tidy(instance).unwrap(), Tidied::Attached);
    ground.pod(|| {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"before");
        assert_eq!(redirect::detach(instance).unwrap(), Detached::Draining(2));
        assert_eq!(tidy(instance).unwrap(), Tidied::Draining);
        talk(&client, &server, b"meanwhile");
        redirect::attach(&ground.options).unwrap();
        assert_eq!(tidy(instance).unwrap(), Tidied::Attached);
        assert!(ground.status().on);
        assert_eq!(redirect::detach(instance).unwrap(), Detached::Draining(2));
    });
    wait_for("the last connection to end", || tidy(instance).unwrap() == Tidied::Gone);
    assert!(!Pins::of(instance).unwrap().exist());
    assert_eq!(tidy(instance).unwrap(), Tidied::Gone);
}

#[test]
fn what_closed_while_nobody_was_attached_is_forgotten_and_what_lives_is_not() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let instance = &ground.options.instance;
    let occupancy = || redirect::status(instance).unwrap().unwrap().occupancy;
    ground.pod(|| {
        let listener = listen(PROXY);
        let [living, closing] = [(); 2].map(|()| pair(&listener));
        for (client, server) in [&living, &closing] {
            talk(client, server, b"before");
        }
        assert_eq!((occupancy().sockets, occupancy().pairs), (4, 2));
        assert_eq!(redirect::detach(instance).unwrap(), Detached::Draining(4));
        drop(closing);
        wait_for("the kernel to take them out", || occupancy().sockets == 2);
        redirect::attach(&ground.options).unwrap();
        assert_eq!(occupancy().pairs, 1);
        talk(&living.0, &living.1, b"behind");
        drop(living);
        wait_for("the last one to end", || (occupancy().sockets, occupancy().pairs) == (0, 0));
    });
}

#[test]
fn only_one_at_a_time_changes_an_instance() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(|| redirect::attach(&ground.options))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(outcomes.iter().any(Result::is_ok));
    for outcome in outcomes {
        match outcome {
            Ok(_) | Err(AttachError::Pin(PinError::Busy(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_self_tests_own_traffic_is_not_counted_as_anybodys() {
    let Some(ground) = Ground::attached(17_390) else { return };
    for attached in ["attached", "replaced"] {
        let counted: Vec<_> = ground.status().totals.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [], "{attached}");
        assert!(redirect::attach(&ground.options).unwrap_or_else(|error| panic!("{error}")).replaced);
    }
}
