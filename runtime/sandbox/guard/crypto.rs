//! `crypto`: random bytes, digests, passwords and signed tokens.

use std::fmt::Write as _;

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, PAD};
use hmac::{Hmac, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use replug_scripts::json::{self, Length};
use replug_scripts::{HostError, HostErrorKind, Value, may_go_on};
use serde_json::value::RawValue;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::Args;
use super::files::text_or_bytes;

/// Padding is written, and read whether it is there or not.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));
const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The longest password that is hashed: longer ones only cost time.
const LONGEST_PASSWORD: usize = 1024;
/// What the hash of a password may ask for: KiB of memory, rounds, lanes.
const MAX_MEMORY: u32 = 64 << 10;
const MAX_ROUNDS: u32 = 8;
const MAX_LANES: u32 = 4;
/// The shortest secret for HS256 (RFC 7518, 3.2: as long as the hash).
const SHORTEST_SECRET: usize = 32;

/// The longest signed token: those that are longer fit in no header of a request.
const LONGEST_TOKEN: usize = 64 << 10;

/// The longest id of a key, in bytes.
const LONGEST_KEY_ID: usize = 256;

/// Bytes that are worked on between two questions whether the call may go on.
const PIECE: usize = 1 << 20;

/// The pieces of data, as long as the call may go on.
fn pieces<'a>(args: &Args, data: &'a [u8]) -> impl Iterator<Item = Result<&'a [u8], HostError>> {
    let over = || args.failed(HostErrorKind::Failed, "the call is over");
    data.chunks(PIECE).map(move |piece| if may_go_on() { Ok(piece) } else { Err(over()) })
}

