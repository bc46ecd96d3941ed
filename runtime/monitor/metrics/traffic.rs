//! The bytes that modules moved, by module.

use std::collections::HashMap;

use prometheus::IntCounterVec;
use prometheus::core::Collector;
use serde::{Deserialize, Serialize};

use super::families::Families;

/// Bytes in two directions, as the module sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytesMoved {
    /// What it got.
    pub received: u64,
    /// What it gave.
    pub sent: u64,
}

/// What a module moved, by those of its versions that are registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The bodies of what it was asked and answered.
    pub requests: BytesMoved,
    /// The wire of what it asked others.
    pub network: BytesMoved,
}

/// What each module moved.
pub(super) fn traffic(families: &Families) -> HashMap<String, Traffic> {
    let mut all = HashMap::<String, Traffic>::new();
    let mut add = |family: &IntCounterVec, place: fn(&mut Traffic) -> &mut u64| {
        for told in family.collect() {
            for series in told.get_metric() {
                let Some(module) = series.get_label().iter().find(|label| label.name() == "module") else { continue };
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are counts")]
                let bytes = series.get_counter().get_value() as u64;
                *place(all.entry(module.value().to_owned()).or_default()) += bytes;
            }
        }
    };
    add(&families.received, |traffic| &mut traffic.requests.received);
    add(&families.sent, |traffic| &mut traffic.requests.sent);
    add(&families.http_received, |traffic| &mut traffic.network.received);
    add(&families.http_sent, |traffic| &mut traffic.network.sent);
    all
}
