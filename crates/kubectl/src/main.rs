//! The plugin of `kubectl`: on the path under this name, `kubectl muslin` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    muslin_kubectl::main()
}
