//! The accounts of the modules of a runtime.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::cpu::CpuAccount;
use super::heap::HeapAccount;
use super::load::Load;
use super::rota::{Turn, User};
use super::run_queue::RunQueue;
use crate::sandbox::tracker::Counts;

/// What a module uses, over all its versions.
#[derive(Debug)]
pub struct Account {
    /// Its share of the processor.
    pub cpu: CpuAccount,
    /// How busy it is.
    pub load: Load,
    /// Where it waits for the processors, with the runtime's other modules, when it keeps them busy.
    pub run_queue: Arc<RunQueue>,
    /// The memory of its VMs, and of what waits for it outside of them.
    pub heap: Arc<HeapAccount>,
    /// What is told of it.
    pub counts: Counts,
}

impl Default for Account {
    /// Of a module that shares the processors with nobody.
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Account {
    fn new(run_queue: Arc<RunQueue>) -> Self {
        let now = Instant::now();
        Self {
            cpu: CpuAccount::new(now),
            load: Load::new(now),
            run_queue,
            heap: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// The calling thread, of this module, which keeps the processors busy, is to run on: keeps the turn that it `holds`, or
    /// sleeps until it has one; without one until `until`, or until `is_wanted` says no.
    #[must_use]
    pub fn take_turn(&self, holds: Option<Turn>, until: Instant, is_wanted: impl Fn() -> bool) -> Option<Turn> {
        let user = User { module: std::ptr::from_ref(self).addr(), used: self.counts.cpu_time() };
        self.run_queue.take_turn(holds, user, until, is_wanted)
    }
}

/// The account of each module that ran. Clones share them.
#[derive(Clone, Default)]
pub struct ModuleAccounts(Arc<Accounts>);

#[derive(Default)]
struct Accounts {
    by_module: Mutex<HashMap<Arc<str>, Arc<Account>>>,
    run_queue: Arc<RunQueue>,
}

impl ModuleAccounts {
    /// The accounts of modules that have so many processors among them.
    #[must_use]
    pub fn on_processors(count: usize) -> Self {
        let run_queue = Arc::new(RunQueue::new(count));
        Self(Arc::new(Accounts { by_module: Mutex::default(), run_queue }))
    }

    /// The account of `module`: one for all its versions, until it is forgotten.
    #[must_use]
    pub fn of(&self, module: &Arc<str>) -> Arc<Account> {
        let new = || Arc::new(Account::new(Arc::clone(&self.0.run_queue)));
        Arc::clone(self.table().entry(Arc::clone(module)).or_insert_with(new))
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
        self.0.by_module.lock().unwrap_or_else(PoisonError::into_inner)
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
