//! The resource tracker: what each module uses, counted where it is used and read as one picture.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::permissions::ResourceType;
use super::ports::Usage;
use super::quota::ModuleAccounts;
use super::quota::storage::{StorageLedger, Used};
use crate::manifest::ResourceQuotas;
use crate::monitor::Metrics;
use crate::monitor::metrics::{BytesMoved, Traffic};

mod counts;

#[cfg(test)]
mod tests;

pub use counts::Counts;

/// What a module uses, over all its versions, since the first of them ran in this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleUsage {
    /// Bytes that the heaps of its VMs hold, and the values that wait for it.
    pub memory: u64,
    /// The most that they held together.
    pub peak_memory: u64,
    /// Cores that its scripts kept busy between the last two measurements.
    pub cpu: f64,
    /// Milliseconds of processor time that its scripts used.
    pub cpu_millis: u64,
    /// Calls of its scripts a second, between the last two measurements.
    pub call_rate: f64,
    /// Calls of its scripts.
    pub calls: u64,
    /// Bytes of the bodies of what it was asked and answered.
    pub requests: BytesMoved,
    /// Bytes on the wire of what it asked others.
    pub network: BytesMoved,
    /// Bytes that it keeps on the disk.
    pub storage: Used,
}

/// What all modules of a runtime use. Clones share it.
#[derive(Clone)]
pub struct ResourceTracker {
    accounts: ModuleAccounts,
    storage: StorageLedger,
    metrics: Metrics,
    measured: Arc<Mutex<Measured>>,
}

/// What was counted at the last measurement, and what it came to since the one before.
#[derive(Default)]
struct Measured {
    at: Option<Instant>,
    modules: HashMap<Arc<str>, Rates>,
}

#[derive(Clone, Copy, Default)]
struct Rates {
    cpu_time: Duration,
    calls: u64,
    /// Cores.
    cpu: f64,
    /// Calls a second.
    call_rate: f64,
}

impl ResourceTracker {
    /// The tracker of the modules that have these accounts, keep this storage and are measured by `metrics`.
    #[must_use]
    pub fn new(accounts: ModuleAccounts, storage: StorageLedger, metrics: Metrics) -> Self {
        Self { accounts, storage, metrics, measured: Arc::default() }
    }

    /// Measures how much of the processor each module used since the last measurement: call it now and then. Gives the
    /// modules that ran so far.
    pub fn measure(&self, now: Instant) -> Vec<Arc<str>> {
        let mut measured = self.measured();
        let accounts = self.accounts.all();
        let passed = measured.at.map(|before| now.saturating_duration_since(before).as_secs_f64());
        let before = std::mem::take(&mut measured.modules);
        measured.at = Some(now);
        for (module, account) in &accounts {
            let (cpu_time, calls) = (account.counts.cpu_time(), account.counts.calls());
            let known = before.get(module).copied().unwrap_or_default();
            // a module that is new may have run for less than the time that passed: its rate is an average over it
            let rate = |change: f64| passed.filter(|passed| *passed > 0.0).map_or(0.0, |passed| change / passed);
            let cpu = rate(cpu_time.saturating_sub(known.cpu_time).as_secs_f64());
            let call_rate = rate(calls.saturating_sub(known.calls) as f64);
            measured.modules.insert(Arc::clone(module), Rates { cpu_time, calls, cpu, call_rate });
        }
        accounts.into_iter().map(|(module, _)| module).collect()
    }

    /// What `module` uses; zeros for one that never ran.
    #[must_use]
    pub fn usage(&self, module: &str) -> ModuleUsage {
        self.of(module, &self.metrics.traffic())
    }

    /// What each of `modules` uses.
    #[must_use]
    pub fn usages<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, ModuleUsage)> {
        let traffic = self.metrics.traffic();
        modules.into_iter().map(|module| (module, self.of(module, &traffic))).collect()
    }

    fn of(&self, module: &str, traffic: &HashMap<String, Traffic>) -> ModuleUsage {
        let rates = self.measured().modules.get(module).copied().unwrap_or_default();
        let Traffic { requests, network } = traffic.get(module).copied().unwrap_or_default();
        let storage = self.storage.used(module).unwrap_or_else(|error| {
            tracing::warn!(module, %error, "its storage cannot be told");
            Used::default()
        });
        let (cpu, call_rate) = (rates.cpu, rates.call_rate);
        let usage = ModuleUsage { cpu, call_rate, requests, network, storage, ..ModuleUsage::default() };
        let Some(account) = self.accounts.get(module) else { return usage };
        let counts = &account.counts;
        ModuleUsage {
            memory: counts.memory(),
            peak_memory: counts.peak_memory(),
            cpu_millis: u64::try_from(counts.cpu_time().as_millis()).unwrap_or(u64::MAX),
            calls: counts.calls(),
            ..usage
        }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage for ResourceTracker {
    fn used(&self, module: &str, resource: ResourceType) -> Option<u64> {
        match resource {
            ResourceType::HeapSize => Some(self.accounts.get(module).map_or(0, |account| account.counts.memory())),
            ResourceType::Storage => self.storage.used(module).ok().map(|used| used.total()),
            ResourceType::CpuUsage => {
                let cores = self.measured().modules.get(module)?.cpu;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a few cores, never below 0"
                )]
                let micros = (cores * 1e6).round() as u64;
                Some(micros)
            }
            ResourceType::StackSize | ResourceType::Bandwidth | ResourceType::Connections => None,
        }
    }

    fn taken(&self, module: &str, resource: ResourceType, quotas: &ResourceQuotas) -> Option<u64> {
        let (used, account) = (self.used(module, resource), self.accounts.get(module));
        match (resource, account) {
            (ResourceType::HeapSize, Some(account)) => Some(used.unwrap_or(0).max(account.heap.reserved())),
            (ResourceType::CpuUsage, Some(account)) => {
                let (used, quota) = (used.unwrap_or(0), ResourceType::share(&quotas.cpu));
                let waits = !account.cpu.wait(&quotas.cpu, Instant::now()).is_zero();
                // what is measured lags behind, and a period's share may be used at once
                Some(if waits { used.max(quota.saturating_add(1)) } else { used.min(quota) })
            }
            _ => used,
        }
    }
}

impl std::fmt::Debug for ResourceTracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceTracker").finish_non_exhaustive()
    }
}
