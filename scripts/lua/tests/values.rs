use proptest::prelude::*;

use super::*;
use crate::testing::contract::assert_contract_error;

/// What a value looks like after a visit in Lua: nulls in maps are missing keys.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(
            map.into_iter().filter(|(_, item)| *item != Value::Null).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::List(items) => Value::List(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (-(1i64 << 53) + 1..1i64 << 53).prop_map(Value::Int),
        any::<f64>().prop_filter("whole numbers come back as integers", |x| x.fract() != 0.0).prop_map(Value::Float),
        prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::MIN_POSITIVE), Just(1e300)]
            .prop_map(Value::Float),
        ".{0,12}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 1..8)
            .prop_filter("text comes back as text", |bytes| std::str::from_utf8(bytes).is_err())
            .prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map(".{0,6}", prop_oneof![4 => inner, 1 => Just(Value::Null)], 0..6)
                .prop_map(Value::Map),
        ]
    })
}

/// A key of a table as a script writes it: 1 to 3, other numbers, texts.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (1i64..4).prop_map(|n| n.to_string()),
        1 => prop_oneof![Just("0"), Just("-1"), Just("1.5"), Just("2^53"), Just("1e300"), Just("math.huge")].prop_map(String::from),
        2 => "[a-c]".prop_map(|text| format!("{text:?}")),
        1 => prop_oneof![Just("true"), Just("{}"), Just("print"), Just("\"\\255\"")].prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_value_survives_the_way_in_and_out(value in value()) {
        prop_assert_eq!(call("return args", value.clone()).unwrap(), without_nulls(value));
    }

    #[test]
    fn a_value_survives_the_way_to_the_host_and_back(value in value()) {
        prop_assert_eq!(call("return kv.get(args)", value.clone()).unwrap(), without_nulls(value));
    }

    /// Also NaN, which equals nothing, and integers that no double holds.
    #[test]
    fn any_number_crosses_as_the_nearest_double(int in any::<i64>(), bits in any::<u64>()) {
        let float = f64::from_bits(bits);
        let Value::List(back) = call("return { args[1], args[2] }", Value::List(vec![Value::Int(int), Value::Float(float)])).unwrap() else {
            panic!("a list comes back");
        };
        let near = |value: &Value, wanted: f64| match value {
            #[allow(clippy::cast_precision_loss, reason = "below 2^53, as documented")]
            Value::Int(number) => *number as f64 == wanted && number.abs() < 1 << 53,
            Value::Float(number) => number.to_bits() == wanted.to_bits() || (number.is_nan() && wanted.is_nan()) || *number == wanted,
            _ => false,
        };
        #[allow(clippy::cast_precision_loss, reason = "what is expected")]
        let nearest = int as f64;
        prop_assert!(near(&back[0], nearest) && near(&back[1], float), "{int} {float}: {back:?}");
    }

    /// A table is a list, a map or a fault, whatever its keys, in whatever order they were set.
    #[test]
    fn a_table_of_any_keys_is_a_list_a_map_or_a_fault(keys in proptest::collection::vec(key(), 0..5)) {
        let sets: String = keys.iter().map(|key| format!("t[{key}] = 1 ")).collect();
        let result = call(&format!("local t = {{}} {sets} return t"), Value::Null);
        let mut names: Vec<_> = keys.clone();
        names.sort();
        names.dedup();
        let objects = keys.iter().filter(|key| *key == "{}").count();
        let count = names.iter().filter(|name| *name != "{}").count() + objects;
        let in_row = names.iter().enumerate().all(|(index, name)| *name == (index + 1).to_string());
        let all_text = names.iter().all(|name| name.starts_with('"') && !name.contains("255"));
        match result {
            Ok(Value::List(items)) => prop_assert!(in_row && count > 0 && items.len() == count, "{sets}"),
            Ok(Value::Map(map)) => prop_assert!(all_text && map.len() == count, "{sets}"),
            Ok(other) => prop_assert!(false, "{sets}: {other:?}"),
            Err(error) => prop_assert!(!error.retires_vm() && !in_row && !all_text, "{sets}: {error}"),
        }
    }

    #[test]
    fn any_bytes_come_back_as_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let back = call("return { args, #args, kv.get(args) }", Value::Bytes(bytes.clone().into())).unwrap();
        let Value::List(parts) = back else { panic!("a list comes back") };
        prop_assert_eq!(parts[0].as_bytes(), Some(&bytes[..]));
        prop_assert_eq!(&parts[1], &Value::Int(i64::try_from(bytes.len()).unwrap()));
        prop_assert_eq!(parts[2].as_bytes(), Some(&bytes[..]));
    }

    #[test]
    fn a_nest_crosses_to_its_bound_and_no_further(levels in 1usize..90, maps in any::<bool>()) {
        let add = if maps { "t = { a = t }" } else { "t = { t }" };
        let result = call(&format!("local t = 1 for i = 1, {levels} do {add} end return kv.get(t)"), Value::Null);
        prop_assert_eq!(result.is_ok(), levels <= 64, "{} levels: {:?}", levels, result);
    }

    /// A circle of any length, entered anywhere, is a fault and nothing else.
    #[test]
    fn a_circle_of_any_length_is_refused(length in 1usize..200) {
        let body = format!("local first = {{}} local t = first for i = 2, {length} do t[1] = {{}} t = t[1] end t[1] = first return first");
        assert_contract_error(&call(&body, Value::Null).unwrap_err(), "contains itself", &body);
    }
}

