//! Life: how the proxy starts, bears the limits of its machine, and goes away without anyone noticing.

use crate::memory::press;
use pillion_tests::{
    cgroup::Cgroup,
    client::{self, Client, End},
    frames::{Frames, Outcome, kind},
    load::Load,
    origin::Origin,
    process::Process,
    proxy::{self, Proxy, Shape},
    some_or_return,
    wait::{self, SOON},
};
use rustix::process::Signal;
use std::{
    fs,
    net::TcpStream,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A drain that is held up lasts longer than any test waits.
const NEVER_CUT: &str = "drain: { deadline: 10m }";

#[test]
fn an_idle_proxy_ends_at_once_on_sigterm_and_on_sigint() {
    let origin = Origin::start();
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Shape { top: NEVER_CUT, ..Shape::default() }.start(origin.address);
        proxy.signal(signal);
        let status = proxy.wait(SOON);
        assert!(status.success(), "{status}: {}", proxy.stderr());
    }
}

#[test]
fn resting_connections_do_not_hold_the_end_up() {
    let origin = Origin::start();
    let mut proxy = Shape { top: NEVER_CUT, ..Shape::default() }.start(origin.address);
    let mut resting = proxy.connect();
    assert_eq!(resting.get("/").status, 200);
    let fresh = proxy.connect();
    let mut frames = Frames::connect(proxy.address);
    frames.get(1, "/").expect("a request is sent");
    assert!(matches!(frames.outcome(1), Outcome::Answered(200, _)));
    proxy.signal(Signal::TERM);
    // As every HTTP/2 client does, it acknowledges the PING with which a graceful end is measured.
    let polite = thread::spawn(move || frames.outcome(3));
    assert!(proxy.wait(SOON).success());
    drop(polite.join());
    assert_eq!(resting.end_within(SOON), End::Closed);
    drop(fresh);
}

#[test]
fn a_client_that_never_answers_a_ping_does_not_hold_the_end_up() {
    let origin = Origin::start();
    let mut proxy = Shape { top: NEVER_CUT, ..Shape::default() }.start(origin.address);
    let mut mute = Frames::connect(proxy.address);
    mute.get(1, "/").expect("a request is sent");
    assert!(matches!(mute.outcome(1), Outcome::Answered(200, _)));
    proxy.signal(Signal::TERM);
    assert!(proxy.wait(SOON).success());
    drop(mute);
}

#[test]
fn what_is_in_flight_finishes_and_says_goodbye() {
    let origin = Origin::start();
    let mut proxy = Proxy::to(origin.address);
    let mut slow = proxy.connect();
    slow.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut frames = Frames::connect(proxy.address);
    frames.get(1, "/hold").expect("a request is sent");
    wait::until_true("both to arrive", || origin.requests() == 2);
    proxy.signal(Signal::TERM);
    // GOAWAY tells that the worker has told its connections; only then may the server answer.
    let mut goaway = None;
    while goaway.is_none() {
        let frame = frames.next(SOON).expect("GOAWAY comes");
        goaway = (frame.kind == kind::GOAWAY).then(|| frame.payload[4..8].to_vec());
    }
    origin.release();
    let response = slow.receive();
    assert_eq!(response.status, 200);
    assert!(response.closes(), "no `Connection: close`: {}", response.head);
    let mut answered = false;
    while let Ok(Some(frame)) = frames.try_next(SOON) {
        if frame.kind == kind::PING && frame.flags == 0 {
            drop(frames.frame(kind::PING, 1, 0, &frame.payload));
        }
        answered |= frame.kind == kind::HEADERS && frame.stream == 1;
    }
    assert_eq!(goaway, Some(vec![0, 0, 0, 0]), "GOAWAY with NO_ERROR");
    assert!(answered, "the stream in flight was answered");
    assert!(proxy.wait(SOON).success());
}

#[test]
fn sigterm_under_load_fails_no_request() {
    let origin = Origin::start();
    for round in 0..3 {
        let mut proxy = Proxy::to(origin.address);
        let load = Load::gets(proxy.address, 8, Duration::ZERO);
        load.await_more(300);
        proxy.signal(Signal::TERM);
        assert!(proxy.wait(SOON).success(), "round {round}");
        let figures = load.stop();
        figures.assert_clean();
    }
}

