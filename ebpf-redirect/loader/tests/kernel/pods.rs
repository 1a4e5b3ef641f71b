//! Cgroups that come, go and lie beside each other: an instance serves the one that it was attached to and no other, whoever
//! attaches it from wherever.

use crate::ground::{Ground, SOON, listen, pair, talk, wait_for, within};
use redirect::{AttachError, Counter, Object, PinError, Pins, Property, Watch};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const PROXY: u16 = 18080;

/// A threaded cgroup below another, removed at the end.
struct Child(PathBuf);

impl Child {
    fn of(parent: &Path, name: &str) -> Self {
        let path = parent.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("cgroup.type"), "threaded").unwrap();
        Self(path)
    }

    /// Waits until the kernel has forgotten the threads that were in it.
    fn remove(&self) {
        wait_for("the cgroup to be empty", || fs::remove_dir(&self.0).is_ok());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let begun = Instant::now();
        while self.0.exists() && fs::remove_dir(&self.0).is_err() && begun.elapsed() < SOON {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn redirected(ground: &Ground, cgroup: &Path) -> bool {
    let before = ground.count(Counter::RedirectedMessages);
    within(Some(cgroup), || {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"whose is it?");
    });
    ground.count(Counter::RedirectedMessages) > before
}

#[test]
fn a_replacement_from_the_cgroup_of_a_node_touches_no_other_pods_connections() {
    let Some(mut ground) = Ground::new() else { return };
    let node = ground.cgroup.clone();
    let (pod, other) = (Child::of(&node, "pod"), Child::of(&node, "other"));
    ground.options.ports.insert(PROXY);
    ground.options.cgroup = pod.0.clone();
    // From the cgroup that has both pods below it, as an agent does.
    let attach = || within(Some(&node), || redirect::attach(&ground.options).unwrap());
    assert!(!attach().replaced);
    let (ended, made) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            within(Some(&other.0), || {
                let listener = listen(PROXY);
                while !ended.load(Ordering::Relaxed) {
                    let (client, server) = pair(&listener);
                    talk(&client, &server, b"none of its business");
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        let replaced = thread::scope(|scope| {
            scope
                .spawn(|| {
                    wait_for("the other pod to be busy", || made.load(Ordering::Relaxed) > 10);
                    let before = made.load(Ordering::Relaxed);
                    for _ in 0..2 {
                        assert!(attach().replaced);
                    }
                    made.load(Ordering::Relaxed) - before
                })
                .join()
        });
        ended.store(true, Ordering::Relaxed);
        assert!(replaced.unwrap() > 0, "the other pod connected while the replacements were made");
    });
    let touched: Vec<_> = ground.status().totals.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(touched, [], "of the other pod's connections");
    assert!(redirected(&ground, &pod.0), "its own pod's connections are redirected");
    drop(ground);
}

#[test]
fn a_pod_whose_cgroup_was_made_anew_is_attached_again() {
    let Some(mut ground) = Ground::new() else { return };
    let pod = Child::of(&ground.cgroup, "pod");
    ground.options.ports.insert(PROXY);
    ground.options.cgroup = pod.0.clone();
    assert!(!redirect::attach(&ground.options).unwrap().replaced);
    pod.remove();
    let pod = Child::of(&ground.cgroup, "pod");
    let attached = redirect::attach(&ground.options).unwrap_or_else(|error| panic!("{error}"));
    assert!(!attached.replaced && attached.on, "{attached:?}");
    assert_eq!(ground.status().links, ["connect4", "connect6", "enrol", "setsockopt"]);
    assert!(redirected(&ground, &pod.0), "the new cgroup is served");
    assert!(redirect::attach(&ground.options).unwrap().replaced);
    assert!(redirected(&ground, &pod.0), "and after a replacement");
}

#[test]
fn that_its_cgroup_has_gone_is_shown() {
    use redirect::Standing;
    let Some(mut ground) = Ground::new() else { return };
    let pod = Child::of(&ground.cgroup, "pod");
    let number = redirect::cgroup_number(&pod.0).unwrap();
    ground.options.ports.insert(PROXY);
    ground.options.cgroup = pod.0.clone();
    redirect::attach(&ground.options).unwrap();
    let mut watch = Watch::new(&ground.options.instance).unwrap();
    let status = ground.status();
    assert_eq!((status.cgroup, status.severed), (Some(number), Vec::new()));
    assert_eq!(redirect::cgroup_path(number), Some(pod.0.clone()));
    assert_eq!(watch.look(|_| {}).unwrap().standing, Standing::There);
    pod.remove();
    // The kernel cuts the links when it has time.
    wait_for("the links to be cut", || ground.status().severed == ground.status().links);
    let status = ground.status();
    assert_eq!((status.cgroup, status.links.len()), (None, 4));
    let look = watch.look(|_| {}).unwrap();
    assert_eq!((look.standing, look.on), (Standing::Severed, false));
    // Whoever attaches it anew and is declined leaves it so, to be tried again.
    let pod = Child::of(&ground.cgroup, "pod");
    let mut strict = ground.options.clone();
    strict.object = Object::of(b"no programs".to_vec(), "broken");
    redirect::attach(&strict).unwrap_err();
    let status = ground.status();
    assert_eq!((status.severed, status.links.len()), (status.links.clone(), 4));
    assert_eq!(watch.look(|_| {}).unwrap().standing, Standing::Severed);
    redirect::attach(&ground.options).unwrap();
    assert_eq!(watch.look(|_| {}).unwrap().standing, Standing::There);
    drop(pod);
}

#[test]
fn an_instance_is_not_taken_to_another_cgroup_that_lives() {
    let Some(mut ground) = Ground::new() else { return };
    let (pod, other) = (Child::of(&ground.cgroup, "pod"), Child::of(&ground.cgroup, "other"));
    ground.options.ports.insert(PROXY);
    ground.options.cgroup = pod.0.clone();
    redirect::attach(&ground.options).unwrap();
    let mut elsewhere = ground.options.clone();
    elsewhere.cgroup = other.0.clone();
    let error = redirect::attach(&elsewhere).unwrap_err();
    assert!(matches!(error, AttachError::Elsewhere { .. }), "{error}");
    let words = error.to_string();
    for told in
        [pod.0.to_str().unwrap(), other.0.to_str().unwrap(), "pillion redirect detach --instance", "--instance`"]
    {
        assert!(words.contains(told), "{words}");
    }
    assert!(redirected(&ground, &pod.0), "the one that stood stands");
    assert!(!redirected(&ground, &other.0));
}

#[test]
fn a_switch_pulled_while_a_replacement_is_made_stays_pulled() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    for wait in [0, 100, 400] {
        redirect::switch(&ground.options.instance, true).unwrap();
        thread::scope(|scope| {
            let replacing = scope.spawn(|| redirect::attach(&ground.options).unwrap());
            // Wherever in it this falls, or behind it: the outcome is the same.
            thread::sleep(Duration::from_millis(wait));
            redirect::switch(&ground.options.instance, false).unwrap();
            assert!(replacing.join().unwrap().replaced);
        });
        assert!(!ground.status().on, "pulled after {wait} ms");
    }
}

#[test]
fn a_replacement_needs_no_more_than_attaching() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let Some(ground) = Ground::attached(PROXY) else { return };
    let mut failing = ground.options.clone();
    failing.waived.clear();
    thread::scope(|scope| {
        let unprivileged = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective &= CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON;
            set_capabilities(None, sets).unwrap();
            assert!(redirect::attach(&ground.options).unwrap_or_else(|error| panic!("{error}")).replaced);
            // And to come back from one that is declined.
            if let Err(error) = redirect::attach(&failing) {
                assert!(
                    matches!(&error, AttachError::Declined(declined) if declined.outcome.property == Property::Splice),
                    "{error}"
                );
            }
        });
        unprivileged.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(redirected(&ground, &ground.cgroup));
}

