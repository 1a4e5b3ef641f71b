//! Filters that do what a test says, and tell what they were called for.

use pillion_config::model::{self, FilterKind};
use pillion_core::exchange::filter::{
    BodyStatus, End, Factory, Failed, Filter, HeadStatus, Instance, Interest, Loader, Loading, Native, Peer, Services,
    Stream, TrailersStatus,
};
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

/// A callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Open,
    RequestHeaders(End),
    RequestBody(usize, End),
    RequestTrailers,
    ResponseHeaders(End),
    ResponseBody(usize, End),
    ResponseTrailers,
    NewConnection,
    DownstreamData(usize, End),
    UpstreamData(usize, End),
    DownstreamClosed(Peer),
    UpstreamClosed(Peer),
    Log,
    Done,
}

/// What a callback returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    Continue,
    /// Headers: StopIteration. Bodies: StopIterationAndBuffer. Trailers: StopIteration.
    Pause,
    /// Headers: StopAllIterationAndWatermark.
    PauseAll,
    /// Headers: StopAllIterationAndBuffer.
    PauseAllAndBuffer,
    /// Bodies: StopIterationAndWatermark.
    Watermark,
    /// Bodies: StopIterationNoBuffer.
    Drop,
    Fail,
}

type Script = Rc<dyn Fn(Event, &Stream) -> Do>;

type Start = Rc<dyn Fn(&Services)>;

thread_local! {
    static SCRIPTS: RefCell<HashMap<String, Script>> = RefCell::default();
    static EVENTS: RefCell<Vec<String>> = RefCell::default();
    static SERVICES: RefCell<Option<Services>> = RefCell::default();
    static START: RefCell<Option<Start>> = RefCell::default();
}

/// What the filter of this name does.
pub(crate) fn script(name: &str, script: impl Fn(Event, &Stream) -> Do + 'static) {
    SCRIPTS.with_borrow_mut(|scripts| scripts.insert(name.to_owned(), Rc::new(script)));
}

/// What every filter does as a worker's share of it is made.
pub(crate) fn on_start(start: impl Fn(&Services) + 'static) {
    START.set(Some(Rc::new(start)));
}

/// The callbacks so far, each as `name: event`; they are forgotten.
pub(crate) fn events() -> Vec<String> {
    EVENTS.take()
}

/// The services of the instance made last.
pub(crate) fn services() -> Services {
    SERVICES.with_borrow(|services| services.clone()).unwrap()
}

fn tell(text: String) {
    // A stream that a test kept may end with its thread.
    EVENTS.try_with(|events| events.borrow_mut().push(text)).ok();
}

const NATIVE: Native<'static> = Native { other: None };

/// Loads scripted filters.
pub(crate) struct Scripts;

#[derive(Debug)]
struct Scripted(String);

struct Worker(String);

struct One(String);

impl Loader for Scripts {
    fn load<'a>(&'a self, filter: &'a Arc<model::Filter>, previous: Option<&'a Arc<dyn Factory>>) -> Loading<'a> {
        // What a test's document configures is the real thing; what it puts there itself is scripted.
        let scripted = matches!(&filter.kind, FilterKind::Headers(rules) if rules.is_empty());
        if !scripted {
            return NATIVE.load(filter, previous);
        }
        let factory: Arc<dyn Factory> = match previous {
            Some(previous) => Arc::clone(previous),
            None => Arc::new(Scripted(filter.name.as_str().to_owned())),
        };
        Box::pin(async move { Ok(factory) })
    }
}

impl Factory for Scripted {
    fn instance(&self, services: Services) -> Rc<dyn Instance> {
        let start = START.with_borrow(Clone::clone);
        if let Some(start) = start {
            start(&services);
        }
        SERVICES.set(Some(services));
        Rc::new(Worker(self.0.clone()))
    }
}

impl Instance for Worker {
    fn interest(&self) -> Interest {
        if self.0.contains("deaf") { Interest::LOG } else { Interest::ALL }
    }

    fn open(&self, stream: &Stream) -> Result<Box<dyn Filter>, Failed> {
        match act(&self.0, Event::Open, stream) {
            Do::Fail => Err(FAILED),
            _ => Ok(Box::new(One(self.0.clone()))),
        }
    }

    fn retire(&self) {
        tell(format!("{}: retired", self.0));
    }
}

const FAILED: Failed = Failed { details: "script_failed" };