#[test]
fn the_deadline_cuts_what_does_not_end() {
    let origin = Origin::start();
    let mut proxy = Shape { top: "drain: { deadline: 500ms }", ..Shape::default() }.start(origin.address);
    let mut slow = proxy.connect();
    slow.send("GET /slow/60000 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the request to arrive", || origin.requests() == 1);
    let begun = Instant::now();
    proxy.signal(Signal::TERM);
    let ended = proxy.wait(SOON);
    assert_eq!(ended.code(), Some(3));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "ended after {took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let origin = Origin::start();
    let log = "access_log: { path: stdout, format: { text: \"%RESPONSE_FLAGS% %TERMINATED_BY%\" } }";
    let top = format!("{NEVER_CUT}\n{log}");
    let mut proxy = Shape { top: &top, ..Shape::default() }.start(origin.address);
    let mut slow = proxy.connect();
    slow.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the request to arrive", || origin.requests() == 1);
    proxy.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(200));
    assert!(proxy.ended().is_none(), "it ended with a request in flight");
    proxy.signal(Signal::INT);
    assert_eq!(proxy.wait(SOON).code(), Some(3));
    wait::until_true("the record of what was cut", || proxy.stdout() == "LR proxy\n");
}

#[test]
fn a_second_signal_that_cuts_nobody_is_no_failure() {
    let origin = Origin::start();
    let mut proxy = Shape { top: "drain: { delay: 5m }", ..Shape::default() }.start(origin.address);
    assert_eq!(proxy.get("/").status, 200);
    proxy.await_metric("pillion_accept_connections_active", &[], |active| active == 0.0);
    proxy.signal(Signal::TERM);
    wait::until_true("readiness to fail", || proxy.try_admin("GET", "/ready").is_ok_and(|answer| answer.status == 503));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}

/// A connection at rest holds nobody's request: that it is cut is no failure, whatever its protocol.
#[test]
fn a_second_signal_that_cuts_connections_at_rest_is_no_failure() {
    let origin = Origin::start();
    let mut proxy = Shape { top: "drain: { delay: 5m }", ..Shape::default() }.start(origin.address);
    let mut http1 = proxy.connect();
    assert_eq!(http1.get("/").status, 200);
    let mut http2 = Frames::connect(proxy.address);
    http2.get(1, "/").expect("the connection is new");
    assert!(matches!(http2.outcome(1), Outcome::Answered(200, _)));
    // Not a byte came of it.
    let mut silent = proxy.connect();
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    proxy.await_metric("pillion_accept_connections_active", &[], |active| active == 3.0);
    proxy.signal(Signal::TERM);
    wait::until_true("readiness to fail", || proxy.try_admin("GET", "/ready").is_ok_and(|answer| answer.status == 503));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
    for client in [&mut http1, &mut silent] {
        assert!(matches!(client.end_within(SOON), End::Closed | End::Reset));
    }
    // A head that is half here is somebody's request.
    let mut proxy = Shape { top: "drain: { delay: 5m }", ..Shape::default() }.start(origin.address);
    let mut half = proxy.connect();
    assert_eq!(half.get("/").status, 200);
    half.send("GET / HTTP/1.1\r\nHost: te");
    proxy.await_metric("pillion_accept_connections_active", &[], |active| active == 1.0);
    thread::sleep(Duration::from_millis(200));
    proxy.signal(Signal::TERM);
    wait::until_true("readiness to fail", || proxy.try_admin("GET", "/ready").is_ok_and(|answer| answer.status == 503));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(3), "{}", proxy.stderr());
}

#[test]
fn readiness_fails_before_the_listeners_close() {
    let origin = Origin::start();
    // Longer than the test takes; the second signal ends it. That listeners close after the delay is told elsewhere.
    let mut proxy = Shape { top: "drain: { delay: 5m }", ..Shape::default() }.start(origin.address);
    proxy.signal(Signal::TERM);
    wait::until_true("readiness to fail", || proxy.try_admin("GET", "/ready").is_ok_and(|answer| answer.status == 503));
    assert_eq!(proxy.get("/").status, 200, "traffic is still taken while load balancers look away");
    proxy.signal(Signal::TERM);
    let _ended = proxy.wait(SOON);
}

