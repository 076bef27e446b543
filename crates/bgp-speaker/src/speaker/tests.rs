//! Conformance by what a peer sees: octets in, octets out, virtual time. Names begin with the row of the
//! project's list of behaviours that they show.

mod collision;
mod configure;
mod flow;
mod garbage;
mod lone;
mod network;
mod open;
mod pair;
mod restart;
mod routes;
mod seeing;
mod stream;
mod timers;
