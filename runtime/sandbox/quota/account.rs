//! The accounts of the modules of a runtime.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::cpu::CpuAccount;
use super::heap::HeapAccount;
use crate::sandbox::tracker::Tracker;

/// What a module uses, over all its versions that run.
#[derive(Debug)]
pub struct Account {
    /// Its share of the processor.
    pub cpu: CpuAccount,
    /// The memory of its VMs.
    pub heap: Arc<HeapAccount>,
    /// What is told of it.
    pub tracker: Tracker,
}

impl Default for Account {
    fn default() -> Self {
        Self { cpu: CpuAccount::new(Instant::now()), heap: Arc::default(), tracker: Tracker::default() }
    }
}

/// The account of each module that runs. Clones share them.
#[derive(Clone, Default)]
pub struct ModuleAccounts(Arc<Mutex<HashMap<Arc<str>, Weak<Account>>>>);

impl ModuleAccounts {
    /// The account of `module`: one for all its versions, as long as any of them runs.
    #[must_use]
    pub fn of(&self, module: &Arc<str>) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(module).and_then(Weak::upgrade) {
            return account;
        }
        accounts.retain(|_, account| account.strong_count() > 0);
        let account = Arc::new(Account::default());
        accounts.insert(Arc::clone(module), Arc::downgrade(&account));
        account
    }

    /// The account of `module` while it runs.
    #[must_use]
    pub fn running(&self, module: &str) -> Option<Arc<Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(module).and_then(Weak::upgrade)
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
    fn versions_of_a_module_share_an_account_which_goes_with_the_last() {
        let accounts = ModuleAccounts::default();
        let (one, other) = (accounts.of(&"shop".into()), accounts.of(&"shop".into()));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &accounts.of(&"cart".into())));
        drop((one, other));
        assert!(accounts.running("shop").is_none());
        assert_eq!(accounts.of(&"shop".into()).tracker.usage().calls, 0);
    }
}