fn act(name: &str, event: Event, stream: &Stream) -> Do {
    let text = match event {
        Event::Open => "open".to_owned(),
        Event::RequestHeaders(end) => format!("request_headers {end:?}"),
        Event::RequestBody(size, end) => format!("request_body {size} {end:?}"),
        Event::RequestTrailers => "request_trailers".to_owned(),
        Event::ResponseHeaders(end) => format!("response_headers {end:?}"),
        Event::ResponseBody(size, end) => format!("response_body {size} {end:?}"),
        Event::ResponseTrailers => "response_trailers".to_owned(),
        Event::NewConnection => "new_connection".to_owned(),
        Event::DownstreamData(size, end) => format!("downstream_data {size} {end:?}"),
        Event::UpstreamData(size, end) => format!("upstream_data {size} {end:?}"),
        Event::DownstreamClosed(by) => format!("downstream_closed {by:?}"),
        Event::UpstreamClosed(by) => format!("upstream_closed {by:?}"),
        Event::Log => "log".to_owned(),
        Event::Done => "done".to_owned(),
    };
    tell(format!("{name}: {text}"));
    let script = SCRIPTS.with_borrow(|scripts| scripts.get(name).cloned());
    script.map_or(Do::Continue, |script| script(event, stream))
}

impl One {
    fn head(&self, event: Event, stream: &Stream) -> Result<HeadStatus, Failed> {
        match act(&self.0, event, stream) {
            Do::Continue => Ok(HeadStatus::Continue),
            Do::Pause => Ok(HeadStatus::StopIteration),
            Do::PauseAllAndBuffer => Ok(HeadStatus::StopAllIterationAndBuffer),
            Do::PauseAll | Do::Watermark | Do::Drop => Ok(HeadStatus::StopAllIterationAndWatermark),
            Do::Fail => Err(FAILED),
        }
    }

    fn body(&self, event: Event, stream: &Stream) -> Result<BodyStatus, Failed> {
        match act(&self.0, event, stream) {
            Do::Continue => Ok(BodyStatus::Continue),
            Do::Pause | Do::PauseAll | Do::PauseAllAndBuffer => Ok(BodyStatus::StopIterationAndBuffer),
            Do::Watermark => Ok(BodyStatus::StopIterationAndWatermark),
            Do::Drop => Ok(BodyStatus::StopIterationNoBuffer),
            Do::Fail => Err(FAILED),
        }
    }

    fn trailers(&self, event: Event, stream: &Stream) -> Result<TrailersStatus, Failed> {
        match act(&self.0, event, stream) {
            Do::Continue => Ok(TrailersStatus::Continue),
            Do::Fail => Err(FAILED),
            _ => Ok(TrailersStatus::StopIteration),
        }
    }
}

impl Filter for One {
    fn request_headers(&mut self, stream: &Stream, end: End) -> Result<HeadStatus, Failed> {
        self.head(Event::RequestHeaders(end), stream)
    }

    fn request_body(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        self.body(Event::RequestBody(size, end), stream)
    }

    fn request_trailers(&mut self, stream: &Stream) -> Result<TrailersStatus, Failed> {
        self.trailers(Event::RequestTrailers, stream)
    }

    fn response_headers(&mut self, stream: &Stream, end: End) -> Result<HeadStatus, Failed> {
        self.head(Event::ResponseHeaders(end), stream)
    }

    fn response_body(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        self.body(Event::ResponseBody(size, end), stream)
    }

    fn response_trailers(&mut self, stream: &Stream) -> Result<TrailersStatus, Failed> {
        self.trailers(Event::ResponseTrailers, stream)
    }

    fn new_connection(&mut self, stream: &Stream) -> Result<BodyStatus, Failed> {
        self.body(Event::NewConnection, stream)
    }

    fn downstream_data(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        self.body(Event::DownstreamData(size, end), stream)
    }

    fn upstream_data(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        self.body(Event::UpstreamData(size, end), stream)
    }

    fn downstream_closed(&mut self, stream: &Stream, by: Peer) {
        act(&self.0, Event::DownstreamClosed(by), stream);
    }

    fn upstream_closed(&mut self, stream: &Stream, by: Peer) {
        act(&self.0, Event::UpstreamClosed(by), stream);
    }

    fn log(&mut self, stream: &Stream) {
        act(&self.0, Event::Log, stream);
    }

    fn done(&mut self, stream: &Stream) {
        act(&self.0, Event::Done, stream);
    }
}

impl Drop for One {
    fn drop(&mut self) {
        tell(format!("{}: gone", self.0));
    }
}
