//! The part of the tutorial that has FRR in it, run as it is written.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/page.rs"]
mod page;

#[test]
fn the_containerlab_topology_of_the_tutorial_holds() {
    page::run("docs/tutorial.md", "interop");
}