#[test]
fn a_signal_during_start_works() {
    let origin = Origin::start();
    for delay in [0, 1, 2, 4, 8, 16] {
        let mut proxy = Proxy::spawn(&Shape::default().yaml(&[origin.address]), Command::new);
        thread::sleep(Duration::from_millis(delay));
        proxy.signal(Signal::TERM);
        let status = proxy.wait(SOON);
        // Before its handlers stand the kernel ends it; after, it ends itself. No program can have handlers before its
        // first instruction, and until they stand this one holds nothing: no socket, no file, nobody's request.
        let killed = status.signal() == Some(15);
        assert!(status.success() || killed, "after {delay} ms: {status}: {}", proxy.stderr());
    }
}

#[test]
fn handlers_stand_before_the_configuration_is_read_and_a_signal_ends_the_wait_for_it() {
    let origin = Origin::start();
    // The configuration is a pipe into which nobody has written: the program waits in its very first step.
    let mut proxy = Proxy::spawn(&Shape::default().yaml(&[origin.address]), |program| {
        let mut command = Command::new("sh");
        let script = "mv \"$3\" \"$3.real\" && mkfifo \"$3\" && exec \"$0\" \"$@\"";
        command.arg("-c").arg(script).arg(program);
        command
    });
    // The mask of signals caught (proc(5)), in hexadecimal; SIGTERM's bit is the fifteenth.
    wait::until_true("a handler for SIGTERM in the program itself", || {
        let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let caught = field("SigCgt:").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
        field("Name:").is_some_and(|name| name.starts_with("pillion")) && caught & 1 << 14 != 0
    });
    proxy.signal(Signal::TERM);
    let status = proxy.wait(SOON);
    assert_eq!(status.code(), Some(1), "{status}: it ended itself, and had served nobody");
    // The signal ends the wait; one that comes just before it leaves it to its own end.
    assert!(proxy.stderr().contains("cannot be read"), "{}", proxy.stderr());
}

#[test]
fn wait_returns_when_the_proxy_is_ready_and_quit_ends_it() {
    let origin = Origin::start();
    let mut proxy = Proxy::to(origin.address);
    let admin = proxy.admin.to_string();
    let run = |word: &str| {
        let mut command = Command::new(proxy::program());
        Process::start(command.args([word, "--admin", &admin])).wait(SOON)
    };
    assert!(run("wait").success());
    assert!(run("quit").success());
    assert!(proxy.wait(SOON).success(), "{}", proxy.stderr());
}

#[test]
fn wait_gives_up_where_nobody_is() {
    let admin = pillion_tests::port::free().to_string();
    let mut command = Command::new(proxy::program());
    let mut waiting = Process::start(command.args(["wait", "--admin", &admin, "--timeout", "300ms"]));
    assert!(!waiting.wait(SOON).success());
}

#[test]
fn a_second_instance_on_the_same_port_is_refused() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut command = Command::new(proxy::program());
    command.args(["run", "--listen", &proxy.address.to_string(), "--upstream", &origin.address.to_string()]);
    command.args(["--admin", "none"]);
    let mut second = Process::start(&mut command);
    let status = second.wait(SOON);
    assert!(!status.success());
    let words = second.stderr();
    assert!(words.contains(&proxy.address.to_string()) && words.to_ascii_lowercase().contains("in use"), "{words}");
    proxy.assert_healthy();
}

#[test]
fn a_second_instance_may_share_the_port_where_both_say_so() {
    let origin = Origin::start();
    let yaml = Shape { listener: "share_port: true", ..Shape::default() }.yaml(&[origin.address]);
    let first = Proxy::start(&yaml);
    let shared = yaml.replace("{listen}", &first.address.to_string());
    let mut second = Proxy::start(&shared);
    // The first goes; the second serves on alone.
    let mut first = first;
    assert!(first.stop().0.success());
    assert_eq!(client::get(first.address, "/").status, 200);
    assert!(second.stop().0.success());
}

