use proptest::prelude::*;

use super::*;
use crate::testing::contract::assert_contract_error;

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("NaN equals nothing", |x| !x.is_nan()).prop_map(Value::Float),
        ".{0,12}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map(".{0,6}", inner, 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_value_survives_the_way_in_and_out(value in value()) {
        prop_assert_eq!(scripted(|| call("args", value.clone()).unwrap()), value);
    }

    #[test]
    fn a_value_survives_the_way_to_the_host_and_back(value in value()) {
        prop_assert_eq!(scripted(|| call("kv.get(args)", value.clone()).unwrap()), value);
    }

    /// Also NaN, which equals nothing: bit by bit.
    #[test]
    fn any_number_comes_back_as_it_is(int in any::<i64>(), bits in any::<u64>()) {
        let float = f64::from_bits(bits);
        let back = scripted(|| call("[args[0], args[1]]", Value::List(vec![Value::Int(int), Value::Float(float)])).unwrap());
        let Value::List(back) = back else { panic!("a list comes back") };
        prop_assert_eq!(&back[0], &Value::Int(int));
        prop_assert!(matches!(back[1], Value::Float(x) if x.to_bits() == float.to_bits() || (x.is_nan() && float.is_nan())));
    }

    #[test]
    fn any_text_can_be_a_key(keys in proptest::collection::vec(".{0,6}", 0..6)) {
        let map = Value::Map(keys.iter().map(|key| (key.clone(), Value::from(key.as_str()))).collect());
        let body = "let m = #{}; for k in args.keys() { m[k] = args[k]; } kv.get(m)";
        prop_assert_eq!(scripted(|| call(body, map.clone()).unwrap()), map);
    }

    #[test]
    fn a_nest_crosses_to_its_bound_and_no_further(levels in 1usize..90, kind in 0usize..3) {
        let add = ["t = [t];", "t = #{ a: t };", "let c = t; let f = || c; t = [c];"][kind];
        let result = scripted(|| call(&format!("let t = 1; for i in 0..{levels} {{ {add} }} kv.get(t)"), Value::Null));
        prop_assert_eq!(result.is_ok(), levels <= 64, "{} levels: {:?}", levels, result);
    }

    /// Only what closures captured can hold itself; functions do not cross, whatever they hold.
    #[test]
    fn a_circle_of_any_length_is_refused(length in 1usize..60) {
        let body = format!("let t = (); let first = || t; let x = first; for i in 0..{length} {{ let c = x; x = [|| c]; }} t = x; kv.get(x)");
        let error = scripted(|| call(&body, Value::Null).unwrap_err());
        prop_assert!(!error.retires_vm() && error.to_string().contains("cannot leave the script"), "{error}");
    }
}

#[test]
fn numbers_keep_their_kind() {
    scripted(|| {
        let of = |body: &str| call(body, Value::Null).unwrap();
        assert_eq!(of("3"), Value::Int(3));
        assert_eq!(of("3.0"), Value::Float(3.0));
        assert_eq!(of("9223372036854775807"), Value::Int(i64::MAX));
        assert_eq!(of("'x'"), Value::from("x"));
        assert!(matches!(of("0.0 / 0.0"), Value::Float(x) if x.is_nan()));
    });
}

#[test]
fn empty_lists_maps_and_blobs_stay_what_they_are() {
    scripted(|| {
        for empty in
            [Value::List(Vec::new()), Value::map::<&str>([]), Value::Bytes(bytes::Bytes::new()), Value::from("")]
        {
            assert_eq!(call("kv.get([args])", empty.clone()).unwrap(), Value::List(vec![empty]));
        }
    });
}

#[test]
fn captured_values_cross_as_what_they_hold() {
    scripted(|| {
        let answer = call("let a = [1]; let f = || a.push(2); f.call(); a", Value::Null).unwrap();
        assert_eq!(answer, Value::List(vec![Value::Int(1), Value::Int(2)]));
    });
}

#[test]
fn nesting_is_bounded_both_ways() {
    scripted(|| {
        let nest = |levels: usize| (0..levels).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
        assert_eq!(call("args", nest(64)).unwrap(), nest(64));
        let body = "1";
        assert_contract_error(&call(body, nest(65)).unwrap_err(), "deeper than 64", body);
        let body = "for i in 0..65 { args = [args]; } args";
        assert_contract_error(&call(body, Value::Int(1)).unwrap_err(), "deeper than 64", body);
    });
}

#[test]
fn what_is_shared_a_million_times_does_not_grow_beyond_the_limit() {
    scripted(|| {
        let body = "let s = \"\"; s.pad(1000000, 'x'); let a = []; a.pad(1000, s); a";
        let error = call(body, Value::Null).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error:?}");
    });
}
