//! The texts below are what real machines show, shortened to the lines that matter.

use super::*;
use std::{collections::HashMap, fs, num::NonZeroUsize, path::Path, path::PathBuf, time::Duration};

struct Machine {
    name: &'static str,
    cgroup: &'static str,
    mountinfo: &'static str,
    cpu: Option<(Version, &'static [&'static str])>,
    memory: Option<(Version, &'static [&'static str])>,
}

const MACHINES: &[Machine] = &[
    Machine {
        name: "Docker, version 1, host's cgroup namespace",
        cgroup: "12:memory:/docker/3601745b3bd5\n11:cpuset:/docker/3601745b3bd5\n4:cpu,cpuacct:/docker/3601745b3bd5\n\
                 1:name=systemd:/docker/3601745b3bd5\n0::/system.slice/containerd.service\n",
        mountinfo: "\
707 706 0:34 /docker/3601745b3bd5 /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,xattr,name=systemd
710 706 0:38 /docker/3601745b3bd5 /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,cpu,cpuacct
718 706 0:46 /docker/3601745b3bd5 /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:24 - cgroup cgroup rw,memory
",
        cpu: Some((Version::V1, &["/sys/fs/cgroup/cpu,cpuacct"])),
        memory: Some((Version::V1, &["/sys/fs/cgroup/memory"])),
    },
    Machine {
        name: "Docker, version 2, private cgroup namespace",
        cgroup: "0::/\n",
        mountinfo: "\
741 726 0:66 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
742 741 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot
",
        cpu: Some((Version::V2, &["/sys/fs/cgroup"])),
        memory: Some((Version::V2, &["/sys/fs/cgroup"])),
    },
    Machine {
        name: "Kubernetes, version 1: the mount shows the container's own group",
        cgroup: "11:memory:/kubepods/burstable/pod1c6b/8f3a\n5:cpu,cpuacct:/kubepods/burstable/pod1c6b/8f3a\n",
        mountinfo: "\
1620 1610 0:25 /kubepods/burstable/pod1c6b/8f3a /sys/fs/cgroup/memory ro,relatime master:9 - cgroup cgroup rw,memory
1621 1610 0:26 /kubepods/burstable/pod1c6b/8f3a /sys/fs/cgroup/cpu,cpuacct ro,relatime master:10 - cgroup cgroup rw,cpu,cpuacct
",
        cpu: Some((Version::V1, &["/sys/fs/cgroup/cpu,cpuacct"])),
        memory: Some((Version::V1, &["/sys/fs/cgroup/memory"])),
    },
    Machine {
        name: "Kubernetes, version 2, host's cgroup namespace: the pod's limit holds, too",
        cgroup: "0::/kubepods.slice/kubepods-pod1c6b.slice/cri-containerd-8f3a.scope\n",
        mountinfo: "33 25 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw\n",
        cpu: Some((
            Version::V2,
            &[
                "/sys/fs/cgroup/kubepods.slice/kubepods-pod1c6b.slice/cri-containerd-8f3a.scope",
                "/sys/fs/cgroup/kubepods.slice/kubepods-pod1c6b.slice",
                "/sys/fs/cgroup/kubepods.slice",
                "/sys/fs/cgroup",
            ],
        )),
        memory: Some((
            Version::V2,
            &[
                "/sys/fs/cgroup/kubepods.slice/kubepods-pod1c6b.slice/cri-containerd-8f3a.scope",
                "/sys/fs/cgroup/kubepods.slice/kubepods-pod1c6b.slice",
                "/sys/fs/cgroup/kubepods.slice",
                "/sys/fs/cgroup",
            ],
        )),
    },
    Machine {
        name: "a systemd unit, version 2",
        cgroup: "0::/system.slice/pillion.service\n",
        mountinfo: "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
        cpu: Some((
            Version::V2,
            &["/sys/fs/cgroup/system.slice/pillion.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"],
        )),
        memory: Some((
            Version::V2,
            &["/sys/fs/cgroup/system.slice/pillion.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"],
        )),
    },
    Machine {
        name: "hybrid: CPU in version 1, memory in the unified hierarchy",
        cgroup: "3:cpu,cpuacct:/user.slice\n1:name=systemd:/user.slice/session-1.scope\n0::/user.slice/session-1.scope\n",
        mountinfo: "\
34 25 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
35 25 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
40 25 0:35 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:16 - cgroup cgroup rw,cpu,cpuacct
",
        cpu: Some((Version::V1, &["/sys/fs/cgroup/cpu,cpuacct/user.slice", "/sys/fs/cgroup/cpu,cpuacct"])),
        memory: Some((
            Version::V2,
            &[
                "/sys/fs/cgroup/unified/user.slice/session-1.scope",
                "/sys/fs/cgroup/unified/user.slice",
                "/sys/fs/cgroup/unified",
            ],
        )),
    },
    Machine {
        name: "a group outside the namespace, a mount point with a space",
        cgroup: "0::/../../other\n",
        mountinfo: "30 23 0:26 / /mnt/c\\040group rw - cgroup2 cgroup2 rw\n",
        cpu: Some((Version::V2, &["/mnt/c group"])),
        memory: Some((Version::V2, &["/mnt/c group"])),
    },
    Machine {
        name: "none",
        cgroup: "",
        mountinfo: "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
        cpu: None,
        memory: None,
    },
    Machine {
        name: "known to the kernel, mounted nowhere",
        cgroup: "4:memory:/a\n0::/\n",
        mountinfo: "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
        cpu: None,
        memory: None,
    },
];

