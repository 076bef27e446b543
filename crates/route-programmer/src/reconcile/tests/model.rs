//! A kernel in two hundred lines: what Linux does with our messages, and what happens to it from elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ipnet::IpNet;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::super::{Change, Operation, Outcome};
use super::OURS;
use crate::path::{Hop, Path};
use crate::route::NextHop;
use crate::wire::constants::{RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_UNICAST, RTNH_F_ONLINK};
use crate::wire::nexthop::{Content, Members, NextHopMessage};
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::{HopMessage, RouteMessage, RouteWrite, Target, Write};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelRoute {
    pub(super) protocol: u8,
    target: Target,
}

#[derive(Clone, Debug)]
pub(super) enum KernelEvent {
    Route(RouteMessage, Change),
    NextHop(NextHopMessage, Change),
    Link(u32),
    Overrun,
}

#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// Per key the routes in the order in which the kernel finds them.
    routes: BTreeMap<(IpNet, u32), Vec<ModelRoute>>,
    objects: BTreeMap<u32, NextHopMessage>,
    last_id: u32,
    links_down: BTreeSet<u32>,
    pub(super) without_objects: bool,
    pub(super) events: VecDeque<KernelEvent>,
}

fn refused(errno: Errno) -> Outcome {
    Outcome::Refused(KernelRefusal::from_errno(errno))
}

fn next_hop(hop: &Hop, weight: u8) -> NextHop {
    NextHop { gateway: hop.gateway, interface: hop.interface, weight, onlink: hop.onlink }
}

