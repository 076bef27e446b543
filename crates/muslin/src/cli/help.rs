//! Help beyond `--help`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `muslin completion`
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `muslin man`
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// Folder for the pages; made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
