//! The CNI plugin, built beside `muslin` so that one build gives a node all it needs.

use std::process::ExitCode;

fn main() -> ExitCode {
    muslin_pod_network::plugin::main()
}
