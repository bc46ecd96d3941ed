//! The events of one instance. Each version that serves is watched as long as it does: were each watcher woken by every event of
//! every module, an event would cost as much as there are modules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::{Event, InstanceKey};

/// Events that a slow follower may lag behind before it loses the oldest.
const BACKLOG: usize = 16;

/// Who follows which instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Followers(Arc<Mutex<HashMap<InstanceKey, broadcast::Sender<Arc<Event>>>>>);

impl Followers {
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, broadcast::Sender<Arc<Event>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: &Arc<Event>) {
        let Some(key) = event.condition_of() else { return };
        if let Some(followers) = self.lock().get(key) {
            // that the last one just left is no fault
            let _ = followers.send(Arc::clone(event));
        }
    }

    pub(super) fn follow(&self, key: &InstanceKey) -> Following {
        let mut all = self.lock();
        let followers = all.entry(key.clone()).or_insert_with(|| broadcast::channel(BACKLOG).0);
        Following { key: key.clone(), receiver: Some(followers.subscribe()), all: self.clone() }
    }
}

/// What is told of the condition of one instance: see [`super::Events::follow`].
#[derive(Debug)]
pub struct Following {
    key: InstanceKey,
    /// There until it is dropped.
    receiver: Option<broadcast::Receiver<Arc<Event>>>,
    all: Followers,
}

impl Following {
    /// The next event.
    ///
    /// # Errors
    /// Some passed unseen.
    pub async fn recv(&mut self) -> Result<Arc<Event>, RecvError> {
        match &mut self.receiver {
            Some(receiver) => receiver.recv().await,
            None => Err(RecvError::Closed),
        }
    }

    /// The next event, if it has been told already.
    ///
    /// # Errors
    /// There is none, or some passed unseen.
    pub fn try_recv(&mut self) -> Result<Arc<Event>, TryRecvError> {
        self.receiver.as_mut().map_or(Err(TryRecvError::Closed), broadcast::Receiver::try_recv)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // under the lock: of two that leave at once the second sees that it is the last
        drop(self.receiver.take());
        if all.get(&self.key).is_some_and(|followers| followers.receiver_count() == 0) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Events;
    use super::*;

    fn key(id: &str, generation: u64) -> InstanceKey {
        InstanceKey { id: id.into(), version: "1.0.0".into(), generation }
    }

    fn critical(instance: InstanceKey) -> Event {
        Event::CriticalError { instance, reason: "it gave up".to_owned() }
    }

    #[test]
    fn a_follower_hears_of_its_own_instance_alone_and_each_of_several_does() {
        let events = Events::default();
        let (mut one, mut other) = (events.follow(&key("a", 1)), events.follow(&key("a", 1)));
        events.emit(critical(key("a", 2)));
        events.emit(critical(key("b", 1)));
        events.emit(Event::TrafficShifted { instance: key("a", 1), weight: 5 });
        assert_eq!(one.try_recv().unwrap_err(), TryRecvError::Empty);
        events.emit(critical(key("a", 1)));
        for follower in [&mut one, &mut other] {
            let heard = follower.try_recv().unwrap();
            assert!(matches!(&*heard, Event::CriticalError { instance, .. } if *instance == key("a", 1)));
        }
    }

    #[test]
    fn a_follower_that_lags_is_told_so() {
        let events = Events::default();
        let mut follower = events.follow(&key("a", 1));
        for _ in 0..=BACKLOG {
            events.emit(critical(key("a", 1)));
        }
        assert_eq!(follower.try_recv().unwrap_err(), TryRecvError::Lagged(1));
    }

    #[test]
    fn nothing_is_kept_of_followers_that_left() {
        let followers = Followers::default();
        let (one, other) = (followers.follow(&key("a", 1)), followers.follow(&key("a", 1)));
        drop(one);
        assert_eq!(followers.lock().len(), 1);
        drop(other);
        assert_eq!(followers.lock().len(), 0);
    }
}
