//! The specification, its map in the book, and the sources: whatever it names has a row, and each row is true.

mod identifiers;
mod map;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use replug::manifest::{ActivationStrategy, Rollback, TrafficShifting, TriggerKind};

use identifiers::identifiers;

const SPECIFICATION: &str = include_str!("../fixtures/hot-pluggable-modules.md");
const MAP: &str = include_str!("../../book/src/reference/specification.md");
const SAMPLE: &str = include_str!("../../modules/analytics-advanced/module.manifest.yaml");

#[test]
fn what_the_specification_names_has_a_row_and_no_row_is_about_anything_else() {
    let (named, rows) = (identifiers(SPECIFICATION), map::rows(MAP));
    let mapped: BTreeSet<String> = rows.iter().map(|row| row.identifier.to_owned()).collect();
    let (unmapped, unknown): (Vec<_>, Vec<_>) =
        (named.difference(&mapped).collect(), mapped.difference(&named).collect());
    assert!(unmapped.is_empty(), "without a row: {unmapped:#?}");
    assert!(unknown.is_empty(), "not in the specification: {unknown:#?}");
    assert_eq!(mapped.len(), rows.len(), "an identifier has two rows");
}

#[test]
fn each_row_names_what_is_there() {
    let faults: Vec<String> = map::rows(MAP).iter().flat_map(map::Row::faults).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_copy_is_the_specification_and_its_sample_ships() {
    let specification = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/hot-pluggable-modules.md");
    // only where the specification lies beside the checkout
    if let Ok(specification) = std::fs::read_to_string(specification) {
        assert!(specification == SPECIFICATION, "the copy was edited");
    }
    assert!(SPECIFICATION.contains(&format!("```yaml\n{SAMPLE}```\n")), "the manifest that ships is not the sample");
}

#[test]
fn the_numbers_of_the_specification_are_the_defaults() {
    let interval = Duration::from_millis(5000);
    let shifting = TrafficShifting { initial: 0, increment: 10, max_increment: 50, interval, mirror: None };
    assert_eq!(TrafficShifting::default(), shifting);
    assert_eq!(ActivationStrategy::Instant.default_timeout(), Duration::from_millis(10_000));
    assert_eq!(Rollback::default().timeout, Duration::from_millis(30_000));
    let triggers = |strategy: ActivationStrategy| -> Vec<TriggerKind> {
        strategy.default_triggers().into_iter().map(|trigger| trigger.kind).collect()
    };
    let gradual = [TriggerKind::HealthCheckFailure, TriggerKind::ErrorRateExceeded, TriggerKind::ResponseTimeExceeded];
    assert_eq!(triggers(ActivationStrategy::Gradual), gradual);
    assert_eq!(triggers(ActivationStrategy::Instant), [TriggerKind::ActivationTimeout, TriggerKind::CriticalError]);
}

#[test]
fn identifiers_are_read_from_types_manifests_and_lists() {
    let text = "
# Title

**Core Principles:**
- One at a time

#### Core Components
1. **Engine** - Runs
#### Others
1. **Left Out** - No such list

```typescript
interface Thing {
  // Comment: Nothing
  kind: 'a' | 'b'
  parts: Part[]
  inner: {
    steps: [
      'first',  // Comment
    ]
  }
  last: number
}
class Shop {
  sell(thing: Thing): Promise<Receipt>
}
```

```yaml
# shop.yaml
id: shop

things:
  - name: one
    price: 1
  - name: two
more:
  inner: [x]
  plain:
    - word
```
";
    let expected = [
        "Engine",
        "One at a time",
        "Part",
        "Receipt",
        "Shop",
        "Shop.sell",
        "Thing",
        "Thing.inner",
        "Thing.inner.steps",
        "Thing.inner.steps.first",
        "Thing.kind",
        "Thing.kind.a",
        "Thing.kind.b",
        "Thing.last",
        "Thing.parts",
        "manifest.id",
        "manifest.more",
        "manifest.more.inner",
        "manifest.more.plain",
        "manifest.things",
        "manifest.things[].name",
        "manifest.things[].price",
    ];
    assert_eq!(identifiers(text).into_iter().collect::<Vec<_>>(), expected);
}

/// Each line: a row, and what is wrong with it.
#[test]
fn a_row_that_is_not_true_is_caught() {
    let this = "`tests/it/specification.rs` `MAP`";
    let test = "`tests/it/specification.rs` `each_row_names_what_is_there`";
    let cases = [
        (format!("| `A` | {this} | {test} |"), ""),
        (format!("| `A` | {this}; **missing**: half of it all | {test} |"), ""),
        (format!("| `A` | {this} | **missing**: nobody tests it |"), ""),
        ("| `A` | **missing**: nobody made it | |".to_owned(), ""),
        ("| `A` | | |".to_owned(), "it neither says where it is nor that it is missing"),
        (format!("| `A` | {this} | |"), "it neither says what shows it nor that a test is missing"),
        (format!("| `A` | {this} | **missing** |"), "it does not say what is missing"),
        (format!("| `A` | `tests/it/specification.rs` | {test} |"), "nothing is named in tests/it/specification.rs"),
        (format!("| `A` | `tests/it/none.rs` `x` | {test} |"), "tests/it/none.rs cannot be read"),
        (format!("| `A` | `MAP` | {test} |"), "`MAP` stands before the name of a file"),
        (format!("| `A` | `runtime/lib.rs` `Runtim` | {test} |"), "runtime/lib.rs does not define `Runtim`"),
        (format!("| `A` | {this} | `runtime/lib.rs` `Runtime` |"), "runtime/lib.rs does not define `Runtime`"),
    ];
    for (row, expected) in cases {
        let rows = map::rows(&row);
        let faults: Vec<String> = rows.iter().flat_map(map::Row::faults).collect();
        match expected {
            "" => assert!(rows.len() == 1 && faults.is_empty(), "{row}: {faults:?}"),
            expected => assert!(faults.len() == 1 && faults[0].contains(expected), "{row}: {faults:?}"),
        }
    }
}
