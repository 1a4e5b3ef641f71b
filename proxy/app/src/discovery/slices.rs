//! The EndpointSlices of a service as they are kept, and the addresses that follow from them. Pure.
//!
//! Kept small: of a slice only the endpoints that may get requests, of each only what a choice depends on.

use super::{
    Here,
    wire::{Endpoint, EndpointSlice, Named},
};
use pillion_config::model::Family;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
};

/// Endpoints kept of a service; those of further slices are not looked at. Kubernetes is tested up to 5000 pods of one.
pub(super) const MAX_ENDPOINTS: usize = 10_000;
/// Slices kept of a service: with 100 endpoints each, Kubernetes' default, twice as many as there are endpoints for.
pub(super) const MAX_SLICES: usize = 2_000;

/// The slices of a service.
#[derive(Debug, Default)]
pub(super) struct Slices {
    by_name: BTreeMap<Box<str>, Slice>,
    endpoints: usize,
}

/// Whether a slice was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was, and something differs.
    Changed,
    /// It was there already.
    Same,
    /// There was no room for it, or for all of it.
    Cut,
}

#[derive(Debug, PartialEq, Eq)]
struct Slice {
    /// Name (empty: none) and number.
    ports: Box<[(Box<str>, u16)]>,
    members: Box<[Member]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    ip: IpAddr,
    /// What stands for the pod behind it, the same in both families; 0: not known.
    target: u64,
    standing: Standing,
    zone: Hint,
    node: Hint,
}

/// Whether an endpoint should get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It should.
    Ready,
    /// It is going away and still serves: for when there is no other.
    LastResort,
}

/// For whom an endpoint is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    /// Nobody said.
    None,
    /// For us.
    Here,
    /// For others.
    Elsewhere,
}

impl Slices {
    /// Sets a slice.
    pub(super) fn set(&mut self, slice: &EndpointSlice<'_>, here: &Here) -> Kept {
        let name: &str = &slice.metadata.name;
        let read = Slice::read(slice, here);
        let before = self.by_name.get(name);
        if before == Some(&read) {
            return Kept::Same;
        }
        let others = self.endpoints - before.map_or(0, |slice| slice.members.len());
        if others + read.members.len() > MAX_ENDPOINTS || (before.is_none() && self.by_name.len() >= MAX_SLICES) {
            // What is known of it is out of date, which is worse than nothing.
            self.remove(name);
            return Kept::Cut;
        }
        self.endpoints = others + read.members.len();
        self.by_name.insert(name.into(), read);
        Kept::Changed
    }

    /// Forgets a slice.
    pub(super) fn remove(&mut self, name: &str) -> Kept {
        match self.by_name.remove(name) {
            Some(slice) => {
                self.endpoints -= slice.members.len();
                Kept::Changed
            }
            None => Kept::Same,
        }
    }

    /// How many slices there are.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        self.by_name.len()
    }

    /// The names and numbers of their ports.
    #[must_use]
    pub(super) fn ports(&self) -> BTreeSet<(Box<str>, u16)> {
        self.by_name.values().flat_map(|slice| slice.ports.iter().cloned()).collect()
    }

    /// Where requests to a port of the service go: to what is ready; where nothing is, to what is going away and still
    /// serves; on our node or else in our zone, where all of them have such hints and some are meant for it; each pod once, by
    /// the family preferred. Sorted, without doubles, `most` at most: then a choice that differs from one `seed` to another.
    #[must_use]
    pub(super) fn addresses(&self, port: &str, prefer: Family, most: usize, seed: u64) -> Vec<SocketAddr> {
        let mut all: Vec<(Member, u16)> = Vec::new();
        for slice in self.by_name.values() {
            let number = slice.ports.iter().find(|(name, _)| **name == *port).map(|(_, number)| *number);
            if let Some(number) = number {
                all.extend(slice.members.iter().map(|member| (*member, number)));
            }
        }
        if all.iter().any(|(member, _)| member.standing == Standing::Ready) {
            all.retain(|(member, _)| member.standing == Standing::Ready);
            // As kube-proxy decides since 1.33; what is going away is better than nothing wherever it is.
            for hint in [|member: &Member| member.node, |member: &Member| member.zone] {
                let hinted = all.iter().all(|(member, _)| hint(member) != Hint::None);
                if hinted && all.iter().any(|(member, _)| hint(member) == Hint::Here) {
                    all.retain(|(member, _)| hint(member) == Hint::Here);
                    break;
                }
            }
        }
        let preferred = |member: &Member| member.ip.is_ipv4() == (prefer == Family::Ipv4);
        let by_both: HashSet<u64> =
            all.iter().filter(|(member, _)| preferred(member)).map(|(member, _)| member.target).collect();
        all.retain(|(member, _)| member.target == 0 || preferred(member) || !by_both.contains(&member.target));
        let mut addresses: Vec<_> = all.into_iter().map(|(member, port)| SocketAddr::new(member.ip, port)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() > most {
            addresses.sort_by_cached_key(|address| hash(&(seed, address)));
            addresses.truncate(most);
            addresses.sort_unstable();
        }
        addresses
    }
}

