//! Everything that happens, as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;

use super::Runtime;
use crate::monitor::Event;

/// Events that were lost: the reader lagged so far behind that the oldest gave way. What comes after them is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{events} events were lost: the reader lags behind")]
pub struct Missed {
    /// How many.
    pub events: u64,
}

/// The events of a runtime, from [`Runtime::events`]. It ends after the last event of a runtime that was shut down.
///
/// An item is `Err` where events were lost, since nothing in a runtime waits for a reader: it may lag 1,024 events
/// behind.
pub struct EventStream {
    events: BoxStream<'static, Result<Arc<Event>, Missed>>,
}

impl EventStream {
    fn new(events: Receiver<Arc<Event>>, ended: watch::Receiver<bool>) -> Self {
        Self { events: stream::unfold((events, ended), next).fuse().boxed() }
    }

    /// The next event, or how many were lost before it; `None` after the runtime was shut down.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, Missed>> {
        self.events.next().await
    }
}

type Source = (Receiver<Arc<Event>>, watch::Receiver<bool>);

async fn next((mut events, mut ended): Source) -> Option<(Result<Arc<Event>, Missed>, Source)> {
    let received = tokio::select! {
        // what happened before the end comes before the end
        biased;
        received = events.recv() => received,
        // a runtime that is gone has ended too
        _ = ended.wait_for(|ended| *ended) => return None,
    };
    let item = match received {
        Ok(event) => Ok(event),
        Err(RecvError::Lagged(events)) => Err(Missed { events }),
        Err(RecvError::Closed) => return None,
    };
    Some((item, (events, ended)))
}

impl Stream for EventStream {
    type Item = Result<Arc<Event>, Missed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(context)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Everything that happens from now on. How many readers there are and how slow they are is no matter to the runtime.
    #[must_use]
    pub fn events(&self) -> EventStream {
        EventStream::new(self.events.subscribe(), self.ended.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Events;

    fn alarm(number: usize) -> Event {
        Event::Alarm { subject: number.to_string(), message: String::new() }
    }

    fn subject(item: Option<Result<Arc<Event>, Missed>>) -> Result<String, Option<Missed>> {
        match item {
            Some(Ok(event)) => match &*event {
                Event::Alarm { subject, .. } => Ok(subject.clone()),
                other => panic!("{other:?}"),
            },
            Some(Err(missed)) => Err(Some(missed)),
            None => Err(None),
        }
    }

    #[tokio::test]
    async fn a_reader_that_lags_hears_how_many_it_lost_and_the_end_comes_last() {
        let (events, (end, ended)) = (Events::default(), watch::channel(false));
        let mut stream = EventStream::new(events.subscribe(), ended);
        for number in 0..1030 {
            events.emit(alarm(number));
        }
        end.send_replace(true);
        assert_eq!(subject(stream.next().await), Err(Some(Missed { events: 6 })));
        for number in 6..1030 {
            assert_eq!(subject(stream.next().await), Ok(number.to_string()));
        }
        assert_eq!(subject(stream.next().await), Err(None), "although the bus lives");
        assert_eq!(subject(stream.next().await), Err(None), "it stays at its end");
    }
}
