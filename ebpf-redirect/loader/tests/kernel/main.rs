//! The redirect on this machine's kernel: programs loaded, attached to cgroups of the tests' own, in network namespaces of
//! their own. Needs root; skipped loudly without, and a failure where `CI=true`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capture;
mod enrol;
mod figures;
mod filter;
mod ground;
mod life;
mod pods;
mod streams;

/// The rest of the process is the fixture's: see [`ground`].
mod probe {
    use redirect::{Object, Property, Verdict};

    const KNOWN: &[Property] = &[Property::Splice, Property::Duplex];

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
