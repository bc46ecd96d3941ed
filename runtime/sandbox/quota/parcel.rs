//! A value that waits for a module outside its VMs: a message in a mailbox, an event in a queue, the payload of a timer, the
//! state of an actor. It takes room in the quota of the module's memory until it is dropped, and no VM runs for it.

use std::sync::Arc;

use super::account::Account;
use super::heap::{HeapShare, NoRoom};

/// The room of one value.
#[derive(Debug)]
pub struct Parcel {
    account: Arc<Account>,
    bytes: u64,
}

impl Parcel {
    /// None, in the account of the module for which a value is to wait.
    #[must_use]
    pub const fn none(account: Arc<Account>) -> Self {
        Self { account, bytes: 0 }
    }

    /// Makes it room for `size` bytes.
    ///
    /// # Errors
    /// The quota leaves none for what is more than before; the room is as it was.
    pub fn resize(&mut self, share: HeapShare, size: usize) -> Result<(), NoRoom> {
        let bytes = size as u64;
        // what needs nothing more is never refused
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            self.account.heap.keep(share, more)?;
            self.account.counts.heap(signed(more));
        } else {
            self.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.account.counts.heap(-signed(bytes));
        self.account.heap.give_back(bytes);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::quota::heap::Reservation;

    const MIB: u64 = 1 << 20;

    fn parcel(account: &Arc<Account>, share: HeapShare, size: usize) -> Result<Parcel, NoRoom> {
        let mut parcel = Parcel::none(Arc::clone(account));
        parcel.resize(share, size).map(|()| parcel)
    }

    fn mebibyte(account: &Arc<Account>, share: HeapShare) -> Result<Parcel, NoRoom> {
        parcel(account, share, 1 << 20)
    }

    #[test]
    fn values_fill_what_the_vms_do_not_need_and_give_it_back() {
        let account = Arc::<Account>::default();
        let share = HeapShare::new(32 * MIB, 8 * MIB, 2, true);
        let mut parcels: Vec<_> = std::iter::from_fn(|| mebibyte(&account, share).ok()).collect();
        // two floors of 7 MiB, and 2 MiB for one to begin
        assert_eq!(parcels.len(), 16);
        let full = mebibyte(&account, share).expect_err("no room").to_string();
        for part in
            ["33554432 bytes of its quota", "`permissions.resources.memory.maxHeapSize` in module.manifest.yaml"]
        {
            assert!(full.contains(part), "{full}");
        }
        assert_eq!(account.counts.memory(), account.heap.values());
        let mut vms = [(); 2].map(|()| Reservation::none(Arc::clone(&account.heap)));
        for vm in &mut vms {
            assert!(vm.run(share, share.least()).expect("who handles them runs") >= 7 * MIB);
        }
        assert!(account.heap.reserved() <= 32 * MIB);
        assert!(parcels[0].resize(share, 0).is_ok(), "less is always taken");
        drop((parcels, vms));
        assert_eq!((account.heap.reserved(), account.heap.values(), account.counts.memory()), (0, 0, 0));
    }

    #[test]
    fn vms_that_take_all_they_may_leave_a_part_to_values() {
        let account = Arc::<Account>::default();
        let share = HeapShare::new(8 * MIB, 8 * MIB, 1, true);
        let mut vm = Reservation::none(Arc::clone(&account.heap));
        assert_eq!(vm.run(share, 1), Ok(7 * MIB));
        let small: Vec<_> = (0..9).map(|_| parcel(&account, share, 100_000).expect("their part")).collect();
        assert_eq!(vm.run(share, 1), Ok(7 * MIB), "it is theirs, whether they use it or not");
        mebibyte(&account, share).expect_err("and no more than that");
        vm.rest(0);
        let more = mebibyte(&account, share).expect("what is free");
        assert!(vm.run(share, 1).is_ok_and(|room| room < 7 * MIB));
        drop((small, more));
        let none = HeapShare::new(8 * MIB, 8 * MIB, 1, false);
        assert_eq!(vm.run(none, 1), Ok(8 * MIB), "where nothing can wait nothing is left to it");
    }

    proptest! {
        #[test]
        fn vms_and_values_stay_within_the_quota_and_a_vm_finds_room_however_many_wait(
            (workers, limit) in (1_usize..9, 1_u64..40),
            steps in prop::collection::vec((0_usize..8, 0_usize..4_000_000, 0_u8..3), 0..200),
        ) {
            let account = Arc::<Account>::default();
            let share = HeapShare::new(64 * MIB, limit * MIB, workers, true);
            let mut vms: Vec<_> = (0..workers).map(|_| Reservation::none(Arc::clone(&account.heap))).collect();
            let mut parcels = Vec::new();
            for (index, size, what) in steps {
                let vm = &mut vms[index % workers];
                match what {
                    0 => drop(vm.run(share, 1)),
                    1 => vm.rest(MIB / 2),
                    _ if size % 3 == 0 => drop(parcels.pop()),
                    _ => parcels.extend(parcel(&account, share, size)),
                }
                prop_assert!(account.heap.reserved() <= 64 * MIB);
                prop_assert_eq!(account.counts.memory(), account.heap.values());
            }
            for vm in &mut vms {
                vm.rest(MIB / 2);
            }
            for vm in &mut vms {
                prop_assert!(vm.run(share, share.least()).is_ok());
                vm.rest(MIB / 2);
            }
        }
    }
}