fn digest<D: sha2::Digest>(args: &Args, data: &[u8]) -> Result<Value, HostError> {
    let mut digest = D::new();
    for piece in pieces(args, data) {
        digest.update(piece?);
    }
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> Value {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    Value::Text(text)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

fn fill(buffer: &mut [u8]) -> Result<(), HostError> {
    getrandom::fill(buffer)
        .map_err(|e| HostError::new(HostErrorKind::Failed, format!("the system gives no random bytes: {e}")))
}

pub(super) fn random(args: &Args) -> Result<Value, HostError> {
    let count = usize::try_from(args.whole(0)?).ok().filter(|n| (1..=1024).contains(n));
    let mut bytes = vec![0; count.ok_or_else(|| args.wrong(0, "a number from 1 to 1024"))?];
    fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// RFC 9562, version 4.
pub(super) fn uuid() -> Result<Value, HostError> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Value::Text(text))
}

pub(super) fn hash(args: &Args) -> Result<Value, HostError> {
    let data = args.bytes(1)?;
    match args.text(0)? {
        "sha256" => digest::<Sha256>(args, data),
        "sha512" => digest::<Sha512>(args, data),
        "blake3" => Ok(hex(blake3::hash(data).as_bytes())),
        _ => Err(args.failed(HostErrorKind::InvalidArgument, "the algorithms are sha256, sha512 and blake3")),
    }
}

pub(super) fn encode(args: &Args) -> Result<Value, HostError> {
    let data = args.bytes(1)?;
    match args.text(0)? {
        "base64" => Ok(Value::Text(BASE64.encode(data))),
        "base64url" => Ok(Value::Text(BASE64_URL.encode(data))),
        "hex" => {
            let mut text = String::with_capacity(data.len() * 2);
            for piece in pieces(args, data) {
                push_hex(&mut text, piece?);
            }
            Ok(Value::Text(text))
        }
        _ => Err(unknown_format(args)),
    }
}

pub(super) fn decode(args: &Args) -> Result<Value, HostError> {
    let text = args.bytes(1)?;
    let invalid = |cause: &dyn std::fmt::Display| args.failed(HostErrorKind::InvalidArgument, cause);
    let data = match args.text(0)? {
        "base64" => BASE64.decode(text).map_err(|e| invalid(&e))?,
        "base64url" => BASE64_URL.decode(text).map_err(|e| invalid(&e))?,
        "hex" => {
            let mut data = Vec::with_capacity(text.len() / 2);
            for piece in pieces(args, text) {
                let bytes = unhex(piece?).ok_or_else(|| invalid(&"hex is pairs of digits from 0 to f"))?;
                data.extend_from_slice(&bytes);
            }
            data
        }
        _ => return Err(unknown_format(args)),
    };
    Ok(text_or_bytes(data))
}

fn unknown_format(args: &Args) -> HostError {
    args.failed(HostErrorKind::InvalidArgument, "the formats are base64, base64url and hex")
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

pub(super) fn sha256(args: &Args) -> Result<Value, HostError> {
    digest::<Sha256>(args, args.bytes(0)?)
}

pub(super) fn hmac(args: &Args) -> Result<Value, HostError> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(args.bytes(0)?).map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?;
    for piece in pieces(args, args.bytes(1)?) {
        mac.update(piece?);
    }
    Ok(hex(&mac.finalize().into_bytes()))
}

pub(super) fn equal(args: &Args) -> Result<Value, HostError> {
    Ok(Value::Bool(args.bytes(0)?.ct_eq(args.bytes(1)?).into()))
}

fn password(args: &Args) -> Result<&[u8], HostError> {
    let password = args.bytes(0)?;
    if password.len() > LONGEST_PASSWORD {
        return Err(args.failed(HostErrorKind::InvalidArgument, "the password is longer than 1024 bytes"));
    }
    Ok(password)
}

/// Work that has a quota of its own.
pub(super) type Slow = Box<dyn FnOnce() -> Result<Value, HostError> + Send>;

pub(super) fn password_hash(args: &Args) -> Result<Slow, HostError> {
    let password = password(args)?.to_vec();
    let mut salt = [0; 16];
    fill(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| args.failed(HostErrorKind::Failed, error))?;
    let function = args.function;
    Ok(Box::new(move || {
        let hash = Argon2::default().hash_password(&password, &salt);
        let failed = |error| HostError::new(HostErrorKind::Failed, format!("{}: {error}", function.path()));
        Ok(Value::Text(hash.map_err(failed)?.to_string()))
    }))
}

pub(super) fn password_verify(args: &Args) -> Result<Slow, HostError> {
    let (password, text) = (password(args)?.to_vec(), args.text(1)?.to_owned());
    let hash = PasswordHash::new(&text).map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?;
    // the hash says how dear it is, and a script may say anything
    let params = argon2::Params::try_from(&hash).map_err(|e| args.failed(HostErrorKind::InvalidArgument, e))?;
    if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_ROUNDS || params.p_cost() > MAX_LANES {
        let what = "the hash asks for more than 64 MiB, 8 rounds or 4 lanes";
        return Err(args.failed(HostErrorKind::InvalidArgument, what));
    }
    Ok(Box::new(move || {
        // it was read above
        let hash = PasswordHash::new(&text).map_err(|e| HostError::new(HostErrorKind::Failed, e.to_string()))?;
        Ok(Value::Bool(Argon2::default().verify_password(&password, &hash).is_ok()))
    }))
}

fn secret(args: &Args, index: usize) -> Result<&[u8], HostError> {
    let secret = args.bytes(index)?;
    if secret.len() < SHORTEST_SECRET {
        return Err(args.failed(HostErrorKind::InvalidArgument, "the secret must have at least 32 bytes"));
    }
    Ok(secret)
}

pub(super) fn jwt_sign(args: &Args) -> Result<Value, HostError> {
    let Value::Map(_) = args.get(0) else { return Err(args.wrong(0, "a map")) };
    let invalid = |why: &dyn std::fmt::Display| args.failed(HostErrorKind::InvalidArgument, why);
    let id = args.text(2)?;
    if id.len() > LONGEST_KEY_ID {
        return Err(invalid(&format!("the key's id is longer than {LONGEST_KEY_ID} bytes")));
    }
    let too_long = || invalid(&"the token would be longer than 64 KiB");
    let (claims, length) = json::encode_first(args.get(0), LONGEST_TOKEN).map_err(|error| invalid(&error))?;
    let claims = String::from_utf8(claims).ok().filter(|_| length == Length::Whole).ok_or_else(too_long)?;
    let claims = RawValue::from_string(claims).map_err(|error| invalid(&error))?;
    let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret(args, 1)?));
    let token = token.map_err(|error| invalid(&error))?;
    if token.len() > LONGEST_TOKEN { Err(too_long()) } else { Ok(Value::Text(token)) }
}

/// A token that does not verify gives nothing rather than an error: whoever asks treats all causes alike.
pub(super) fn jwt_verify(args: &Args, now: u64) -> Result<Value, HostError> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_aud = false;
    // against the clock of the guard, below
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(secret(args, 1)?);
    let Some(token) = short(args)? else { return Ok(Value::Null) };
    let decoded = jsonwebtoken::decode::<Box<RawValue>>(token, &key, &validation);
    let claims = decoded.ok().and_then(|token| json::decode(token.claims.get().as_bytes()).ok());
    let is_good = |claims: &Value| match claims.get("exp") {
        Some(Value::Int(end)) => u64::try_from(*end).is_ok_and(|end| end >= now),
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
        Some(Value::Float(end)) => *end >= now as f64,
        _ => false,
    };
    Ok(claims.filter(is_good).unwrap_or_default())
}

/// The token, if it is no longer than one may be.
fn short(args: &Args) -> Result<Option<&[u8]>, HostError> {
    Ok(Some(args.bytes(0)?).filter(|token| token.len() <= LONGEST_TOKEN))
}

pub(super) fn jwt_key_id(args: &Args) -> Result<Value, HostError> {
    let Some(token) = short(args)? else { return Ok(Value::Null) };
    let header = jsonwebtoken::decode_header(token);
    Ok(header.ok().and_then(|header| header.kid).map_or(Value::Null, Value::Text))
}

#[cfg(test)]
#[path = "crypto/tests.rs"]
mod tests;
