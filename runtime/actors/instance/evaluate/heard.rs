//! What a piece of code logs, kept for whoever had it run.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use replug_scripts::{Answer, CallContext, Host, HostError, HostFn, Value};

/// Lines that are kept.
const LINES: usize = 200;

/// Bytes of a line.
const LINE: usize = 2 << 10;

/// The host of a module that keeps what is logged, too.
pub(super) struct Heard {
    host: Arc<dyn Host>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    /// Lines beyond those.
    further: usize,
}

impl Heard {
    pub(super) fn over(host: &Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self { host: Arc::clone(host), kept: Mutex::default() })
    }

    /// The lines so far; the last one says how many were not kept.
    pub(super) fn lines(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = kept.lines.clone();
        if kept.further > 0 {
            lines.push(format!("… ({} further lines; {LINES} are kept)", kept.further));
        }
        lines
    }

    fn hear(&self, function: HostFn, args: &[Value]) {
        let row = function.function();
        if row.group != "log" {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.lines.len() < LINES {
            kept.lines.push(line(row.name, args));
        } else {
            kept.further += 1;
        }
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
}

/// `level message {fields}`, as much of it as is kept.
fn line(level: &str, args: &[Value]) -> String {
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        other => other.json().to_string(),
    };
    let mut line = format!("{level} {}", args.first().map(text).unwrap_or_default());
    if let Some(fields) = args.get(1).filter(|fields| **fields != Value::Null) {
        let _ = write!(line, " {}", text(fields));
    }
    let end = line.floor_char_boundary(LINE);
    if end < line.len() {
        let rest = line.len() - end;
        line.truncate(end);
        let _ = write!(line, "… ({rest} bytes more)");
        line.shrink_to_fit();
    }
    line
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
    }

    #[test]
    fn lines_are_kept_cut_and_counted_and_everything_is_handed_on() {
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
        };
        let log = |function, args: Vec<Value>| heard.call(function, args, &call).unwrap();
        log(HostFn::LogInfo, vec!["one".into()]);
        log(HostFn::LogWarn, vec![Value::map([("n", Value::Int(1))]), Value::map([("id", Value::from("x"))])]);
        log(HostFn::LogError, Vec::new());
        assert_eq!(log(HostFn::KvGet, vec!["key".into()]), Value::from("key"));
        log(HostFn::LogTrace, vec![format!("a{}", "é".repeat(LINE)).into()]);
        let answer = Arc::clone(&heard).begin(HostFn::LogInfo, vec!["begun".into()], &call);
        assert!(matches!(answer, Answer::Ready(Ok(_))));
        let lines = heard.lines();
        assert_eq!(lines[..3], ["info one", "warn {\"n\":1} {\"id\":\"x\"}", "error "]);
        assert_eq!(lines.len(), 5);
        assert!(lines[3].len() < LINE + 30 && lines[3].ends_with(" bytes more)"), "{}", lines[3].len());
        for _ in 5..LINES + 7 {
            log(HostFn::LogVerbose, vec!["more".into()]);
        }
        let lines = heard.lines();
        assert_eq!((lines.len(), lines[LINES - 1].as_str()), (LINES + 1, "verbose more"));
        assert_eq!(lines[LINES], "… (7 further lines; 200 are kept)");
        assert_eq!(*counting.0.lock().unwrap(), LINES + 8);
    }
}
