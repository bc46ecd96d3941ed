//! What one test may take and hold, so that one in a loop fails rather than goes on or grows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use replug_scripts::{HostError, HostErrorKind};

/// The bounds of each test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Wall-clock time, with all calls that it waits for. Its own ticks and processor time are the module's.
    pub(super) wall_time: Duration,
    /// Bytes of what the test gives the world around its module, and of what is remembered of the module's calls of it.
    pub(super) held: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { wall_time: Duration::from_secs(60), held: 16 << 20 }
    }
}

impl Bounds {
    /// Why a test failed that came to its end in time.
    pub(super) fn too_long(&self) -> String {
        let most = self.wall_time.as_millis();
        format!("the test did not end: {most} ms of wall-clock time are the most for a test with all calls in it")
    }
}

/// What one test holds.
pub(super) struct Held {
    most: usize,
    so_far: Mutex<SoFar>,
}

#[derive(Default)]
struct SoFar {
    bytes: usize,
    /// The first refusal, which a script may have caught.
    refusal: Option<String>,
}

impl Held {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self { most: bounds.held, so_far: Mutex::default() }
    }

    /// Makes room for `bytes` in the place of `freed`, for the function of this path.
    ///
    /// # Errors
    /// There is no room: the test fails, whatever becomes of this error.
    pub(super) fn swap(&self, path: &str, freed: usize, bytes: usize) -> Result<(), HostError> {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let after = so_far.bytes.saturating_sub(freed).saturating_add(bytes);
        if after > self.most {
            let most = self.most;
            let message = format!(
                "{path}: {after} bytes of calls, requests, answers, settings, events, messages and timers would be held; \
                 {most} are the most for a test"
            );
            so_far.refusal.get_or_insert_with(|| message.clone());
            return Err(HostError::new(HostErrorKind::Overloaded, message));
        }
        so_far.bytes = after;
        Ok(())
    }

    /// Gives the room of `bytes` back.
    pub(super) fn free(&self, bytes: usize) {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        so_far.bytes = so_far.bytes.saturating_sub(bytes);
    }

    /// The first thing that found no room.
    pub(super) fn refusal(&self) -> Option<String> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner).refusal.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_makes_room_and_the_first_refusal_is_kept() {
        let held = Held::new(&Bounds { held: 100, ..Bounds::default() });
        held.swap("a", 0, 60).unwrap();
        held.swap("a", 60, 100).unwrap();
        assert_eq!(held.refusal(), None);
        for path in ["b", "c"] {
            let refused = held.swap(path, 0, 1).unwrap_err();
            assert_eq!(refused.kind, HostErrorKind::Overloaded);
            assert!(refused.message.starts_with(&format!("{path}: 101 bytes of ")), "{refused}");
            assert!(refused.message.ends_with("; 100 are the most for a test"), "{refused}");
        }
        assert!(held.refusal().is_some_and(|first| first.starts_with("b: ")));
        held.swap("a", 100, 3).unwrap();
        assert!(held.swap("a", 0, usize::MAX).is_err());
    }

    #[test]
    fn what_is_given_back_makes_room() {
        let held = Held::new(&Bounds { held: 100, ..Bounds::default() });
        held.swap("a", 0, 90).unwrap();
        held.free(80);
        held.swap("a", 0, 90).unwrap();
        assert_eq!(held.refusal(), None);
        assert!(held.swap("a", 0, 1).is_err());
    }
}
