//! The glue between the policy and the host.

use crate::{Change, Policy};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root::default()) });
}}

#[derive(Default)]
struct Root {
    policy: Rc<Policy>,
}

struct Stream {
    policy: Rc<Policy>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Policy::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(policy) => {
                self.policy = Rc::new(policy);
                true
            }
            Err(words) => {
                log::error!("{words}");
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { policy: Rc::clone(&self.policy) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        // By bytes: a value need not be UTF-8.
        let has = |name: &str| self.get_http_request_header_bytes(name).is_some();
        if let Some(name) = self.policy.request.missing(has) {
            let body = format!("the request needs the header {name}\n");
            self.send_http_response(400, vec![("content-type", "text/plain")], Some(body.as_bytes()));
            return Action::Pause;
        }
        for change in self.policy.request.changes(has) {
            match change {
                Change::Remove(name) => self.remove_http_request_header(&name),
                Change::Set(name, value) => self.set_http_request_header(&name, Some(&value)),
                Change::Append(name, value) => self.add_http_request_header(&name, &value),
            }
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        let has = |name: &str| self.get_http_response_header_bytes(name).is_some();
        for change in self.policy.response.changes(has) {
            match change {
                Change::Remove(name) => self.remove_http_response_header(&name),
                Change::Set(name, value) => self.set_http_response_header(&name, Some(&value)),
                Change::Append(name, value) => self.add_http_response_header(&name, &value),
            }
        }
        Action::Continue
    }
}
