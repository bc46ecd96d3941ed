//! What the VMs of actors and events are owed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{HeapAccount, HeapShare, LEAST_ROOM};

/// A worker for actors and events: for as long as it has no VM, room is left to it.
#[derive(Debug)]
pub struct AsideRoom {
    account: Arc<HeapAccount>,
    /// Its VMs; one that a verdict ended may hold calls while another is made.
    vms: AtomicU64,
}

impl AsideRoom {
    /// One worker more.
    #[must_use]
    pub fn of(account: Arc<HeapAccount>) -> Arc<Self> {
        account.vacant.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self { account, vms: AtomicU64::new(0) })
    }

    pub(super) const fn account(&self) -> &Arc<HeapAccount> {
        &self.account
    }

    fn moves_in(&self) {
        if self.vms.fetch_add(1, Ordering::AcqRel) == 0 {
            self.account.vacant.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn moves_out(&self) {
        if self.vms.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.account.vacant.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for AsideRoom {
    /// The last of its VMs went before.
    fn drop(&mut self) {
        self.account.vacant.fetch_sub(1, Ordering::SeqCst);
        self.account.stir();
    }
}

/// What such a VM is owed.
#[derive(Debug)]
pub(super) struct Aside {
    worker: Arc<AsideRoom>,
    /// Whether it has run, and so is what its worker has.
    pub(super) is_made: bool,
    /// Those bytes of the account's.
    pub(super) owed: u64,
    /// A VM's floor, and the most that one may have, when it ran last.
    floor: u64,
    limit: u64,
}

impl Aside {
    /// A VM that is to be made.
    pub(super) fn of(worker: &Arc<AsideRoom>) -> Self {
        Self { worker: Arc::clone(worker), is_made: false, owed: 0, floor: 0, limit: 0 }
    }

    /// It has what it needs.
    pub(super) fn begin(&mut self, account: &HeapAccount, share: HeapShare) {
        if !self.is_made {
            self.worker.moves_in();
        }
        account.owed.fetch_sub(self.owed, Ordering::AcqRel);
        (self.is_made, self.owed, self.floor, self.limit) = (true, 0, share.floor(), share.limit);
    }

    /// Whether its worker has no VM so far.
    pub(super) fn fills_a_place(&self) -> bool {
        !self.is_made && self.worker.vms.load(Ordering::Acquire) == 0
    }

    /// It holds `bytes`, and is to wake again.
    pub(super) fn rest(&mut self, account: &HeapAccount, bytes: u64) {
        if !self.is_made {
            return;
        }
        let needs = self.floor.max(self.limit.min(bytes + LEAST_ROOM));
        let owed = needs.saturating_sub(bytes);
        account.owed.fetch_add(owed.wrapping_sub(self.owed), Ordering::AcqRel);
        self.owed = owed;
    }

    /// There is no VM any more.
    pub(super) fn end(&mut self, account: &HeapAccount) {
        if self.is_made {
            self.worker.moves_out();
            account.owed.fetch_sub(self.owed, Ordering::AcqRel);
            (self.is_made, self.owed) = (false, 0);
        }
    }
}
