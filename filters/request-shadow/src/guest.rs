//! The glue: gathers what passes by, and sends the copy when the request has ended. Nothing is ever held up.

use crate::{Gathered, Sampler, Shadow};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};
use std::{cell::RefCell, rc::Rc, time::Duration};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root::default()) });
}}

#[derive(Default)]
struct Root {
    shadow: Option<Rc<Shadow>>,
    sampler: Rc<RefCell<Sampler>>,
}

struct Stream {
    shadow: Rc<Shadow>,
    sampler: Rc<RefCell<Sampler>>,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Gathered>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Shadow::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(shadow) => {
                self.shadow = Some(Rc::new(shadow));
                true
            }
            Err(words) => {
                log::error!("{words}");
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        let shadow = Rc::clone(self.shadow.as_ref()?);
        Some(Box::new(Stream { shadow, sampler: Rc::clone(&self.sampler), headers: Vec::new(), body: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        self.headers = self.get_http_request_headers_bytes();
        if self.shadow.concerns(&self.headers) && self.sampler.borrow_mut().takes(self.shadow.percent) {
            self.body = Some(Gathered::Whole(Vec::new()));
        }
        if end {
            self.send();
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if let Some(body) = &mut self.body
            && size > 0
        {
            let bytes = proxy_wasm::hostcalls::get_buffer(proxy_wasm::types::BufferType::HttpRequestBody, 0, size);
            body.add(&bytes.ok().flatten().unwrap_or_default(), self.shadow.body_bytes);
        }
        if end {
            self.send();
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.send();
        Action::Continue
    }
}

impl Stream {
    fn send(&mut self) {
        let Some(body) = self.body.take() else { return };
        let Gathered::Whole(body) = body else {
            log::debug!("request-shadow: a body of more than {} bytes is not copied", self.shadow.body_bytes);
            return;
        };
        let copy = self.shadow.copy(&self.headers, body.len());
        // The call takes text; what is no text is replaced, which for a copy will do.
        let text: Vec<_> = copy.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value))).collect();
        let pairs: Vec<_> = text.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        let body = (!body.is_empty()).then_some(body.as_slice());
        let timeout = Duration::from_millis(self.shadow.timeout_ms);
        if let Err(status) = self.dispatch_http_call(&self.shadow.cluster, pairs, body, vec![], timeout) {
            log::warn!("request-shadow: cluster {}: {status:?}", self.shadow.cluster);
        }
    }
}
