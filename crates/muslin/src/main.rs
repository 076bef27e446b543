//! A BGP-routed pod network for Kubernetes: agent, stand-alone speaker, lab and the operator's commands.

fn main() {}
