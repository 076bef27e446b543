//! From the text of a file to typed objects, each fault with its place.
//!
//! A text is read twice: once into a tree in which every value knows its line, then each object of it into its
//! type. So a value that does not fit is reported by line and field path, whatever type refuses it, and one bad
//! object does not hide the others.

mod deserialize;
mod suggest;
mod tree;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::kubernetes::{Written, WrittenEndpointSlice, WrittenNode, WrittenPod, WrittenService};
use crate::problem::{Effect, Fault, Layout, Origin, Problem};
use crate::resources::{Check, Resource};
use crate::state::{AnyObject, Kind, Object, ObjectRef, Scope};
use deserialize::FieldError;
pub use suggest::nearest;
use tree::{Tree, Value};

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// The objects that could be read, in the order of the file.
    pub(crate) objects: Vec<(ObjectRef, AnyObject)>,
    /// Objects that are there but could not be read.
    pub(crate) faulty: Vec<ObjectRef>,
    /// Whether something in the file could not even be named.
    pub(crate) incomplete: bool,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

impl Manifest {
    /// Reads the text of `file`: YAML documents or JSON, single objects or lists.
    pub(crate) fn parse(file: &Arc<str>, text: &str) -> Self {
        let mut reader = Reader::new(file);
        if let Err(error) = tree::documents(text, |document| reader.document(document)) {
            // Not even what came before: its author has not finished.
            reader = Reader::new(file);
            reader.unreadable(file.to_string(), error.line, "", error.message, "correct the syntax");
        }
        reader.manifest
    }
}

/// Reads an object of a known kind from the API, where it has no lines.
pub(crate) fn object(kind: Kind, value: serde_json::Value) -> Result<AnyObject, Vec<Fault>> {
    let none = Arc::default();
    let mut reader = Reader::new(&none);
    let faults = match reader.typed(kind, &Tree::from(value)) {
        Ok(object) => return Ok(object),
        Err(faults) => faults,
    };
    Err(faults.into_iter().map(|(_, fault)| fault).collect())
}

/// The name by which the state knows an object with this metadata.
fn name_of(kind: Kind, metadata: &Tree) -> Option<String> {
    let name = metadata.text("name").filter(|name| !name.is_empty())?;
    Some(match kind.scope() {
        Scope::Cluster => name.to_owned(),
        Scope::Namespaced => format!("{}/{name}", metadata.text("namespace").unwrap_or("default")),
    })
}

