//! Figures, not verdicts: run alone, on a quiet machine.
//! `cargo test --release -p redirect --test kernel -- --ignored --nocapture figures`

use crate::{
    filter::edge,
    ground::{Ground, is_root, listen, listen_at, pair},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
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

/// What `sk_lookup` for inbound connections could save at most: the rule that takes them to the proxy's port, and the tracking of
/// connections that comes with it. Connections and round trips from another namespace, over veth.
#[test]
#[ignore = "a measurement: half a minute, alone on a quiet machine"]
fn what_a_redirect_rule_costs_inbound() {
    if !is_root() {
        return;
    }
    const CONNECTIONS: u32 = 2_000;
    const ROUND_TRIPS: u32 = 20_000;
    edge(|outside| {
        let listener = listen_at(format!("192.0.2.1:{PROXY}").parse().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                echo(stream, 64);
            }
        });
        // One after another: µs for each connection with one round trip, and for each round trip on one that is kept.
        let measure = move |port: u16| {
            let exchange = |stream: &mut TcpStream| {
                let mut room = [7; 64];
                stream.write_all(&room).unwrap();
                stream.read_exact(&mut room).unwrap();
            };
            let connect = || TcpStream::connect(("192.0.2.1", port)).unwrap();
            let mean = |begun: Instant, count: u32| begun.elapsed().as_secs_f64() * 1e6 / f64::from(count);
            let begun = Instant::now();
            (0..CONNECTIONS).for_each(|_| exchange(&mut connect()));
            let connections = mean(begun, CONNECTIONS);
            let mut kept = connect();
            let begun = Instant::now();
            (0..ROUND_TRIPS).for_each(|_| exchange(&mut kept));
            (connections, mean(begun, ROUND_TRIPS))
        };
        let run = |program: &str, words: &str| {
            let done = Command::new(program).args(words.split(' ')).output().unwrap();
            assert!(done.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&done.stderr));
        };
        let rule = format!("-t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports {PROXY}");
        println!("{:>28} {:>16} {:>16}", "medians of five, µs", "a connection", "a round trip");
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            without.push(outside.run(move || measure(PROXY)));
            run("iptables-nft", &rule);
            with.push(outside.run(move || measure(80)));
            // With its table goes the tracking of connections.
            run("nft", "flush ruleset");
        }
        for (name, mut runs) in [("to the proxy's port", without), ("by a REDIRECT rule", with)] {
            runs.sort_by(|one, other| one.0.total_cmp(&other.0));
            let connection = runs[2].0;
            runs.sort_by(|one, other| one.1.total_cmp(&other.1));
            println!("{name:>28} {connection:>16.1} {:>16.1}", runs[2].1);
        }
    });
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
