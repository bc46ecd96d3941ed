//! Arguments of `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

/// Where to write a backup.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it is for you alone, and there whole or not at all
    pub file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub force: bool,
}

/// What to restore.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    pub file: PathBuf,
    /// Replace what the data directory holds; it is kept there in a folder `before-TIME`
    #[arg(long)]
    pub replace: bool,
}
