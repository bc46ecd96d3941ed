//! Copies of requests for a candidate.

use serde::Serialize;

/// `lifecycle.activation.trafficShifting.mirror`: before the candidate has a share, it gets copies of requests that the version
/// which serves has answered, and is judged by them for an interval. What a copy would leave behind is refused to it. `true` is
/// the short form with both defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// The methods of the requests that are copied, upper case, each once. Default: GET and HEAD.
    pub methods: Vec<String>,
    /// How many of them, in percent, 1 to 100. Default: 100.
    pub share: u8,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { methods: ["GET", "HEAD"].map(str::to_owned).into(), share: 100 }
    }
}
