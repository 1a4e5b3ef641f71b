//! The glue: reads the bucket, decides, swaps, and says what came of it.

use crate::{ATTEMPTS, Decision, Key, Limit, Place, Swap, without_port};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};
use std::{rc::Rc, time::UNIX_EPOCH};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { limit: None }) });
}}

struct Root {
    limit: Option<Rc<Limit>>,
}

struct Stream {
    limit: Rc<Limit>,
    remaining: u64,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Limit::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(limit) => {
                self.limit = Some(Rc::new(limit));
                true
            }
            Err(words) => {
                log::error!("{words}");
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        let limit = Rc::clone(self.limit.as_ref()?);
        Some(Box::new(Stream { limit, remaining: 0 }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let who = match &self.limit.key {
            Key::All => Vec::new(),
            Key::Source => without_port(&self.get_property(vec!["source", "address"]).unwrap_or_default()).to_vec(),
            Key::Header(name) => self.get_http_request_header_bytes(name).unwrap_or_default(),
        };
        match self.take(&self.limit.place(&who)) {
            Decision::Allow { remaining, .. } => {
                self.remaining = remaining;
                Action::Continue
            }
            Decision::Refuse { retry_after } => {
                let retry_after = retry_after.to_string();
                let headers = vec![("content-type", "text/plain"), ("retry-after", retry_after.as_str())];
                self.send_http_response(429, headers, Some(b"too many requests\n"));
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header("ratelimit-limit", Some(&self.limit.burst().to_string()));
        self.set_http_response_header("ratelimit-remaining", Some(&self.remaining.to_string()));
        Action::Continue
    }
}

impl Stream {
    fn take(&self, place: &Place) -> Decision {
        for _ in 0..ATTEMPTS {
            let since = self.get_current_time().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            let (bytes, version) = self.get_shared_data(&place.slot);
            let decision = self.limit.decide(bytes.as_deref(), place, now);
            let Decision::Allow { stored, .. } = &decision else { return decision };
            match swap(&place.slot, stored, version) {
                Swap::Done => return decision,
                Swap::Lost => {}
                Swap::NoRoom => break,
            }
        }
        self.limit.uncounted()
    }
}

#[expect(unsafe_code, reason = "the SDK's own call panics where the host has no room, which would fail every stream")]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> u32;
}

/// Writes a value if it is still of that version; one that was not there, in any case.
#[expect(unsafe_code, reason = "as above")]
fn swap(key: &str, value: &[u8], version: Option<u32>) -> Swap {
    // SAFETY: the host reads that many bytes at each pointer, which live until it returns, and keeps neither.
    let status = unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version.unwrap_or_default())
    };
    Swap::of(status)
}
