//! What becomes of claims: agents that end and come, namespaces that are not seen, that go and whose number is another's, programs
//! that are exchanged.

use super::pod::{
    APP, Folder, Pod, Scene, USER, V4, agent, at, await_captured, bound, claimed, ground, in_force, inside, wanted,
};
use crate::ground::{Ground, accept, connect, talk, wait_for};
use redirect::{
    AttachError, Counter, Detached, Options, Pins, Standing, Watch,
    inbound::{Change, Waiting, claim},
};
use std::{
    fs::{self, File},
    net::SocketAddr,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

#[test]
fn a_claim_whose_namespace_is_not_seen_waits_and_says_what_would_help() {
    let Some((ground, folder, outside)) = ground() else { return };
    let elsewhere = Folder::new();
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&elsewhere, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    let changes = agent.look().unwrap();
    let inode = u32::try_from(fs::metadata(&pod.file).unwrap().ino()).unwrap();
    let why = Waiting::File { among: vec![folder.0.clone()] };
    assert_eq!(changes, [Change::Waiting { inode, why: why.clone() }]);
    for words in [folder.0.to_str().unwrap(), "mountPropagation", "--namespaces"] {
        assert!(why.to_string().contains(words), "{why}");
    }
    // A name whose mount did not come through.
    File::create(folder.0.join("empty")).unwrap();
    wait_for("the next look", || {
        assert_eq!(agent.look().unwrap(), [], "it is said once");
        agent.waiting().eq([(inode, &why)])
    });
    pod.pair(&at(V4, APP), &application);
    let status = ground.status();
    assert_eq!((status.captured, status.waiting.into_iter().collect::<Vec<_>>()), (0, vec![inode]));
    let file = folder.0.join("late");
    File::create(&file).unwrap();
    rustix::mount::mount_bind(&pod.file, &file).unwrap();
    assert_eq!(await_captured(&mut agent, 1), [Change::Captured { inode, file }]);
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn of_a_namespace_that_has_gone_nothing_is_left() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let inode = u32::try_from(fs::metadata(&pod.file).unwrap().ino()).unwrap();
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    let pins = Pins::of(&ground.options.instance).unwrap();
    let version = pins.directory().join(format!("v{}", redirect_common::LAYOUT));
    let kept = || {
        let pins = |folder: &str| fs::read_dir(version.join(folder)).unwrap().flatten().map(|entry| entry.file_name());
        let programs = pins("programs").filter(|name| name.to_str().unwrap().starts_with("lookup")).count();
        (pins("namespaces").count(), programs)
    };
    assert_eq!(kept(), (1, 1));
    drop(proxy);
    Folder::remove(&pod.file);
    let mut changes = Vec::new();
    wait_for("the namespace to go", || {
        changes.extend(agent.look().unwrap());
        agent.captured() == 0
    });
    assert_eq!(changes, [Change::Gone { inode: Some(inode) }]);
    assert_eq!((kept(), agent.waiting().count()), ((0, 0), 0));
    assert_eq!(ground.status().waiting.len(), 0, "nor is its claim");
}

/// The kernel gives the number of a namespace that has gone to the next one.
#[test]
fn the_claim_of_a_namespace_that_has_gone_is_not_taken_for_one_of_its_inode() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let inode = |file: &Path| fs::metadata(file).unwrap().ino();
    // Somebody else's namespace may have the number first: then another one is tried.
    let found = (0..40).find_map(|attempt| {
        let old = folder.namespace(&format!("old-{attempt}"));
        let number = inode(&old);
        drop(inside(&old, Some(&ground.cgroup), Some(USER), || claimed(bound("[::]:15006"), &wanted()).unwrap()));
        assert_eq!(ground.count(Counter::Claims), attempt + 1);
        Folder::remove(&old);
        (0..5).find_map(|more| {
            let pod = Pod::new(&folder, &outside, &ground.cgroup, &format!("pod-{attempt}-{more}"));
            (inode(&pod.file) == number || inode(&pod.outside) == number).then_some((pod, number))
        })
    });
    let (pod, number) = found.expect("a namespace has the number of one that has gone");
    if inode(&pod.file) != number {
        // The other end's has it: then that is in the agent's sight.
        rustix::mount::mount_bind(
            &pod.outside,
            File::create(folder.0.join("other")).map(|_| folder.0.join("other")).unwrap(),
        )
        .unwrap();
    }
    let application = pod.application("[::]:8080");
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(150));
        agent.look().unwrap();
        assert_eq!((agent.captured(), ground.status().captured), (0, 0));
    }
    pod.pair(&at(V4, APP), &application);
    // Its own claim is.
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn what_an_agent_left_the_next_one_has_and_what_was_detached_it_has_again() {
    let Some((ground, folder, outside)) = ground() else { return };
    let instance = &ground.options.instance;
    let mut first = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut first, 1);
    // As one that is killed.
    drop(first);
    pod.pair(&at(V4, APP), &proxy);
    // A pod that came while there was none.
    let other = Pod::new(&folder, &outside, &ground.cgroup, "other");
    let others = other.proxy("[::]:15006");
    ground.attach();
    let mut second = agent(&ground, &folder);
    let mut watch = Watch::new(instance).unwrap();
    await_captured(&mut second, 2);
    for _ in 0..10 {
        pod.pair(&at(V4, APP), &proxy);
        other.pair(&at(V4, APP), &others);
    }
    let (client, server) = pod.pair(&at(V4, APP), &proxy);
    assert_eq!(redirect::detach(instance).unwrap(), Detached::Claimed(2));
    pod.pair(&at(V4, APP), &application);
    talk(&client, &server, b"goes on");
    assert_eq!(redirect::tidy(instance).unwrap(), redirect::Tidied::Draining);
    // The agent that watches it sees it, and does not give it back.
    assert_eq!(watch.look(|_| {}).unwrap().standing, Standing::Detached);
    wait_for("the agent to see it", || second.look().unwrap().is_empty() && second.captured() == 0);
    pod.pair(&at(V4, APP), &application);
    // Nobody takes a claim meanwhile.
    pod.as_proxy(|| claim(proxy.as_fd(), &wanted()).unwrap_err());
    redirect::attach(&ground.options).unwrap();
    await_captured(&mut second, 2);
    assert_eq!(watch.look(|_| {}).unwrap().standing, Standing::There);
    pod.pair(&at(V4, APP), &proxy);
    // With the last listener goes all of it.
    assert_eq!(redirect::detach(instance).unwrap(), Detached::Claimed(2));
    drop((proxy, others));
    wait_for("the listeners to leave the map", || redirect::tidy(instance).unwrap() == redirect::Tidied::Gone);
    assert!(!Pins::of(instance).unwrap().exist());
}

