//! The part of the tutorial that has a real cluster in it, run as it is written.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/page.rs"]
mod page;

#[test]
fn the_tutorial_holds_on_a_cluster_from_the_chart() {
    page::run("docs/tutorial.md", "kubernetes");
}