#[test]
fn every_machine_shows_its_groups() {
    for machine in MACHINES {
        for (controller, expected) in [(Controller::Cpu, machine.cpu), (Controller::Memory, machine.memory)] {
            let found = locate(controller, machine.cgroup, machine.mountinfo);
            let expected = expected.map(|(version, directories)| Place {
                version,
                directories: directories.iter().map(PathBuf::from).collect(),
            });
            assert_eq!(found, expected, "{}: {controller:?}", machine.name);
        }
    }
}

#[test]
fn every_prefix_of_a_text_is_survived() {
    for machine in MACHINES {
        for end in 0..machine.mountinfo.len() {
            let _ = locate(Controller::Cpu, machine.cgroup, &machine.mountinfo[..end]);
        }
        for end in 0..machine.cgroup.len() {
            let _ = locate(Controller::Memory, &machine.cgroup[..end], machine.mountinfo);
        }
    }
}

fn place(version: Version, directories: &[&str]) -> Place {
    Place { version, directories: directories.iter().map(PathBuf::from).collect() }
}

#[test]
fn the_tightest_quota_of_all_levels_counts() {
    let files: HashMap<&str, &str> = HashMap::from([
        ("/g/pod/own/cpu.max", "max 100000\n"),
        ("/g/pod/cpu.max", "150000 100000\n"),
        ("/g/cpu.max", "800000 100000\n"),
        ("/v1/cpu.cfs_quota_us", "50000\n"),
        ("/v1/cpu.cfs_period_us", "100000\n"),
        ("/free/cpu.cfs_quota_us", "-1\n"),
        ("/free/cpu.cfs_period_us", "100000\n"),
        ("/odd/cpu.max", "100000 0\n"),
    ]);
    let read = |path: &Path| path.to_str().and_then(|path| files.get(path)).map(ToString::to_string);
    assert_eq!(quota_of(&place(Version::V2, &["/g/pod/own", "/g/pod", "/g"]), read), Some(1.5));
    assert_eq!(quota_of(&place(Version::V1, &["/v1"]), read), Some(0.5));
    assert_eq!(quota_of(&place(Version::V1, &["/free"]), read), None);
    assert_eq!(quota_of(&place(Version::V2, &["/odd"]), read), None);
    assert_eq!(quota_of(&place(Version::V2, &["/missing"]), read), None);
}

