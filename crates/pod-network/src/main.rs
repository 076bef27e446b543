//! The CNI plugin `muslin-cni`; everything it does is in [`muslin_pod_network::plugin`].

fn main() -> std::process::ExitCode {
    muslin_pod_network::plugin::main()
}
