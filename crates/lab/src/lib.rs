//! The lab: a whole cluster network of namespaces on one machine, proven with real packets.
