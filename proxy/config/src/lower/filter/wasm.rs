//! Wasm filters: where the module comes from, what it may do, its bounds.

use super::super::{
    Lowering,
    process::{Names, or_default},
    route,
};
use crate::{
    diagnostic::quoted,
    document::{self, Either, Field, Period, Scalar, Sha256, Structured, Table},
    model::{AllowedCapabilities, AllowedClusters, Wasm, WasmLimits, WasmSource, WasmUrl},
    tree::Place,
};
use base64::Engine as _;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

/// What a module calls clusters by.
const CALLS: [&str; 3] = ["proxy_http_call", "proxy_grpc_call", "proxy_grpc_stream"];

pub(super) fn wasm(cx: &mut Lowering<'_, '_>, wasm: document::Wasm, at: Place, names: &mut Names) -> Option<Wasm> {
    let sources = [("file", wasm.file.place()), ("inline", wasm.inline.place()), ("url", wasm.url.place())];
    if cx.at_most_one(&sources) == 0 {
        cx.error(at, "this filter has no module; write one of file, inline and url");
    }
    let sha256_at = wasm.sha256.place();
    if let (Some(at), None) = (sha256_at, wasm.url.place()) {
        cx.error(at, "sha256 is for a module that is fetched; remove it, or write url");
    }
    let (Period(timeout), Period(retry_for)) = (wasm.fetch_timeout.value()?, wasm.fetch_retry_for.value()?);
    let source = if let Some((Scalar(file), at)) = wasm.file.at(at) {
        module_file(cx, &file, at)
    } else if let Some((Scalar(text), at)) = wasm.inline.at(at) {
        inline(cx, &text, at)
    } else if let Some((Scalar(url), url_at)) = wasm.url.at(at) {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            cx.error(url_at, format!("expected a URL that begins with http:// or https://, found {}", quoted(&url)));
        }
        if sha256_at.is_none() {
            cx.error(at, "a module that is fetched needs sha256, since the network is not to be believed; write it");
        }
        wasm.sha256.value().map(|Sha256(sha256)| WasmSource::Url(WasmUrl { url, sha256, timeout, retry_for }))
    } else {
        None
    };
    let allowed = match wasm.allowed_clusters.at(at) {
        Some((Either::Short(_), _)) => Some(AllowedClusters::All),
        Some((Either::Long(list), at)) => {
            let count = list.len();
            let mut allowed = Vec::with_capacity(count);
            for (Scalar(name), place) in cx.elements(at, list) {
                if route::resolve(cx, &name, place, names).is_some() {
                    allowed.push(name);
                }
            }
            (allowed.len() == count).then_some(AllowedClusters::Only(allowed))
        }
        None => None,
    };
    let capabilities = match wasm.allowed_capabilities.at(at) {
        Some((Either::Short(_), _)) => Some(AllowedCapabilities::All),
        Some((Either::Long(list), at)) => {
            let count = list.len();
            if count == 0 {
                // Envoy's empty map means all: who brings one over must not lose the filter without a word.
                cx.error(at, "an empty list lets the filter do nothing, not even see a request: write `all`, or list what it may use");
            }
            let names: Vec<_> = cx.elements(at, list).into_iter().map(|(Scalar(name), _)| name).collect();
            (names.len() == count).then_some(AllowedCapabilities::Only(names))
        }
        None => None,
    };
    let calls = |allowed: &AllowedCapabilities| CALLS.iter().any(|call| allowed.allows(call));
    if matches!(allowed, Some(AllowedClusters::All)) && capabilities.as_ref().is_some_and(calls) {
        // Which one it calls, its module knows.
        names.used.fill(true);
    }
    let mut environment = Vec::new();
    if let Some((Table(entries), table_at)) = wasm.environment.at(at) {
        for (name, value) in entries {
            let name_at = name.place().unwrap_or(table_at);
            let value = cx.entry(name_at, value);
            if let (Some(name), Some((value, value_at))) = (name.value(), value)
                && variable(cx, &name, name_at)
            {
                if value.contains('\0') {
                    cx.error(
                        value_at,
                        "no variable can hold a NUL byte; remove it, or hand the value over as `configuration`",
                    );
                }
                environment.push((name, value));
            }
        }
    }
    let host_at = wasm.host_environment.place().unwrap_or(at);
    let host = wasm.host_environment.elements();
    let mut host_environment = Vec::new();
    for (Scalar(name), place) in cx.elements(host_at, host) {
        // Which of two a guest saw would be its libc's choice.
        if environment.iter().any(|(known, _)| *known == name) || host_environment.contains(&name) {
            let again = quoted(&name);
            cx.error(
                place,
                format!("the variable {again} is in `environment` or in this list already; remove one of the two"),
            );
        } else if variable(cx, &name, place) {
            host_environment.push(name);
        }
    }
    let bytes = |field: Field<Structured>| match field {
        absent if !absent.is_written() => Some(Vec::new()),
        written => written.take().map(|Structured(bytes)| bytes),
    };
    Some(Wasm {
        source: source?,
        vm_id: wasm.vm_id.value()?,
        root_id: wasm.root_id.value()?,
        vm_configuration: bytes(wasm.vm_configuration)?,
        configuration: bytes(wasm.configuration)?,
        environment,
        host_environment,
        allowed_clusters: allowed?,
        allowed_capabilities: capabilities?,
        node: Arc::clone(&names.node),
        limits: limits(wasm.limits, at)?,
        allow_on_headers_stop_iteration: wasm.allow_on_headers_stop_iteration.take()?,
    })
}

