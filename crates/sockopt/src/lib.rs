//! The few socket options that no crate offers: TCP-MD5 and minimum TTL.