impl Slice {
    fn read(slice: &EndpointSlice<'_>, here: &Here) -> Self {
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
            let number = port.port.filter(|number| tcp && *number > 0)?;
            Some((port.name.as_deref().unwrap_or_default().into(), number))
        });
        let family = match &*slice.address_type {
            "IPv4" => Some(Family::Ipv4),
            "IPv6" => Some(Family::Ipv6),
            // Deprecated, and nothing makes them.
            _ => None,
        };
        let endpoints = slice.endpoints.iter().flatten();
        let members = endpoints.filter_map(|endpoint| family.and_then(|family| Member::read(endpoint, family, here)));
        Self { ports: ports.collect(), members: members.take(MAX_ENDPOINTS + 1).collect() }
    }
}

impl Member {
    fn read(endpoint: &Endpoint<'_>, family: Family, here: &Here) -> Option<Self> {
        let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
        if ip.is_ipv4() != (family == Family::Ipv4) || ip.is_unspecified() || ip.is_multicast() {
            return None;
        }
        let conditions = &endpoint.conditions;
        let ready = conditions.ready.unwrap_or(true);
        let serving = conditions.serving.unwrap_or(ready);
        let standing = match (ready, serving && conditions.terminating == Some(true)) {
            (true, _) => Standing::Ready,
            (false, true) => Standing::LastResort,
            (false, false) => return None,
        };
        let hints = endpoint.hints.as_ref();
        let zone =
            Hint::read(hints.and_then(|hints| hints.for_zones.as_deref()), here.zone.as_ref().map(|zone| &*zone.0));
        let node =
            Hint::read(hints.and_then(|hints| hints.for_nodes.as_deref()), here.node.as_ref().map(|node| &*node.0));
        let uid = endpoint.target_ref.as_ref().map_or("", |target| &target.uid);
        let target = if uid.is_empty() { 0 } else { hash(uid).max(1) };
        Some(Self { ip, target, standing, zone, node })
    }
}

