//! Does what the VMs say that they hold agree with what the process holds for them? Their sum against the growth of the
//! process's memory, each kind of content in a process of its own. The aim is 10 % to either side.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/report.rs"]
mod report;
#[path = "support/script.rs"]
mod script;

use std::sync::Arc;
use std::time::Duration;

use memory::{mebibytes, resident};
use replug_scripts::{Handler, Limits, Vm};
use report::Report;

/// What all VMs of a row are to hold together.
const SUM: u64 = 128 << 20;
const QUICK_SUM: u64 = 32 << 20;

/// More than any call takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Scripts whose `GET /hello` fills what they keep, in steps that a VM takes without much garbage.
const ROWS: [(&str, &str, &str); 6] = [
    ("strings", "lua", "for i = 1, 4000 do kept[i] = string.rep('x', 1000) .. i end"),
    ("small tables", "lua", "for i = 1, 20000 do kept[i] = { id = i, name = 'n' .. i, on = true } end"),
    ("numbers", "lua", "for i = 1, 250000 do kept[i] = i + 0.5 end"),
    ("strings", "rhai", "for i in 0..2000 { let s = i.to_string(); s.pad(1000, 'x'); kept.push(s); }"),
    ("small maps", "rhai", "for i in 0..2000 { kept.push(#{ id: i, name: \"n\" + i, on: true }); }"),
    ("numbers", "rhai", "for i in 0..4000 { kept.push(i + 0.5); }"),
];

fn source(language: &str, fill: &str) -> String {
    match language {
        "lua" => {
            format!(
                "local kept = {{}}\nreturn {{ apis = {{ ['GET /hello'] = function() {fill} return '' .. #kept end }} }}"
            )
        }
        _ => format!("let kept = [];\n#{{ apis: #{{ \"GET /hello\": || {{ {fill} `${{kept.len()}}` }} }} }}"),
    }
}

fn measure(report: &Report, language: &str, fill: &str) -> String {
    let program = replug_scripts::compile(&script::sources(language, &source(language, fill))).expect("it compiles");
    let limits = Limits { ticks: u64::MAX, cpu_time: PATIENCE, wall_time: PATIENCE, ..Limits::default() };
    let filled = || {
        let mut vm = program.instantiate(Arc::new(script::NoHost), &limits, &script::context()).expect("a VM");
        let answer = vm.respond(&Handler::Api("GET /hello".into()), &script::request(), &script::context());
        assert_ne!(&answer.expect("an answer").body[..], b"0");
        vm.collect();
        vm
    };
    // what the first one of a language takes is no VM's
    let first = filled();
    let before = resident();
    let (mut vms, mut sum) = (Vec::<Box<dyn Vm>>::new(), 0);
    while sum < if report.is_quick { QUICK_SUM } else { SUM } {
        let vm = filled();
        sum += vm.memory() as u64;
        vms.push(vm);
    }
    let grown = resident() - before;
    drop(first);
    let share = sum as f64 / grown as f64;
    let verdict = if (0.9..=1.1).contains(&share) { "aim 0.9 to 1.1" } else { "aim 0.9 to 1.1 MISSED" };
    let (count, sum, grown) = (vms.len(), mebibytes(sum), mebibytes(grown));
    format!("{share:.2}, {verdict}: {count} VMs say {sum:.1} MiB, the process took {grown:.1}")
}

fn main() {
    let report = Report::from_args();
    for (content, language, fill) in ROWS {
        let name = format!("{language}, {content}");
        if report.wants(&name) {
            memory::alone(&name, || {
                let thread = std::thread::Builder::new().stack_size(Limits::default().stack_size());
                let found = std::thread::scope(|scope| {
                    let thread = thread.spawn_scoped(scope, || measure(&report, language, fill));
                    thread.expect("a thread").join().expect("it measures")
                });
                report.tell(&name, &found);
            });
        }
    }
}
