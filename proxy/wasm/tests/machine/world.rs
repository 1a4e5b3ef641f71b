//! What the tests of machines share: a guest in text becomes a machine.

use bytes::Bytes;
use pillion_config::model::{AllowedCapabilities, AllowedClusters, FailPolicy, Name, WasmLimits};
use pillion_wasm::{
    engine,
    module::{Module, ModuleError},
    plugin::{MachineSpec, Plugin},
    shared::Shared,
    vm::{Machine, StartError, Starts},
};
use std::{rc::Rc, sync::Arc, time::Duration};

/// Why there is no machine.
#[derive(Debug)]
pub(crate) enum Refused {
    Compile(String),
    Module(ModuleError),
    Start(StartError),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compile(words) => f.write_str(words),
            Self::Module(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
        }
    }
}

/// What a machine is given.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) memory: usize,
    pub(crate) callback: Duration,
    pub(crate) configuration: &'static str,
    pub(crate) environment: Vec<Vec<u8>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            shared: Arc::default(),
            memory: 16 << 20,
            callback: Duration::from_millis(20),
            configuration: "{}",
            environment: Vec::new(),
        }
    }
}

/// The smallest guest that loads; `body` is put into it.
pub(crate) fn guest(body: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 2)
            (global $at (mut i32) (i32.const 65536))
            (func (export "proxy_abi_version_0_2_1"))
            (func $malloc (export "proxy_on_memory_allocate") (param $size i32) (result i32)
                (global.get $at)
                (global.set $at (i32.add (global.get $at) (local.get $size))))
            {body})"#
    )
}

impl World {
    pub(crate) fn module(&self, text: &str) -> Result<Module, Refused> {
        self.linked(text, &AllowedCapabilities::All)
    }

    pub(crate) fn linked(&self, text: &str, capabilities: &AllowedCapabilities) -> Result<Module, Refused> {
        let bytes = wat::parse_str(text).map_err(|error| Refused::Compile(error.to_string()))?;
        let artefact = engine::compile(&bytes).map_err(Refused::Compile)?;
        let runtime = engine::runtime().expect("this machine runs the engine");
        // SAFETY: made just now by the same binary.
        let compiled = unsafe { wasmtime::Module::deserialize(&runtime.engine, artefact) };
        let compiled = compiled.map_err(|error| Refused::Compile(format!("{error:#}")))?;
        Module::link(runtime, &compiled, capabilities).map_err(Refused::Module)
    }

    pub(crate) fn machine(&self, text: &str) -> Result<Rc<Machine>, Refused> {
        self.staged(text, &Starts::ToServe).map(|(machine, _)| machine)
    }

    pub(crate) fn staged(&self, text: &str, starts: &Starts) -> Result<(Rc<Machine>, u32), Refused> {
        let module = self.module(text)?;
        let spec = Arc::new(MachineSpec {
            vm_id: "v".to_owned(),
            configuration: Bytes::from_static(b"vmconf"),
            environment: self.environment.clone(),
            shared: Arc::clone(&self.shared),
            owner: None,
            memory: self.memory,
            capabilities: AllowedCapabilities::All,
            node: Arc::default(),
        });
        let plugin = Arc::new(Plugin {
            name: Name("plug".into()),
            root_id: "rid".to_owned(),
            configuration: Bytes::from_static(self.configuration.as_bytes()),
            allowed_clusters: AllowedClusters::All,
            limits: WasmLimits {
                callback: self.callback,
                start: Duration::from_millis(500),
                memory: self.memory,
                calls: 10,
                call_response: 1 << 20,
                restarts: 5,
                log_lines: 1000,
            },
            fail: FailPolicy::Closed,
            allow_on_headers_stop_iteration: false,
        });
        let runtime = engine::runtime().expect("this machine runs the engine");
        let (machine, _told) =
            Machine::start(runtime, &module, &spec, plugin.limits.start, starts).map_err(Refused::Start)?;
        let root = machine.add_root(&plugin, None).map_err(Refused::Start)?;
        Ok((machine, root))
    }

    /// Runs `body` (instructions that leave a word) in `proxy_on_configure`; what it left. Imports stand in `imports`.
    pub(crate) fn run(&self, imports: &str, body: &str) -> u32 {
        let text = guest_with(
            imports,
            r#"(import "env" "proxy_set_shared_data" (func $say (param i32 i32 i32 i32 i32) (result i32)))"#,
            &format!(
                r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (local $r i32)
                    (local.set $r {body})
                    (i32.store (i32.const 60000) (local.get $r))
                    (drop (call $say (i32.const 0) (i32.const 0) (i32.const 60000) (i32.const 4) (i32.const 0)))
                    (i32.const 1))"#
            ),
        );
        self.staged(&text, &Starts::on_trial()).unwrap_or_else(|refused| panic!("{refused}: {text}"));
        let (value, _) = self.shared.data.get("v", b"").expect("the guest said something");
        u32::from_le_bytes(*value.first_chunk().expect("a word"))
    }
}

/// As [`guest`], with imports, which come first in a module.
pub(crate) fn guest_with(imports: &str, more: &str, body: &str) -> String {
    let whole = guest(body);
    whole.replacen("(module", &format!("(module {imports} {more}"), 1)
}
