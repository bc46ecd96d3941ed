//! `lifecycle.activation`: how the traffic of a gradual activation moves.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Mirror, millis};

/// `lifecycle.activation.trafficShifting`: weights go from `initial` by `increment`, doubling after each healthy
/// interval up to `maxIncrement`, to 100.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficShifting {
    /// The first weight in percent, 0 to 100. Default: 0.
    pub initial: u8,
    /// The first step in points, 1 to 100. Default: 10.
    pub increment: u8,
    /// The largest step in points, from `increment` to 100. Default: 50.
    pub max_increment: u8,
    /// How long each weight is judged, 10 ms to 1 h. Default: 5 s.
    #[serde(serialize_with = "millis")]
    pub interval: Duration,
    /// Copies of requests for the candidate at weight 0. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
}

impl Default for TrafficShifting {
    fn default() -> Self {
        Self { initial: 0, increment: 10, max_increment: 50, interval: Duration::from_secs(5), mirror: None }
    }
}

/// What keeps one client on one version. Serialized as in the manifest: `none`, `header:NAME`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// Nothing.
    None,
    /// The authenticated principal.
    Principal,
    /// The client's address.
    Address,
    /// A header, by its lower-case name.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
}

impl fmt::Display for StickyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Principal => f.write_str("principal"),
            Self::Address => f.write_str("address"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

impl Serialize for StickyBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What to do when an interval passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnPass {
    /// Go on.
    Promote,
    /// Stay at this weight until somebody promotes it.
    Hold,
}

/// What to do when there are too few samples to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnInconclusive {
    /// Go on if the health checks pass.
    Promote,
    /// Stay at this weight.
    Hold,
    /// Return to the version before.
    Rollback,
}
