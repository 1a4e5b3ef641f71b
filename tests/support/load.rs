//! Load from keep-alive connections that behave: they honour `Connection: close` and count every request.

use crate::{client::Client, wait::SOON};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Connections that send requests until told to stop.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Figures>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicUsize,
}

/// A proxy that drains gives a connection at rest a second for one more request; a thread that this machine kept from
/// running for nearly that long cannot tell its request from one that was dropped.
const PATIENCE: Duration = Duration::from_millis(900);

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Requests answered whole.
    pub answered: usize,
    /// Requests sent and not answered whole, or answered with another status than 200.
    pub failed: Vec<String>,
    /// Connections that could not be made.
    pub refused: usize,
    /// Requests that came later than [`PATIENCE`] after the answer before them or after the connection was made, on a
    /// connection that had been closed by then: this machine's doing, and no failure of the proxy, which has said how long
    /// it waits.
    pub late: usize,
    /// How long each answer took.
    pub latencies: Vec<Duration>,
}

impl Figures {
    /// The latency that this share of answers did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    /// Panics with the first failures where there are any, or where nothing was answered.
    pub fn assert_clean(&self) {
        assert!(self.failed.is_empty(), "{} of {} failed: {:?}", self.failed.len(), self.answered, self.some_failed());
        assert!(self.answered > 0, "no request was answered");
    }

    fn some_failed(&self) -> &[String] {
        &self.failed[..self.failed.len().min(5)]
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed.extend(other.failed);
        self.refused += other.refused;
        self.late += other.late;
        self.latencies.extend(other.latencies);
    }
}

impl Load {
    /// Starts so many connections; each sends `request(connection, number)` again and again, resting `pause` between.
    pub fn start(
        address: SocketAddr,
        connections: usize,
        pause: Duration,
        request: impl Fn(usize, usize) -> String + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let request = Arc::new(request);
        let threads = (0..connections).map(|connection| {
            let (shared, request) = (Arc::clone(&shared), Arc::clone(&request));
            thread::spawn(move || run(address, pause, &shared, |number| request(connection, number)))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Plain GETs.
    #[must_use]
    pub fn gets(address: SocketAddr, connections: usize, pause: Duration) -> Self {
        Self::start(address, connections, pause, |connection, number| {
            format!("GET /load/{connection}/{number} HTTP/1.1\r\nHost: test\r\n\r\n")
        })
    }

    /// Requests answered so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests are answered, however long that takes while some are: how fast they are is the
    /// machine's affair.
    pub fn await_more(&self, count: usize) {
        let goal = self.answered() + count;
        let (mut last, mut since) = (0, Instant::now());
        while last < goal {
            let now = self.answered();
            if now > last {
                (last, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < SOON, "load does not move: {now} of {goal}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops and adds up.
    #[must_use]
    pub fn stop(mut self) -> Figures {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut sum = Figures::default();
        for thread in self.threads.drain(..) {
            sum.add(thread.join().expect("a load thread does not panic"));
        }
        sum
    }
}

/// A test that fails leaves no load behind for the others.
impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn run(address: SocketAddr, pause: Duration, shared: &Shared, request: impl Fn(usize) -> String) -> Figures {
    let mut figures = Figures::default();
    let mut open: Option<Client> = None;
    let mut number = 0;
    let mut rested_since = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let mut client = match open.take() {
            Some(client) => client,
            None => match TcpStream::connect_timeout(&address, SOON) {
                Ok(stream) => {
                    rested_since = Instant::now();
                    Client::over(stream)
                }
                Err(_) => {
                    figures.refused += 1;
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
            },
        };
        let begun = Instant::now();
        let mut sent = begun;
        match exchange(&mut client, &request(number), &mut sent) {
            Ok(closes) => {
                figures.answered += 1;
                rested_since = Instant::now();
                figures.latencies.push(rested_since - begun);
                shared.done.fetch_add(1, Ordering::Relaxed);
                open = (!closes).then_some(client);
            }
            Err(error) if is_closed(&error) && sent - rested_since >= PATIENCE => figures.late += 1,
            Err(error) => figures.failed.push(format!("request {number}: {error}")),
        }
        number += 1;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    figures
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Sends a request, notes when that was done, and reads its answer; whether the connection closes after it.
fn exchange(client: &mut Client, request: &str, sent: &mut Instant) -> io::Result<bool> {
    let written = client.try_send(request);
    *sent = Instant::now();
    written?;
    let response = client.try_receive("GET")?;
    if response.status == 200 {
        Ok(response.closes())
    } else {
        Err(io::Error::other(format!("status {}: {}", response.status, response.text())))
    }
}
