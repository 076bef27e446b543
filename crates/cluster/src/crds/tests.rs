use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kube_cel::{ErrorKind, ValidationError, Validator};

use super::refused::{By, Refused, refused};
use super::*;
use crate::ClusterState;

fn schema_of(kind: &str) -> Value {
    let found = definitions().into_iter().find(|(_, definition)| definition["spec"]["names"]["kind"] == kind);
    let (_, definition) = found.unwrap_or_else(|| panic!("{kind} is defined"));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// A rule where it stands: the kind, the place in its schema, and what the rule asks.
type Place = (String, String, String);

/// What the API server's rules say of a manifest, each with its place.
fn refusals(manifest: &str) -> Vec<(Place, ValidationError)> {
    let object: Value = serde_saphyr::from_str(manifest).unwrap();
    let kind = object["kind"].as_str().unwrap();
    match Validator::new().validate(&schema_of(kind), &object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| ((kind.to_owned(), without_indexes(&error.field_path), error.rule.clone()), error))
            .collect(),
    }
}

/// `spec.import[0].peers[3]` is `spec.import[].peers[]`.
fn without_indexes(path: &str) -> String {
    path.split('[')
        .map(|part| part.trim_start_matches(|letter: char| letter.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("[")
}

/// The manifests that a rule refuses, each with the beginning of the rule's message.
fn refused_by_a_rule() -> Vec<(String, &'static str)> {
    let by_rule = refused().into_iter().filter(|case| case.by == By::Rule);
    let manifest = |Refused { kind, name, spec, message, .. }: Refused| {
        let manifest = format!(
            "apiVersion: muslin.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        (manifest, message)
    };
    by_rule.map(manifest).collect()
}

#[test]
fn each_rule_refuses_what_the_folder_source_refuses_too() {
    for (manifest, message) in refused_by_a_rule() {
        let refusals = refusals(&manifest);
        let says = |(_, refusal): &(Place, ValidationError)| refusal.message.starts_with(message);
        assert!(refusals.iter().any(says), "{manifest}{refusals:#?}");
        if !manifest.contains("name: other") {
            assert_ne!(ClusterState::from_manifest("", &manifest).problems, [], "{manifest}");
        }
    }
}

#[test]
fn every_rule_has_at_each_of_its_places_an_object_that_it_refuses() {
    fn rules(kind: &str, place: &str, schema: &Value, found: &mut BTreeSet<Place>) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            found.insert((kind.to_owned(), place.to_owned(), rule["rule"].as_str().unwrap().to_owned()));
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let dot = if place.is_empty() { "" } else { "." };
            rules(kind, &format!("{place}{dot}{name}"), inner, found);
        }
        if let Some(items) = schema.get("items") {
            rules(kind, &format!("{place}[]"), items, found);
        }
    }
    let mut all = BTreeSet::new();
    for (_, definition) in definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        rules(kind, "", &schema_of(kind), &mut all);
    }
    let refusals = refused_by_a_rule().into_iter().flat_map(|(manifest, _)| refusals(&manifest));
    // A rule that cannot be evaluated has refused nothing.
    let said_no = refusals.filter(|(_, error)| error.kind == ErrorKind::ValidationFailure);
    let proven: BTreeSet<_> = said_no.map(|(place, _)| place).collect();
    let unproven: Vec<_> = all.difference(&proven).collect();
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
                assert_eq!(refusals(document), [], "{}: {document}", state.display());
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

/// One who leaves a field of `default` out leaves it to others (docs/decisions/0011). Within a reference to a Secret
/// nobody overrides a part.
#[test]
fn no_field_has_a_default_that_would_look_like_somebodys_choice() {
    fn walk(path: &str, schema: &Value, found: &mut Vec<String>) {
        if schema.get("default").is_some() {
            found.push(path.to_owned());
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), inner, found);
        }
        for word in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(word) {
                walk(&format!("{path}[]"), inner, found);
            }
        }
    }
    let mut found = Vec::new();
    for (plural, definition) in definitions() {
        walk(&plural, &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
    }
    found.retain(|path| !path.contains(".secretKeyRef."));
    assert_eq!(found, Vec::<String>::new());
}
