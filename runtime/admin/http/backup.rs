//! A backup, sent as it is.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncReadExt as _;

use super::Problem;
use super::identity::Asked;
use crate::admin::commands::BackupFile;

/// Bytes that are read and sent in one go.
const STRETCH: usize = 64 * 1024;

/// The checksum at the end of the file.
const HASH: HeaderName = HeaderName::from_static("x-replug-hash");

pub(super) async fn backup(Asked(commands): Asked) -> Result<Response, Problem> {
    let BackupFile { file, hash } = commands.backup().await?;
    let failed = |error: io::Error| Problem::of("internal", format!("the backup cannot be read: {error}"), "try again");
    let length = file.metadata().map_err(failed)?.len();
    let hash = HeaderValue::try_from(hash).unwrap_or(HeaderValue::from_static(""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"replug.backup\"")),
        (HASH, hash),
    ];
    let stretches = futures::stream::unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut bytes = vec![0; STRETCH];
        match file.read(&mut bytes).await {
            Ok(0) => None,
            Ok(read) => {
                bytes.truncate(read);
                Some((Ok(Bytes::from(bytes)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    Ok((headers, Body::from_stream(stretches)).into_response())
}
