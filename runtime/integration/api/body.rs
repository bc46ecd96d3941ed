//! The body of a request, whole, within a bound of size and time.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all bodies may take at once, in units of 1 KiB.
const ROOM: usize = 64 << 10;
const UNIT: u64 = 1 << 10;

/// The memory for bodies of requests, which are read before a module's queue is asked: clients must not fill the process
/// with what no module has admitted.
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }
}

/// A body, whole, and its place in the [`Room`].
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// It has more bytes than are read.
    TooLarge,
    /// It did not arrive in time.
    Slow,
    /// The connection broke, or its framing is wrong.
    Broken,
    /// Other bodies take the memory that there is for them.
    Crowded,
}

/// Reads at most `limit` bytes. A body whose announced length is above it is refused before any of it is read, and so is
/// one for which there is no room; without an announced length that is room for `limit`.
pub(super) async fn read(body: Body, limit: usize, deadline: Instant, room: &Room) -> Result<Whole, BodyFault> {
    if body.is_end_stream() {
        return Ok(Whole { bytes: Bytes::new(), _place: None });
    }
    let announced = body.size_hint();
    let limit_64 = u64::try_from(limit).unwrap_or(u64::MAX);
    if announced.lower() > limit_64 {
        return Err(BodyFault::TooLarge);
    }
    let size = announced.upper().unwrap_or(limit_64).min(limit_64).div_ceil(UNIT);
    let place = Arc::clone(&room.0).try_acquire_many_owned(u32::try_from(size).unwrap_or(u32::MAX));
    let place = place.map_err(|_| BodyFault::Crowded)?;
    match tokio::time::timeout_at(deadline.into(), collect(body, limit)).await {
        Ok(result) => result.map(|bytes| Whole { bytes, _place: Some(place) }),
        Err(_) => Err(BodyFault::Slow),
    }
}

/// One chunk, which most bodies are, is passed on without a copy.
async fn collect(body: Body, limit: usize) -> Result<Bytes, BodyFault> {
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyFault::Broken)?;
        if first.len() + all.len() + chunk.len() > limit {
            return Err(BodyFault::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = chunk;
            continue;
        }
        if all.is_empty() {
            all.reserve(first.len() + chunk.len());
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;

    use super::*;

    async fn of(chunks: Vec<&'static [u8]>) -> Result<Bytes, BodyFault> {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
        in_room(Body::from_stream(stream::iter(chunks)), Duration::from_secs(5), &Room::default()).await
    }

    async fn in_room(body: Body, time: Duration, room: &Room) -> Result<Bytes, BodyFault> {
        read(body, 8, Instant::now() + time, room).await.map(|whole| whole.bytes)
    }

    #[tokio::test]
    async fn chunks_are_joined_up_to_the_limit() {
        assert_eq!(of(vec![]).await, Ok(Bytes::new()));
        assert_eq!(of(vec![b"abcdefgh"]).await, Ok(Bytes::from_static(b"abcdefgh")));
        assert_eq!(of(vec![b"", b"abc", b"", b"def", b"gh"]).await, Ok(Bytes::from_static(b"abcdefgh")));
        assert_eq!(of(vec![b"abcdefghi"]).await, Err(BodyFault::TooLarge));
        assert_eq!(of(vec![b"abcdefgh", b"i"]).await, Err(BodyFault::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up_at_the_deadline() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(in_room(body, Duration::from_millis(5), &Room::default()).await, Err(BodyFault::Slow));
    }

    #[tokio::test]
    async fn a_broken_body_is_no_body() {
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("reset"))]);
        let read = in_room(Body::from_stream(broken), Duration::from_secs(5), &Room::default()).await;
        assert_eq!(read, Err(BodyFault::Broken));
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_room_until_their_requests_end() {
        let (room, soon) = (Room(Arc::new(Semaphore::new(1))), Instant::now() + Duration::from_secs(5));
        let held = read(Body::from("abc"), 8, soon, &room).await.map_err(|_| "refused").unwrap();
        assert_eq!(in_room(Body::from("def"), Duration::from_secs(5), &room).await, Err(BodyFault::Crowded));
        assert_eq!(in_room(Body::empty(), Duration::from_secs(5), &room).await, Ok(Bytes::new()));
        drop(held);
        assert_eq!(in_room(Body::from("def"), Duration::from_secs(5), &room).await, Ok(Bytes::from_static(b"def")));
    }
}
