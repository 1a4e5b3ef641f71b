//! Figures, not verdicts: run alone, on a quiet machine.
//! `cargo test --release -p redirect --test kernel -- --ignored --nocapture figures`

use crate::ground::{Ground, listen, pair};
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Instant,
};

const PROXY: u16 = 18080;

/// Round trips of one size over one connection, in nanoseconds, sorted.
fn ping_pong(ground: &Ground, size: usize, rounds: usize) -> Vec<u64> {
    ground.pod(|| {
        let (mut client, server) = pair(&listen(PROXY));
        let echoing = thread::spawn(move || echo(server, size));
        let (sent, mut got) = (vec![7; size], vec![0; size]);
        let mut times: Vec<u64> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                client.write_all(&sent).unwrap();
                client.read_exact(&mut got).unwrap();
                u64::try_from(begun.elapsed().as_nanos()).unwrap()
            })
            .collect();
        drop(client);
        echoing.join().unwrap();
        times.sort_unstable();
        times
    })
}

fn echo(mut stream: TcpStream, size: usize) {
    let mut room = vec![0; size];
    while stream.read_exact(&mut room).is_ok() {
        stream.write_all(&room).unwrap();
    }
}

#[test]
#[ignore = "a measurement: a minute, alone on a quiet machine"]
fn ping_pong_by_size_on_and_off() {
    println!("every size redirected");
    table(u32::MAX, &[64, 256, 1024, 4096, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20]);
    println!("large messages left to TCP, as by default");
    table(redirect::LARGE, &[32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20]);
}

/// Prints a line for each size, where messages of `large` bytes and more are left to TCP.
fn table(large: u32, sizes: &[usize]) {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.ports.insert(PROXY);
    ground.options.large = large;
    ground.attach();
    println!(
        "{:>9} {:>12} {:>12} {:>7} {:>12} {:>12} {:>7}",
        "bytes", "p50 off µs", "p50 on µs", "ratio", "p99 off µs", "p99 on µs", "ratio"
    );
    for &size in sizes {
        let rounds = if size < 32 << 10 { 4000 } else { 500 };
        // Alternating: five runs each way, the median of each quantile.
        let (mut off, mut on) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            for (state, runs) in [(false, &mut off), (true, &mut on)] {
                redirect::switch(&ground.options.instance, state).unwrap();
                let times = ping_pong(&ground, size, rounds);
                runs.push((times[rounds / 2], times[rounds * 99 / 100]));
            }
        }
        let median = |runs: &[(u64, u64)], of: fn(&(u64, u64)) -> u64| {
            let mut values: Vec<u64> = runs.iter().map(of).collect();
            values.sort_unstable();
            values[values.len() / 2] as f64 / 1000.0
        };
        let (p50, p99) = (
            (median(&off, |run| run.0), median(&on, |run| run.0)),
            (median(&off, |run| run.1), median(&on, |run| run.1)),
        );
        println!(
            "{size:>9} {:>12.1} {:>12.1} {:>7.2} {:>12.1} {:>12.1} {:>7.2}",
            p50.0,
            p50.1,
            p50.1 / p50.0,
            p99.0,
            p99.1,
            p99.1 / p99.0
        );
    }
}
