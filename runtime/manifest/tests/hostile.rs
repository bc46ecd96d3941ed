//! Text of any origin is refused or loaded, quickly and without a panic.

use std::fmt::Write;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Fault, MAX_BYTES, MAX_FAULTS, load};
use super::sample::SAMPLE;

const HEAD: &str = "id: m\nversion: 1.0.0\n";

/// Holds that `text` is refused with `message`, within a time that no honest manifest comes near.
#[track_caller]
fn refused(text: &str, message: &str) -> Vec<Fault> {
    let start = Instant::now();
    let faults = load("m.yaml", text.as_bytes()).expect_err("loaded").0;
    let took = start.elapsed();
    assert!(faults.iter().any(|fault| fault.message.contains(message)), "{:?}", &faults[..faults.len().min(3)]);
    assert!(faults.len() <= MAX_FAULTS + 1);
    assert!(took < Duration::from_secs(10), "took {took:?}");
    faults
}

#[test]
fn aliases_that_multiply_are_refused_before_they_are_written_out() {
    let mut text = format!("{HEAD}metadata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let inner = format!("*a{}", level - 1);
        let ten = [inner.as_str(); 10].join(", ");
        writeln!(text, "  a{level}: &a{level} [{ten}]").unwrap();
    }
    refused(&text, "more than 50000 values, aliases written out");
}

#[test]
fn a_text_over_a_mebibyte_is_refused_unread() {
    let text = format!("{HEAD}# {}", "x".repeat(MAX_BYTES));
    let faults = refused(&text, "the manifest has 1048599 bytes, more than 1 MiB");
    assert_eq!(faults.len(), 1);
}

#[test]
fn nesting_is_bounded_in_every_notation() {
    for (open, message) in
        [("[", "inside each other"), ("{ a: ", "inside each other"), ("- ", "inside each other"), ("? ", "")]
    {
        refused(&format!("{HEAD}metadata:\n  {}", open.repeat(10_000)), message);
    }
    let mut blocks = format!("{HEAD}metadata:\n");
    for level in 1..200 {
        writeln!(blocks, "{}a:", " ".repeat(level)).unwrap();
    }
    refused(&blocks, "inside each other");
}

#[test]
fn a_text_full_of_faults_reports_the_first_ones_and_says_so() {
    let mut text = HEAD.to_owned();
    for key in 0..20_000 {
        writeln!(text, "permissionz{key}: 1").unwrap();
    }
    let faults = refused(&text, "unknown key `permissionz0`");
    assert_eq!(faults.len(), MAX_FAULTS + 1);
    assert_eq!(faults[MAX_FAULTS].message, "19900 more faults are not shown");
}

#[test]
fn large_texts_of_one_kind_are_judged_in_time() {
    let fill = |unit: &str| unit.repeat((MAX_BYTES - 200) / unit.len());
    refused(&format!("{HEAD}name: \"{}\"", fill("x")), "more than 128");
    refused(&format!("{HEAD}name: |\n{}", fill("  x\n")), "more than 128");
    refused(&format!("{HEAD}apis: [{}]", fill("a,")), "values");
    refused(&format!("{HEAD}metadata: [{}]", fill("&a a,")), "values");
    refused(&format!("{HEAD}metadata: {{{}}}", fill("a: 1,")), "duplicate");
    refused(&fill("--- \n"), "document");
    refused(&format!("{HEAD}{}", fill("%")), "");
    refused(&format!("{HEAD}metadata: {}", fill("? ")), "");
    refused(&format!("{HEAD}metadata: {}", fill("!")), "");
    refused(&format!("{HEAD}{}: 1", fill("k")), "");
    refused(&format!("{HEAD}metadata: '{}'", fill("\n")), "map");
}

#[test]
fn thousands_of_entries_and_of_paths_are_refused_by_name() {
    let mut text = format!("{HEAD}apis:\n");
    for api in 0..1001 {
        writeln!(text, "  - {{ path: /a/{api}, methods: [GET] }}").unwrap();
    }
    refused(&text, "apis: 1001 entries, more than 1000");
    let large: String = (0..600).map(|key| format!("  k{key}: {}\n", "v".repeat(40))).collect();
    refused(&format!("{HEAD}metadata:\n{large}"), "bytes as JSON, more than 16 KiB");
}

