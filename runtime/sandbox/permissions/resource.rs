//! What of the machine has a quota, and how amounts of it are written.

use super::limits::script_limits;
use crate::manifest::{CpuQuota, Manifest, Permissions, ResourceQuotas, parse_size, spelled_size};

/// The amount of what has no bound.
pub const UNLIMITED: u64 = u64::MAX;

/// Millionths of a core in one.
const MICROS: f64 = 1e6;

/// Something of which a module may use so much. The text form is the manifest's key below `permissions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `resources.memory.maxHeapSize`: bytes of all its VMs together.
    HeapSize,
    /// `resources.memory.maxStackSize`: bytes of a script thread's stack.
    StackSize,
    /// `resources.cpu.maxCpuUsage`: millionths of a core.
    CpuUsage,
    /// `resources.storage.max`: bytes.
    Storage,
    /// `resources.network.maxBandwidth`: bytes a second.
    Bandwidth,
    /// `resources.network.connectionLimit`: connections at once.
    Connections,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::HeapSize, Self::StackSize, Self::CpuUsage, Self::Storage, Self::Bandwidth, Self::Connections];

    /// Its key below `permissions`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::HeapSize => "resources.memory.maxHeapSize",
            Self::StackSize => "resources.memory.maxStackSize",
            Self::CpuUsage => "resources.cpu.maxCpuUsage",
            Self::Storage => "resources.storage.max",
            Self::Bandwidth => "resources.network.maxBandwidth",
            Self::Connections => "resources.network.connectionLimit",
        }
    }

    /// The one with this key.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.key() == key)
    }

    /// Whether a module that says nothing of it has no bound.
    const fn is_open(self) -> bool {
        matches!(self, Self::CpuUsage | Self::Bandwidth)
    }

    /// `amount` as [`ResourceType::read`] reads it back.
    #[must_use]
    pub fn spelled(self, amount: u64) -> String {
        match self {
            _ if self.is_open() && amount == UNLIMITED => "unlimited".to_owned(),
            Self::CpuUsage => {
                let (whole, rest) = (amount / 1_000_000, amount % 1_000_000);
                let text = format!("{whole}.{rest:06}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Self::Connections => amount.to_string(),
            _ => spelled_size(amount),
        }
    }

    /// An amount as manifests write it, or `unlimited` where there may be no bound.
    #[must_use]
    pub fn read(self, text: &str) -> Option<u64> {
        match self {
            _ if self.is_open() && text == "unlimited" => Some(UNLIMITED),
            Self::CpuUsage => micros(text),
            Self::Connections => text.parse().ok(),
            _ => parse_size(text),
        }
        .filter(|amount| self.is_open() || *amount != UNLIMITED)
    }

    /// What `permissions`, those of the manifest or what is left of them, allow.
    #[must_use]
    pub fn amount(self, manifest: &Manifest, permissions: &Permissions) -> u64 {
        let resources = &permissions.resources;
        match self {
            Self::HeapSize => resources.memory.max_heap_size,
            Self::StackSize => resources.memory.max_stack_size.unwrap_or_else(|| self.default(manifest)),
            Self::CpuUsage => Self::share(&resources.cpu),
            Self::Storage => resources.storage.max,
            Self::Bandwidth => resources.network.max_bandwidth.unwrap_or(UNLIMITED),
            Self::Connections => u64::from(resources.network.connection_limit),
        }
    }

    /// The amount of [`ResourceType::CpuUsage`] that these allow.
    #[must_use]
    pub fn share(cpu: &CpuQuota) -> u64 {
        cpu.max_cpu_usage.map_or(UNLIMITED, |cores| (cores * MICROS).ceil() as u64)
    }

    /// What a module has of it without asking.
    #[must_use]
    pub fn default(self, manifest: &Manifest) -> u64 {
        let defaults = Permissions::default();
        match self {
            Self::StackSize => script_limits(manifest, &ResourceQuotas::default()).stack_size() as u64,
            _ => self.amount(manifest, &defaults),
        }
    }

    /// The least that a module can do with: a smaller amount is no quota but a fault.
    #[must_use]
    pub fn least(self, manifest: &Manifest) -> u64 {
        match self {
            Self::StackSize => script_limits(manifest, &ResourceQuotas::default()).least_stack_size() as u64,
            _ => 0,
        }
    }

    /// Sets the bound in `permissions`.
    pub(super) fn set(self, permissions: &mut Permissions, amount: u64) {
        let resources = &mut permissions.resources;
        let bound = (amount != UNLIMITED).then_some(amount);
        match self {
            Self::HeapSize => resources.memory.max_heap_size = amount,
            Self::StackSize => resources.memory.max_stack_size = bound,
            Self::CpuUsage => {
                resources.cpu.max_cpu_usage = bound.map(|micros| micros as f64 / MICROS);
                // a bound that an administrator sets is not one that is only counted
                resources.cpu.cpu_throttling_enabled |= bound.is_some();
            }
            Self::Storage => resources.storage.max = amount,
            Self::Bandwidth => resources.network.max_bandwidth = bound,
            Self::Connections => resources.network.connection_limit = u32::try_from(amount).unwrap_or(u32::MAX),
        }
    }
}

/// Cores such as `0.5` in millionths; finer ones are not told apart.
fn micros(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(rest) || rest.len() > 6 || text.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    whole.checked_add(format!("{rest:0<6}").parse().ok()?)
}
