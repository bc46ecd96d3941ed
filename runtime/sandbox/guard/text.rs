//! `json` and `time`.

use std::time::{SystemTime, UNIX_EPOCH};

use replug_scripts::{HostError, HostErrorKind, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Args;

pub(super) fn json_encode(args: &Args) -> Result<Value, HostError> {
    let text = json::encode(args.get(0)).map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?;
    String::from_utf8(text).map(Value::Text).map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))
}

pub(super) fn json_decode(args: &Args) -> Result<Value, HostError> {
    json::decode(args.bytes(0)?).map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))
}

/// Milliseconds since 1970-01-01 UTC.
pub(super) fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time_format(args: &Args) -> Result<Value, HostError> {
    let nanos = i128::from(args.whole(0)?) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos);
    let text = moment.map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?.format(&Rfc3339);
    Ok(Value::Text(text.map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?))
}

pub(super) fn time_parse(args: &Args) -> Result<Value, HostError> {
    let moment = OffsetDateTime::parse(args.text(0)?, &Rfc3339);
    let nanos = moment.map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?.unix_timestamp_nanos();
    Ok(Value::Int(i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX)))
}
