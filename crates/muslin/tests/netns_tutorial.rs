//! The tutorial, run as it is written: the lab, a topology, a first peer, a broken one, a policy.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/page.rs"]
mod page;

#[test]
fn the_tutorial_holds_from_the_lab_to_a_policy() {
    page::run("docs/tutorial.md", "netns");
}

#[test]
fn a_page_is_read_by_tier_and_kind_of_block() {
    let text = "\
<!-- run: netns -->
```sh
cd /
ls
```
```console
$ muslin peers
PEER … STATE
$ true
```
<!-- run: never, it builds -->
```sh
cargo build
```
";
    let steps = page::steps(text, "netns");
    assert_eq!(steps[0].command, "cd /\nls\n");
    assert_eq!((steps[1].line, &*steps[1].command), (7, "muslin peers"));
    assert_eq!(steps[1].expected.as_deref(), Some(&["PEER … STATE".to_owned()][..]));
    assert_eq!(steps.len(), 3);
}
