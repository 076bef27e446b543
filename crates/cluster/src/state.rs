//! The typed state that every source publishes and every plan is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;

use crate::kubernetes::{EndpointSlice, Node, Pod, Service};
use crate::problem::{Effect, Origin, Problem};
use crate::resources::{BgpConfiguration, BgpFilter, BgpPeer, RouteAdvertisement};

/// An object together with where it was read; cheap to clone, and to compare with what it was cloned from.
#[derive(Clone, Debug)]
pub struct Object<T> {
    value: Arc<T>,
    /// Where it was read.
    pub origin: Arc<Origin>,
}

impl<T> Object<T> {
    /// An object read from `origin`.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value: Arc::new(value), origin: Arc::new(origin) }
    }
}

impl<T: PartialEq> PartialEq for Object<T> {
    fn eq(&self, other: &Self) -> bool {
        // States that follow each other share nearly all of their objects.
        (Arc::ptr_eq(&self.value, &other.value) || self.value == other.value)
            && (Arc::ptr_eq(&self.origin, &other.origin) || self.origin == other.origin)
    }
}

impl<T> From<T> for Object<T> {
    /// An object that no file holds.
    fn from(value: T) -> Self {
        Self::new(value, Origin::default())
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Objects of one kind by name: `name`, or `namespace/name` where the kind has namespaces.
pub type Objects<T> = BTreeMap<Arc<str>, Object<T>>;

/// Which object is meant, as people say it: "`BGPPeer` tor", "Service default/web".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its key in [`Objects`].
    pub name: Arc<str>,
}

impl ObjectRef {
    /// The object of that kind and name.
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// Declares the kinds once: the state's table, the enum of kinds and the object of any kind.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($type:ty) in $table:ident is $name:literal of $api:expr, $scope:ident;)*) => {
        /// A kind of object that Muslin reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name as manifests write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The API version that is understood.
            pub const fn api_version(self) -> &'static str {
                match self { $(Self::$variant => $api,)* }
            }

            /// Whether objects of the kind live in namespaces.
            pub(crate) const fn scope(self) -> Scope {
                match self { $(Self::$variant => Scope::$scope,)* }
            }
        }

        /// What is known of the cluster, complete in itself.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct ClusterState {
            $($(#[$doc])* pub $table: Objects<$type>,)*
            /// What could not be read, in the order of files and lines.
            pub problems: Vec<Problem>,
        }

        /// An object of any kind that is read.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum AnyObject { $($variant(Object<$type>),)* }

        impl AnyObject {
            pub(crate) fn origin(&self) -> &Origin {
                match self { $(Self::$variant(object) => &object.origin,)* }
            }
        }

        impl ClusterState {
            /// Puts an object where one of its name may be; whether that changes anything.
            pub(crate) fn put(&mut self, name: Arc<str>, object: AnyObject) -> bool {
                match object {
                    $(AnyObject::$variant(object) => {
                        if self.$table.get(&name) == Some(&object) {
                            return false;
                        }
                        self.$table.insert(name, object);
                        true
                    })*
                }
            }

            /// Takes an object out; whether it was there.
            pub(crate) fn remove(&mut self, of: &ObjectRef) -> bool {
                match of.kind { $(Kind::$variant => self.$table.remove(&of.name).is_some(),)* }
            }

            /// The names of all objects of a kind.
            pub(crate) fn names(&self, kind: Kind) -> BTreeSet<Arc<str>> {
                match kind { $(Kind::$variant => self.$table.keys().cloned().collect(),)* }
            }

            /// Every object as a manifest has it.
            pub(crate) fn manifests(&self) -> impl Iterator<Item = serde_json::Result<serde_json::Value>> {
                let none = std::iter::empty();
                $(let none = none.chain(
                    self.$table.iter().map(|(name, object)| manifest(Kind::$variant, name, &**object)),
                );)*
                none
            }

            /// The object that `of` names.
            pub(crate) fn find(&self, of: &ObjectRef) -> Option<AnyObject> {
                match of.kind { $(Kind::$variant => self.$table.get(&of.name).cloned().map(AnyObject::$variant),)* }
            }

            /// Adds an object; one that is there already stays, and its origin is returned.
            pub(crate) fn add(&mut self, name: Arc<str>, object: AnyObject) -> Result<(), Arc<Origin>> {
                match object {
                    $(AnyObject::$variant(object) => match self.$table.entry(name) {
                        std::collections::btree_map::Entry::Occupied(first) => Err(first.get().origin.clone()),
                        std::collections::btree_map::Entry::Vacant(free) => { free.insert(object); Ok(()) }
                    },)*
                }
            }
        }
    };
}

/// An object with its kind and its name, which the state knows and most objects do not.
fn manifest<T: Serialize>(kind: Kind, name: &str, object: &T) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(object)?;
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.name().into();
    let name = match (kind.scope(), name.split_once('/')) {
        (Scope::Namespaced, Some((namespace, name))) => {
            value["metadata"]["namespace"] = namespace.into();
            name
        }
        _ => name,
    };
    value["metadata"]["name"] = name.into();
    Ok(value)
}

/// Whether a kind's objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    Namespaced,
}

kinds! {
    /// Nodes.
    Node(Node) in nodes is "Node" of "v1", Cluster;
    /// Pods; a source may leave out those of other nodes.
    Pod(Pod) in pods is "Pod" of "v1", Namespaced;
    /// Services.
    Service(Service) in services is "Service" of "v1", Namespaced;
    /// Endpoints of Services.
    EndpointSlice(EndpointSlice) in endpoint_slices is "EndpointSlice" of "discovery.k8s.io/v1", Namespaced;
    /// Secrets that passwords are taken from.
    Secret(Secret) in secrets is "Secret" of "v1", Namespaced;
    /// How the cluster's speakers behave: `default`, and `node.NAME` for one node.
    BgpConfiguration(BgpConfiguration) in bgp_configurations is "BGPConfiguration" of crate::API_VERSION, Cluster;
    /// Peers.
    BgpPeer(BgpPeer) in bgp_peers is "BGPPeer" of crate::API_VERSION, Cluster;
    /// Policies that peers name.
    BgpFilter(BgpFilter) in bgp_filters is "BGPFilter" of crate::API_VERSION, Cluster;
    /// What nodes announce to whom.
    RouteAdvertisement(RouteAdvertisement) in route_advertisements is "RouteAdvertisement" of crate::API_VERSION, Cluster;
}

impl ClusterState {
    /// The state that one manifest text describes; faults are in [`ClusterState::problems`].
    pub fn from_manifest(file: &str, text: &str) -> Self {
        Self::from_manifests([(file, text)])
    }

    /// The state that several manifest texts describe together.
    pub fn from_manifests<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut folder = crate::folder::Folder::default();
        let files = files.into_iter().map(|(file, text)| (file.into(), Ok(text.to_owned())));
        folder.replace(files.collect());
        folder.into_state()
    }

    /// The problem that `of`'s `field` has, with its place taken from `origin`.
    pub fn problem(
        of: &ObjectRef,
        origin: &Origin,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
        effect: Effect,
    ) -> Problem {
        Problem {
            object: of.to_string(),
            file: origin.file.clone(),
            line: origin.line_of(field),
            field: field.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
            effect,
        }
    }
}
