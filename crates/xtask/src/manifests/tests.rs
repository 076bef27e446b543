mod needs_helm;

use super::*;

#[test]
fn an_edited_manifest_is_told_from_a_made_one() {
    let made = with_header("c4a1", "kind: Namespace\n");
    let body = made.splitn(4, '\n').nth(3).unwrap();
    assert_eq!(made, with_header("c4a1", body));
    assert_ne!(made, with_header("0000", body), "the chart has changed");
    let edited = made.replace("Namespace", "Node");
    assert_ne!(edited, with_header("c4a1", edited.splitn(4, '\n').nth(3).unwrap()));
}
