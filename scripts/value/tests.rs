//! Rust types as plain data and back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    note: Option<String>,
    state: State,
    lines: Vec<(String, f64)>,
    by_year: BTreeMap<u16, bool>,
    photo: Bytes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum State {
    Open,
    Paid(i64),
    Sent { by: String },
    Split(u8, u8),
}

fn orders() -> impl Strategy<Value = Order> {
    let state = prop_oneof![
        Just(State::Open),
        any::<i64>().prop_map(State::Paid),
        ".*".prop_map(|by| State::Sent { by }),
        any::<(u8, u8)>().prop_map(|(a, b)| State::Split(a, b)),
    ];
    let lines = prop::collection::vec((".*", -1e9..1e9), 0..4);
    let years = prop::collection::btree_map(any::<u16>(), any::<bool>(), 0..4);
    let photo = prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    (any::<u32>(), prop::option::of(".*"), state, lines, years, photo)
        .prop_map(|(id, note, state, lines, by_year, photo)| Order { id, note, state, lines, by_year, photo })
}

proptest! {
    #[test]
    fn what_becomes_plain_data_comes_back_as_it_was(order in orders()) {
        let value = to_value(&order).unwrap();
        prop_assert_eq!(from_value::<Order>(value).unwrap(), order);
    }
}

#[test]
fn the_shapes_are_those_of_json() {
    let state = |state: State| to_value(&state).unwrap();
    assert_eq!(state(State::Open), Value::from("open"));
    assert_eq!(state(State::Paid(7)), Value::map([("paid", Value::Int(7))]));
    let sent = Value::map([("by", Value::from("ship"))]);
    assert_eq!(state(State::Sent { by: "ship".into() }), Value::map([("sent", sent)]));
    let split = Value::List(vec![Value::Int(1), Value::Int(2)]);
    assert_eq!(state(State::Split(1, 2)), Value::map([("split", split)]));
    assert_eq!(to_value(&(None::<u8>, ())).unwrap(), Value::List(vec![Value::Null, Value::Null]));
    assert_eq!(to_value(&Bytes::from_static(b"\xff")).unwrap(), Value::Bytes(Bytes::from_static(b"\xff")));
}

#[test]
fn what_scripts_cannot_hold_is_refused_with_its_place() {
    let refused = |misfit: Misfit| misfit.to_string();
    let large = BTreeMap::from([("ids", vec![1, u64::MAX])]);
    let text = refused(to_value(&large).unwrap_err());
    assert!(text.starts_with("ids[1]: 18446744073709551615 is no whole number"), "{text}");
    let keyed = BTreeMap::from([((1, 2), 3)]);
    assert_eq!(refused(to_value(&keyed).unwrap_err()), "a map's key must be text, found list");
    assert!(matches!(to_value(&f64::NAN), Ok(Value::Float(number)) if number.is_nan()), "both languages have it");
}

#[test]
fn an_answer_that_does_not_fit_says_where() {
    let order = |lines: Value| {
        Value::map([
            ("id", Value::Int(1)),
            ("state", Value::from("open")),
            ("lines", lines),
            ("by_year", Value::map::<&str>([])),
            ("photo", Value::from("")),
        ])
    };
    let line = |price: Value| Value::List(vec![Value::from("tea"), price]);
    let fits = order(Value::List(vec![line(Value::Int(2))]));
    assert_eq!(from_value::<Order>(fits).unwrap().lines, [("tea".to_owned(), 2.0)]);
    let misfit = |lines: Value| from_value::<Order>(order(lines)).unwrap_err().to_string();
    let text = misfit(Value::List(vec![line(Value::Int(2)), line(Value::from("two"))]));
    assert_eq!(text, "lines[1][1]: invalid type: string \"two\", expected f64");
    let long = Value::List(vec![Value::List(vec![Value::from("tea"), Value::Int(2), Value::Int(3)])]);
    assert_eq!(misfit(long), "lines[0]: invalid length 3, expected a list of 2");
    assert_eq!(from_value::<Order>(Value::map::<&str>([])).unwrap_err().to_string(), "missing field `id`");
    assert_eq!(from_value::<u8>(Value::Int(300)).unwrap_err().to_string(), "invalid value: integer `300`, expected u8");
    let rounded = from_value::<i64>(Value::Float(9_007_199_254_740_992.0)).unwrap_err().to_string();
    assert!(rounded.contains("floating point"), "{rounded}");
}

#[test]
fn an_empty_table_is_an_empty_list_where_one_is_wanted() {
    assert_eq!(from_value::<Vec<u8>>(Value::map::<&str>([])).unwrap(), [0; 0]);
    assert!(from_value::<BTreeMap<String, u8>>(Value::List(Vec::new())).unwrap().is_empty());
    assert!(from_value::<Vec<u8>>(Value::map([("a", Value::Int(1))])).is_err());
    assert_eq!(from_value::<()>(Value::map::<&str>([])), Ok(()));
    assert!(from_value::<()>(Value::map([("a", Value::Int(1))])).is_err());
}

#[test]
fn bytes_and_text_become_each_other_where_that_loses_nothing() {
    let bytes = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
    assert_eq!(from_value::<String>(bytes(b"tea")).unwrap(), "tea");
    assert!(from_value::<String>(bytes(b"\xff")).is_err());
    assert_eq!(from_value::<Bytes>(Value::from("tea")).unwrap(), "tea");
    assert_eq!(from_value::<Value>(bytes(b"\xff")).unwrap(), bytes(b"\xff"));
}
