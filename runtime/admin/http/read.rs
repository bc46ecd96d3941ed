//! Reading requests: paths, queries and bodies, each bounded, each refused with a problem.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use semver::Version;
use serde::de::DeserializeOwned;

use super::{Problem, Shared};
use crate::registry::versions::ModuleRef;
use crate::registry::{Bundle, MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES};

/// What a tar archive adds to a file at most: its header, padding, and a long path in a header of its own.
const TAR_OVERHEAD: u64 = 4096;

/// The largest upload: the largest bundle as an archive.
pub(super) const MAX_UPLOAD: u64 = MAX_BUNDLE_BYTES + MAX_BUNDLE_FILES as u64 * TAR_OVERHEAD;

/// The largest JSON body.
const MAX_JSON: u64 = 64 * 1024;

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);

/// What stands at the placeholders of the route.
pub(super) struct Placeholders(BTreeMap<String, String>);

impl Placeholders {
    /// The module's id.
    pub(super) fn id(&self) -> Result<String, Problem> {
        id(self.text("id"))
    }

    /// The version, where the route has one.
    pub(super) fn version(&self) -> Result<Option<Version>, Problem> {
        self.0.get("version").map(|text| version(text)).transpose()
    }

    /// The text at a placeholder that the route has.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Placeholders {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
        let Path(found) = read.map_err(|error| unreadable("path", &error.body_text()))?;
        Ok(Self(found))
    }
}

/// The parameters behind the `?`.
pub(super) struct Parameters(pub(super) BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
        let Query(found) = read.map_err(|error| unreadable("query", &error.body_text()))?;
        Ok(Self(found))
    }
}

fn unreadable(what: &str, cause: &str) -> Problem {
    Problem::of("bad-request", format!("the {what}: {cause}"), "send UTF-8, percent-encoded")
}

/// The id of a path.
fn id(text: &str) -> Result<String, Problem> {
    let named: ModuleRef = text.parse().map_err(|error| Problem(crate::registry::RegistryError::into(error)))?;
    match named.version {
        None => Ok(named.id),
        Some(_) => {
            Err(Problem::of("reference", format!("`{text}` is no id"), "leave the version out of the path's id"))
        }
    }
}

/// A module, or one version of it, in a body or a parameter.
pub(super) fn module(text: &str) -> Result<ModuleRef, Problem> {
    text.parse().map_err(|error| Problem(crate::registry::RegistryError::into(error)))
}

/// The version of a path or a body.
pub(super) fn version(text: &str) -> Result<Version, Problem> {
    Version::parse(text).map_err(|error| {
        let shown: String = text.chars().take(80).collect();
        Problem::of(
            "reference",
            format!("`{}` is no version: {error}", shown.escape_debug()),
            "write one such as 1.2.0",
        )
    })
}

/// A duration such as `30s`, `500ms` or a number of milliseconds, at most `max`.
pub(super) fn duration(text: &str, max: Duration) -> Result<Duration, Problem> {
    let (number, unit) = match text {
        _ if text.ends_with("ms") => (&text[..text.len() - 2], 1),
        _ if text.ends_with('s') => (&text[..text.len() - 1], 1000),
        _ => (text, 1),
    };
    let millis = number
        .parse::<u64>()
        .map_err(|_| Problem::of("bad-request", "`wait` is no duration", "write one such as `30s`, `500ms` or 500"))?;
    Ok(Duration::from_millis(millis.saturating_mul(unit)).min(max))
}

/// The number of that name behind the `?`.
pub(super) fn number(query: &BTreeMap<String, String>, name: &str) -> Result<Option<u64>, Problem> {
    let number = query.get(name).map(|text| text.parse());
    number
        .transpose()
        .map_err(|_| Problem::of("bad-request", format!("`{name}` is no number"), "write one such as 100"))
}

/// The parameter `limit`: at least 1, at most `max`.
pub(super) fn limit(query: &BTreeMap<String, String>, default: usize, max: usize) -> Result<usize, Problem> {
    let limit = number(query, "limit")?.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(limit.clamp(1, max))
}

/// A JSON body; an empty one is the default.
pub(super) async fn json<T: DeserializeOwned + Default>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let bytes = bytes(headers, body, MAX_JSON).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::of("bad-request", format!("the body: {error}"), "see the manual's page on HTTP"))
}

/// An uploaded bundle.
pub(super) async fn bundle(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Bundle, Problem> {
    // The semaphore is never closed.
    let _held = shared.uploads.acquire().await;
    let archive = bytes(headers, body, MAX_UPLOAD).await?;
    let read = tokio::task::spawn_blocking(move || Bundle::from_tar(&archive)).await;
    let read =
        read.map_err(|error| Problem::of("internal", format!("the archive: {error}"), "see the runtime's log"))?;
    read.map_err(|error| Problem(error.into()))
}

async fn bytes(headers: &HeaderMap, body: Body, max: u64) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let message = format!("the body is larger than {} KiB", max >> 10);
        Problem::of("too-large", message, "keep data out of the module's folder")
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let read = async {
        let (mut bytes, mut chunks) = (Vec::new(), body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk
                .map_err(|error| Problem::of("bad-request", format!("the body broke off: {error}"), "send it again"))?;
            if (bytes.len() + chunk.len()) as u64 > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let late = |_| Problem::of("timeout", format!("the body took more than {} s", ARRIVAL.as_secs()), "send it again");
    tokio::time::timeout(ARRIVAL, read).await.map_err(late)?
}
