//! `metrics`: what scripts count and measure themselves.

use replug_scripts::{CallContext, HostError, HostErrorKind, HostFn, Value};

use super::{Args, Guard};
use crate::monitor::{SampleError, SampleKind};

impl Guard {
    pub(super) fn sample(&self, args: &Args, call: &CallContext) -> Result<Value, HostError> {
        let kind = match args.function {
            HostFn::MetricsCount => SampleKind::Count,
            HostFn::MetricsGauge => SampleKind::Gauge,
            _ => SampleKind::Observe,
        };
        let value = match args.get(1) {
            Value::Null if kind == SampleKind::Count => 1.0,
            #[allow(clippy::cast_precision_loss, reason = "metrics are floats")]
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            _ => return Err(args.wrong(1, "a number")),
        };
        let labels = match args.get(2) {
            Value::Null => Vec::new(),
            Value::Map(labels) => {
                let text = |(name, value): (&String, &Value)| label(args, value).map(|value| (name.clone(), value));
                labels.iter().map(text).collect::<Result<_, _>>()?
            }
            _ => return Err(args.wrong(2, "a map")),
        };
        let name = args.text(0)?;
        // samples tell of what clients did
        if call.mirrored.is_some() {
            return Ok(Value::Null);
        }
        let taken = self.supplies.metrics.sample(&self.key, kind, name, value, labels);
        taken.map(|_| Value::Null).map_err(|error| {
            let kind = match error {
                SampleError::Invalid(_) => HostErrorKind::InvalidArgument,
                SampleError::Taken { .. } => HostErrorKind::Conflict,
            };
            args.failed(kind, error)
        })
    }
}

fn label(args: &Args, value: &Value) -> Result<String, HostError> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => Err(args.failed(HostErrorKind::InvalidArgument, "the values of labels are strings, numbers or booleans")),
    }
}
