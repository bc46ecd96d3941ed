//! The body of a request, whole, within a bound of size and time.

use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// It has more bytes than are read.
    TooLarge,
    /// It did not arrive in time.
    Slow,
    /// The connection broke, or its framing is wrong.
    Broken,
}

/// Reads at most `limit` bytes. A body whose announced length is above it is refused before any of it is read.
pub(super) async fn read(body: Body, limit: usize, deadline: Instant) -> Result<Bytes, BodyFault> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit) {
        return Err(BodyFault::TooLarge);
    }
    match tokio::time::timeout_at(deadline.into(), collect(body, limit)).await {
        Ok(result) => result,
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
        read(Body::from_stream(stream::iter(chunks)), 8, Instant::now() + Duration::from_secs(5)).await
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
        assert_eq!(read(body, 8, Instant::now() + Duration::from_millis(5)).await, Err(BodyFault::Slow));
    }

    #[tokio::test]
    async fn a_broken_body_is_no_body() {
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("reset"))]);
        let read = read(Body::from_stream(broken), 8, Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(read, Err(BodyFault::Broken));
    }
}