#[test]
fn what_a_killed_self_test_left_is_swept_and_what_is_held_is_not() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let all = Pins::of(&ground.options.instance).unwrap().directory().parent().unwrap().to_owned();
    // Longer numbers than processes have.
    let (left, held) = (all.join("try-99999999991-0"), all.join("try-99999999992-0"));
    for folder in [&left, &held] {
        fs::create_dir_all(folder.join(format!("v{}/links", redirect_common::LAYOUT))).unwrap();
    }
    let holder = fs::File::open(&held).unwrap();
    holder.lock().unwrap();
    redirect::attach(&ground.options).unwrap();
    assert!(!left.exists() && held.exists());
    drop(holder);
    redirect::attach(&ground.options).unwrap();
    assert!(!held.exists());
}

#[test]
fn what_is_not_attached_is_said_to_be_so() {
    let Some(ground) = Ground::new() else { return };
    let instance = &ground.options.instance;
    for refused in [redirect::switch(instance, false).unwrap_err(), Watch::new(instance).err().unwrap()] {
        assert!(matches!(refused, AttachError::Pin(PinError::Absent(_))), "{refused}");
        assert!(refused.to_string().contains("is not attached"), "{refused}");
    }
}

#[test]
fn capturing_no_more_takes_its_programs_away_when_nothing_is_captured() {
    let Some(mut ground) = Ground::attached(PROXY) else { return };
    ground.options.capture =
        Some(redirect::Capture { port: PROXY, exclude: Vec::new(), exclude_ports: Default::default(), probe: None });
    ground.attach();
    assert!(ground.status().links.iter().any(|name| name == "getpeername4"));
    ground.options.capture = None;
    ground.attach();
    assert_eq!(ground.status().links, ["connect4", "connect6", "enrol", "setsockopt"]);
}

#[test]
fn a_process_in_a_namespace_of_cgroups_finds_its_own_through_the_hosts_mount() {
    let Some(ground) = Ground::new() else { return };
    let pod = Child::of(&ground.cgroup, "pod");
    let own = within(Some(&pod.0), || {
        // SAFETY: a namespace of cgroups alone is changed, which holds no memory of this process.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }.unwrap();
        redirect::own_cgroup().unwrap()
    });
    assert_eq!(own, pod.0);
}
