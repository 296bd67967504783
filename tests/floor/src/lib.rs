//! The floor of the benchmark: both roles of the filter with nothing in them.
//!
//! They hold the request's headers, read the body, write it back, and go on; the answer passes. What this costs is the
//! price of two Wasm filters that see a body, on the machine and the Envoy at hand, whatever they do with it.
#![cfg(target_family = "wasm")]

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType};

/// More than any body of the benchmark.
const WHOLE: usize = 1 << 20;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { routes: false }));
}}

struct Root {
    /// The router role names the cluster, as the route of `envoy/routes.yaml` wants it.
    routes: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let root_id = hostcalls::get_property(vec!["plugin_root_id"])
            .ok()
            .flatten();
        self.routes = root_id.as_deref() == Some(b"router");
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Empty {
            routes: self.routes,
        }))
    }
}

struct Empty {
    routes: bool,
}

impl Context for Empty {}

impl HttpContext for Empty {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            return Action::Pause;
        }
        let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size);
        if let Ok(Some(body)) = body {
            let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, WHOLE, &body);
        }
        if self.routes {
            let _ = hostcalls::set_property(vec!["pointsman.cluster"], Some(b"openai"));
            let _ = hostcalls::call_foreign_function("clear_route_cache", None);
        }
        Action::Continue
    }
}
