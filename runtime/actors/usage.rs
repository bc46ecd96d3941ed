//! What a thread that runs scripts takes: its processor time and the heap of its VM, told to the metrics.

use std::time::{Duration, Instant};

use replug_scripts::{Vm, thread_cpu_time};

use crate::monitor::InstanceMetrics;

/// How far apart two looks are at least. The thread's clock is a system call, which short calls need not pay each.
const SPACING: Duration = Duration::from_millis(1);

/// The account of the calling thread. What it held is given back when it is dropped, and the rest of its time counted.
pub(super) struct Usage<'a> {
    metrics: &'a InstanceMetrics,
    /// Processor time that is counted already.
    counted: Duration,
    looked: Instant,
    held: i64,
}

impl<'a> Usage<'a> {
    /// Begins with the time that the thread has used so far, which is its start.
    pub(super) fn new(metrics: &'a InstanceMetrics) -> Self {
        Self { metrics, counted: Duration::ZERO, looked: Instant::now(), held: 0 }
    }

    /// After a call: `vm` is what is left of the VM.
    pub(super) fn look(&mut self, vm: Option<&dyn Vm>) {
        self.hold(vm.map_or(0, Vm::memory));
        let now = Instant::now();
        if now.duration_since(self.looked) >= SPACING {
            self.looked = now;
            self.count();
        }
    }

    fn hold(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes != self.held {
            self.metrics.memory.add(bytes - self.held);
            self.held = bytes;
        }
    }

    fn count(&mut self) {
        let used = thread_cpu_time();
        self.metrics.cpu_seconds.inc_by(used.saturating_sub(self.counted).as_secs_f64());
        self.counted = used;
    }
}

impl Drop for Usage<'_> {
    fn drop(&mut self) {
        self.hold(0);
        self.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{InstanceKey, Metrics};

    fn metrics() -> InstanceMetrics {
        Metrics::default().instance(&InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 })
    }

    #[test]
    fn the_time_of_a_thread_is_counted_once_and_to_its_end() {
        let metrics = metrics();
        let used = std::thread::scope(|scope| {
            let run = || {
                let mut usage = Usage::new(&metrics);
                for _ in 0..3 {
                    let until = thread_cpu_time() + Duration::from_millis(2);
                    while thread_cpu_time() < until {}
                    usage.look(None);
                }
                drop(usage);
                thread_cpu_time()
            };
            scope.spawn(run).join().expect("it ends")
        });
        let counted = metrics.cpu_seconds.get();
        assert!(counted >= 0.006, "{counted}");
        assert!(counted <= used.as_secs_f64(), "{counted} of {used:?}");
    }

    #[test]
    fn what_is_held_is_the_sum_over_threads_and_goes_with_them() {
        let metrics = metrics();
        let (mut one, mut other) = (Usage::new(&metrics), Usage::new(&metrics));
        one.hold(700);
        other.hold(50);
        one.hold(300);
        assert_eq!(metrics.memory.get(), 350);
        drop(one);
        assert_eq!(metrics.memory.get(), 50);
        other.look(None);
        assert_eq!(metrics.memory.get(), 0);
    }
}
