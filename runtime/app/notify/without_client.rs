//! Webhooks in a build without an HTTP client.

use super::Failure;
use crate::manifest::Manifest;
use crate::monitor::InstanceKey;

/// What messages would be sent with.
#[derive(Clone)]
pub(in crate::app) struct Post;

impl Post {
    pub(super) async fn send(
        &self,
        _: (&Manifest, &InstanceKey),
        _: &str,
        _: (&str, u64, &str),
        _: &str,
    ) -> Result<(), Failure> {
        let why = "this build has no HTTP client: its feature `http-client` is off".to_owned();
        Err(Failure { why, is_final: true })
    }
}