#[test]
fn a_connection_that_is_old_is_asked_to_leave() {
    let origin = Origin::start();
    let proxy = Shape { listener: "max_connection_age: 300ms", ..Shape::default() }.start(origin.address);
    let begun = Instant::now();
    let mut client = proxy.connect();
    let mut rested = Instant::now();
    loop {
        match client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").and_then(|()| client.try_receive("GET")) {
            Ok(response) if response.closes() => break,
            Ok(response) => assert_eq!(response.status, 200),
            // A connection at rest is given a second for one more request, which a busy machine may miss.
            Err(_) if rested.elapsed() >= Duration::from_millis(900) => return,
            Err(error) => panic!("closed without a word: {error}"),
        }
        assert!(begun.elapsed() < SOON, "it is not asked to leave");
        rested = Instant::now();
        thread::sleep(Duration::from_millis(10));
    }
    assert!(begun.elapsed() >= Duration::from_millis(200), "asked to leave after {:?}", begun.elapsed());
    assert_eq!(client.end_within(SOON), End::Closed);
}

/// Waits for a time in which the proxy uses no more CPU than this. What it had still to do when the watch began may take
/// a while on a busy machine; what never rests never passes.
fn await_rest(proxy: &Proxy, what: &str, time: Duration, most: Duration) {
    wait::until(what, SOON, || {
        let before = proxy.cpu();
        thread::sleep(time);
        (proxy.cpu() - before <= most).then_some(())
    });
}

#[test]
fn running_out_of_descriptors_is_back_pressure() {
    let origin = Origin::start();
    let yaml = Shape::default().yaml(&[origin.address]);
    let proxy = Proxy::start_with(&yaml, after("ulimit -n 64"));
    let held: Vec<_> = (0..100).filter_map(|_| TcpStream::connect_timeout(&proxy.address, SOON).ok()).collect();
    // A loop that spins never has such a half second; one that waits has it once what has come is accepted.
    await_rest(&proxy, "the accept loop to rest", Duration::from_millis(500), Duration::from_millis(200));
    drop(held);
    proxy.assert_healthy();
    let metrics = proxy.metrics();
    let told = metrics.sum("pillion_accept_errors_total", &[]) + metrics.sum("pillion_accept_refused_total", &[]);
    println!("{told} failures to accept counted");
}

/// Runs the program after a command of the shell's.
fn after(shell: &'static str) -> impl Fn(PathBuf) -> Command {
    move |program| {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{shell} && exec \"$0\" \"$@\"")).arg(program);
        command
    }
}

