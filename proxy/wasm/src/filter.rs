//! The seam: wasm filters as core's [`Factory`], [`Instance`] and [`Filter`].
//!
//! ```text
//!  Factory (process) ─► Instance (worker) = a Seat in a machine ─► Filter (stream) = a context in that machine
//! ```

use crate::{
    abi::{Action, Peer as PeerType, callback::Callbacks},
    census::starts::Promise,
    engine::Runtime,
    metrics::Metrics,
    module::Module,
    plugin::{MachineSpec, Plugin},
    vm::{Budget, Machine},
    worker::{Key, Place, Seat, Slot},
};
use pillion_core::exchange::filter::{
    BodyStatus, End, Factory, Failed, Filter, HeadStatus, Instance, Interest, Map, Peer, Services, Stream,
    TrailersStatus,
};
use std::{fmt, rc::Rc, sync::Arc};
use wasmtime::TypedFunc;

/// A wasm filter of the configuration, compiled and tried. Shared by all workers: immutable.
pub struct WasmFactory {
    runtime: Runtime,
    module: Arc<Module>,
    plugin: Arc<Plugin>,
    spec: Arc<MachineSpec>,
    key: Key,
    place: Place,
    /// Room for its machines, where the configuration in force serves beside them.
    promise: Option<Promise>,
}

/// A wasm filter on one worker.
struct WasmInstance {
    seat: Rc<Seat>,
    interest: Interest,
}

/// A wasm filter on one stream.
struct WasmFilter {
    machine: Rc<Machine>,
    /// Kept until the stream is over, so that its plugin is.
    seat: Rc<Seat>,
    context: u32,
    budget: Budget,
    /// A head that the guest holds lets body callbacks come.
    stop_iteration: bool,
}

impl WasmFactory {
    /// A filter of a module that is linked already; `key` tells its machine from others, `place` whether it may be in one
    /// that runs already; for machines that it starts beside others room was `promise`d.
    #[must_use]
    pub fn new(
        runtime: &Runtime,
        module: Arc<Module>,
        plugin: Arc<Plugin>,
        spec: Arc<MachineSpec>,
        key: Key,
        place: Place,
        promise: Option<Promise>,
    ) -> Self {
        Self { runtime: runtime.clone(), module, plugin, spec, key, place, promise }
    }
}

impl Factory for WasmFactory {
    fn instance(&self, services: Services) -> Rc<dyn Instance> {
        let limits = &self.plugin.limits;
        let services = services.bounded(self.plugin.allowed_clusters.clone(), limits.calls, limits.call_response);
        if let Some(promise) = &self.promise {
            promise.keep();
        }
        let slot = Slot::of(&self.key, &self.runtime, &self.module, &self.spec, self.place);
        let seat = slot.seat(&self.plugin, services, Metrics::new(&self.plugin.name));
        Rc::new(WasmInstance {
            interest: seat.machine().map_or(Interest::ALL, |(machine, _)| wants(machine.callbacks())),
            seat,
        })
    }
}

/// Which callbacks the guest exports.
fn wants(callbacks: &Callbacks) -> Interest {
    let Callbacks { request_body, request_trailers, response_body, response_trailers, log, .. } = callbacks;
    let asked = [
        (
            callbacks.request_headers.is_some()
                || callbacks.request_headers_0_1_0.is_some()
                || callbacks.new_connection.is_some(),
            Interest::REQUEST_HEADERS,
        ),
        (request_body.is_some() || callbacks.downstream_data.is_some(), Interest::REQUEST_BODY),
        (request_trailers.is_some(), Interest::REQUEST_TRAILERS),
        (
            callbacks.response_headers.is_some() || callbacks.response_headers_0_1_0.is_some(),
            Interest::RESPONSE_HEADERS,
        ),
        (response_body.is_some() || callbacks.upstream_data.is_some(), Interest::RESPONSE_BODY),
        (response_trailers.is_some(), Interest::RESPONSE_TRAILERS),
        (log.is_some(), Interest::LOG),
    ];
    asked.into_iter().filter(|(exported, _)| *exported).fold(Interest::NONE, |all, (_, one)| all.and(one))
}

