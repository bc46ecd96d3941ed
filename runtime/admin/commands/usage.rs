//! What modules use of what all share, beside their quotas.

use serde::{Deserialize, Serialize};

use super::{CommandError, Commands};
use crate::monitor::metrics::{ProcessUsage, process};
use crate::sandbox::permissions::ResourceType;
use crate::sandbox::tracker::ModuleUsage;

/// What the process and each module use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageView {
    /// The process as a whole; nothing where the system does not tell.
    pub process: Option<ProcessUsage>,
    /// The modules that have a slot, those that use most of the processor first.
    pub modules: Vec<UsageRow>,
}

/// What one module uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The module.
    pub id: String,
    /// What it uses.
    #[serde(flatten)]
    pub usage: ModuleUsage,
    /// What it may use.
    pub quotas: Quotas,
}

/// What the newest running version of a module may use; nothing where it has no such bound, or none runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quotas {
    /// Bytes of the heaps of its VMs together, with what waits outside of them.
    pub memory: Option<u64>,
    /// Cores.
    pub cpu: Option<f64>,
    /// Bytes a second on the network.
    pub bandwidth: Option<u64>,
    /// Bytes on the disk.
    pub storage: Option<u64>,
}

impl Commands {
    /// What the process and the modules use.
    #[must_use]
    pub fn usage(&self) -> UsageView {
        let slots = self.list();
        let usages = self.tracker.usages(slots.iter().map(|slot| &*slot.id));
        let mut modules: Vec<_> = usages.into_iter().map(|(id, usage)| self.usage_row(id, usage)).collect();
        let most = |row: &UsageRow| (row.usage.cpu, row.usage.memory as f64);
        modules.sort_by(|one, other| {
            let order = most(other).partial_cmp(&most(one)).unwrap_or(std::cmp::Ordering::Equal);
            order.then_with(|| one.id.cmp(&other.id))
        });
        UsageView { process: process(), modules }
    }

    /// What one module uses; zeros, but for its storage, where it never ran in this process.
    ///
    /// # Errors
    /// Nothing is registered under this id.
    pub fn usage_of(&self, id: &str) -> Result<UsageRow, CommandError> {
        self.known(id)?;
        Ok(self.usage_row(id, self.tracker.usage(id)))
    }

    fn usage_row(&self, id: &str, usage: ModuleUsage) -> UsageRow {
        let quota = |resource| self.engine.permissions().quota(id, resource);
        let quotas = Quotas {
            memory: quota(ResourceType::HeapSize),
            cpu: quota(ResourceType::CpuUsage).map(|micros| micros as f64 / 1e6),
            bandwidth: quota(ResourceType::Bandwidth),
            storage: quota(ResourceType::Storage),
        };
        UsageRow { id: id.to_owned(), usage, quotas }
    }
}