#[test]
fn an_empty_table_is_a_map_and_an_empty_list_of_the_host_stays_one() {
    assert_eq!(call("return {}", Value::Null).unwrap(), Value::map::<&str>([]));
    assert_eq!(call("return args", Value::List(Vec::new())).unwrap(), Value::List(Vec::new()));
    assert_eq!(
        call("args[1] = 1 args[1] = nil return { args }", Value::List(Vec::new())).unwrap(),
        Value::List(vec![Value::List(Vec::new())])
    );
}

#[test]
fn numbers_keep_their_kind() {
    let json = |body: &str| call(body, Value::Null).unwrap();
    assert_eq!(json("return 3"), Value::Int(3));
    assert_eq!(json("return 3.5"), Value::Float(3.5));
    assert_eq!(json("return 2^53"), Value::Float(9_007_199_254_740_992.0));
    assert_eq!(json("return 2^53 - 1"), Value::Int((1 << 53) - 1));
    assert_eq!(json("return 1e-300"), Value::Float(1e-300));
    assert!(matches!(json("return -0.0"), Value::Float(x) if x == 0.0 && x.is_sign_negative()));
    assert!(matches!(json("return 0/0"), Value::Float(x) if x.is_nan()));
    assert_eq!(json("return math.huge"), Value::Float(f64::INFINITY));
}

#[test]
fn a_list_built_in_any_order_is_a_list() {
    let answer = call("local t = {} for i = 20, 1, -1 do t[i] = i end return t", Value::Null).unwrap();
    assert_eq!(answer, Value::List((1..=20).map(Value::Int).collect()));
}

#[test]
fn metamethods_do_not_run_on_the_way_out() {
    let body = r#"return setmetatable({ 1 }, {
        __index = function() error("index") end, __iter = function() error("iter") end, __len = function() error("len") end })"#;
    assert_eq!(call(body, Value::Null).unwrap(), Value::List(vec![Value::Int(1)]));
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nest = |levels: usize| (0..levels).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    assert_eq!(call("return args", nest(64)).unwrap(), nest(64));
    let body = "return 1";
    assert_contract_error(&call(body, nest(65)).unwrap_err(), "deeper than 64", body);
    let body = "for i = 1, 65 do args = { args } end return args";
    assert_contract_error(&call(body, Value::Int(1)).unwrap_err(), "deeper than 64", body);
}

#[test]
fn what_is_shared_a_million_times_does_not_grow_beyond_the_limit() {
    let body = "local t = 'x' for i = 1, 40 do t = { t, t } end return t";
    assert_contract_error(&call(body, Value::Null).unwrap_err(), "memory limit", body);
    let body = "local s = string.rep('x', 1000000) return table.create(1000, s)";
    assert_contract_error(&call(body, Value::Null).unwrap_err(), "memory limit", body);
}
