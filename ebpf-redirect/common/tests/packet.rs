//! What is read of a frame: every kind of it, and every beginning of each.

use proptest::prelude::*;
use redirect_common::packet::{self, Frame, Port, Seen};

struct Bytes<'a>(&'a [u8]);

impl Frame for Bytes<'_> {
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let at = at as usize;
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn length(&self) -> u32 {
        self.0.len() as u32
    }
}

/// What is seen, and the port.
fn read(frame: &[u8]) -> (Seen, Port) {
    let frame = Bytes(frame);
    let seen = packet::source(&frame);
    let port = match &seen {
        Seen::V4(inner) => packet::port_v4(&frame, inner),
        Seen::V6(inner) => packet::port_v6(&frame, inner),
        Seen::Other => Port::None,
        Seen::Malformed => Port::Malformed,
    };
    (seen, port)
}

/// Addresses, tags, and what they announce.
fn ethernet(tags: &[u16], kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(rest);
    frame
}

fn ipv4(options: usize, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = 20 + options * 4;
    let mut packet = vec![0x40 | (length / 4) as u8, 0];
    packet.extend(((length + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 7, 198, 51, 100, 1]);
    packet.extend(vec![1; options * 4]);
    packet.extend(payload);
    packet
}

const V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(V6);
    packet.extend([9; 16]);
    packet.extend(payload);
    packet
}

/// To port 8080.
const TCP: [u8; 20] = [0xc0, 0, 0x1f, 0x90, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];

fn tcp_behind(headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (at, (_, body)) in headers.iter().enumerate() {
        payload.push(headers.get(at + 1).map_or(6, |(kind, _)| *kind));
        payload.extend(*body);
    }
    payload.extend(TCP);
    ipv6(headers.first().map_or(6, |(kind, _)| *kind), &payload)
}

fn source_of(seen: Seen) -> Option<std::net::IpAddr> {
    match seen {
        Seen::V4(inner) => Some(inner.source.into()),
        Seen::V6(inner) => Some(inner.source.into()),
        Seen::Other | Seen::Malformed => None,
    }
}

#[test]
fn sources_and_ports_are_found_behind_tags_options_and_extension_headers() {
    let options: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let first: &[u8] = &[0, 0, 1, 0, 0, 0, 9];
    let later: &[u8] = &[0, 1, 1, 0, 0, 0, 9];
    let authentication: &[u8] = &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let v4: std::net::IpAddr = [192, 0, 2, 7].into();
    let v6: std::net::IpAddr = V6.into();
    let tcp = Port::Tcp(8080);
    for (what, frame, source, port) in [
        ("plain", ethernet(&[], 0x800, &ipv4(0, 6, 0x4000, &TCP)), v4, tcp),
        ("padded", ethernet(&[], 0x800, &[ipv4(0, 6, 0, &TCP), vec![0; 6]].concat()), v4, tcp),
        ("tagged", ethernet(&[0x8100], 0x800, &ipv4(0, 6, 0, &TCP)), v4, tcp),
        ("tagged twice", ethernet(&[0x88a8, 0x8100], 0x86dd, &ipv6(6, &TCP)), v6, tcp),
        ("options", ethernet(&[], 0x800, &ipv4(10, 6, 0, &TCP)), v4, tcp),
        ("first fragment", ethernet(&[], 0x800, &ipv4(0, 6, 0x2000, &TCP)), v4, tcp),
        ("later fragment", ethernet(&[], 0x800, &ipv4(0, 6, 0x2003, &TCP)), v4, Port::None),
        ("last fragment", ethernet(&[], 0x800, &ipv4(0, 6, 3, &[1])), v4, Port::None),
        ("a fragment that hides its ports", ethernet(&[], 0x800, &ipv4(0, 6, 0x2000, &[1, 2])), v4, Port::Malformed),
        ("UDP", ethernet(&[], 0x800, &ipv4(0, 17, 0, &TCP)), v4, Port::None),
        ("IPv6", ethernet(&[], 0x86dd, &ipv6(6, &TCP)), v6, tcp),
        ("hop by hop", ethernet(&[], 0x86dd, &tcp_behind(&[(0, options), (60, options), (43, options)])), v6, tcp),
        ("authentication", ethernet(&[], 0x86dd, &tcp_behind(&[(51, authentication)])), v6, tcp),
        ("IPv6, first fragment", ethernet(&[], 0x86dd, &tcp_behind(&[(44, first)])), v6, tcp),
        ("IPv6, later fragment", ethernet(&[], 0x86dd, &tcp_behind(&[(44, later)])), v6, Port::None),
        ("no next header", ethernet(&[], 0x86dd, &ipv6(59, &[])), v6, Port::None),
        ("eight of them", ethernet(&[], 0x86dd, &tcp_behind(&[(60, options); 8])), v6, tcp),
        ("ten of them", ethernet(&[], 0x86dd, &tcp_behind(&[(60, options); 10])), v6, Port::Malformed),
        ("the chain leads out", ethernet(&[], 0x86dd, &ipv6(0, &[6, 200, 0, 0, 0, 0, 0, 0])), v6, Port::Malformed),
    ] {
        let (seen, found) = read(&frame);
        assert_eq!((source_of(seen), found), (Some(source), port), "{what}");
    }
}

