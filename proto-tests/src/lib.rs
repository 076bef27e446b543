//! Interoperability and conformance tests.
