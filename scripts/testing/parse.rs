//! Sources that would keep a compiler busy, or deep.

use std::time::Duration;

use super::child::{note, on_a_stack};
use super::sources;
use crate::cpu::thread_cpu_time;
use crate::host::compile;

/// The stack of the threads on which an application compiles and drops: the default of Rust and of tokio.
const STACK: usize = 2 << 20;
/// Far less than a hang, far more than a file of the largest size takes.
const HANGS: Duration = Duration::from_secs(60);

/// The largest file that is compiled.
const FILE: usize = 1 << 20;

/// Compiles each source, as large as a file may be, and drops what came of it: in time, on a small stack. A source is its
/// start, what is repeated, the middle, what is repeated as often, and its end. Call it in a child process.
pub(crate) fn assert_compiles_or_not(path: &'static str, table: &[(&'static str, [&'static str; 5])]) {
    for (name, [start, open, middle, close, end]) in table {
        let room = FILE - start.len() - middle.len() - end.len();
        for times in [100, 5000, room / (open.len() + close.len())] {
            let text = format!("{start}{}{middle}{}{end}", open.repeat(times), close.repeat(times));
            let what = format!("{name} {times} times");
            on_a_stack(STACK, HANGS, &what.clone(), move || {
                let before = thread_cpu_time();
                let compiled = compile(&sources(&[(path, &text)]));
                let said = match &compiled {
                    Ok(_) => "compiles".to_owned(),
                    Err(faults) => faults[0].to_string().chars().take(120).collect(),
                };
                note(&format!("{what}: {:?} of CPU, {said}", thread_cpu_time().saturating_sub(before)));
                drop(compiled);
            });
        }
    }
}