#[test]
fn a_path_of_many_parameters_is_refused() {
    // The router's own bound is a panic, at 26.
    let path: String = (0..30).map(|name| format!("/{{p{name}}}")).collect();
    refused(&format!("{HEAD}apis:\n  - {{ path: '{path}', methods: [GET] }}\n"), "more than 16 parameters");
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let faults = load("m.yaml", b"id: m\nname: \xc3\xa4\xff").expect_err("loaded").0;
    assert_eq!(faults[0].to_string(), "m.yaml:2:8: the manifest is not UTF-8 from here on");
    assert_eq!(faults[0].help.as_deref(), Some("save the file as UTF-8"));
}

#[test]
fn an_empty_manifest_is_refused() {
    for text in ["", "\n\n", "# nothing\n", "---\n", "\u{feff}"] {
        let faults = load("m.yaml", text.as_bytes()).expect_err("loaded").0;
        assert_eq!((!faults.is_empty(), faults[0].line > 0), (true, true), "{faults:?}");
    }
}

#[test]
fn faults_display_with_their_help_below() {
    let faults = load("a/m.yaml", b"id: m\nversion: 1.10\nnam: x\n").expect_err("loaded");
    assert_eq!(
        faults.to_string(),
        "a/m.yaml:2:10: version: expected a version such as 1.2.0, found the number 1.10\n  \
         help: quote it, or YAML takes it for a number: \"1.10.0\"\n\
         a/m.yaml:3:1: unknown key `nam`\n  help: did you mean `name`?"
    );
}

/// Either loads, or is refused with faults that stand in the text and in its order.
fn holds(text: &[u8]) -> Result<(), TestCaseError> {
    let Err(faults) = load("m.yaml", text) else { return Ok(()) };
    prop_assert!(!faults.0.is_empty());
    let read = String::from_utf8_lossy(text);
    let lines = read.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for fault in &faults.0 {
        prop_assert!((1..=lines + 1).contains(&fault.line), "{fault} of {lines} lines");
        prop_assert!((1..=read.chars().count() + 2).contains(&fault.column), "{fault}");
        prop_assert!(!fault.message.contains(['\n', '\0']), "{fault:?}");
    }
    prop_assert!(faults.0.is_sorted_by_key(Fault::place));
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        holds(&bytes)?;
    }

    #[test]
    fn any_text_of_yamls_signs_is_loaded_or_refused(text in "[-:?{}\\[\\],&*!|>'\"%@#~<\n ab01.\t]{0,120}") {
        holds(text.as_bytes())?;
        holds(format!("{HEAD}metadata:\n  a: {text}\n").as_bytes())?;
    }

    #[test]
    fn any_paths_are_loaded_or_refused(paths in proptest::collection::vec("/[ab{}*:./~-]{0,16}", 1..8)) {
        let api = |path: &String| format!("  - {{ path: '{path}', methods: [GET] }}\n");
        holds(format!("{HEAD}apis:\n{}", paths.iter().map(api).collect::<String>()).as_bytes())?;
        // Paths that are mostly right get past the syntax and meet each other.
        let braced = |path: &String| path.replace('{', "/{").replace('}', "}/").replace("//", "/");
        holds(format!("{HEAD}apis:\n{}", paths.iter().map(braced).map(|path| api(&path)).collect::<String>()).as_bytes())?;
    }

    #[test]
    fn a_damaged_sample_is_loaded_or_refused(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..4_u8, any::<char>()), 1..6),
    ) {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        for (at, edit, with) in edits {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match edit {
                0 => { text.remove(at); }
                1 => text.insert(at, with),
                2 => text[at] = with,
                _ => text.truncate(at.max(1)),
            }
        }
        holds(text.into_iter().collect::<String>().as_bytes())?;
    }

    #[test]
    fn a_sample_with_lines_moved_is_loaded_or_refused(
        moves in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>()), 1..6),
    ) {
        let mut lines: Vec<&str> = SAMPLE.lines().collect();
        for (from, to) in moves {
            let line = lines.remove(from.index(lines.len()));
            lines.insert(to.index(lines.len() + 1), line);
        }
        holds(lines.join("\n").as_bytes())?;
    }
}