impl Kernel {
    pub(super) fn execute(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::CreateNextHop { .. } | Operation::CreateGroup { .. } if self.without_objects => {
                refused(Errno::OPNOTSUPP)
            }
            Operation::CreateNextHop { hop, .. } if self.links_down.contains(&hop.interface) => {
                refused(Errno::NETDOWN)
            }
            Operation::CreateNextHop { hop, .. } => self.create(Content::Single(hop.clone())),
            Operation::CreateGroup { members, .. } if !self.know(members) => refused(Errno::INVAL),
            Operation::CreateGroup { members, .. } => self.create(Content::Group(members.clone())),
            Operation::ReplaceGroup { members, .. } if !self.know(members) => refused(Errno::INVAL),
            Operation::ReplaceGroup { id, members, .. } => {
                let content = Content::Group(members.clone());
                self.objects.insert(*id, NextHopMessage { id: *id, protocol: OURS, content });
                Outcome::Done(None)
            }
            Operation::DeleteNextHop { id } if !self.objects.contains_key(id) => refused(Errno::NOENT),
            Operation::DeleteNextHop { id } => {
                self.remove_object(*id);
                Outcome::Done(None)
            }
            Operation::WriteRoute { write, route, .. } => self.write(*write, route),
            Operation::DeleteRoute { prefix, metric } => match self.take_own(*prefix, *metric) {
                Some(_) => Outcome::Done(None),
                None => refused(Errno::SRCH),
            },
        }
    }

    fn know(&self, members: &Members) -> bool {
        members.iter().all(|(id, _)| self.objects.contains_key(id))
    }

    fn create(&mut self, content: Content) -> Outcome {
        self.last_id += 1;
        let id = self.last_id;
        self.objects.insert(id, NextHopMessage { id, protocol: OURS, content });
        Outcome::Done(Some(id))
    }

    fn write(&mut self, write: Write, route: &RouteWrite) -> Outcome {
        match &route.target {
            Target::Object(id) if !self.objects.contains_key(id) => return refused(Errno::INVAL),
            Target::Inline(path)
                if path.hops().iter().any(|(hop, _)| self.links_down.contains(&hop.interface)) =>
            {
                return refused(Errno::NETDOWN);
            }
            _ => {}
        }
        let routes = self.routes.entry((route.prefix, route.metric)).or_default();
        if write == Write::Add && !routes.is_empty() {
            return refused(Errno::EXIST);
        }
        let new = ModelRoute { protocol: OURS, target: route.target.clone() };
        // Whatever is first with this key is replaced, whoever's it is.
        match routes.first_mut() {
            Some(first) => *first = new,
            None => routes.push(new),
        }
        Outcome::Done(None)
    }

    /// Another program adds a route: first in its key, last, or in the place of the first.
    pub(super) fn foreign(&mut self, prefix: IpNet, metric: u32, change: Change) {
        let route = ModelRoute { protocol: 4, target: Target::Inline(Path::Blackhole.into()) };
        let message = self.message(prefix, metric, &route);
        let routes = self.routes.entry((prefix, metric)).or_default();
        match change {
            Change::Added if routes.contains(&route) => return,
            Change::Added => routes.push(route),
            Change::Replaced if routes.is_empty() => routes.push(route),
            Change::Replaced => routes[0] = route,
            Change::Deleted => {
                let Some(position) = routes.iter().position(|known| known.protocol != OURS) else { return };
                routes.remove(position);
            }
        }
        self.events.push_back(KernelEvent::Route(message, change));
    }

    /// Another program deletes a route of ours.
    pub(super) fn steal(&mut self, prefix: IpNet, metric: u32) {
        if let Some(route) = self.take_own(prefix, metric) {
            let message = self.message(prefix, metric, &route);
            self.events.push_back(KernelEvent::Route(message, Change::Deleted));
        }
    }

    /// Another program deletes an object of ours.
    pub(super) fn steal_object(&mut self, nth: usize) {
        let Some(object) = self.objects.values().nth(nth).cloned() else { return };
        self.remove_object(object.id);
        self.events.push_back(KernelEvent::NextHop(object, Change::Deleted));
    }

    /// Routes and objects go with the link, and nobody is told of them.
    pub(super) fn link_down(&mut self, index: u32) {
        self.links_down.insert(index);
        let on_link = |content: &Content| matches!(content, Content::Single(hop) if hop.interface == index);
        let lost: Vec<u32> =
            self.objects.values().filter(|object| on_link(&object.content)).map(|object| object.id).collect();
        for id in lost {
            self.remove_object(id);
        }
        let leads = |route: &ModelRoute| match &route.target {
            Target::Inline(path) => path.hops().iter().any(|(hop, _)| hop.interface == index),
            Target::Object(_) => false,
        };
        self.routes.values_mut().for_each(|routes| routes.retain(|route| !leads(route)));
        self.events.push_back(KernelEvent::Link(index));
    }

    pub(super) fn link_up(&mut self, index: u32) {
        self.links_down.remove(&index);
        self.events.push_back(KernelEvent::Link(index));
    }

    pub(super) fn is_up(&self, index: u32) -> bool {
        !self.links_down.contains(&index)
    }

    /// The monitor's buffer was too small.
    pub(super) fn lose_events(&mut self) {
        self.events.clear();
        self.events.push_back(KernelEvent::Overrun);
    }

    fn take_own(&mut self, prefix: IpNet, metric: u32) -> Option<ModelRoute> {
        let routes = self.routes.get_mut(&(prefix, metric))?;
        let position = routes.iter().position(|route| route.protocol == OURS)?;
        Some(routes.remove(position))
    }

    fn remove_object(&mut self, id: u32) {
        self.objects.remove(&id);
        self.routes.values_mut().for_each(|routes| routes.retain(|route| route.target != Target::Object(id)));
        let mut empty = Vec::new();
        for object in self.objects.values_mut() {
            if let Content::Group(members) = &mut object.content {
                members.retain(|(member, _)| *member != id);
                if members.is_empty() {
                    empty.push(object.id);
                }
            }
        }
        for id in empty {
            self.remove_object(id);
        }
    }

    fn message(&self, prefix: IpNet, metric: u32, route: &ModelRoute) -> RouteMessage {
        let (kind, object, hops): (_, _, Vec<(Hop, u8)>) = match &route.target {
            Target::Object(id) => (RTN_UNICAST, Some(*id), self.object_hops(*id)),
            Target::Inline(path) if **path == Path::Blackhole => (RTN_BLACKHOLE, None, Vec::new()),
            Target::Inline(path) => (RTN_UNICAST, None, path.hops().to_vec()),
        };
        let hops = hops.into_iter().map(|(hop, weight)| HopMessage {
            gateway: hop.gateway,
            interface: hop.interface,
            weight,
            flags: if hop.onlink { RTNH_F_ONLINK } else { 0 },
        });
        let hops: SmallVec<[HopMessage; 1]> = hops.collect();
        let (table, protocol) = (RT_TABLE_MAIN, route.protocol);
        RouteMessage { prefix, table, protocol, kind, tos: 0, metric, source: None, object, hops, mtu: None }
    }

    fn object_hops(&self, id: u32) -> Vec<(Hop, u8)> {
        match self.objects.get(&id).map(|object| &object.content) {
            Some(Content::Single(hop)) => vec![(hop.clone(), 1)],
            Some(Content::Group(members)) => {
                let hop = |(id, weight): &(u32, u8)| Some((self.object_hops(*id).pop()?.0, *weight));
                members.iter().filter_map(hop).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn dump_routes(&self) -> Vec<RouteMessage> {
        let routes =
            self.routes.iter().flat_map(|(key, routes)| routes.iter().map(move |route| (key, route)));
        routes.map(|((prefix, metric), route)| self.message(*prefix, *metric, route)).collect()
    }

    pub(super) fn dump_next_hops(&self) -> Option<Vec<NextHopMessage>> {
        (!self.without_objects).then(|| self.objects.values().cloned().collect())
    }

    pub(super) fn foreign_routes(&self) -> Vec<RouteMessage> {
        self.dump_routes().into_iter().filter(|route| route.protocol != OURS).collect()
    }

    pub(super) fn own_routes(&self) -> Vec<RouteMessage> {
        self.dump_routes().into_iter().filter(|route| route.protocol == OURS).collect()
    }

    pub(super) fn own_hops(&self, prefix: IpNet, metric: u32) -> Option<Vec<NextHop>> {
        let route = self.routes.get(&(prefix, metric))?.iter().find(|route| route.protocol == OURS)?;
        let path = self.message(prefix, metric, route).path()?;
        Some(path.hops().iter().map(|(hop, weight)| next_hop(hop, *weight)).collect())
    }

    /// Next hops of objects that no route leads over, directly or by a group.
    pub(super) fn unused_objects(&self) -> Vec<NextHop> {
        let routes = self.routes.values().flatten();
        let mut used: BTreeSet<u32> = routes
            .filter_map(|route| match route.target {
                Target::Object(id) => Some(id),
                Target::Inline(_) => None,
            })
            .collect();
        for object in
            self.objects.values().filter(|object| used.contains(&object.id)).cloned().collect::<Vec<_>>()
        {
            if let Content::Group(members) = object.content {
                used.extend(members.iter().map(|(id, _)| *id));
            }
        }
        let unused = self.objects.keys().filter(|id| !used.contains(id));
        unused.flat_map(|id| self.object_hops(*id)).map(|(hop, weight)| next_hop(&hop, weight)).collect()
    }
}