#[test]
fn workers_follow_the_quota_within_the_affinity() {
    let cpus = |count| NonZeroUsize::new(count).unwrap();
    for (quota, affinity, expected) in [
        (None, 12, 12),
        (Some(0.1), 12, 1),
        (Some(1.0), 12, 1),
        (Some(1.5), 12, 2),
        (Some(64.0), 12, 12),
        (Some(f64::INFINITY), 2, 2),
    ] {
        assert_eq!(count(quota, cpus(affinity)).get(), expected, "{quota:?} on {affinity}");
    }
}

#[test]
fn what_may_be_unfinished_follows_what_is_free() {
    let thresholds = Thresholds { shrink: 80, refuse: 90 };
    let allowed = |used, held| thresholds.unfinished(Usage { used, limit: 1000 }, held);
    assert_eq!(allowed(200, 0), 250, "half of what is free");
    assert_eq!(allowed(600, 300), 350);
    assert_eq!(allowed(700, 400), 400, "full");
    assert_eq!(allowed(800, 400), 300, "less by what is too much");
    assert_eq!(allowed(800, 50), 31, "a small part is borne");
    assert_eq!(thresholds.unfinished(Usage { used: u64::MAX, limit: 0 }, 5), 0);
}

#[test]
fn pressure_rises_at_once_and_falls_late() {
    let thresholds = Thresholds { shrink: 90, refuse: 95 };
    let steps = [
        (890, Pressure::Normal),
        (900, Pressure::Shrink),
        (880, Pressure::Shrink),
        (869, Pressure::Normal),
        (960, Pressure::Refuse),
        (930, Pressure::Refuse),
        (919, Pressure::Shrink),
        (940, Pressure::Shrink),
        (2000, Pressure::Refuse),
        (0, Pressure::Normal),
    ];
    let mut pressure = Pressure::Normal;
    for (used, expected) in steps {
        pressure = thresholds.judge(pressure, Duration::ZERO, Usage { used, limit: 1000 });
        assert_eq!(pressure, expected, "at {used}");
    }
    assert_eq!(thresholds.judge(Pressure::Normal, Duration::MAX, Usage { used: 1, limit: 0 }), Pressure::Refuse);
}

#[test]
fn refusing_ends_two_seconds_after_memory_fell_below_where_it_begins_though_only_just() {
    let thresholds = Thresholds { shrink: 85, refuse: 95 };
    let judge =
        |last, full_ago, used| thresholds.judge(last, Duration::from_millis(full_ago), Usage { used, limit: 1000 });
    assert_eq!(judge(Pressure::Refuse, 1999, 949), Pressure::Refuse, "so that it does not flap");
    assert_eq!(judge(Pressure::Refuse, 2000, 949), Pressure::Shrink);
    assert_eq!(judge(Pressure::Refuse, 0, 919), Pressure::Shrink, "well below it at once");
    assert_eq!(judge(Pressure::Refuse, 2000, 950), Pressure::Refuse, "whatever was before");
    assert_eq!(judge(Pressure::Shrink, 2000, 821), Pressure::Shrink, "connections at rest are closed as before");
    let full = |used| thresholds.is_full(Usage { used, limit: 1000 });
    assert!(!full(949) && full(950));
}

#[test]
fn requests_may_fill_what_is_free() {
    let thresholds = Thresholds { shrink: 85, refuse: 95 };
    let most = |used, in_flight| thresholds.requests(Usage { used, limit: 64 << 20 }, in_flight);
    assert_eq!(most(8 << 20, 7), 7 + (528 << 20) / 10 / (32 << 10));
    assert_eq!(most(61 << 20, 900), 900);
    assert_eq!(most(u64::MAX, u64::MAX), u64::MAX);
}

#[test]
fn what_is_in_flight_is_cut_only_where_refusing_did_not_help() {
    let cut = |refuse, used, own| Thresholds { shrink: 85, refuse }.must_cut(Usage { used, limit: 1000 }, own);
    assert!(!cut(95, 974, 974) && cut(95, 975, 975));
    assert!(!cut(100, 999, 999) && cut(100, 1000, 1000));
    assert!(cut(95, u64::MAX, u64::MAX));
    assert!(!cut(95, 990, 494) && cut(95, 990, 495), "others hold it");
}

