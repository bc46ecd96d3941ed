//! Questions to the manager: whether a module may, and how much.

use std::sync::Arc;

use replug_scripts::CallContext;

use super::error::QuotaExceeded;
use super::live::{At, Live};
use super::manager::PermissionManager;
use super::permission::Permission;
use super::resource::ResourceType;
use crate::store::audit::Who;

/// Who asks, and in which call.
#[derive(Clone, Debug)]
pub struct PermissionContext {
    /// On whose behalf: a script's call is the runtime's own doing.
    pub who: Who,
    /// The version that asks; without it the newest that runs.
    pub version: Option<Arc<str>>,
    /// What is called, such as `http.get`.
    pub call: String,
    /// The request at whose origin it stands, with whom it is for.
    pub request: Option<CallContext>,
}

impl PermissionContext {
    /// A call of a script.
    #[must_use]
    pub fn of(function: &str, call: &CallContext) -> Self {
        let (version, request) = (Some(Arc::clone(&call.version)), Some(call.clone()));
        Self { who: Who::Runtime, version, call: function.to_owned(), request }
    }

    /// A question of somebody else's.
    #[must_use]
    pub fn by(who: Who, call: &str) -> Self {
        Self { who, version: None, call: call.to_owned(), request: None }
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionResult {
    /// It may.
    Granted,
    /// It may not.
    Denied {
        /// Why, and what would give it.
        reason: String,
    },
}

impl PermissionResult {
    /// Whether it may.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted)
    }
}

impl PermissionManager {
    /// Whether the newest running instance of `module` has `permission`. Nothing is counted or written.
    #[must_use]
    pub fn has_permission(&self, module: &str, permission: &Permission) -> bool {
        self.newest(module).is_some_and(|live| live.grants().permit("", permission).is_ok())
    }

    /// Whether the running version of `module` that `context` names has `permission`; counted, and a denial is written to the
    /// audit log.
    #[must_use]
    pub fn check_permission(
        &self,
        module: &str,
        permission: &Permission,
        context: &PermissionContext,
    ) -> PermissionResult {
        let result = match self.meant(module, context) {
            Some(live) => match live.grants().permit(&context.call, permission) {
                Ok(()) => PermissionResult::Granted,
                Err(error) => PermissionResult::Denied { reason: error.message },
            },
            None => PermissionResult::Denied {
                reason: format!("permission denied: {}: {module} does not run", context.call),
            },
        };
        self.log_permission_check(module, permission, context, &result);
        result
    }

    /// Counts the answer to a question; a denial is written to the audit log, repeats of it at most once a minute.
    pub fn log_permission_check(
        &self,
        module: &str,
        permission: &Permission,
        context: &PermissionContext,
        result: &PermissionResult,
    ) {
        let Some(live) = self.meant(module, context) else {
            tracing::debug!(module, %permission, call = %context.call, "a module that does not run was asked about");
            return;
        };
        match result {
            PermissionResult::Granted => live.allow(),
            PermissionResult::Denied { reason } => {
                live.deny(context.who, &context.call, reason, context.request.as_ref())
            }
        }
    }

    /// Whether `module` may use `amount` more of `resource`, in the resource's unit, at this moment: a question of administrators
    /// and of applications around the runtime. What modules do is held to the same quotas where it is done, and does not ask here:
    /// a store, a heap or a share has to be reserved in the same step, or two who ask at once would both get the last of it.
    ///
    /// | resource | what counts beside the amount |
    /// |---|---|
    /// | `Storage` | what store, files and database take |
    /// | `HeapSize` | what its VMs and waiting values have reserved: one that runs, what it may grow to |
    /// | `CpuUsage` | the rate of the last measurement; as long as calls have to wait for the processor, all of the quota, so an amount of 0 asks whether a call may begin |
    /// | `StackSize` | nothing: the amount is that of one thread |
    /// | `Bandwidth` | nothing: the amount is a rate, of one running version |
    /// | `Connections` | nothing: the amount is how many at once, of one running version |
    ///
    /// It goes by the quotas of the newest version that runs; what does not run may use nothing.
    #[must_use]
    pub fn check_resource_quota(&self, module: &str, resource: ResourceType, amount: u64) -> bool {
        self.exceeded(module, resource, amount).is_none()
    }

    /// As [`PermissionManager::check_resource_quota`]; what is too much is counted as a denial, and written to the audit log.
    ///
    /// # Errors
    /// It is too much; nothing was reserved otherwise either.
    pub fn enforce_resource_quota(
        &self,
        module: &str,
        resource: ResourceType,
        amount: u64,
    ) -> Result<(), QuotaExceeded> {
        let Some(exceeded) = self.exceeded(module, resource, amount) else { return Ok(()) };
        if let Some(live) = self.newest(module) {
            live.denied.inc();
            live.exceed(resource, At::Question, None);
        }
        Err(exceeded)
    }

    /// `module`'s quota of `resource` refused a call of `function` that another module made; it is written to the audit log.
    pub fn exceeded_by(&self, module: &str, resource: ResourceType, function: &str, call: &CallContext) {
        if let Some(live) = self.newest(module) {
            live.exceed(resource, At::Call(function), Some(call));
        }
    }

    /// Shows what `module` uses of `resource` now as a metric.
    pub fn log_resource_usage(&self, module: &str, resource: ResourceType, amount: u64) {
        if let Some(live) = self.newest(module) {
            let shown = i64::try_from(amount).unwrap_or(i64::MAX);
            self.inner.metrics.resource_usage(live.key(), resource.key()).set(shown);
        }
    }

    /// How much of `resource` the newest running instance of `module` may use, in the resource's unit; nothing where it does
    /// not run or has no such bound.
    #[must_use]
    pub fn quota(&self, module: &str, resource: ResourceType) -> Option<u64> {
        let live = self.newest(module)?;
        let amount = resource.amount(live.manifest(), live.grants().effective());
        (amount != super::resource::UNLIMITED).then_some(amount)
    }

    fn exceeded(&self, module: &str, resource: ResourceType, amount: u64) -> Option<QuotaExceeded> {
        let usage = &self.inner.usage;
        let (quota, taken) = match self.newest(module) {
            Some(live) => {
                let grants = live.grants();
                let effective = grants.effective();
                (resource.amount(live.manifest(), effective), usage.taken(module, resource, &effective.resources))
            }
            None => (0, usage.used(module, resource)),
        };
        let wanted = taken.unwrap_or(0).saturating_add(amount);
        (wanted > quota).then(|| QuotaExceeded { module: module.to_owned(), resource, wanted, quota })
    }

    fn meant(&self, module: &str, context: &PermissionContext) -> Option<Arc<Live>> {
        match &context.version {
            Some(version) => self.of_version(module, version),
            None => self.newest(module),
        }
    }
}
