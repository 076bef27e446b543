use super::*;

const GOOD: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n";

fn files(list: &[(&str, &str)]) -> Files {
    list.iter().map(|(name, text)| ((*name).into(), Ok((*text).to_owned()))).collect()
}

fn nodes(folder: &Folder) -> Vec<String> {
    folder.state().nodes.keys().map(ToString::to_string).collect()
}

fn folder_with(text: &str) -> Folder {
    let mut folder = Folder::default();
    folder.replace(files(&[("a.yaml", text)]));
    folder
}

#[test]
fn an_object_removed_from_a_half_written_file_is_not_lost_while_the_file_does_not_parse() {
    let mut folder = folder_with(GOOD);
    folder.replace(files(&[("a.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: n1")]));
    assert_eq!(nodes(&folder), ["n1", "n2"]);
    assert_eq!(folder.state().problems[0].effect, Effect::LastGoodKept);

    folder.replace(files(&[("a.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n")]));
    assert_eq!(nodes(&folder), ["n1"]);
    assert_eq!(folder.state().problems, []);
}

#[test]
fn the_last_good_state_of_a_bad_object_stays_in_force() {
    let node = |cidr: &str| {
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n1}}\nspec:\n  podCIDRs: [{cidr}]\n")
    };
    let mut folder = folder_with(&node("10.244.1.0/24"));
    for _ in 0..2 {
        folder.replace(files(&[("a.yaml", &node("10.244.1.0/33"))]));
        let state = folder.state();
        assert_eq!(state.nodes["n1"].pod_cidrs().len(), 1);
        assert_eq!(
            state.problems[0].to_string(),
            "a.yaml:5: Node n1 .spec.podCIDRs[0]: found \"10.244.1.0/33\"; write an address range without host bits, as 10.244.1.0/24"
        );
    }
}

#[test]
fn a_bad_object_that_never_was_good_is_only_a_problem() {
    let folder = folder_with("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: 7\n");
    assert_eq!(nodes(&folder), Vec::<String>::new());
    assert_eq!(folder.state().problems.len(), 1);
}

#[test]
fn an_object_that_loses_its_name_is_not_lost() {
    let mut folder = folder_with(GOOD);
    folder.replace(files(&[("a.yaml", &GOOD.replace("{name: n2}", "{nam: n2}"))]));
    assert_eq!(nodes(&folder), ["n1", "n2"]);
}

#[test]
fn a_file_that_becomes_empty_keeps_its_objects_and_one_that_is_removed_does_not() {
    let mut folder = folder_with(GOOD);
    folder.replace(files(&[("a.yaml", "\n")]));
    assert_eq!(nodes(&folder), ["n1", "n2"]);
    assert_eq!(
        folder.state().problems[0].to_string(),
        "a.yaml: it has become empty; write it again, or remove the file to withdraw its objects",
    );
    folder.replace(files(&[("a.yaml", "# nothing left\n")]));
    assert_eq!(nodes(&folder), Vec::<String>::new());
    folder.replace(files(&[("a.yaml", GOOD), ("b.yaml", "# another\n")]));
    folder.replace(files(&[("b.yaml", "# another\n")]));
    assert_eq!(nodes(&folder), Vec::<String>::new());
}

#[test]
fn a_folder_that_loses_every_manifest_keeps_all_objects_until_it_says_more() {
    let mut folder = folder_with(GOOD);
    folder.replace(Files::new());
    assert_eq!(nodes(&folder), ["n1", "n2"]);
    assert_eq!(
        folder.state().problems[0].to_string(),
        "the folder: it holds no manifest any more; write them again, or leave a file with a comment alone to withdraw everything",
    );
    folder.replace(files(&[("a.yaml", GOOD)]));
    assert_eq!((nodes(&folder).len(), folder.state().problems.len()), (2, 0));
    folder.replace(files(&[("empty.yaml", "# nothing\n")]));
    assert_eq!(nodes(&folder), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_objects() {
    let mut folder = folder_with(GOOD);
    folder.replace(Files::from([("a.yaml".into(), Err(Unread::Failed("permission denied".to_owned())))]));
    assert_eq!(nodes(&folder), ["n1", "n2"]);
    assert_eq!(folder.state().problems[0].message, "permission denied");
    folder.replace(files(&[("a.yaml", GOOD)]));
    assert_eq!(folder.state().problems, []);
}

#[test]
fn a_file_being_written_is_left_as_it_was() {
    let mut folder = folder_with(GOOD);
    folder.replace(Files::from([("a.yaml".into(), Err(Unread::BeingWritten))]));
    assert_eq!(nodes(&folder), ["n1", "n2"]);
    assert_eq!(folder.state().problems, []);
}

#[test]
fn an_object_that_moves_to_another_file_and_breaks_there_is_not_lost() {
    let mut folder = folder_with("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n");
    folder.replace(files(&[("b.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: 7\n")]));
    assert_eq!(nodes(&folder), ["n1"]);
}

#[test]
fn of_two_objects_with_one_name_the_first_counts() {
    let mut folder = Folder::default();
    let node = |cidr: &str| {
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n1}}\nspec: {{podCIDRs: [{cidr}]}}\n")
    };
    folder.replace(files(&[("b.yaml", &node("10.2.0.0/24")), ("a.yaml", &node("10.1.0.0/24"))]));
    let state = folder.state();
    assert_eq!(state.nodes["n1"].pod_cidrs()[0].value, "10.1.0.0/24".parse().unwrap());
    assert_eq!(
        state.problems[0].to_string(),
        "b.yaml:1: Node n1: it is in a.yaml:1 already; remove one of the two"
    );
}

#[test]
fn only_manifests_are_read() {
    for name in ["a.yaml", "a.yml", "a.json"] {
        assert!(is_manifest(name), "{name}");
    }
    for name in [".a.yaml", "a.yaml.swp", "a.yaml~", "README.md", "..data", "yaml"] {
        assert!(!is_manifest(name), "{name}");
    }
}