impl Hint {
    /// What is meant for `names`, to whom is at `here`.
    fn read(names: Option<&[Named<'_>]>, here: Option<&str>) -> Self {
        let names = names.unwrap_or_default();
        match here {
            Some(here) if names.iter().any(|named| named.name == here) => Self::Here,
            Some(_) if !names.is_empty() => Self::Elsewhere,
            Some(_) | None => Self::None,
        }
    }
}

fn hash<T: Hash + ?Sized>(of: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::wire;
    use pillion_config::model::{NodeName, Zone};
    use std::fmt::Write as _;

    /// `10.0.0.1 ready=false uid=a zone=x,y node=n` each.
    fn slice(name: &str, family: &str, ports: &str, endpoints: &[&str]) -> String {
        let mut all = Vec::new();
        for endpoint in endpoints {
            let mut words = endpoint.split(' ');
            let mut text = format!(r#"{{"addresses":["{}"],"conditions":{{"#, words.next().unwrap());
            let (mut conditions, mut hints, mut rest) = (Vec::new(), Vec::new(), String::new());
            for word in words {
                match word.split_once('=').unwrap() {
                    ("uid", uid) => write!(rest, r#","targetRef":{{"kind":"Pod","uid":"{uid}"}}"#).unwrap(),
                    (kind @ ("zone" | "node"), names) => {
                        let names: Vec<_> = names.split(',').map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
                        let kind = if kind == "zone" { "forZones" } else { "forNodes" };
                        hints.push(format!(r#""{kind}":[{}]"#, names.join(",")));
                    }
                    (key, value) => conditions.push(format!(r#""{key}":{value}"#)),
                }
            }
            if !hints.is_empty() {
                write!(rest, r#","hints":{{{}}}"#, hints.join(",")).unwrap();
            }
            text += &conditions.join(",");
            all.push(text + "}" + &rest + "}");
        }
        format!(
            r#"{{"type":"ADDED","object":{{"kind":"EndpointSlice","metadata":{{"name":"{name}","resourceVersion":"7"}},
               "addressType":"{family}","ports":{ports},"endpoints":[{}]}}}}"#,
            all.join(",")
        )
    }

    fn add(slices: &mut Slices, text: &str, zone: Option<&str>) -> Kept {
        add_at(slices, text, zone, None)
    }

    fn add_at(slices: &mut Slices, text: &str, zone: Option<&str>, node: Option<&str>) -> Kept {
        let here = Here { zone: zone.map(|zone| Zone(zone.into())), node: node.map(|node| NodeName(node.into())) };
        match wire::event(text.as_bytes()).unwrap() {
            wire::Event::Set(slice, _) => slices.set(&slice, &here),
            other => panic!("{other:?}"),
        }
    }

    const HTTP: &str = r#"[{"name":"http","port":8080,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]"#;

    fn of(endpoints: &[&str], zone: Option<&str>) -> Vec<String> {
        let mut slices = Slices::default();
        add(&mut slices, &slice("a", "IPv4", HTTP, endpoints), zone);
        slices.addresses("http", Family::Ipv4, 100, 0).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn conditions_are_those_of_kube_proxy() {
        for (endpoints, expected) in [
            (&["10.0.0.1"][..], &["10.0.0.1:8080"][..]),
            (&["10.0.0.2 ready=true", "10.0.0.1 ready=false"], &["10.0.0.2:8080"]),
            (&["10.0.0.1 ready=null serving=null terminating=null"], &["10.0.0.1:8080"]),
            // Not ready and not going away: it has not come yet.
            (&["10.0.0.1 ready=false serving=true terminating=false", "10.0.0.2 ready=false"], &[]),
            // Going away, with others and without.
            (&["10.0.0.1 ready=false serving=true terminating=true", "10.0.0.2"], &["10.0.0.2:8080"]),
            (
                &[
                    "10.0.0.1 ready=false serving=true terminating=true",
                    "10.0.0.2 ready=false serving=false terminating=true",
                ],
                &["10.0.0.1:8080"],
            ),
            // publishNotReadyAddresses says ready of all.
            (&["10.0.0.1 ready=true serving=false terminating=true"], &["10.0.0.1:8080"]),
            (&["10.0.0.1", "10.0.0.1 ready=true"], &["10.0.0.1:8080"]),
            (&["::1", "no-address", "0.0.0.0", "224.0.0.1"], &[]),
        ] {
            assert_eq!(of(endpoints, None), expected, "{endpoints:?}");
        }
    }

    #[test]
    fn hints_are_followed_where_all_have_some_and_one_is_for_us() {
        let hinted = ["10.0.0.1 zone=a", "10.0.0.2 zone=b,c"];
        assert_eq!(of(&hinted, Some("a")), ["10.0.0.1:8080"]);
        assert_eq!(of(&hinted, Some("c")), ["10.0.0.2:8080"]);
        assert_eq!(of(&hinted, Some("d")).len(), 2, "nothing is meant for us");
        assert_eq!(of(&hinted, None).len(), 2, "we do not know where we are");
        assert_eq!(of(&["10.0.0.1 zone=a", "10.0.0.2"], Some("a")).len(), 2, "not all have hints");
        assert_eq!(
            of(&["10.0.0.1 zone=a", "10.0.0.2 ready=false"], Some("a")).len(),
            1,
            "those not ready do not count"
        );
    }

    /// The cases of `topologyModeFromHints` in kube-proxy 1.34.
    #[test]
    fn hints_for_our_node_go_before_those_for_our_zone() {
        let of = |endpoints: &[&str], zone, node| -> Vec<String> {
            let mut slices = Slices::default();
            add_at(&mut slices, &slice("a", "IPv4", HTTP, endpoints), zone, node);
            slices.addresses("http", Family::Ipv4, 100, 0).iter().map(|address| address.ip().to_string()).collect()
        };
        let both = ["10.0.0.1 zone=a node=n1", "10.0.0.2 zone=a node=n2", "10.0.0.3 zone=b node=n3"];
        let (a, n1) = (Some("a"), Some("n1"));
        assert_eq!(of(&both, a, n1), ["10.0.0.1"]);
        assert_eq!(of(&both, None, n1), ["10.0.0.1"], "who knows its node alone");
        assert_eq!(of(&both, a, None), ["10.0.0.1", "10.0.0.2"], "who knows its zone alone");
        assert_eq!(of(&both, a, Some("n9")), ["10.0.0.1", "10.0.0.2"], "nobody is meant for our node: our zone");
        assert_eq!(of(&both, Some("z"), Some("n9")).len(), 3, "nobody is meant for us");
        let one_without = ["10.0.0.1 zone=a node=n1", "10.0.0.2 zone=a"];
        assert_eq!(of(&one_without, a, n1).len(), 2, "not all have hints for nodes; for zones they have");
        let going = ["10.0.0.1 ready=false serving=true terminating=true node=n1", "10.0.0.2 node=n2"];
        assert_eq!(of(&going, a, n1), ["10.0.0.2"], "what is going away counts neither for nor against");
        let all_going = [
            "10.0.0.1 ready=false serving=true terminating=true node=n1",
            "10.0.0.2 ready=false serving=true terminating=true node=n2",
        ];
        assert_eq!(of(&all_going, a, n1).len(), 2, "the last resort is taken wherever it is");
    }

    #[test]
    fn a_pod_with_two_addresses_is_one() {
        let mut slices = Slices::default();
        add(&mut slices, &slice("a", "IPv4", HTTP, &["10.0.0.1 uid=one", "10.0.0.2 uid=two", "10.0.0.3"]), None);
        add(&mut slices, &slice("b", "IPv6", HTTP, &["fd00::1 uid=one", "fd00::4 uid=four", "fd00::3"]), None);
        let of = |prefer| -> Vec<_> {
            slices.addresses("http", prefer, 100, 0).iter().map(|address| address.ip().to_string()).collect()
        };
        assert_eq!(of(Family::Ipv4), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::3", "fd00::4"]);
        assert_eq!(of(Family::Ipv6), ["10.0.0.2", "10.0.0.3", "fd00::1", "fd00::3", "fd00::4"]);
    }

    #[test]
    fn ports_are_found_by_name_and_each_slice_has_its_own() {
        let mut slices = Slices::default();
        add(&mut slices, &slice("a", "IPv4", HTTP, &["10.0.0.1"]), None);
        // Pods whose named port has another number are in another slice.
        add(&mut slices, &slice("b", "IPv4", r#"[{"name":"http","port":9090}]"#, &["10.0.0.2"]), None);
        add(
            &mut slices,
            &slice("c", "IPv4", r#"[{"name":null,"port":7070},{"name":"any","port":null}]"#, &["10.0.0.3"]),
            None,
        );
        add(&mut slices, &slice("d", "IPv4", "null", &["10.0.0.4"]), None);
        let of =
            |port| slices.addresses(port, Family::Ipv4, 100, 0).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("http"), ["10.0.0.1:8080", "10.0.0.2:9090"]);
        assert_eq!(of(""), ["10.0.0.3:7070"]);
        assert_eq!((of("dns"), of("any"), of("other")), (vec![], vec![], vec![]));
    }

    #[test]
    fn an_endpoint_in_two_slices_is_one_and_a_slice_that_goes_takes_its_own() {
        let mut slices = Slices::default();
        let one = slice("a", "IPv4", HTTP, &["10.0.0.1", "10.0.0.2"]);
        assert_eq!(add(&mut slices, &one, None), Kept::Changed);
        assert_eq!(add(&mut slices, &one, None), Kept::Same);
        add(&mut slices, &slice("b", "IPv4", HTTP, &["10.0.0.2", "10.0.0.3"]), None);
        assert_eq!(slices.addresses("http", Family::Ipv4, 100, 0).len(), 3);
        assert_eq!((slices.remove("a"), slices.remove("a"), slices.count()), (Kept::Changed, Kept::Same, 1));
        assert_eq!(slices.addresses("http", Family::Ipv4, 100, 0).len(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_differs_by_proxy() {
        let mut slices = Slices::default();
        let hundred = |n: usize| {
            let all: Vec<_> = (0..100).map(|i| format!("10.{}.{}.{i}", n / 200, n % 200)).collect();
            slice(&format!("s{n}"), "IPv4", HTTP, &all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        for n in 0..100 {
            assert_eq!(add(&mut slices, &hundred(n), None), Kept::Changed);
        }
        assert_eq!(add(&mut slices, &hundred(100), None), Kept::Cut);
        assert_eq!(slices.addresses("http", Family::Ipv4, usize::MAX, 0).len(), MAX_ENDPOINTS);
        let few = |seed| slices.addresses("http", Family::Ipv4, 10, seed);
        assert_eq!((few(1).len(), few(1) == few(1), few(1) == few(2)), (10, true, false));
        assert_eq!(slices.remove("s0"), Kept::Changed);
        assert_eq!(add(&mut slices, &hundred(100), None), Kept::Changed);
        let mut slices = Slices::default();
        for n in 0..=MAX_SLICES {
            let kept = add(&mut slices, &slice(&format!("s{n}"), "IPv4", HTTP, &[]), None);
            assert_eq!(kept == Kept::Cut, n == MAX_SLICES);
        }
    }
}
