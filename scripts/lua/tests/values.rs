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