impl Instance for WasmInstance {
    fn interest(&self) -> Interest {
        self.interest
    }

    fn open(&self, stream: &Stream) -> Result<Box<dyn Filter>, Failed> {
        let (machine, root) = self.seat.machine()?;
        let budget = self.seat.budget();
        let context = machine.open(root, stream, budget)?;
        let stop_iteration = self.seat.plugin().allow_on_headers_stop_iteration;
        Ok(Box::new(WasmFilter { machine, seat: Rc::clone(&self.seat), context, budget, stop_iteration }))
    }
}

impl WasmFilter {
    fn call<P: wasmtime::WasmParams>(
        &self,
        name: &'static str,
        callback: &TypedFunc<P, u32>,
        params: P,
    ) -> Result<u32, Failed> {
        self.machine.call(name, callback, self.budget, self.context, params)
    }

    fn head(&self, answer: u32) -> HeadStatus {
        match Action::of_headers(answer) {
            Action::Continue => HeadStatus::Continue,
            // Envoy's default turns a held head into a held stream.
            _ if self.stop_iteration && answer == 1 => HeadStatus::StopIteration,
            _ => HeadStatus::StopAllIterationAndWatermark,
        }
    }

    fn data(
        &self,
        name: &'static str,
        callback: Option<&TypedFunc<(u32, u32, u32), u32>>,
        size: usize,
        end: End,
    ) -> Result<BodyStatus, Failed> {
        let Some(callback) = callback else { return Ok(BodyStatus::Continue) };
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let answer = self.call(name, callback, (self.context, size, (end == End::Yes).into()))?;
        Ok(match Action::of_data(answer) {
            Action::Continue => BodyStatus::Continue,
            Action::Pause => BodyStatus::StopIterationAndBuffer,
            Action::PauseAndWatermark => BodyStatus::StopIterationAndWatermark,
            Action::PauseAndDrop => BodyStatus::StopIterationNoBuffer,
        })
    }

    fn trailers(
        &self,
        name: &'static str,
        callback: Option<&TypedFunc<(u32, u32), u32>>,
        stream: &Stream,
        map: Map,
    ) -> Result<TrailersStatus, Failed> {
        let Some(callback) = callback else { return Ok(TrailersStatus::Continue) };
        let answer = self.call(name, callback, (self.context, count(stream, map)))?;
        Ok(if answer == 0 { TrailersStatus::Continue } else { TrailersStatus::StopIteration })
    }
}

/// On a connection every answer but "continue" holds its bytes back, to be shown again with more, as in Envoy.
fn held_whole(status: BodyStatus) -> BodyStatus {
    if status == BodyStatus::Continue { status } else { BodyStatus::StopIterationAndBuffer }
}

/// How many pairs a map has.
fn count(stream: &Stream, map: Map) -> u32 {
    stream.read_headers(map, |headers| u32::try_from(headers.len()).unwrap_or(u32::MAX)).unwrap_or(0)
}

fn peer(by: Peer) -> u32 {
    match by {
        Peer::Unknown => PeerType::Unknown as u32,
        Peer::Local => PeerType::Local as u32,
        Peer::Remote => PeerType::Remote as u32,
    }
}

impl Filter for WasmFilter {
    fn request_headers(&mut self, stream: &Stream, end: End) -> Result<HeadStatus, Failed> {
        let name = "proxy_on_request_headers";
        let Callbacks { request_headers, request_headers_0_1_0, .. } = self.machine.callbacks();
        let pairs = count(stream, Map::RequestHeaders);
        let answer = match (request_headers, request_headers_0_1_0) {
            (Some(callback), _) => self.call(name, callback, (self.context, pairs, (end == End::Yes).into()))?,
            (None, Some(callback)) => self.call(name, callback, (self.context, pairs))?,
            (None, None) => 0,
        };
        Ok(self.head(answer))
    }