#[test]
fn clients_do_not_take_the_descriptors_that_upstream_needs() {
    let origin = Origin::start();
    // Whoever waits here is not closed for being slow.
    let yaml = Shape { listener: "timeouts: { header: 10m, idle: 10m }", ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::start_with(&yaml, after("ulimit -n 64"));
    let mut first = proxy.connect();
    proxy.await_metric("pillion_accept_connections_active", &[], |open| open >= 1.0);
    let held: Vec<_> = (0..100).filter_map(|_| TcpStream::connect_timeout(&proxy.address, SOON).ok()).collect();
    proxy.await_metric("pillion_accept_refused_total", &["reason=\"process_limit\""], |count| count >= 1.0);
    // It came first and has a connection; there is a descriptor for its server, and were for the questions above.
    assert_eq!(first.get("/").status, 200);
    let words = proxy.stderr();
    assert!(words.contains("limits.connections") && words.contains("LimitNOFILE"), "{words}");
    drop((held, first));
    proxy.assert_healthy();
    let check = after("ulimit -n 64")(proxy::program()).args(["check", "--config"]).arg(proxy.config_file()).output();
    let words = String::from_utf8_lossy(&check.expect("the program runs").stderr).into_owned();
    assert!(words.contains("warning: limits.connections: 8000 connections need"), "{words}");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let origin = Origin::start();
    let proxy = Proxy::start_with(&Shape::default().yaml(&[origin.address]), after("ulimit -Sn 100"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).expect("the proxy runs");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("the kernel tells it");
    let [soft, hard, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!(soft, hard);
}

#[test]
fn connections_beyond_the_listeners_limit_wait_their_turn() {
    let origin = Origin::start();
    let proxy = Shape { listener: "connections: 2", ..Shape::default() }.start(origin.address);
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let mut third = proxy.connect();
    third.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(third.end_within(Duration::from_millis(300)), End::Open, "the third is served beside two");
    drop(first);
    assert_eq!(third.receive().status, 200);
    drop(second);
}

#[test]
fn connections_beyond_the_processs_limit_wait_their_turn() {
    let origin = Origin::start();
    let proxy = Shape { top: "limits: { connections: 2 }", ..Shape::default() }.start(origin.address);
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let mut third = proxy.connect();
    third.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(third.end_within(Duration::from_millis(300)), End::Open, "the third is served beside two");
    drop(second);
    assert_eq!(third.receive().status, 200);
}

#[test]
fn threads_follow_the_cgroups_quota() {
    let group = some_or_return!(Cgroup::new(None, Some(50)));
    let origin = Origin::start();
    let yaml = Shape::default().yaml(&[origin.address]).replace("workers: 1\n", "");
    let proxy = Proxy::start_with(&yaml, |program| group.command(&program));
    proxy.assert_healthy();
    assert!(proxy.threads() <= 4, "{} threads under half a CPU", proxy.threads());
}

#[test]
fn memory_pressure_closes_idle_connections_before_the_kernel_kills() {
    let group = some_or_return!(Cgroup::new(Some(48 << 20), None));
    let origin = Origin::start();
    // A connection at rest costs little: the bound is where two thousand of them are felt.
    let yaml =
        Shape { top: "limits: { memory_shrink: 15%, memory_refuse: 90% }", ..Shape::default() }.yaml(&[origin.address]);
    let mut proxy = Proxy::start_with(&yaml, |program| group.command(&program));
    let mut resting = Vec::new();
    let mut closed = 0;
    for _ in 0..2000 {
        let Ok(stream) = TcpStream::connect_timeout(&proxy.address, SOON) else { break };
        let mut client = Client::over(stream);
        // Something in the buffers of each.
        let padding = "p".repeat(6000);
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Padding: {padding}\r\n\r\n");
        if client.try_send(request).and_then(|()| client.try_receive("GET")).is_ok() {
            resting.push(client);
        } else {
            closed += 1;
        }
    }
    assert!(proxy.ended().is_none(), "the kernel killed it");
    // Those that were closed at rest have their end in the socket.
    let mut at_rest = 0;
    for client in &mut resting {
        at_rest += usize::from(client.end_within(Duration::from_millis(1)) == End::Closed);
    }
    println!("{} were served, {at_rest} of them closed at rest, {closed} refused", resting.len());
    println!("resident {} at most, {} now", proxy.resident_peak(), proxy.resident());
    assert!(at_rest > 0, "nothing was closed");
    drop(resting);
    proxy.assert_healthy();
}

#[test]
fn short_memory_refuses_connections_and_says_so_until_it_is_over() {
    // Room between refusal and death for what a busy machine lets in before it looks.
    let group = some_or_return!(Cgroup::new(Some(64 << 20), None));
    let origin = Origin::start();
    let yaml =
        Shape { top: "limits: { memory_shrink: 25%, memory_refuse: 40% }", ..Shape::default() }.yaml(&[origin.address]);
    let mut proxy = Proxy::start_with(&yaml, |program| group.command(&program));
    let (busy, pressed) = press(&mut proxy);
    println!("{pressed} refused beside {} requests, resident {}", busy.len(), proxy.resident());
    drop(busy);
    proxy.assert_healthy();
}

#[test]
fn an_idle_proxy_is_small_and_quiet() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    proxy.assert_healthy();
    await_rest(&proxy, "an idle proxy's rest", Duration::from_secs(1), Duration::from_millis(20));
    // The program under test is not optimised: what of its file is in memory is several times that of the one that is released
    // (`pillion-bench resident --bound` says that). What is its own does: heap, stacks, data; constants are not, since it
    // stands at a fixed address (`build.rs`), as the released one does.
    let (own, resident) = (proxy.resident_own(), proxy.resident());
    println!("{own} bytes of its own, {resident} resident");
    // Measured: 1.15 MB.
    assert!(own < 2 << 20, "{own} bytes of its own");
    // Measured: 26 to 29 MB of a file of 170, by how the kernel has cached it. Some start of something that nobody asked
    // for (an engine, a resolver, a table of everything) shows here even in such a build.
    assert!(resident < 36 << 20, "{resident} bytes resident");
}
