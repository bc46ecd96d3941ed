//! What a piece of code logs, kept for whoever had it run.

use std::sync::{Arc, Mutex, PoisonError};

use replug_scripts::{Answer, CallContext, Host, HostError, HostFn, Value, WallClock};

use crate::sandbox::lines::{self, Lines};

/// The host of a module that keeps what is logged, too.
pub(super) struct Heard {
    host: Arc<dyn Host>,
    kept: Mutex<Lines>,
}

impl Heard {
    pub(super) fn over(host: &Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self { host: Arc::clone(host), kept: Mutex::default() })
    }

    /// The lines so far; the last one says how many were not kept.
    pub(super) fn lines(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone().into_lines()
    }

    fn hear(&self, function: HostFn, args: &[Value]) {
        let row = function.function();
        if row.group != "log" {
            return;
        }
        let line = lines::said(row.name, args);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(&line);
    }
}

impl Host for Heard {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        self.hear(function, &args);
        self.host.call(function, args, call)
    }

    fn begin(self: Arc<Self>, function: HostFn, args: Vec<Value>, call: &CallContext) -> Answer {
        self.hear(function, &args);
        Arc::clone(&self.host).begin(function, args, call)
    }

    fn clock(&self) -> Option<WallClock> {
        self.host.clock()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Counts what is handed on.
    #[derive(Default)]
    struct Counting(Mutex<usize>);

    impl Host for Counting {
        fn call(&self, _: HostFn, args: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
            *self.0.lock().unwrap() += 1;
            Ok(args.into_iter().next().unwrap_or_default())
        }

        fn clock(&self) -> Option<WallClock> {
            Some(Arc::new(|| 1000))
        }
    }

    #[test]
    fn lines_are_kept_and_everything_is_handed_on() {
        let counting = Arc::new(Counting::default());
        let heard = Heard::over(&(Arc::clone(&counting) as Arc<dyn Host>));
        let call = CallContext {
            module: "m".into(),
            version: "1.0.0".into(),
            request_id: "eval".into(),
            caller: None,
            deadline: Instant::now(),
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: None,
        };
        let log = |function, args: Vec<Value>| heard.call(function, args, &call).unwrap();
        log(HostFn::LogInfo, vec!["one".into()]);
        assert_eq!(log(HostFn::KvGet, vec!["key".into()]), Value::from("key"));
        log(HostFn::LogWarn, vec![Value::map([("n", Value::Int(1))]), Value::map([("id", Value::from("x"))])]);
        let answer = Arc::clone(&heard).begin(HostFn::LogInfo, vec!["begun".into()], &call);
        assert!(matches!(answer, Answer::Ready(Ok(_))));
        assert_eq!(heard.lines(), ["info one", "warn {\"n\":1} {\"id\":\"x\"}", "info begun"]);
        assert_eq!(*counting.0.lock().unwrap(), 4);
        assert_eq!(heard.clock().map(|clock| clock()), Some(1000));
    }
}