struct Reader<'a> {
    file: &'a Arc<str>,
    manifest: Manifest,
    layouts: BTreeSet<Layout>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a Arc<str>) -> Self {
        Self { file, manifest: Manifest::default(), layouts: BTreeSet::new() }
    }

    fn origin(&mut self, item: &Tree, mut fields: Vec<(Box<str>, u32)>) -> Origin {
        fields.sort_unstable();
        for (_, line) in &mut fields {
            *line = line.wrapping_sub(item.line);
        }
        let layout = self.layouts.get(&*fields).cloned().unwrap_or_else(|| Layout::from(fields));
        self.layouts.insert(Arc::clone(&layout));
        Origin::new(self.file.clone(), item.line, layout)
    }

    fn document(&mut self, document: &Tree) {
        let Value::Map(_) = document.value else {
            let found = format!("found {} where an object is expected", document.value.describe());
            let remedy = "write an object with `apiVersion`, `kind` and `metadata`";
            return self.unreadable(self.file.to_string(), document.line, "", found, remedy);
        };
        match (document.text("kind"), document.get("items")) {
            (Some(kind), Some(items)) if kind.ends_with("List") => match &items.value {
                Value::Sequence(items) => items.iter().for_each(|item| self.item(item, kind)),
                other => {
                    let found = format!("found {}", other.describe());
                    self.unreadable(
                        format!("{kind} in {}", self.file),
                        items.line,
                        ".items",
                        found,
                        "write a sequence",
                    );
                }
            },
            _ => self.item(document, ""),
        }
    }

    /// Reads one object; the items of a typed list may leave out their kind.
    fn item(&mut self, item: &Tree, list: &str) {
        let kind = item.text("kind").or(list.strip_suffix("List")).unwrap_or_default();
        let version = item.text("apiVersion").unwrap_or_default();
        let group =
            |version: &str| version.split_once('/').map_or(String::new(), |(group, _)| group.to_owned());
        let known = Kind::ALL
            .iter()
            .find(|known| known.name() == kind && group(known.api_version()) == group(version));
        let Some(kind) = known.copied() else { return self.other_kind(item, kind, version) };

        let name = item.get("metadata").and_then(|metadata| name_of(kind, metadata));
        let Some(name) = name else {
            let object = format!("{} in {}", kind.name(), self.file);
            return self.unreadable(
                object,
                item.line,
                ".metadata.name",
                "there is none".to_owned(),
                "name the object",
            );
        };
        let object = ObjectRef::new(kind, name);
        let faults = if version == kind.api_version() {
            match self.typed(kind, item) {
                Ok(typed) => return self.manifest.objects.push((object, typed)),
                Err(faults) => faults,
            }
        } else {
            let found = format!("found `{version}`");
            let remedy = format!("write `{}`", kind.api_version());
            vec![(item.line_of("apiVersion"), Fault::new(".apiVersion", found, remedy))]
        };
        for (line, fault) in faults {
            self.manifest.problems.push(Problem {
                object: object.to_string(),
                file: self.file.clone(),
                line,
                field: fault.field,
                message: fault.message,
                remedy: fault.remedy,
                effect: Effect::LastGoodKept,
            });
        }
        self.manifest.faulty.push(object);
    }

    /// An object of a kind that is not read: a fault in our own group or without a kind, else none of our business.
    fn other_kind(&mut self, item: &Tree, kind: &str, version: &str) {
        let object = self.file.to_string();
        if kind.is_empty() {
            let remedy = "write the object's `kind`";
            return self.unreadable(object, item.line, ".kind", "there is none".to_owned(), remedy);
        }
        if version.starts_with("muslin.dev/") {
            let ours = Kind::ALL.iter().filter(|kind| kind.api_version() == crate::API_VERSION);
            let names: Vec<_> = ours.map(|kind| kind.name()).collect();
            let remedy = match nearest(kind, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the kinds are {}", names.join(", ")),
            };
            let found = format!("there is no kind `{kind}` in {version}");
            return self.unreadable(object, item.line_of("kind"), ".kind", found, remedy);
        }
        tracing::debug!(file = %self.file, line = item.line, kind, version, "object of a kind that is not read");
    }

    /// Records a fault of something whose object cannot be told.
    fn unreadable(
        &mut self,
        object: String,
        line: u32,
        field: &str,
        message: String,
        remedy: impl Into<String>,
    ) {
        self.manifest.incomplete = true;
        self.manifest.problems.push(Problem {
            object,
            file: self.file.clone(),
            line,
            field: field.to_owned(),
            message,
            remedy: remedy.into(),
            effect: Effect::LastGoodKept,
        });
    }

    fn typed(&mut self, kind: Kind, item: &Tree) -> Result<AnyObject, Vec<(u32, Fault)>> {
        Ok(match kind {
            Kind::Node => AnyObject::Node(self.kubernetes::<WrittenNode>(item)?),
            Kind::Service => AnyObject::Service(self.kubernetes::<WrittenService>(item)?),
            Kind::EndpointSlice => AnyObject::EndpointSlice(self.kubernetes::<WrittenEndpointSlice>(item)?),
            // Nothing is checked in these, so their fields need no lines.
            Kind::Pod => {
                let pod = read::<WrittenPod>(item)?.kept(&mut Vec::new());
                AnyObject::Pod(Object::new(pod, self.origin(item, Vec::new())))
            }
            Kind::Secret => {
                let mut secret: Secret = read(item)?;
                secret.metadata.managed_fields = None;
                AnyObject::Secret(Object::new(secret, self.origin(item, Vec::new())))
            }
            Kind::BgpConfiguration => AnyObject::BgpConfiguration(self.resource(item)?),
            Kind::BgpPeer => AnyObject::BgpPeer(self.resource(item)?),
            Kind::BgpFilter => AnyObject::BgpFilter(self.resource(item)?),
            Kind::RouteAdvertisement => AnyObject::RouteAdvertisement(self.resource(item)?),
        })
    }

    fn kubernetes<W: Written>(&mut self, item: &Tree) -> Result<Object<W::Kept>, Vec<(u32, Fault)>> {
        let mut faults = Vec::new();
        let kept = read::<W>(item)?.kept(&mut faults);
        self.faultless(item, kept, faults)
    }

    fn resource<S>(&mut self, item: &Tree) -> Result<Object<Resource<S>>, Vec<(u32, Fault)>>
    where
        S: DeserializeOwned + Check,
    {
        let envelope: Envelope<S> = read(item)?;
        let Envelope { mut metadata, spec, .. } = envelope;
        metadata.managed_fields = None;
        let mut faults = Vec::new();
        spec.check(&mut faults);
        self.faultless(item, Resource { metadata, spec }, faults)
    }

    fn faultless<T>(
        &mut self,
        item: &Tree,
        value: T,
        faults: Vec<Fault>,
    ) -> Result<Object<T>, Vec<(u32, Fault)>> {
        let origin = self.origin(item, item.field_lines());
        if faults.is_empty() {
            return Ok(Object::new(value, origin));
        }
        Err(faults.into_iter().map(|fault| (origin.line_of(&fault.field), fault)).collect())
    }
}

fn read<T: DeserializeOwned>(item: &Tree) -> Result<T, Vec<(u32, Fault)>> {
    deserialize::from_tree(item).map_err(|error| {
        let FieldError { line, message, remedy, .. } = &error;
        let fault = Fault::new(error.field(), message.clone(), remedy.clone());
        vec![(line.unwrap_or(item.line), fault)]
    })
}

/// One of Muslin's resources as it is written, with nothing else allowed around it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope<S> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: ObjectMeta,
    spec: S,
    #[serde(rename = "status", default)]
    _status: IgnoredAny,
}

#[cfg(test)]
mod tests;