#[test]
fn attached_without_it_the_proxy_may_claim_nothing_and_has_nothing_any_more() {
    let Some((mut scene, proxy)) = Scene::captured() else { return };
    let Scene { ground, agent, pod, application, .. } = &mut scene;
    assert_eq!(ground.status().links, ["claim", "connect4", "connect6", "enrol", "setsockopt"]);
    ground.options.inbound = false;
    for _ in 0..2 {
        assert_eq!(redirect::attach(&ground.options).unwrap().let_go, 1);
    }
    assert_eq!(ground.status().links, ["connect4", "connect6", "enrol", "setsockopt"]);
    assert_eq!((ground.status().inbound, ground.status().waiting.len()), (false, 1));
    pod.pair(&at(V4, APP), application);
    let error = pod.as_proxy(|| claim(proxy.as_fd(), &wanted())).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
    let mut changes = Vec::new();
    wait_for("the agent to see it", || {
        changes.extend(agent.look().unwrap());
        agent.is_let_go() && agent.captured() == 0
    });
    thread::sleep(Duration::from_millis(2_100));
    changes.extend(agent.look().unwrap());
    assert_eq!(changes, [Change::LetGo { namespaces: 1 }], "it is said once");
    // Kept over a detach, too.
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), Detached::Claimed(1));
    assert_eq!(redirect::attach(&ground.options).unwrap().let_go, 1);
    ground.options.inbound = true;
    assert_eq!(redirect::attach(&ground.options).unwrap().let_go, 0);
    await_captured(agent, 1);
    assert!(!agent.is_let_go());
    pod.pair(&at(V4, APP), &proxy);
}

/// While programs are exchanged every connection reaches the proxy: none is refused, and none gets past it.
#[test]
fn a_replacement_loses_no_connection_and_one_that_fails_changes_nothing() {
    let Some((mut scene, proxy)) = Scene::captured() else { return };
    let Scene { ground, agent, pod, application, .. } = &mut scene;
    let mut strict: Options = ground.options.clone();
    strict.waived.clear();
    let (ended, made) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let to: SocketAddr = at(V4, APP).parse().unwrap();
            pod.outside(|| {
                while !ended.load(Ordering::Relaxed) {
                    let (client, server) = (connect(to), accept(&proxy));
                    talk(&client, &server, b"to the proxy");
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        let more = || {
            let before = made.load(Ordering::Relaxed);
            wait_for("connections to go on", || made.load(Ordering::Relaxed) > before + 20);
        };
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                more();
                let before = in_force(ground);
                assert!(redirect::attach(&ground.options).unwrap().replaced);
                assert_ne!(in_force(ground), before);
                more();
            }
            let before = in_force(ground);
            // This kernel's splice fails, which is seen before or after the exchange.
            match redirect::attach(&strict) {
                Err(error) => {
                    assert!(matches!(error, AttachError::Declined(_)), "{error}");
                    assert_eq!(in_force(ground), before);
                }
                Ok(attached) => assert!(attached.replaced),
            }
            more();
        }));
        ended.store(true, Ordering::Relaxed);
        replaced.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    application.set_nonblocking(true).unwrap();
    assert!(application.accept().is_err(), "nobody got past the proxy");
    agent.look().unwrap();
    assert_eq!(agent.captured(), 1);
}

/// The kernel's refusal comes with what its verifier says, when it is attached and not when a pod comes.
#[test]
fn a_program_that_does_not_load_is_declined_when_it_is_attached() {
    let Some(ground) = Ground::new() else { return };
    let mut options = ground.options.clone();
    options.inbound = true;
    // `ingress_ifindex`, which is read beside `local_port` and `family` of its context, becomes a word behind all of that.
    let mut bytes = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../prebuilt/redirect.o")).unwrap();
    // BPF_LDX | BPF_MEM | BPF_W, and from where.
    let word = |instruction: &[u8; 8]| (instruction[0] == 0x61 && instruction[3] == 0).then_some(instruction[2]);
    let instructions = bytes.as_chunks_mut().0;
    let mut changed = 0;
    for at in 0..instructions.len() - 2 {
        let mut words = [0, 1, 2].map(|next| word(&instructions[at + next]));
        words.sort_unstable();
        if words == [8, 60, 64].map(Some) {
            let place = (at..at + 3).find(|at| word(&instructions[*at]) == Some(64)).unwrap();
            instructions[place][2] = 72;
            changed += 1;
        }
    }
    assert!(changed > 0);
    options.object = redirect::Object::of(bytes, "broken");
    let error = redirect::attach(&options).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("program lookup is refused by the kernel") && words.contains("invalid bpf_context access"),
        "{words}"
    );
    assert!(!Pins::of(&options.instance).unwrap().exist(), "nothing is left behind");
}
