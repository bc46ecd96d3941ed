//! `backup` and `restore`, from their arguments to their output.

use std::io::Write as _;
use std::path::Path;

use serde_json::value::to_raw_value;

use super::args::BackupArgs;
use super::client::Client;
use super::output::Output;
use super::requests::show;
use super::{Exit, Globals, human};
use crate::admin::CommandError;
use crate::store::archive::{self, ArchiveError, Contents, Draft};

/// Has a backup made and writes it to its file: whole, looked through, and for its owner alone, or not at all.
pub(super) async fn backup(args: &BackupArgs, client: &Client) -> Result<Contents, CommandError> {
    let free = || {
        if args.force || args.file.symlink_metadata().is_err() {
            return Ok(());
        }
        let message = format!("{}: there is such a file already", args.file.display());
        Err(CommandError::new("exists", message).with_help("choose another name, or replace it with --force"))
    };
    free()?;
    let mut draft = Draft::of(&args.file).map_err(error)?;
    let mut answer = client.stream("/v1/backup").await?;
    while let Some(bytes) = answer.chunk().await.map_err(|error| client.silent(&error))? {
        draft.write_all(&bytes).map_err(|cause| {
            CommandError::new("failed", format!("{}: writing failed: {cause}", args.file.display()))
        })?;
    }
    draft.put(|written| {
        free()?;
        archive::verify(written).map_err(error)
    })
}

/// Says what was written.
pub(super) fn written(args: &BackupArgs, contents: &Contents, output: &mut Output) -> Result<Exit, CommandError> {
    let document = to_raw_value(contents).map_err(|error| CommandError::new("internal", error.to_string()))?;
    show(output, &document, || human::backup(&args.file, contents))
}

impl From<ArchiveError> for CommandError {
    fn from(cause: ArchiveError) -> Self {
        error(cause)
    }
}

fn error(error: ArchiveError) -> CommandError {
    CommandError::new("backup", error.to_string())
}

/// Says what a restore came to.
pub fn restored(file: &Path, contents: &Contents, kept: Option<&str>, globals: &Globals) -> Exit {
    let mut output = Output::standard(globals.json);
    let document = serde_json::to_value(contents).map(|mut document| {
        document["kept"] = kept.into();
        document.to_string()
    });
    match document {
        Ok(document) if globals.json => output.result(&document),
        _ => output.result(&human::restored(file, &globals.data, contents, kept)),
    }
    output.end(Exit::Done)
}
