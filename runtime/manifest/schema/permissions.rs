//! What a module asks for beyond what is its own. An administrator grants or narrows it.

use std::time::Duration;

use serde::Serialize;

use super::millis;

/// `permissions`: asked of the system, of the application, and quotas.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// Databases, files, network and environment.
    pub system: SystemPermissions,
    /// What belongs to other modules.
    pub application: ApplicationPermissions,
    /// How much of the machine.
    pub resources: ResourceQuotas,
}

/// `permissions.system`. Everything defaults to nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemPermissions {
    /// Other modules' databases.
    pub database: Vec<DatabasePermission>,
    /// Folders and files.
    pub filesystem: Vec<FilesystemPermission>,
    /// Hosts.
    pub network: Vec<NetworkPermission>,
    /// Names of environment variables.
    pub environment: Vec<String>,
}

/// Access to another module's database.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabasePermission {
    /// The other module's id, or `caller`: the module that calls a service of this one. Required.
    pub module: String,
    /// Default: `read`.
    pub access: Access,
}

/// Access to files below a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemPermission {
    /// A path relative to the module's own data folder, never leaving it. Required.
    pub path: String,
    /// Default: `read`.
    pub access: Access,
}

/// What may be done to a database or to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// Access to a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPermission {
    /// A host name, an address, or `*.` before a name for all names below it. Lower case. Required.
    pub host: String,
    /// Ports, each 1 to 65,535. Default: 443.
    pub ports: Vec<u16>,
}

/// `permissions.application`. Everything defaults to nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationPermissions {
    /// Paths of other modules' pages; a `/*` at the end means everything below.
    pub routes: Vec<String>,
    /// Paths of other modules' apis; a `/*` at the end means everything below.
    pub apis: Vec<String>,
    /// Ids of other modules' components.
    pub components: Vec<String>,
    /// Settings of other modules.
    pub configurations: Vec<ConfigurationPermission>,
}

/// Access to another module's settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationPermission {
    /// The other module's id. Required.
    pub module: String,
    /// The keys, at least one. Required.
    pub keys: Vec<String>,
}

/// `permissions.resources`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceQuotas {
    /// Memory.
    pub memory: MemoryQuota,
    /// Processor time.
    pub cpu: CpuQuota,
    /// Disk.
    pub storage: StorageQuota,
    /// Connections and bandwidth.
    pub network: NetworkQuota,
}

/// `permissions.resources.memory`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryQuota {
    /// Bytes of all the module's VMs together, 1 MiB to 64 GiB. Default: 100 MiB, or `runtime.limits.memory` if larger.
    pub max_heap_size: u64,
    /// Bytes of a script thread's stack, 1 MiB to 4 GiB and at least [`LimitsSpec::least_stack`](super::LimitsSpec::least_stack).
    /// Default: none; it follows from the memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stack_size: Option<u64>,
    /// Bytes of a VM's heap above which it is collected in full between calls. Default: none; the VM decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garbage_collection_threshold: Option<u64>,
    /// Whether growth between collections is watched and reported. Default: false.
    pub memory_leak_detection: bool,
    /// Whether use is measured and reported. Default: true.
    pub memory_usage_monitoring: bool,
}

impl Default for MemoryQuota {
    fn default() -> Self {
        Self {
            max_heap_size: 100 << 20,
            max_stack_size: None,
            garbage_collection_threshold: None,
            memory_leak_detection: false,
            memory_usage_monitoring: true,
        }
    }
}

/// `permissions.resources.cpu`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuQuota {
    /// Cores' worth of CPU time (0.5 is half of one core), above 0, at most 64. Default: none, no quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu_usage: Option<f64>,
    /// The window over which `max_cpu_usage` is measured, 1 ms to 1 min. Default: 100 ms.
    #[serde(serialize_with = "millis")]
    pub cpu_quota_period: Duration,
    /// Whether requests beyond the quota wait for their turn; otherwise they are turned away. Default: true.
    pub cpu_throttling_enabled: bool,
    /// Whether use is measured and reported. Default: true.
    pub cpu_monitoring_enabled: bool,
}

impl Default for CpuQuota {
    fn default() -> Self {
        Self {
            max_cpu_usage: None,
            cpu_quota_period: Duration::from_millis(100),
            cpu_throttling_enabled: true,
            cpu_monitoring_enabled: true,
        }
    }
}

/// `permissions.resources.storage`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageQuota {
    /// Bytes of database, kv and files together, up to 1 TiB. Default: 64 MiB.
    pub max: u64,
}

impl Default for StorageQuota {
    fn default() -> Self {
        Self { max: 64 << 20 }
    }
}

/// `permissions.resources.network`: bounds on top of the hosts granted by `permissions.system.network`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkQuota {
    /// Hosts as in [`NetworkPermission::host`]. Default: empty, and then those of `permissions.system.network`.
    pub allowed_hosts: Vec<String>,
    /// Ports. Default: empty, and then those of `permissions.system.network`.
    pub allowed_ports: Vec<u16>,
    /// Bytes a second in both directions together. Default: none, no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bandwidth: Option<u64>,
    /// Connections at once, 1 to 1,024. Default: 8.
    pub connection_limit: u32,
    /// Whether plain `http:` is refused. Default: false.
    pub ssl_required: bool,
}

impl Default for NetworkQuota {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_ports: Vec::new(),
            max_bandwidth: None,
            connection_limit: 8,
            ssl_required: false,
        }
    }
}
