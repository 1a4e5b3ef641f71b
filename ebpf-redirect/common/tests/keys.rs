//! No two different connections that live at once share a key, and both ends of one find each other.

use proptest::prelude::*;
use redirect_common::{Address, CLIENT, Endpoint, PairKey, SERVER};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

/// A connection as the kernel allows it to live beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Connection {
    netns: u64,
    client: ([u32; 4], u16),
    /// Where the client believes to be connected to.
    asked: ([u32; 4], u16),
    /// Where a REDIRECT rule took it to.
    server: ([u32; 4], u16),
}

/// Few values of each, so that everything coincides that may: the same loopback tuples in several namespaces, the same
/// client port to several servers, the same server behind several rules.
fn connection() -> impl Strategy<Value = Connection> {
    let address = prop_oneof![
        (0..3_u32).prop_map(|last| Address::v4((0x7f00_0001 + last).to_be()).0),
        (0..3_u32).prop_map(|last| Address::v6([0, 0, 0, (1 + last).to_be()]).0),
    ];
    let end = (address.clone(), 40_000..40_003_u16);
    (1..4_u64, end.clone(), end.clone(), (address, 15_000..15_002_u16))
        .prop_map(|(netns, client, asked, server)| Connection { netns, client, asked, server })
}

/// The kernel's initial sequence numbers: a keyed hash of the tuple, and the clock (net/core/secure_seq.c).
fn sequence(secret: &RandomState, netns: u64, tuple: (([u32; 4], u16), ([u32; 4], u16)), clock: u32) -> u32 {
    (secret.hash_one((netns, tuple)) as u32).wrapping_add(clock)
}

proptest! {
    #[test]
    fn live_connections_have_keys_of_their_own(connections in prop::collection::vec(connection(), 1..200)) {
        let (for_clients, for_servers) = (RandomState::new(), RandomState::new());
        // A tuple lives once: as the client sees it, and as the server does. A rule that makes two of them alike is
        // given another client port by the kernel, which is another client here.
        let (mut asked, mut served) = (HashSet::new(), HashSet::new());
        let live = connections.into_iter().filter(|c| {
            asked.insert((c.netns, c.client, c.asked)) && served.insert((c.netns, c.client, c.server))
        });
        let mut keys = HashMap::new();
        for (clock, connection) in (0_u32..).zip(live) {
            let Connection { netns, client, asked, server } = connection;
            let iss = sequence(&for_clients, netns, (client, asked), clock * 15_625);
            let irs = sequence(&for_servers, netns, (server, client), clock * 15_625);
            let end = Endpoint { netns, address: Address(client.0), port: client.1.into(), zero: 0 };
            let of_client = PairKey::of_client(&end, iss.wrapping_add(1), irs.wrapping_add(1));
            let of_server = PairKey::of_server(&end, irs.wrapping_add(1), iss.wrapping_add(1));
            prop_assert_eq!(of_client.other(), of_server);
            prop_assert_eq!(of_server.other(), of_client);
            prop_assert_eq!(of_client.pair(), of_server.pair());
            prop_assert_eq!((of_client.end, of_server.end), (CLIENT, SERVER));
            for key in [of_client, of_server] {
                prop_assert_eq!(keys.insert(key, connection), None, "two connections share a key");
            }
        }
    }

    #[test]
    fn an_ipv4_address_is_one_thing_in_both_families(word in any::<u32>(), words in any::<[u32; 4]>()) {
        let v4 = Address::v4(word.to_be());
        prop_assert_eq!(v4.as_v4(), Some(word.to_be()));
        prop_assert_eq!(Address::v6(v4.0), v4);
        prop_assert_eq!(v4.is_loopback(), word >> 24 == 127);
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let octets: [u8; 16] = octets.try_into().map_err(|_| TestCaseError::fail("sixteen bytes"))?;
        let std = std::net::Ipv6Addr::from(octets);
        let ours = Address::v6(words);
        prop_assert_eq!(ours.as_v4().is_some(), std.to_ipv4_mapped().is_some());
        prop_assert_eq!(ours.is_loopback(), std.to_canonical().is_loopback());
    }
}

#[test]
fn layouts_have_no_hidden_bytes() {
    assert_eq!(size_of::<Endpoint>(), 8 + 16 + 4 + 4);
    assert_eq!(size_of::<PairKey>(), 8 + 16 + 4 * 4);
    assert_eq!(size_of::<redirect_common::Control>(), 7 * 4);
    assert_eq!(size_of::<redirect_common::Identity>(), 4 + 4 + 8);
    assert_eq!(size_of::<redirect_common::Original>(), 16 + 4 + 4);
    assert_eq!(size_of::<redirect_common::Pair>(), 3 * 8);
    assert_eq!(size_of::<redirect_common::Flow>(), 40 + 8 * 8 + 16 + 4 + 4);
    assert_eq!(size_of::<redirect_common::claim::Claim>(), 4 + 4 + 2 + 2 + 2 * 64);
    assert_eq!(size_of::<redirect_common::Claimed>(), 4 + 4 + size_of::<redirect_common::claim::Claim>());
    assert_eq!(size_of::<redirect_common::Listener>(), 8 + 4 + 4);
    assert_eq!(size_of::<redirect_common::Event>(), 5 * 8 + 32 + 16 + 6 * 4);
}