/// Whether this can be a variable's name; otherwise it is said why not. Guests take what is before the first `=` for it.
fn variable(cx: &mut Lowering<'_, '_>, name: &str, at: Place) -> bool {
    let wrong = match name {
        "" => "a variable needs a name; write one",
        name if name.contains('=') => "no variable's name can hold `=`; write the name alone",
        name if name.contains('\0') => "no variable's name can hold a NUL byte; remove it",
        _ => return true,
    };
    cx.error(at, wrong);
    false
}

fn limits(field: Field<document::WasmLimits>, at: Place) -> Option<WasmLimits> {
    let (limits, _) = or_default(field, at)?;
    Some(WasmLimits {
        callback: limits.callback.value()?.0,
        start: limits.start.value()?.0,
        memory: limits.memory.value()?.0 as usize,
        calls: limits.calls.value()?.to(),
        call_response: limits.call_response.value()?.0 as usize,
        restarts: limits.restarts.value()?.to(),
        log_lines: limits.log_lines.value()?.to(),
    })
}

/// What every module begins with (WebAssembly core specification §5.5.16).
const MAGIC: &[u8] = b"\0asm";

/// What a component begins with: another layer than a module's (component model, Binary.md).
const LAYER: &[u8] = b"\x01\x00";

/// What is said of a module that is a component.
pub const COMPONENT: &str = "a WebAssembly component, which proxy-wasm does not know: build a core module, for wasm32-unknown-unknown or \
                             wasm32-wasip1 (`cargo component` and the target wasm32-wasip2 make components)";

/// Whether this is a component.
#[must_use]
pub fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) && bytes.get(6..8) == Some(LAYER)
}

fn module_file(cx: &mut Lowering<'_, '_>, file: &str, place: Place) -> Option<WasmSource> {
    let base = cx.file.path().parent().unwrap_or(Path::new(""));
    let path = base.join(file);
    if !cx.files.contains(&path) {
        cx.files.push(path.clone());
    }
    match (cx.read)(&path) {
        Ok(bytes) if is_component(&bytes) => {
            cx.error(place, format!("the file {} is {COMPONENT}", quoted(&path.to_string_lossy())));
            None
        }
        Ok(bytes) if bytes.starts_with(MAGIC) => {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            Some(WasmSource::File(path, hasher.finish()))
        }
        Ok(_) => {
            cx.error(place, format!("the file {} is no WebAssembly module", quoted(&path.to_string_lossy())));
            None
        }
        Err(error) => {
            let path = quoted(&path.to_string_lossy());
            cx.error(place, format!("the file {path} cannot be read: {}", crate::reason(&error)));
            None
        }
    }
}

fn inline(cx: &mut Lowering<'_, '_>, text: &str, place: Place) -> Option<WasmSource> {
    let text: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    match base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(bytes) if is_component(&bytes) => {
            cx.error(place, format!("this is {COMPONENT}"));
            None
        }
        Ok(bytes) if bytes.starts_with(MAGIC) => Some(WasmSource::Inline(bytes.into())),
        Ok(_) => {
            cx.error(place, "this is base64, but not of a WebAssembly module");
            None
        }
        Err(_) => {
            cx.error(place, "expected a module in base64; write what `base64 -w0 FILE` prints");
            None
        }
    }
}
