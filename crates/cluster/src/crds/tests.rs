use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kube_cel::Validator;

use super::*;
use crate::ClusterState;

fn schema_of(kind: &str) -> Value {
    let found = definitions().into_iter().find(|(_, definition)| definition["spec"]["names"]["kind"] == kind);
    let (_, definition) = found.unwrap_or_else(|| panic!("{kind} is defined"));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// What the API server's rules say of a manifest.
fn refusals(manifest: &str) -> Vec<String> {
    let object: Value = serde_saphyr::from_str(manifest).unwrap();
    let schema = schema_of(object["kind"].as_str().unwrap());
    match Validator::new().validate(&schema, &object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

/// Objects that are refused, one a line: the kind, its spec, and the beginning of a rule's message.
fn refused() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let mut kind = "";
    for line in include_str!("refused.txt").lines().filter(|line| !line.is_empty()) {
        match line.split_once(" => ") {
            // Refused by the schema alone, which is the API server's matter.
            None if line.contains(" ~> ") => {}
            None => kind = line,
            Some((spec, message)) => {
                let (name, spec) = match spec.strip_prefix("named ") {
                    Some(named) => named.split_once(' ').unwrap(),
                    None => ("default", spec),
                };
                let spec = spec.replace("LONG", &"x".repeat(256));
                let manifest = format!(
                    "apiVersion: muslin.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
                );
                cases.push((manifest, message.to_owned()));
            }
        }
    }
    cases
}

#[test]
fn each_rule_refuses_what_the_folder_source_refuses_too() {
    for (manifest, message) in refused() {
        let refusals = refusals(&manifest);
        assert!(refusals.iter().any(|refusal| refusal.starts_with(&message)), "{manifest}{refusals:#?}");
        if !manifest.contains("name: other") {
            assert_ne!(ClusterState::from_manifest("", &manifest).problems, [], "{manifest}");
        }
    }
}

#[test]
fn every_rule_has_an_object_that_it_refuses() {
    fn rules(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                for rule in
                    fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
                {
                    found.insert(rule["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|inner| rules(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| rules(inner, found)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    for (_, definition) in definitions() {
        rules(&definition, &mut all);
    }
    let seen: BTreeSet<_> = refused().iter().flat_map(|(manifest, _)| refusals(manifest)).collect();
    let unproven: Vec<_> = all.difference(&seen).collect();
    assert!(unproven.is_empty(), "{unproven:#?}");
}

#[test]
fn what_the_examples_and_the_topologies_have_is_accepted_by_the_api_server_and_by_a_folder() {
    for (folder, least) in [("examples", 50), ("containerlab", 20)] {
        let mut accepted = 0;
        for state in manifests_below(&root().join(folder)) {
            let text = fs::read_to_string(&state).unwrap();
            let ours = || text.split("\n---").filter(|document| document.contains("muslin.dev/v1alpha1"));
            for document in ours() {
                assert_eq!(refusals(document), Vec::<String>::new(), "{}: {document}", state.display());
                accepted += 1;
            }
            let alone = tempfile::tempdir().unwrap();
            fs::write(alone.path().join("objects.yaml"), ours().collect::<Vec<_>>().join("\n---\n")).unwrap();
            let read = crate::load_folder(alone.path()).unwrap();
            assert!(read.problems.is_empty(), "{}: {:?}", state.display(), read.problems);
        }
        assert!(accepted >= least, "{folder}: {accepted}");
    }
}

fn manifests_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(manifests_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_files_in_deploy_are_made_from_these_types() {
    let folder = root().join("deploy/crds");
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    for Crd { file, yaml } in crds() {
        let path = folder.join(&file);
        if update {
            fs::write(&path, yaml).unwrap();
        } else {
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(found == yaml, "{file} is not what the types say: run `cargo xtask crds`");
        }
    }
}

/// What <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
/// forbids, and formats that the API server does not know.
#[test]
fn the_schemas_are_structural() {
    fn walk(path: &str, schema: &Value) {
        let Value::Object(fields) = schema else { return };
        for word in ["$ref", "$defs", "oneOf", "anyOf", "const", "title", "nullable", "$schema"] {
            assert!(!fields.contains_key(word), "{path}: {word}");
        }
        let int_or_string = fields.contains_key("x-kubernetes-int-or-string");
        assert!(
            int_or_string || fields.get("type").is_some_and(Value::is_string),
            "{path}: no type in {schema}"
        );
        for (name, inner) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(&format!("{path}.{name}"), inner);
        }
        for word in ["items", "additionalProperties"] {
            if let Some(inner) = fields.get(word) {
                walk(&format!("{path}[]"), inner);
            }
        }
    }
    for (plural, definition) in definitions() {
        walk(&plural, &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    }
}
