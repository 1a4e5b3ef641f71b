//! The redirect on this machine's kernel: programs loaded, attached to cgroups of the tests' own, in network namespaces of
//! their own. Needs root; skipped loudly without, and a failure where `CI=true`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capture;
mod enrol;
mod figures;
mod filter;
mod ground;
mod inbound;
mod life;
mod needs;
mod pods;
mod streams;

/// The rest of the process is the fixture's: see [`ground`].
mod probe {
    use redirect::{Object, Property, Verdict};

    const KNOWN: &[Property] = &[Property::Splice, Property::Duplex, Property::WaitAll];

    #[test]
    fn this_kernel_is_described_in_words_and_in_json() {
        if !super::ground::is_root() {
            return;
        }
        let probe = redirect::probe(&super::ground::object());
        assert!(probe.points.iter().all(|point| point.verdict != Verdict::Bad), "{probe}");
        for outcome in &probe.outcomes {
            // The faults that every kernel known has.
            assert!(outcome.failure.is_none() || KNOWN.contains(&outcome.property), "{outcome:?}");
        }
        assert_eq!(probe.outcomes.len(), redirect::PROPERTIES.len());
        let inbound = probe.points.iter().find(|point| point.name == "inbound").unwrap();
        assert_eq!(inbound.verdict, Verdict::Good, "{probe}");
        assert!(probe.is_good(KNOWN), "{probe}");
        let (words, json) = (probe.to_string(), probe.to_json());
        assert_eq!(json["can_attach"], probe.is_good(&[]));
        for outcome in &probe.outcomes {
            assert!(
                words.contains(outcome.property.name())
                    && json["self_test"].to_string().contains(outcome.property.name())
            );
        }
    }

    #[test]
    fn a_user_who_may_not_pin_is_told_so_and_what_would_help() {
        // The directory is there, and root's.
        let Some(_ground) = super::ground::Ground::attached(18_080) else { return };
        const USER: u32 = 61_339;
        let probe = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let user = rustix::thread::Uid::from_raw(USER);
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
                redirect::probe(&super::ground::object())
            });
            inside.join().unwrap()
        });
        let point = |name: &str| probe.points.iter().find(|point| point.name == name).unwrap();
        let pins = point("pins");
        assert_eq!(pins.verdict, Verdict::Bad, "{probe}");
        for words in ["/pillion cannot be written to", "Permission denied", "chown 61339 "] {
            assert!(pins.words.contains(words), "{}", pins.words);
        }
        for name in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"] {
            assert_eq!(point(name).verdict, Verdict::Bad, "{probe}");
            assert!(point(name).words.starts_with("missing: "), "{probe}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_in_words() {
        if !super::ground::is_root() {
            return;
        }
        let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../prebuilt/redirect.o")).unwrap();
        for bytes in [b"\x7fELF".to_vec(), vec![0; 4096], whole[..whole.len() / 2].to_vec()] {
            let error = redirect::try_out(&Object::of(bytes, "test")).unwrap_err();
            assert!(error.to_string().contains("the object cannot be loaded"), "{error}");
        }
        assert_eq!(redirect::try_out(&Object::of(Vec::new(), "test")).unwrap_err().reason(), "no_object");
    }
}