    fn request_body(&mut self, _: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        self.data("proxy_on_request_body", self.machine.callbacks().request_body.as_ref(), size, end)
    }

    fn request_trailers(&mut self, stream: &Stream) -> Result<TrailersStatus, Failed> {
        let callback = self.machine.callbacks().request_trailers.as_ref();
        self.trailers("proxy_on_request_trailers", callback, stream, Map::RequestTrailers)
    }

    fn response_headers(&mut self, stream: &Stream, end: End) -> Result<HeadStatus, Failed> {
        let name = "proxy_on_response_headers";
        let Callbacks { response_headers, response_headers_0_1_0, .. } = self.machine.callbacks();
        let pairs = count(stream, Map::ResponseHeaders);
        let answer = match (response_headers, response_headers_0_1_0) {
            (Some(callback), _) => self.call(name, callback, (self.context, pairs, (end == End::Yes).into()))?,
            (None, Some(callback)) => self.call(name, callback, (self.context, pairs))?,
            (None, None) => 0,
        };
        Ok(self.head(answer))
    }

    fn response_body(&mut self, _: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        self.data("proxy_on_response_body", self.machine.callbacks().response_body.as_ref(), size, end)
    }

    fn response_trailers(&mut self, stream: &Stream) -> Result<TrailersStatus, Failed> {
        let callback = self.machine.callbacks().response_trailers.as_ref();
        self.trailers("proxy_on_response_trailers", callback, stream, Map::ResponseTrailers)
    }

    fn new_connection(&mut self, _: &Stream) -> Result<BodyStatus, Failed> {
        let Some(callback) = &self.machine.callbacks().new_connection else { return Ok(BodyStatus::Continue) };
        let answer = self.call("proxy_on_new_connection", callback, (self.context,))?;
        Ok(if answer == 0 { BodyStatus::Continue } else { BodyStatus::StopIterationAndWatermark })
    }

    fn downstream_data(&mut self, _: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        let callback = self.machine.callbacks().downstream_data.as_ref();
        self.data("proxy_on_downstream_data", callback, size, end).map(held_whole)
    }

    fn upstream_data(&mut self, _: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        let callback = self.machine.callbacks().upstream_data.as_ref();
        self.data("proxy_on_upstream_data", callback, size, end).map(held_whole)
    }

    fn downstream_closed(&mut self, _: &Stream, by: Peer) {
        if let Some(callback) = &self.machine.callbacks().downstream_close {
            let name = "proxy_on_downstream_connection_close";
            // Whoever must know of a failure is told by the machine; here and below the stream is ending anyway.
            let _ = self.machine.call(name, callback, self.budget, self.context, (self.context, peer(by)));
        }
    }

    fn upstream_closed(&mut self, _: &Stream, by: Peer) {
        if let Some(callback) = &self.machine.callbacks().upstream_close {
            let name = "proxy_on_upstream_connection_close";
            let _ = self.machine.call(name, callback, self.budget, self.context, (self.context, peer(by)));
        }
    }

    fn log(&mut self, _: &Stream) {
        if let Some(callback) = &self.machine.callbacks().log {
            let _ = self.machine.call("proxy_on_log", callback, self.budget, self.context, (self.context,));
        }
    }

    fn done(&mut self, _: &Stream) {
        if let Some(callback) = &self.machine.callbacks().done {
            // A stream is not held up by a guest that is not done.
            let _ = self.call("proxy_on_done", callback, (self.context,));
        }
    }
}

impl Drop for WasmFilter {
    fn drop(&mut self) {
        self.machine.close(self.context, self.budget);
        // A dead one's is given back, and its seat has said so.
        if self.machine.dead().is_none() {
            self.seat.tell_memory(self.machine.memory());
        }
    }
}

impl fmt::Debug for WasmFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmFactory")
            .field("name", &self.plugin.name)
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}
