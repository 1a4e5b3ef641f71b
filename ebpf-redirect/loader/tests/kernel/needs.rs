//! What each action needs, as `ebpf-redirect/README.md` says it: with that it is done, and with any of it missing it is not.

use crate::ground::{Ground, ip, within};
use redirect::{Watch, filter::SourceFilter};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::thread;

const PROXY: u16 = 18080;

/// Does something with no more than these capabilities, and says what went wrong.
fn with<E: std::fmt::Display>(may: CapabilitySet, run: impl FnOnce() -> Result<(), E> + Send) -> Result<(), String> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective &= may;
            set_capabilities(None, sets).unwrap();
            run().map_err(|error| error.to_string())
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// That an action needs all of these and no others.
pub(crate) fn needs(action: &str, all: &[CapabilitySet], mut run: impl FnMut() -> Result<(), String> + Send) {
    let set = |all: &mut dyn Iterator<Item = &CapabilitySet>| all.fold(CapabilitySet::empty(), |set, one| set | *one);
    for missing in all {
        let done = with(set(&mut all.iter().filter(|one| *one != missing)), &mut run);
        assert!(done.is_err(), "{action} is done without {missing:?}");
    }
    with(set(&mut all.iter()), &mut run).unwrap_or_else(|error| panic!("{action} with {all:?}: {error}"));
}

pub(crate) const BPF: CapabilitySet = CapabilitySet::BPF;
const NET_ADMIN: CapabilitySet = CapabilitySet::NET_ADMIN;
pub(crate) const PERFMON: CapabilitySet = CapabilitySet::PERFMON;

#[test]
fn each_action_needs_what_is_documented() {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.ports.insert(PROXY);
    let (options, instance) = (ground.options.clone(), ground.options.instance.clone());
    let words = |error: redirect::AttachError| error.to_string();
    needs("probe", &[BPF, NET_ADMIN, PERFMON], || redirect::try_out(&options.object).map(drop).map_err(words));
    needs("attach", &[BPF, NET_ADMIN, PERFMON], || redirect::attach(&options).map(drop).map_err(words));
    needs("replace", &[BPF, NET_ADMIN, PERFMON], || redirect::attach(&options).map(drop).map_err(words));
    needs("status", &[], || redirect::status(&instance).map(drop).map_err(words));
    needs("status --watch", &[], || Watch::observe(&instance).map(drop).map_err(words));
    needs("switch", &[], || redirect::switch(&instance, true).map_err(words));
    needs("detach", &[], || redirect::detach(&instance).map(drop).map_err(words));
    within(None, || {
        needs("source filter, load", &[BPF, NET_ADMIN, PERFMON], || {
            SourceFilter::load(None).map(drop).map_err(|error| error.to_string())
        });
        ip("link add edge type veth peer name wire");
        let mut filter = SourceFilter::load(None).unwrap();
        needs("source filter, interface", &[], || {
            filter.attach("edge", None).map(drop).map_err(|error| error.to_string())
        });
    });
}
