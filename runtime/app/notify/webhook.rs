//! One try to tell a webhook, by the client and within the grants of the module whose manifest names it: what a manifest says must not
//! have the runtime talk to where the module may not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use replug_scripts::HostErrorKind;

use super::Failure;
use crate::manifest::Manifest;
use crate::monitor::{InstanceKey, Metrics};
use crate::sandbox::PermissionManager;
use crate::sandbox::net::{Client, Network, Request, Target};

/// What stands before errors: where the address is written.
const CHANNELS: &str = "lifecycle.rollback.notificationChannels";

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer, which is not looked at.
const ANSWER: u64 = 64 << 10;

/// What messages are sent with.
#[derive(Clone)]
pub(in crate::app) struct Post {
    pub(in crate::app) permissions: PermissionManager,
    pub(in crate::app) metrics: Metrics,
    pub(in crate::app) network: Network,
}

impl Post {
    pub(super) async fn send(
        &self,
        (manifest, key): (&Manifest, &InstanceKey),
        url: &str,
        (id, at, signature): (&str, u64, &str),
        document: &str,
    ) -> Result<(), Failure> {
        let target = Target::parse(url).map_err(ever)?;
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| ever(error.to_string()));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", value(id)?);
        headers.insert("webhook-timestamp", value(&at.to_string())?);
        headers.insert("webhook-signature", value(signature)?);
        let body = document.to_owned().into();
        let request = Request { method: Method::POST, target, headers, body, timeout: None, redirects: 0 };
        let rules = self.permissions.network_of(manifest);
        let client = Arc::new(Client::new(self.network.clone(), rules, self.metrics.http(key), ANSWER));
        match client.send(CHANNELS.to_owned(), request, Instant::now() + PATIENCE).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            // a receiver says so that it wants no more
            Ok(answer) if answer.status == 410 => Err(ever("it answered 410, gone".to_owned())),
            Ok(answer) => Err(now(format!("it answered {}", answer.status))),
            Err(refused) if refused.error.kind == HostErrorKind::PermissionDenied => {
                Err(ever(refused.error.to_string()))
            }
            Err(refused) => Err(now(refused.error.to_string())),
        }
    }
}

/// What no other try would change.
const fn ever(why: String) -> Failure {
    Failure { why, is_final: true }
}

/// What may be otherwise later.
const fn now(why: String) -> Failure {
    Failure { why, is_final: false }
}
