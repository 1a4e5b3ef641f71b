//! One thread's share of a run: connect, start together, send, wait for the last answers.

use super::{
    fault::Fault,
    http1, http2,
    line::{Context, Stream},
    pacer::{Pacer, Turn},
    plan::{Application, Plan, Reuse},
    request::Request,
    schedule::Schedule,
    tally::{Good, Loop, Tally, Window},
    tcp,
};
use bytes::Bytes;
use h2::client::SendRequest;
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout_at},
};

/// Closed loop: a target that cannot be reached is not asked again at once.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// Connections made at once before the start.
const AT_ONCE: usize = 16;

/// What a thread gets to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) connections: usize,
    pub(super) rate: Option<f64>,
    pub(super) seed: u64,
}

/// What the senders of a thread share.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) context: Context,
    pub(super) window: Window,
    pub(super) tally: RefCell<Tally>,
    pacer: Option<Pacer>,
    /// For each sender, when its request in flight was due.
    in_flight: Vec<Cell<Option<Instant>>>,
    next_request: Cell<usize>,
}

/// Connections made before the start; `None` where that failed.
enum Lines {
    Streams(Vec<Option<Stream>>),
    Http2(Vec<Option<SendRequest<Bytes>>>),
}

/// Runs a thread's share; all threads pass `start` together.
pub(super) async fn run(plan: Arc<Plan>, share: Share, start: Arc<Barrier>) -> io::Result<Tally> {
    let context = Rc::new(Context::new(Arc::clone(&plan)));
    let mut faults = Vec::new();
    let lines = open(&context, share.connections, &mut faults).await;
    start.wait();
    let window = Window::starting(Instant::now(), &plan);
    let context = Rc::into_inner(context).expect("those who connected are done");
    let crew = Rc::new(Crew::new(context, window, share)?);
    faults.into_iter().for_each(|fault| crew.tally.borrow_mut().fault(fault));

    let mut pace = JoinSet::new();
    if crew.pacer.is_some() {
        let crew = Rc::clone(&crew);
        pace.spawn_local(async move {
            match &crew.pacer {
                Some(pacer) => pacer.pace().await,
                None => Ok(()),
            }
        });
    }
    let mut senders = crew.start(lines);
    let all = async { while senders.join_next().await.is_some() {} };
    // Late or not, what is left is counted below.
    timeout_at((window.end + plan.grace).into(), all).await.ok();
    senders.shutdown().await;
    pace.shutdown().await;
    Ok(Rc::into_inner(crew).expect("the senders were dropped").finish())
}

/// Sends so many requests one after another.
pub(super) async fn exactly(plan: Arc<Plan>, requests: u64) -> Result<(), Fault> {
    let context = Context::new(Arc::clone(&plan));
    let (mut line, shared, mut mine) = (None, http2::Shared::default(), None);
    for request in plan.requests.iter().cycle().take(requests as usize) {
        match plan.application {
            Application::Http1 => http1::exchange(&context, request, &mut line).await?,
            Application::Http2 | Application::Grpc => http2::exchange(&context, request, &shared, &mut mine).await?,
            Application::Messages | Application::Stream(_) => tcp::exchange(&context, request, &mut line).await?,
        };
    }
    Ok(())
}

impl Window {
    fn starting(start: Instant, plan: &Plan) -> Self {
        let measured = start + plan.warmup;
        Self { start, measured, end: measured + plan.duration }
    }
}

async fn open(context: &Rc<Context>, connections: usize, faults: &mut Vec<Fault>) -> Lines {
    let count = if context.plan.reuse == Reuse::NewConnection { 0 } else { connections };
    match context.plan.application {
        Application::Http2 | Application::Grpc => {
            let made = each(count, || {
                let context = Rc::clone(context);
                async move { context.connect_http2().await }
            });
            Lines::Http2(sorted(made.await, connections, faults))
        }
        Application::Http1 | Application::Messages | Application::Stream(_) => {
            let made = each(count, || {
                let context = Rc::clone(context);
                async move { context.connect().await }
            });
            Lines::Streams(sorted(made.await, connections, faults))
        }
    }
}

/// What was made, `None` for what was not, and why.
fn sorted<T>(made: Vec<Result<T, Fault>>, count: usize, faults: &mut Vec<Fault>) -> Vec<Option<T>> {
    let mut lines: Vec<_> = made.into_iter().map(|line| line.map_err(|fault| faults.push(fault)).ok()).collect();
    lines.resize_with(count, || None);
    lines
}

