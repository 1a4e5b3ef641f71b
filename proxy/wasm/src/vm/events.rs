//! What comes to a machine from outside of its streams: ticks, answers to calls, messages in queues.
//!
//! All of it comes to a plugin's context; guests find the stream themselves and name it by
//! `proxy_set_effective_context`. A failure has told everybody by the time it comes back here.

use super::{
    Budget, Machine,
    state::{Host, Shown},
};
use crate::{
    abi::callback::Callbacks,
    calls::{Call, Last, Seen, Told},
    host::headers::count,
    shared::Ready,
};
use bytes::Bytes;
use pillion_core::exchange::filter::{Failed, Metadata};
use std::{fmt, sync::Arc};
use wasmtime::{TypedFunc, WasmParams};

/// What `proxy_get_status` says of an HTTP call whose answer broke off: Envoy's number.
const RESET: u32 = 11;

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Machine {
    /// A plugin's timer.
    pub fn tick(&self, root: u32) {
        self.tell("proxy_on_tick", root, |callbacks| callbacks.tick.clone(), (root,), |_| ());
    }

    /// It was told of a message in a queue that plugins of its registered.
    pub fn hear(&self, ready: Ready) {
        let root = self.store.try_borrow().ok().and_then(|store| {
            let host = store.data();
            host.spec.shared.queues.whose(ready, &host.ready)
        });
        if let Some(root) = root {
            self.queue_ready(root, ready.0);
        }
    }

    /// Something is in a queue that a plugin registered.
    pub fn queue_ready(&self, root: u32, queue: u32) {
        self.tell("proxy_on_queue_ready", root, |callbacks| callbacks.queue_ready.clone(), (root, queue), |_| ());
    }

    /// An HTTP call was answered.
    pub(crate) fn http_answered(&self, root: u32, token: u32, shown: Shown) {
        let params = match &shown {
            Shown::HttpCall { status, headers, body, trailers } => {
                let trailers = trailers.as_ref().map_or(0, |trailers| size(trailers.len()));
                (root, token, count(Some(*status), headers), size(body.len()), trailers)
            }
            _ => (root, token, 0, 0, 0),
        };
        let reset = matches!(shown, Shown::CallReset);
        let call = self.take_call(token);
        self.tell(
            "proxy_on_http_call_response",
            root,
            |all| all.http_call_response.clone(),
            params,
            |host| {
                if reset {
                    host.status = (RESET, Bytes::from_static(b"reset"));
                }
                host.shown = shown;
            },
        );
        self.forget_words();
        drop(call);
    }

    /// An answer to a plugin's call was larger than it takes: logged once.
    pub(crate) fn answer_too_large(&self, root: u32) {
        let Ok(mut store) = self.store.try_borrow_mut() else { return };
        let host = store.data_mut();
        let Some(plugin) = host.root_of(root).map(|root| Arc::clone(&root.plugin)) else { return };
        if host.calls.tell(Told::TooLarge, root) == Seen::First {
            tracing::warn!(
                filter = %plugin.name,
                "the answer to a call is larger than the filter's limits.call_response of {} bytes: the call failed, raise \
                 the limit if such answers are meant; further ones are not logged",
                plugin.limits.call_response
            );
        }
    }

    /// An answer to a plugin's call found no room beside what its calls hold: logged once.
    pub(crate) fn no_room(&self, root: u32) {
        if let Ok(mut store) = self.store.try_borrow_mut() {
            store.data_mut().no_room(root);
        }
    }

    /// No request can be made of what a plugin's call says: logged once.
    pub(crate) fn unsayable(&self, root: u32, why: &dyn fmt::Display) {
        if let Ok(mut store) = self.store.try_borrow_mut() {
            store.data_mut().unsayable(root, why);
        }
    }

    /// Initial metadata of a gRPC stream.
    pub(crate) fn grpc_initial(&self, root: u32, token: u32, metadata: Metadata) {
        let params = (root, token, count(metadata.status, &metadata.fields));
        let name = "proxy_on_grpc_receive_initial_metadata";
        self.tell(
            name,
            root,
            |callbacks| callbacks.grpc_initial_metadata.clone(),
            params,
            |host| {
                host.shown = Shown::GrpcInitialMetadata(metadata);
            },
        );
    }

    /// A message of a gRPC call or stream.
    pub(crate) fn grpc_message(&self, root: u32, token: u32, message: Bytes, last: Last) {
        let call = match last {
            Last::No => None,
            Last::Yes => {
                let Some(call) = self.end_call(token) else { return };
                Some(call)
            }
        };
        let params = (root, token, size(message.len()));
        self.tell(
            "proxy_on_grpc_receive",
            root,
            |callbacks| callbacks.grpc_receive.clone(),
            params,
            |host| {
                if last == Last::Yes {
                    host.status = (0, Bytes::new());
                }
                host.shown = Shown::GrpcMessage(message);
            },
        );
        self.ended(token, call);
    }

    /// Trailing metadata of a gRPC stream.
    pub(crate) fn grpc_trailing(&self, root: u32, token: u32, metadata: Metadata) {
        let params = (root, token, count(metadata.status, &metadata.fields));
        let name = "proxy_on_grpc_receive_trailing_metadata";
        self.tell(
            name,
            root,
            |callbacks| callbacks.grpc_trailing_metadata.clone(),
            params,
            |host| {
                host.shown = Shown::GrpcTrailingMetadata(metadata);
            },
        );
    }

    /// A gRPC call failed, or a stream ended.
    pub(crate) fn grpc_closed(&self, root: u32, token: u32, status: u32, message: Vec<u8>) {
        let Some(call) = self.end_call(token) else { return };
        self.tell(
            "proxy_on_grpc_close",
            root,
            |all| all.grpc_close.clone(),
            (root, token, status),
            |host| {
                host.status = (status, message.into());
            },
        );
        self.forget_words();
        self.ended(token, Some(call));
    }

    /// What a status says is there in its callback alone, as Envoy's; its number stays.
    fn forget_words(&self) {
        if let Ok(mut store) = self.store.try_borrow_mut() {
            store.data_mut().status.1 = Bytes::new();
        }
    }

    /// Whether the guest still hears of a call: not once it gave it up.
    pub(crate) fn goes_on(&self, token: u32) -> bool {
        self.store.try_borrow().is_ok_and(|store| store.data().calls.goes_on(token))
    }

    /// As [`take_call`](Self::take_call), of gRPC.
    fn end_call(&self, token: u32) -> Option<Call> {
        self.store.try_borrow_mut().ok()?.data_mut().calls.end(token)
    }

    /// The guest was told of a call's end.
    fn ended(&self, token: u32, call: Option<Call>) {
        if let (Some(call), Ok(mut store)) = (&call, self.store.try_borrow_mut()) {
            store.data_mut().calls.ended(token, call);
        }
    }

    /// The call is over; what waited for it is dropped by the caller, outside of the store.
    fn take_call(&self, token: u32) -> Option<Call> {
        self.store.try_borrow_mut().ok()?.data_mut().calls.take(token)
    }

    /// Lets the guest know, and then whoever keeps the machine, how large it is.
    fn tell<P: WasmParams>(
        &self,
        name: &'static str,
        root: u32,
        callback: impl FnOnce(&Callbacks) -> Option<TypedFunc<P, ()>>,
        params: P,
        prepare: impl FnOnce(&mut Host),
    ) {
        // A plugin that is gone has nothing to hear.
        if let (Some(callback), Some(plugin)) = (callback(&self.callbacks), self.plugin(root)) {
            let budget = Budget(plugin.limits.callback);
            // Whoever must know of a failure was told where it happened.
            let _: Result<(), Failed> = self.run(name, &callback, budget, root, params, prepare);
            if let Ok(mut store) = self.store.try_borrow_mut() {
                store.data_mut().shown = Shown::Nothing;
            }
        }
        if self.dead().is_none() {
            self.tell_memory(self.memory());
        }
    }
}
