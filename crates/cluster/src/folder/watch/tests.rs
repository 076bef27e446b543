use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;

fn node(name: &str) -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n")
}

/// Waits until the published nodes are `wanted`.
async fn nodes_become(source: &FolderSource, wanted: &[&str]) {
    let mut state = source.state();
    let become_wanted =
        state.wait_for(|state| state.nodes.keys().map(|name| &**name).eq(wanted.iter().copied()));
    tokio::time::timeout(Duration::from_secs(10), become_wanted)
        .await
        .unwrap_or_else(|_| panic!("the nodes did not become {wanted:?}"))
        .unwrap();
}

#[tokio::test]
async fn written_renamed_and_removed_files_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), node("a")).unwrap();
    let source = FolderSource::watch(folder.path()).unwrap();
    nodes_become(&source, &["a"]).await;

    fs::write(folder.path().join("b.yaml"), node("b")).unwrap();
    nodes_become(&source, &["a", "b"]).await;

    fs::write(folder.path().join(".new"), node("c")).unwrap();
    fs::rename(folder.path().join(".new"), folder.path().join("b.yaml")).unwrap();
    nodes_become(&source, &["a", "c"]).await;

    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    nodes_become(&source, &["c"]).await;
}

#[tokio::test]
async fn a_file_counts_when_its_writer_closes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{}---\n{}", node("a"), node("b"))).unwrap();
    let source = FolderSource::watch(folder.path()).unwrap();

    let mut writer = fs::File::create(&path).unwrap();
    writer.write_all(node("a").as_bytes()).unwrap();
    writer.flush().unwrap();
    // The other file's arrival proves that the half-written one was not taken.
    fs::write(folder.path().join("c.yaml"), node("c")).unwrap();
    nodes_become(&source, &["a", "b", "c"]).await;

    writer.write_all(format!("---\n{}", node("d")).as_bytes()).unwrap();
    drop(writer);
    nodes_become(&source, &["a", "c", "d"]).await;
}

#[tokio::test]
async fn the_swap_of_a_mounted_config_map_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (data, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(at(data)).unwrap();
        fs::write(at(data).join("node.yaml"), node(name)).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/node.yaml", at("node.yaml")).unwrap();
    let source = FolderSource::watch(folder.path()).unwrap();
    nodes_become(&source, &["a"]).await;

    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    nodes_become(&source, &["b"]).await;
}

#[tokio::test]
async fn a_folder_that_goes_withdraws_nothing_and_is_followed_again_when_it_returns() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, aside) = (parent.path().join("state"), parent.path().join("aside"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), node("a")).unwrap();
    let source = FolderSource::watch(&folder).unwrap();

    fs::rename(&folder, &aside).unwrap();
    let mut state = source.state();
    let gone = state.wait_for(|state| !state.problems.is_empty());
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap().unwrap().clone();
    assert!(gone.nodes.contains_key("a"));
    assert!(gone.problems[0].message.starts_with("the folder cannot be read"));

    fs::create_dir(parent.path().join("new")).unwrap();
    fs::write(parent.path().join("new/b.yaml"), node("b")).unwrap();
    fs::rename(parent.path().join("new"), &folder).unwrap();
    nodes_become(&source, &["b"]).await;
    fs::write(folder.join("c.yaml"), node("c")).unwrap();
    nodes_become(&source, &["b", "c"]).await;
}

#[test]
fn a_folder_that_is_not_there_at_the_start_is_an_error() {
    let error = FolderSource::watch(Path::new("/nonexistent/muslin")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/muslin"), "{error}");
}