/// So many of the same, some at once.
pub(super) async fn each<F>(count: usize, mut make: impl FnMut() -> F) -> Vec<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::with_capacity(count));
    for _ in 0..count {
        if running.len() == AT_ONCE {
            done.extend(running.join_next().await.and_then(Result::ok));
        }
        running.spawn_local(make());
    }
    while let Some(ended) = running.join_next().await {
        done.extend(ended.ok());
    }
    done
}

impl Crew {
    fn new(context: Context, window: Window, share: Share) -> io::Result<Self> {
        let plan = &context.plan;
        let pacer = match share.rate {
            Some(rate) => Some(Pacer::new(Schedule::new(window.start, rate, plan.warmup + plan.duration, share.seed))?),
            None => None,
        };
        let counted = if pacer.is_some() { Loop::Open } else { Loop::Closed };
        let in_flight = vec![Cell::new(None); share.connections * plan.streams];
        let tally = RefCell::new(Tally::new(window, counted));
        Ok(Self { context, window, tally, pacer, in_flight, next_request: Cell::new(0) })
    }

    /// Starts a task for each request that may be in flight.
    fn start(self: &Rc<Self>, lines: Lines) -> JoinSet<()> {
        let mut senders = JoinSet::new();
        match lines {
            Lines::Streams(lines) => {
                for (sender, line) in lines.into_iter().enumerate() {
                    let crew = Rc::clone(self);
                    match crew.context.plan.application {
                        Application::Stream(direction) => senders.spawn_local(tcp::stream(crew, line, direction)),
                        _ => senders.spawn_local(crew.send_on_stream(sender, line)),
                    };
                }
            }
            Lines::Http2(lines) => {
                let streams = self.context.plan.streams;
                for (connection, line) in lines.into_iter().enumerate() {
                    let shared = Rc::new(http2::Shared::over(line));
                    for stream in 0..streams {
                        let sender = connection * streams + stream;
                        senders.spawn_local(Rc::clone(self).send_on_http2(sender, Rc::clone(&shared)));
                    }
                }
            }
        }
        senders
    }

    async fn send_on_stream(self: Rc<Self>, sender: usize, mut line: Option<Stream>) {
        while let Some(turn) = self.begin(sender).await {
            let result = match self.context.plan.application {
                Application::Messages => tcp::exchange(&self.context, self.request(), &mut line).await,
                _ => http1::exchange(&self.context, self.request(), &mut line).await,
            };
            self.end(sender, turn, result).await;
        }
    }

    async fn send_on_http2(self: Rc<Self>, sender: usize, shared: Rc<http2::Shared>) {
        let mut mine = None;
        while let Some(turn) = self.begin(sender).await {
            let result = http2::exchange(&self.context, self.request(), &shared, &mut mine).await;
            self.end(sender, turn, result).await;
        }
    }

    async fn begin(&self, sender: usize) -> Option<Turn> {
        let turn = match &self.pacer {
            Some(pacer) => pacer.turn().await?,
            None => {
                let now = Instant::now();
                if now >= self.window.end {
                    return None;
                }
                Turn { due: now, delay: Duration::ZERO }
            }
        };
        self.in_flight[sender].set(Some(turn.due));
        Some(turn)
    }

    async fn end(&self, sender: usize, turn: Turn, result: Result<Good, Fault>) {
        self.in_flight[sender].set(None);
        let refused = matches!(result, Err(Fault::Connect));
        self.tally.borrow_mut().ended(turn, Instant::now(), result);
        if refused && self.pacer.is_none() {
            sleep(AFTER_REFUSAL).await;
        }
    }

    fn request(&self) -> &Request {
        let requests = &self.context.plan.requests;
        let now = self.next_request.get();
        self.next_request.set(if now + 1 == requests.len() { 0 } else { now + 1 });
        &requests[now]
    }

    fn finish(self) -> Tally {
        let now = Instant::now();
        let mut tally = self.tally.into_inner();
        if let Some(pacer) = &self.pacer {
            let in_flight = self.in_flight.iter().filter_map(Cell::get);
            in_flight.chain(pacer.drain(now)).for_each(|due| tally.unanswered(due, now));
        }
        tally.opened(self.context.opened.get());
        tally
    }
}
