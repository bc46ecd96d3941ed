//! What modules use, as a table.

use super::{table, text};
use crate::admin::commands::{UsageRow, UsageView};

const HEADER: [&str; 12] =
    ["ID", "CORES", "OF", "CPU TIME", "MEMORY", "PEAK", "OF", "CALLS/S", "CALLS", "IN / OUT", "STORAGE", "OF"];

/// The process in a line, and its modules.
pub(in crate::admin::cli) fn usage(view: &UsageView) -> String {
    let modules = bytes(view.modules.iter().map(|row| row.usage.memory).sum());
    let process = view.process.map_or(String::new(), |process| {
        format!("process: {} in memory, {} of CPU time; ", bytes(process.memory), time(process.cpu_millis))
    });
    if view.modules.is_empty() {
        return format!("{process}nothing serves yet; replug register PATH, then replug activate ID");
    }
    format!("{process}modules: {modules}\n\n{}", usages(&view.modules))
}

/// The modules.
pub(in crate::admin::cli) fn usages(rows: &[UsageRow]) -> String {
    let mut table = table(&HEADER);
    for UsageRow { id, usage, quotas } in rows {
        let of = |quota: Option<u64>| quota.map_or("-".to_owned(), bytes);
        let received = usage.requests.received + usage.network.received;
        let sent = usage.requests.sent + usage.network.sent;
        table.add_row([
            id.clone(),
            format!("{:.2}", usage.cpu),
            quotas.cpu.map_or("-".to_owned(), |cores| format!("{cores}")),
            time(usage.cpu_millis),
            bytes(usage.memory),
            bytes(usage.peak_memory),
            of(quotas.memory),
            format!("{:.1}", usage.call_rate),
            usage.calls.to_string(),
            format!("{} / {}", bytes(received), bytes(sent)),
            bytes(usage.storage.total()),
            of(quotas.storage),
        ]);
    }
    text(table)
}

/// Bytes in the largest unit of which there is one at least.
fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Milliseconds as a time.
fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..=59 => format!("{:.2} s", millis as f64 / 1000.0),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_at_a_glance() {
        let shown = [0, 1023, 1024, 1536 << 10, 5 << 30].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 GiB"]);
        assert_eq!([0, 1234, 61_000, 3_661_000].map(time), ["0.00 s", "1.23 s", "1 min 1 s", "1 h 1 min"]);
    }
}
