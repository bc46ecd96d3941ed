//! `events` and `timers`: what calls the handlers of events.

use std::time::Duration;

use replug_scripts::{CallContext, HostError, HostErrorKind, HostFn, Value};

use super::data::DEEPEST;
use super::{Args, Guard, mirrored};
use crate::sandbox::ports::{MAX_TIMERS, TIMERS_FULL, Timer};

/// The longest topic and the longest id of a timer, in bytes.
const MAX_NAME: usize = 200;
/// The shortest and the longest time of a timer, in milliseconds: a year.
const MILLIS: std::ops::RangeInclusive<i64> = 10..=366 * 24 * 3_600_000;

impl Guard {
    /// The topic at `index`, one of the module's own.
    fn topic<'a>(&self, args: &'a Args, index: usize) -> Result<&'a str, HostError> {
        let topic = args.text(index)?;
        if topic.len() > MAX_NAME || !is_topic(topic) {
            let what = "a topic is `module.name`, of lower-case letters, digits, `-` and `.`, at most 200 bytes";
            return Err(args.failed(HostErrorKind::InvalidArgument, what));
        }
        self.live.grants().topic(&args.function.path(), topic)?;
        Ok(topic)
    }

    pub(super) fn events_publish(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let topic = self.topic(args, 0)?.to_owned();
        if usize::from(call.hops) >= DEEPEST {
            self.live.limit_of_host("events", DEEPEST as u64, &args.function.path(), call);
            let what = format!(
                "{topic}: events follow from each other more than {DEEPEST} deep; is there a circle? end it by a condition, or go \
                 on after a while with timers.after"
            );
            return Err(args.failed(HostErrorKind::Overloaded, what));
        }
        mirrored::permit(args.function, call)?;
        self.residence.publish(&topic, args.take(1), call);
        Ok(Value::Null)
    }

    pub(super) fn timers_set(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let millis = args.whole(0)?;
        if !MILLIS.contains(&millis) {
            let what = format!("{millis} ms: a timer takes {} ms to a year", MILLIS.start());
            return Err(args.failed(HostErrorKind::InvalidArgument, what));
        }
        let topic = self.topic(args, 1)?.to_owned();
        let id = match args.get(3) {
            Value::Null => None,
            Value::Map(options) => timer_id(args, options)?,
            _ => return Err(args.wrong(3, "a map")),
        };
        mirrored::permit(args.function, call)?;
        let timer = Timer {
            id,
            every: Duration::from_millis(millis.unsigned_abs()),
            repeats: args.function == HostFn::TimersEvery,
            topic,
            payload: args.take(2),
        };
        self.residence.set_timer(timer, call).map(Value::from).map_err(|error| {
            if error.kind == HostErrorKind::Overloaded && error.message.contains(TIMERS_FULL) {
                self.live.limit_of_host("timers", MAX_TIMERS as u64, &args.function.path(), call);
            }
            args.failed(error.kind, error.message)
        })
    }
}

/// `[a-z0-9-]+(\.[a-z0-9-]+)+`
fn is_topic(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.contains('.') && text.split('.').all(part)
}

/// The name in the options of a timer.
fn timer_id(args: &Args, options: &std::collections::BTreeMap<String, Value>) -> Result<Option<String>, HostError> {
    let invalid = |what: String| Err(args.failed(HostErrorKind::InvalidArgument, what));
    if let Some(key) = options.keys().find(|key| *key != "id") {
        return invalid(format!("option `{key}`: there is only `id`"));
    }
    match options.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(id)) if !id.is_empty() && id.len() <= MAX_NAME => Ok(Some(id.clone())),
        Some(_) => invalid(format!("`id` must be a string of 1 to {MAX_NAME} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_a_module_and_a_name() {
        for topic in ["shop.order-placed", "a.b.c", "x.1"] {
            assert!(is_topic(topic), "{topic}");
        }
        for topic in ["", "shop", ".", "shop.", ".x", "shop..x", "Shop.x", "shop.x y", "shop.ä", "shop.*", "shop.x\n"]
        {
            assert!(!is_topic(topic), "{topic:?}");
        }
    }
}
