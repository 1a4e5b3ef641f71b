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

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Requests answered whole.
    pub answered: usize,
    /// Requests sent and not answered whole, or answered with another status than 200.
    pub failed: Vec<String>,
    /// Connections that could not be made.
    pub refused: usize,
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

    /// Waits until so many more requests are answered.
    pub fn await_more(&self, count: usize) {
        let goal = self.answered() + count;
        let end = Instant::now() + SOON;
        while self.answered() < goal {
            assert!(Instant::now() < end, "load does not move: {} of {goal}", self.answered());
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
    while !shared.stop.load(Ordering::Relaxed) {
        let mut client = match open.take() {
            Some(client) => client,
            None => match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
                Ok(stream) => Client::over(stream),
                Err(_) => {
                    figures.refused += 1;
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
            },
        };
        let begun = Instant::now();
        match exchange(&mut client, &request(number)) {
            Ok(closes) => {
                figures.answered += 1;
                figures.latencies.push(begun.elapsed());
                shared.done.fetch_add(1, Ordering::Relaxed);
                open = (!closes).then_some(client);
            }
            Err(error) => figures.failed.push(format!("request {number}: {error}")),
        }
        number += 1;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    figures
}

fn exchange(client: &mut Client, request: &str) -> io::Result<bool> {
    client.try_send(request)?;
    let response = client.try_receive("GET")?;
    if response.status == 200 {
        Ok(response.closes())
    } else {
        Err(io::Error::other(format!("status {}: {}", response.status, response.text())))
    }
}
