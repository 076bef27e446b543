//! Paths, each kept once and counted, with the next-hop object that stands for it.

use std::sync::Arc;

use super::Map;
use super::objects::{ObjectKey, Objects, Spec};
use crate::path::Path;
use crate::wire::route::RouteMessage;

/// Place of a path in the table.
pub(crate) type PathId = u32;

#[derive(Debug)]
struct Entry {
    path: Arc<Path>,
    users: u32,
    object: Option<ObjectKey>,
}

#[derive(Debug, Default)]
pub(crate) struct Paths {
    slots: Vec<Option<Entry>>,
    free: Vec<PathId>,
    by_path: Map<Arc<Path>, PathId>,
    pub(crate) objects: Objects,
}

impl Paths {
    /// The path's id, with one more user.
    pub(crate) fn acquire(&mut self, path: Path) -> PathId {
        if let Some(id) = self.by_path.get(&path).copied() {
            self.retain(id);
            return id;
        }
        let object = self.objects.acquire(&path);
        let path = Arc::new(path);
        let entry = Entry { path: Arc::clone(&path), users: 1, object };
        let id = if let Some(id) = self.free.pop() {
            self.slots[id as usize] = Some(entry);
            id
        } else {
            self.slots.push(Some(entry));
            (self.slots.len() - 1) as PathId
        };
        self.by_path.insert(path, id);
        id
    }

    /// One more user of a path that has some.
    pub(crate) fn retain(&mut self, id: PathId) {
        if let Some(entry) = self.slots.get_mut(id as usize).and_then(Option::as_mut) {
            entry.users += 1;
        }
    }

    /// One user less; the last one takes the path, and its hold on the object, away.
    pub(crate) fn release(&mut self, id: PathId) {
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        let Some(entry) = slot else { return };
        entry.users -= 1;
        if entry.users == 0 {
            let object = entry.object;
            self.by_path.remove(&entry.path);
            *slot = None;
            self.free.push(id);
            if let Some(object) = object {
                self.objects.release(object);
            }
        }
    }

    pub(crate) fn get(&self, id: PathId) -> Option<&Arc<Path>> {
        self.slots.get(id as usize)?.as_ref().map(|entry| &entry.path)
    }

    pub(crate) fn object(&self, id: PathId) -> Option<ObjectKey> {
        self.slots.get(id as usize)?.as_ref()?.object
    }

    /// The path that routes over an object have.
    pub(crate) fn path_of_object(&self, key: ObjectKey, source: Option<std::net::IpAddr>) -> Option<Path> {
        let hops = match &self.objects.get(key)?.spec {
            Spec::Single(hop) => vec![(hop.clone(), 1)],
            Spec::Group(members) => {
                let hop = |(member, weight): &(ObjectKey, u8)| match &self.objects.get(*member)?.spec {
                    Spec::Single(hop) => Some((hop.clone(), *weight)),
                    Spec::Group(_) => None,
                };
                members.iter().map(hop).collect::<Option<Vec<_>>>()?
            }
        };
        Some(Path::unicast(hops, source))
    }

    /// Whether the kernel tells of a route with this path so.
    pub(crate) fn is_of(&self, id: PathId, route: &RouteMessage) -> bool {
        let Some(entry) = self.slots.get(id as usize).and_then(Option::as_ref) else { return false };
        match route.object {
            Some(object) => {
                entry.object.is_some()
                    && entry.object == self.objects.by_id(object)
                    && entry.path.source() == route.source
            }
            None => route.path().is_some_and(|path| path == *entry.path),
        }
    }

    /// Whether any path that is in use leads through the interface.
    pub(crate) fn uses_interface(&self, interface: u32) -> bool {
        let hops = self.slots.iter().flatten().flat_map(|entry| entry.path.hops());
        hops.into_iter().any(|(hop, _)| hop.interface == interface)
    }
}
