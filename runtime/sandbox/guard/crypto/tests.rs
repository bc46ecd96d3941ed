use super::*;
use replug_scripts::HostFn;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn args(function: HostFn, args: &[Value]) -> Args {
    Args::new(function, args.to_vec())
}

fn sign(claims: Value) -> Result<Value, HostError> {
    jwt_sign(&args(HostFn::CryptoJwtSign, &[claims, Value::from(SECRET), Value::from("key 1")]))
}

fn verify(token: &Value, secret: &str) -> Value {
    jwt_verify(&args(HostFn::CryptoJwtVerify, &[token.clone(), Value::from(secret)]), 1000).expect("an answer")
}

#[test]
fn claims_come_back_while_their_token_is_good() {
    let claims = Value::map([("sub", Value::from("ada")), ("exp", Value::Int(1000)), ("n", Value::Float(1.5))]);
    let token = sign(claims.clone()).expect("a token");
    assert_eq!(verify(&token, SECRET), claims);
    assert_eq!(jwt_key_id(&args(HostFn::CryptoJwtKeyId, std::slice::from_ref(&token))), Ok(Value::from("key 1")));
    assert_eq!(verify(&token, &SECRET.to_uppercase()), Value::Null, "another secret");
    assert_eq!(verify(&sign(Value::map([("exp", Value::Int(999))])).expect("a token"), SECRET), Value::Null, "past");
    assert_eq!(verify(&sign(Value::map([("a", Value::Int(1))])).expect("a token"), SECRET), Value::Null, "no end");
    assert_eq!(verify(&Value::from("a.b.c"), SECRET), Value::Null);
}

#[test]
fn tokens_are_of_bounded_length() {
    let claims = |length: usize| Value::map([("exp", Value::Int(2000)), ("a", Value::from("\u{1}".repeat(length)))]);
    // whatever is signed verifies, up to the longest
    let longest = (8000..9000).rev().find_map(|length| Some((length, sign(claims(length)).ok()?)));
    let (length, token) = longest.expect("a token");
    assert_eq!(verify(&token, SECRET), claims(length));
    assert!(token.as_str().is_some_and(|token| token.len() > LONGEST_TOKEN - 16), "{length}");
    for length in [length + 1, 16 << 20] {
        let refused = sign(claims(length)).expect_err("it is too long");
        assert!(refused.message.contains("longer than 64 KiB"), "{refused:?}");
    }
    let id = Value::from("k".repeat(LONGEST_KEY_ID + 1));
    let refused = jwt_sign(&args(HostFn::CryptoJwtSign, &[claims(1), Value::from(SECRET), id])).expect_err("a long id");
    assert!(refused.message.contains("longer than 256 bytes"), "{refused:?}");
    // signed elsewhere, with the same secret
    let long = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims(LONGEST_TOKEN),
        &EncodingKey::from_secret(SECRET.as_bytes()),
    );
    let long = Value::Text(long.expect("a token"));
    assert_eq!(verify(&long, SECRET), Value::Null);
    assert_eq!(jwt_key_id(&args(HostFn::CryptoJwtKeyId, &[long])), Ok(Value::Null));
}

#[test]
fn hexadecimal_digits_are_written_and_read() {
    let all: Vec<u8> = (0..=255).collect();
    let Value::Text(text) = hex(&all) else { panic!("a text") };
    assert!(text.starts_with("000102") && text.ends_with("fdfeff") && text.len() == 512);
    assert_eq!(unhex(text.as_bytes()), Some(all));
}
