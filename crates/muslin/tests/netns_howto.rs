//! What the README shows, and the part of the how-to page that asks a network, run as they are written.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/page.rs"]
mod page;

#[test]
fn the_commands_of_the_how_to_page_answer_as_it_says() {
    page::run("docs/how-to.md", "netns");
}

#[test]
fn the_readme_shows_what_the_lab_says() {
    page::run("README.md", "netns");
}
