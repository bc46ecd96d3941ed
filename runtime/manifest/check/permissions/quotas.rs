//! `permissions.resources`: how much of the machine the module may use.

use super::super::super::{CpuQuota, MemoryQuota, NetworkQuota, ResourceQuotas, RuntimeSpec, StorageQuota};
use super::super::fields::{Fields, Item};
use super::super::{Checker, spelled_size};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Checker<'_, '_> {
    /// `permissions.resources`, which may be absent: the heap's default follows `runtime` then, too.
    pub(super) fn resources(&mut self, item: Option<&Item<'_>>, runtime: &RuntimeSpec) -> ResourceQuotas {
        let mut quotas = ResourceQuotas::default();
        quotas.memory.max_heap_size = quotas.memory.max_heap_size.max(runtime.limits.memory);
        let Some(mut fields) = item.and_then(|item| Fields::open(self, item)) else { return quotas };
        if let Some(item) = fields.take(self, "memory") {
            self.memory(&item, runtime, &mut quotas.memory);
        }
        if let Some(item) = fields.take(self, "cpu") {
            self.cpu(&item, &mut quotas.cpu);
        }
        if let Some(mut storage) = fields.take(self, "storage").and_then(|item| Fields::open(self, &item)) {
            let max = storage.read(self, "max", |cx, item| cx.size(item, 0..=1024 * GIB));
            quotas.storage = max.map_or(quotas.storage, |max| StorageQuota { max });
            storage.close(self);
        }
        if let Some(item) = fields.take(self, "network") {
            self.network(&item, &mut quotas.network);
        }
        fields.close(self);
        quotas
    }

    fn memory(&mut self, item: &Item<'_>, runtime: &RuntimeSpec, quota: &mut MemoryQuota) {
        let Some(mut fields) = Fields::open(self, item) else { return };
        if let Some(item) = fields.take(self, "maxHeapSize")
            && let Some(heap) = self.size(&item, MIB..=64 * GIB)
        {
            let vm = runtime.limits.memory;
            let all = vm.saturating_mul(runtime.workers as u64);
            if heap < vm {
                let message = format!("{}: {heap} bytes are less than one VM may use ({vm})", item.path);
                self.fault(&item, message, Some("raise it, or lower runtime.limits.memory".to_owned()));
            } else if heap < all {
                let message = format!("{}: {heap} bytes are less than all VMs may use together ({all})", item.path);
                let help = "raise it, or lower runtime.workers or runtime.limits.memory".to_owned();
                self.report.warn(item.node.place, message, Some(help));
            }
            quota.max_heap_size = heap;
        }
        quota.max_stack_size = fields.read(self, "maxStackSize", |cx, item| cx.stack(item, runtime));
        quota.garbage_collection_threshold =
            fields.read(self, "garbageCollectionThreshold", |cx, item| cx.size(item, 64 << 10..=64 * GIB));
        let leaks = fields.read(self, "memoryLeakDetection", Self::boolean);
        quota.memory_leak_detection = leaks.unwrap_or(quota.memory_leak_detection);
        let monitoring = fields.read(self, "memoryUsageMonitoring", Self::boolean);
        quota.memory_usage_monitoring = monitoring.unwrap_or(quota.memory_usage_monitoring);
        fields.close(self);
    }

    /// `maxStackSize`, which is at least what values within the memory limit need.
    fn stack(&mut self, item: &Item<'_>, runtime: &RuntimeSpec) -> Option<u64> {
        let stack = self.size(item, MIB..=4 * GIB)?;
        let (memory, least) = (runtime.limits.memory, runtime.limits.least_stack());
        if stack < least {
            let [stack, least, memory] = [stack, least, memory].map(spelled_size);
            let message = format!("{}: {stack} are less than the {least} that VMs of {memory} need", item.path);
            let help = format!("write at least {least}, or leave it out, or lower runtime.limits.memory");
            self.fault(item, message, Some(help));
            return None;
        }
        Some(stack)
    }

    fn cpu(&mut self, item: &Item<'_>, quota: &mut CpuQuota) {
        let Some(mut fields) = Fields::open(self, item) else { return };
        quota.max_cpu_usage = fields.read(self, "maxCpuUsage", |cx, item| cx.share(item, 64.0));
        let period = fields.read(self, "cpuQuotaPeriod", |cx, item| cx.duration(item, 1..=60_000));
        quota.cpu_quota_period = period.unwrap_or(quota.cpu_quota_period);
        let throttling = fields.read(self, "cpuThrottlingEnabled", Self::boolean);
        quota.cpu_throttling_enabled = throttling.unwrap_or(quota.cpu_throttling_enabled);
        let monitoring = fields.read(self, "cpuMonitoringEnabled", Self::boolean);
        quota.cpu_monitoring_enabled = monitoring.unwrap_or(quota.cpu_monitoring_enabled);
        fields.close(self);
    }

    fn network(&mut self, item: &Item<'_>, quota: &mut NetworkQuota) {
        let Some(mut fields) = Fields::open(self, item) else { return };
        let hosts = fields.read(self, "allowedHosts", |cx, item| cx.names(item, "host", Self::host));
        quota.allowed_hosts = hosts.unwrap_or_default();
        quota.allowed_ports = fields.read(self, "allowedPorts", Self::port_list).unwrap_or_default();
        quota.max_bandwidth = fields.read(self, "maxBandwidth", |cx, item| cx.size(item, 1024..=1024 * GIB));
        let connections = fields.read(self, "connectionLimit", |cx, item| cx.whole(item, 1..=1024));
        quota.connection_limit = connections.unwrap_or(quota.connection_limit);
        quota.ssl_required = fields.read(self, "sslRequired", Self::boolean).unwrap_or(quota.ssl_required);
        fields.close(self);
    }
}
