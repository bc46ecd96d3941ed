//! Waiting for what comes about by itself.

use std::time::{Duration, Instant};

/// A moment after which nothing is waited for any more.
pub(crate) fn patience() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Asks until it is so; `what` is for whoever reads that it never was.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = patience();
    while !is_so().await {
        assert!(Instant::now() < deadline, "it does not come about: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