#[test]
fn filters_may_grow_to_where_others_are_refused_and_are_given_back_before_where_that_helps() {
    let at = |used| Usage { used, limit: 1000 };
    assert_eq!(at(990).worth_giving_back(), 30, "as much as ends the pressure");
    let thresholds = Thresholds { shrink: 85, refuse: 95 };
    let growth = |used| thresholds.growth(at(used));
    assert_eq!((growth(200), growth(933), growth(934), growth(u64::MAX)), (367, 1, 0, 0));
    let large = thresholds.growth(Usage { used: 0, limit: 1 << 30 });
    assert_eq!(large, ((1 << 30) * 95 / 100 - (1 << 20)) / 2, "what clients need does not grow with the container");
    let given = |shrink, refuse, used| Thresholds { shrink, refuse }.must_give_back(at(used));
    assert!(!given(85, 95, 919) && given(85, 95, 920));
    assert!(!given(95, 96, 949) && given(95, 96, 950), "connections at rest are closed first");
    assert!(!given(100, 50, 499) && given(100, 50, 500));
    let spare = |used| thresholds.spare(at(used));
    assert_eq!((spare(200), spare(909), spare(910), spare(u64::MAX)), (710, 1, 0, 0));
    let starts = |used| thresholds.starts(at(used));
    assert_eq!((starts(200), starts(888), starts(889), starts(u64::MAX)), (689, 1, 0, 0), "before anybody pays for it");
    let stored = |used| thresholds.storable(at(used));
    assert_eq!((stored(200), stored(849), stored(850), stored(u64::MAX)), (325, 0, 0, 0));
}

#[test]
fn freed_memory_is_given_back_before_somebody_is_refused_for_it() {
    let thresholds = Thresholds { shrink: 80, refuse: 95 };
    let tight = |used| thresholds.is_tight(Usage { used, limit: 1000 });
    assert!(!tight(574) && tight(575) && tight(700) && tight(u64::MAX));
}

#[test]
fn memory_is_watched_closely_only_near_the_limit() {
    let thresholds = Thresholds { shrink: 90, refuse: 95 };
    let next = |used| thresholds.next_look(Usage { used, limit: 1000 });
    assert_eq!(next(10), Duration::from_secs(1));
    assert_eq!(next(500), Duration::from_millis(250));
    assert_eq!(next(850), Duration::from_millis(100));
}

#[test]
fn the_meter_reads_both_versions_and_takes_the_fullest_level() {
    let root = std::env::temp_dir().join(format!("pillion-meter-{}", std::process::id()));
    let own = root.join("own");
    fs::create_dir_all(&own).unwrap();
    let write = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
    write(own.join("memory.max"), "1000\n");
    write(own.join("memory.current"), "700\n");
    write(own.join("memory.stat"), "anon 100\ninactive_file 600\n");
    write(root.join("memory.max"), "2000\n");
    write(root.join("memory.current"), "1900\n");
    let v2 = Place { version: Version::V2, directories: vec![own.clone(), root.clone()] };
    let meter = Meter::new(&v2).unwrap();
    assert_eq!(meter.read(), Some(Usage { used: 1900, limit: 2000 }), "the parent is nearer its limit");
    write(root.join("memory.max"), "max\n");
    assert_eq!(meter.read(), Some(Usage { used: 100, limit: 1000 }), "resting page cache is not counted");

    write(own.join("memory.limit_in_bytes"), "9223372036854771712\n");
    assert!(Meter::new(&Place { version: Version::V1, directories: vec![own.clone()] }).is_none());
    write(own.join("memory.limit_in_bytes"), "500\n");
    write(own.join("memory.usage_in_bytes"), "300\n");
    write(own.join("memory.stat"), "inactive_file 1\ntotal_inactive_file 50\n");
    let v1 = Meter::new(&Place { version: Version::V1, directories: vec![own] }).unwrap();
    assert_eq!(v1.read(), Some(Usage { used: 250, limit: 500 }));
    fs::remove_dir_all(root).unwrap();
}
