//! Network namespaces as values: hosts, links, addresses and processes for tests and labs.
