//! What is fixed of a filter and its machine when the configuration is loaded. Shared by all workers, immutable.

use crate::shared::{Owner, Shared};
use bytes::Bytes;
use pillion_config::model::{self, AllowedCapabilities, AllowedClusters, FailPolicy, WasmLimits};
use std::sync::Arc;

/// A plugin: one wasm filter of the configuration.
#[derive(Debug)]
pub struct Plugin {
    /// Its name (`plugin_name`).
    pub name: model::Name,
    /// Which root context of its module (`plugin_root_id`).
    pub root_id: String,
    /// What `proxy_on_configure` is given.
    pub configuration: Bytes,
    /// The clusters it may call.
    pub allowed_clusters: AllowedClusters,
    /// Its bounds; those of memory and start are its machine's.
    pub limits: WasmLimits,
    /// What becomes of its streams when it fails.
    pub fail: FailPolicy,
    /// Whether pausing at a head lets body callbacks come.
    pub allow_on_headers_stop_iteration: bool,
}

/// What a machine is of: plugins with the same are in one machine per worker.
#[derive(Debug, Default)]
pub struct MachineSpec {
    /// Under which id its data and queues are (`plugin_vm_id`).
    pub vm_id: String,
    /// What `proxy_on_vm_start` is given.
    pub configuration: Bytes,
    /// What WASI shows as the environment, `NAME=value` each.
    pub environment: Vec<Vec<u8>>,
    /// What it shares with machines of other workers.
    pub shared: Arc<Shared>,
    /// Keeps that for as long as anything is of this.
    pub owner: Option<Owner>,
    /// Bytes of linear memories and tables.
    pub memory: usize,
    /// What of the ABI it may use.
    pub capabilities: AllowedCapabilities,
    /// The workload it serves.
    pub node: Arc<Node>,
}

/// What guests are told of the workload they serve.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// What it is one of.
    pub cluster: String,
    /// What else there is to know, by name.
    pub metadata: model::Metadata,
}

impl Node {
    /// Of the configuration's; the machine's name where it has none.
    #[must_use]
    pub fn of(node: &model::Node) -> Self {
        let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            id: node.id.clone().unwrap_or_else(machine),
            cluster: node.cluster.clone(),
            metadata: node.metadata.clone(),
        }
    }
}

impl Plugin {
    /// Of a filter's model.
    #[must_use]
    pub fn of(filter: &model::Filter, wasm: &model::Wasm) -> Self {
        Self {
            name: filter.name.clone(),
            root_id: wasm.root_id.clone(),
            configuration: Bytes::copy_from_slice(&wasm.configuration),
            allowed_clusters: wasm.allowed_clusters.clone(),
            limits: wasm.limits.clone(),
            fail: filter.fail,
            allow_on_headers_stop_iteration: wasm.allow_on_headers_stop_iteration,
        }
    }
}

impl MachineSpec {
    /// Of a filter's model. The environment is that of the host first, then the filter's own.
    #[must_use]
    pub fn of(wasm: &model::Wasm, shared: Arc<Shared>) -> Self {
        let host = wasm.host_environment.iter().filter_map(|name| {
            use std::os::unix::ffi::OsStrExt;
            let value = std::env::var_os(name)?;
            Some([name.as_bytes(), b"=", value.as_bytes()].concat())
        });
        let own = wasm.environment.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
        Self {
            vm_id: wasm.vm_id.clone(),
            configuration: Bytes::copy_from_slice(&wasm.vm_configuration),
            environment: host.chain(own).collect(),
            owner: Some(shared.own(&wasm.vm_id)),
            shared,
            memory: wasm.limits.memory,
            capabilities: wasm.allowed_capabilities.clone(),
            node: Arc::new(Node::of(&wasm.node)),
        }
    }
}