#[test]
fn what_contradicts_itself_is_malformed_and_what_is_not_ip_is_let_be() {
    let mut version = ipv4(0, 6, 0, &TCP);
    version[0] = 0x65;
    let mut short = ipv4(0, 6, 0, &TCP);
    short[0] = 0x44;
    let mut total = ipv4(0, 6, 0, &TCP);
    total[2..4].copy_from_slice(&41_u16.to_be_bytes());
    let mut less = ipv4(0, 6, 0, &TCP);
    less[2..4].copy_from_slice(&19_u16.to_be_bytes());
    let mut payload = ipv6(6, &TCP);
    payload[4..6].copy_from_slice(&21_u16.to_be_bytes());
    for (what, frame) in [
        ("version", ethernet(&[], 0x800, &version)),
        ("header length", ethernet(&[], 0x800, &short)),
        ("more than is there", ethernet(&[], 0x800, &total)),
        ("less than its header", ethernet(&[], 0x800, &less)),
        ("IPv6 in IPv4's place", ethernet(&[], 0x86dd, &ipv4(0, 6, 0, &TCP))),
        ("more payload than is there", ethernet(&[], 0x86dd, &payload)),
        ("three tags", ethernet(&[0x8100; 3], 0x800, &ipv4(0, 6, 0, &TCP))),
    ] {
        assert_eq!(read(&frame).0, Seen::Malformed, "{what}");
    }
    for kind in [0x806, 0x8847, 0x88cc, 60] {
        assert_eq!(read(&ethernet(&[], kind, &[0; 50])).0, Seen::Other);
    }
}

#[test]
fn every_beginning_of_a_frame_is_malformed_or_says_the_same() {
    for whole in [
        ethernet(&[0x8100], 0x800, &ipv4(3, 6, 0, &TCP)),
        ethernet(&[], 0x86dd, &tcp_behind(&[(0, &[0; 7]), (44, &[0; 7])])),
    ] {
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).0, Seen::Malformed, "{length} of {}", whole.len());
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_makes_it_fail(mut frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4_usize) {
        if frame.len() > 60 {
            frame[12..14].copy_from_slice(&[0x0800_u16, 0x86dd, 0x8100, 0x88a8][kind].to_be_bytes());
            frame[14] = if kind == 0 { 0x45 } else { 0x60 };
        }
        let (seen, _) = read(&frame);
        if let Some(source) = source_of(seen) {
            let octets = match source {
                std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
                std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            prop_assert!(frame.windows(octets.len()).any(|window| window == octets));
        }
    }
}
