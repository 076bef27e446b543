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

#[test]
fn a_command_of_a_page_prints_what_the_page_has_and_where_it_is_whole_nothing_else() {
    let step = |kind: &str| {
        let text = format!("<!-- run: netns -->\n```{kind}\n$ doctor\nNAME   SINCE\nn1 … up\n```\n");
        page::steps(&text, "netns").remove(0)
    };
    let said = "NAME SINCE\n\nn1   3s up\n";
    let more = format!("{said}n2   9s up\n");
    let less = "NAME SINCE\nn1   3s down\n";
    let (any, whole) = (step("console"), step("console whole"));
    assert_eq!(
        (any.lacks(said), any.lacks(&more), any.lacks(less).as_deref()),
        (None, None, Some("n1 … up"))
    );
    assert_eq!(whole.lacks(said), None);
    assert!(whole.lacks(&more).is_some() && whole.lacks(less).is_some() && whole.lacks("").is_some());
}

#[test]
fn where_a_page_has_a_number_another_one_will_do_if_it_says_so() {
    let step = |mark: &str| {
        let text =
            format!("<!-- run: {mark} -->\n```console\n$ status\nup 8s, 20 routes by 10.0.0.1: done\n```\n");
        page::steps(&text, "netns").remove(0)
    };
    let (exact, any) = (step("netns"), step("netns, with any figures: times differ"));
    let later = "up 17.5s, 3 routes by 10.0.0.1: done";
    assert!(exact.lacks(later).is_some() && any.lacks(later).is_none());
    for other in ["up 8s, 20 routes by 10.0.0.2: done", "up 8s, no routes by 10.0.0.1: done"] {
        assert!(any.lacks(other).is_some(), "{other}");
    }
}
