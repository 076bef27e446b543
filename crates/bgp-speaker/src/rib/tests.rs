//! The RIB seen from outside: octets in, octets out.

mod decision;
mod export;
mod flips;
mod guard;
mod import;
mod lag;
mod link_local;
mod model;
mod policy;
mod reference;
mod reflection;
mod support;
mod variety;
