//! A bounded queue whose reader is started when something comes and ends when nothing is left.
//!
//! | state | event → next |
//! |---|---|
//! | idle | something comes, or it is woken while something waits → read: who brought it starts a reader |
//! | read | nothing is left, or the reader cannot go on and was not woken meanwhile → idle |
//! | any | close → closed, for good; what waits is given back |

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The queue.
pub(super) struct Mailbox<T> {
    state: Mutex<State<T>>,
    woken: Notify,
}

struct State<T> {
    queue: VecDeque<T>,
    is_read: bool,
    /// Whether it was woken since its reader last looked.
    is_woken: bool,
    is_closed: bool,
}

/// Why something did not come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// As many wait as may.
    Full,
    /// It was closed.
    Closed,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        let state = State { queue: VecDeque::new(), is_read: false, is_woken: false, is_closed: false };
        Self { state: Mutex::new(state), woken: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // nothing under the lock leaves a state half changed
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something at the end; whether the caller must start a reader.
    ///
    /// # Errors
    /// It has `capacity` already, or is closed.
    pub(super) fn push(&self, item: T, capacity: usize) -> Result<bool, Refusal> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        if state.queue.len() >= capacity {
            return Err(Refusal::Full);
        }
        state.queue.push_back(item);
        Ok(!std::mem::replace(&mut state.is_read, true))
    }

    /// Lets a reader that could not go on try again; whether the caller must start one.
    pub(super) fn wake(&self) -> bool {
        let mut state = self.lock();
        if state.is_read {
            state.is_woken = true;
            self.woken.notify_one();
            return false;
        }
        state.is_read = !state.queue.is_empty() && !state.is_closed;
        state.is_read
    }

    /// For the reader: the first, or nothing, and then the reader must end.
    pub(super) fn next(&self) -> Option<T> {
        let mut state = self.lock();
        let first = state.queue.pop_front();
        state.is_read = first.is_some();
        first
    }

    /// For the reader: what it took goes back to the front. Given back where the mailbox was closed meanwhile.
    pub(super) fn put_back(&self, item: T) -> Option<T> {
        let mut state = self.lock();
        if state.is_closed {
            return Some(item);
        }
        state.queue.push_front(item);
        None
    }

    /// For the reader: it cannot go on until it is woken. Whether it must end now; otherwise it was woken just before.
    pub(super) fn rest(&self) -> bool {
        let mut state = self.lock();
        let goes_on = std::mem::take(&mut state.is_woken) && !state.is_closed;
        state.is_read = goes_on;
        !goes_on
    }

    /// For the reader: waits so long, or until it is woken or the mailbox is closed.
    pub(super) async fn pause(&self, time: Duration) {
        if !self.is_closed() {
            // the time being over is as good as being woken
            let _ = tokio::time::timeout(time, self.woken.notified()).await;
        }
    }

    /// Takes out of it what `is` picks.
    pub(super) fn take_out(&self, is: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.lock();
        let (out, left) = std::mem::take(&mut state.queue).into_iter().partition(is);
        state.queue = left;
        Vec::from(out)
    }

    /// Whether nothing waits and nobody reads.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && !state.is_read
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Takes nothing more; gives back what waits.
    pub(super) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.is_closed = true;
        self.woken.notify_one();
        std::mem::take(&mut state.queue).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_the_first_starts_the_reader_and_nobody_else() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.push(1, 2), Ok(true));
        assert_eq!(mailbox.push(2, 2), Ok(false));
        assert_eq!(mailbox.push(3, 2), Err(Refusal::Full));
        assert_eq!((mailbox.next(), mailbox.next()), (Some(1), Some(2)));
        assert_eq!(mailbox.push(4, 2), Ok(false), "the reader is still about");
        assert_eq!((mailbox.next(), mailbox.next()), (Some(4), None));
        assert_eq!(mailbox.push(5, 2), Ok(true), "it has ended");
    }

    #[test]
    fn a_reader_that_is_woken_before_it_rests_goes_on() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.push(1, 9), Ok(true));
        let first = mailbox.next().expect("the first");
        assert!(!mailbox.wake(), "there is a reader");
        assert_eq!(mailbox.put_back(first), None);
        assert!(!mailbox.rest());
        assert!(mailbox.rest(), "only once");
        assert!(mailbox.wake(), "there is none any more, and something waits");
        assert_eq!((mailbox.next(), mailbox.next()), (Some(1), None));
        assert!(!mailbox.wake(), "nothing waits");
    }

    #[test]
    fn a_closed_mailbox_gives_back_what_it_has_and_takes_nothing() {
        let mailbox = Mailbox::default();
        for item in 1..=3 {
            let _ = mailbox.push(item, 9);
        }
        let first = mailbox.next().expect("the first");
        assert_eq!(mailbox.close(), [2, 3]);
        assert_eq!(mailbox.put_back(first), Some(1));
        assert_eq!(mailbox.push(4, 9), Err(Refusal::Closed));
        assert!(!mailbox.wake() && mailbox.rest());
    }
}
