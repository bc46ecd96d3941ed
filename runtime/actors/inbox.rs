//! Where a worker's thread gets the answers that the calls it holds wait for.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use replug_scripts::{HostError, Ticket, Value};

/// An answer that came, for a call of the VM with this number.
pub struct Arrived {
    /// The VM's number on its thread.
    pub vm: u64,
    /// Its call.
    pub ticket: Ticket,
    /// The answer.
    pub answer: Result<Value, HostError>,
}

/// The answers of one thread.
#[derive(Default)]
pub struct Inbox {
    arrived: Mutex<VecDeque<Arrived>>,
    came: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arrived>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer comes.
    pub fn put(&self, arrived: Arrived) {
        self.lock().push_back(arrived);
        self.came.notify_one();
    }

    /// An answer that lies here.
    pub fn take(&self) -> Option<Arrived> {
        self.lock().pop_front()
    }

    /// Waits for an answer.
    pub fn wait(&self) -> Arrived {
        let mut arrived = self.lock();
        loop {
            match arrived.pop_front() {
                Some(first) => return first,
                None => arrived = self.came.wait(arrived).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
