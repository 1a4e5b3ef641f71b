//! The glue between the policy and the host.

use crate::{Policy, Verdict};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};
use std::{rc::Rc, time::UNIX_EPOCH};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { policy: None }) });
}}

struct Root {
    policy: Option<Rc<Policy>>,
}

struct Stream {
    policy: Rc<Policy>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Policy::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(policy) => {
                policy.warnings().iter().for_each(|words| log::warn!("{words}"));
                self.policy = Some(Rc::new(policy));
                true
            }
            Err(words) => {
                log::error!("{words}");
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { policy: Rc::clone(self.policy.as_ref()?) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let headers = self.get_http_request_headers_bytes();
        let of = |name: &'static str| {
            headers.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_slice())
        };
        let path = String::from_utf8_lossy(of(":path").next().unwrap_or_default()).into_owned();
        let authorization: Vec<_> = of("authorization").collect();
        let now = self.get_current_time().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match self.policy.decide(&path, &authorization, now) {
            Verdict::Pass(claims) => {
                for name in self.policy.own_headers() {
                    self.remove_http_request_header(name);
                }
                if !self.policy.forwards() {
                    self.remove_http_request_header("authorization");
                }
                for (name, value) in claims {
                    self.add_http_request_header(&name, &value);
                }
                Action::Continue
            }
            Verdict::Refuse(refusal) => {
                let headers = vec![("content-type", "text/plain"), ("www-authenticate", refusal.challenge.as_str())];
                self.send_http_response(refusal.status, headers, Some(refusal.body.as_bytes()));
                Action::Pause
            }
        }
    }
}
