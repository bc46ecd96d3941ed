//! The accounts of the modules of a runtime.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::cpu::CpuAccount;
use super::heap::HeapAccount;
use crate::sandbox::tracker::Counts;

/// What a module uses, over all its versions.
#[derive(Debug)]
pub struct Account {
    /// Its share of the processor.
    pub cpu: CpuAccount,
    /// The memory of its VMs, and of what waits for it outside of them.
    pub heap: Arc<HeapAccount>,
    /// What is told of it.
    pub counts: Counts,
}

impl Default for Account {
    fn default() -> Self {
        Self { cpu: CpuAccount::new(Instant::now()), heap: Arc::default(), counts: Counts::default() }
    }
}

/// The account of each module that ran. Clones share them.
#[derive(Clone, Default)]
pub struct ModuleAccounts(Arc<Mutex<HashMap<Arc<str>, Arc<Account>>>>);

impl ModuleAccounts {
    /// The account of `module`: one for all its versions, until it is forgotten.
    #[must_use]
    pub fn of(&self, module: &Arc<str>) -> Arc<Account> {
        Arc::clone(self.table().entry(Arc::clone(module)).or_default())
    }

    /// The account of `module`, if it ever ran.
    #[must_use]
    pub fn get(&self, module: &str) -> Option<Arc<Account>> {
        self.table().get(module).cloned()
    }

    /// All accounts.
    #[must_use]
    pub fn all(&self) -> Vec<(Arc<str>, Arc<Account>)> {
        self.table().iter().map(|(module, account)| (Arc::clone(module), Arc::clone(account))).collect()
    }

    /// Forgets the account of a module of which no version is registered any more.
    pub fn forget(&self, module: &str) {
        self.table().remove(module);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Account>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ModuleAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleAccounts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_module_share_an_account_until_it_is_forgotten() {
        let accounts = ModuleAccounts::default();
        let (one, other) = (accounts.of(&"shop".into()), accounts.of(&"shop".into()));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &accounts.of(&"cart".into())));
        one.counts.call();
        drop((one, other));
        assert_eq!(
            accounts.get("shop").expect("it ran").counts.calls(),
            1,
            "a pause pays no debts and forgets nothing"
        );
        accounts.forget("shop");
        assert!(accounts.get("shop").is_none() && accounts.of(&"shop".into()).counts.calls() == 0);
    }
}
