//! Keeps a [`KernelView`] up to date from the kernel's messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::path::Family;
use crate::reconcile::Change;
use crate::view::{Address, ForeignRoute, KernelView, Link, Router};
use crate::wire::constants::RT_TABLE_MAIN;
use crate::wire::route::RouteMessage;

/// The view in the making.
#[derive(Debug)]
pub(crate) struct Mirror {
    view: KernelView,
    /// Routes of this protocol are ours and stay out.
    protocol: u8,
    changed: bool,
}

/// Whether an object is there or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    Gone,
}

impl Mirror {
    pub(crate) fn new(protocol: u8) -> Self {
        Self { view: KernelView::default(), protocol, changed: true }
    }

    /// The view, if it changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Option<KernelView> {
        std::mem::take(&mut self.changed).then(|| self.view.clone())
    }

    /// Takes the view of a full read.
    pub(crate) fn replace(&mut self, view: KernelView) {
        self.changed |= self.view != view;
        self.view = view;
    }

    /// Whether the view is this one.
    pub(crate) fn has(&self, view: &KernelView) -> bool {
        self.view == *view
    }

    /// An empty mirror, to be filled by a full read.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.protocol)
    }

    pub(crate) fn into_view(self) -> KernelView {
        self.view
    }

    /// Takes a link; true when routes over it may have come or gone with it.
    pub(crate) fn link(&mut self, link: &Link, presence: Presence) -> bool {
        let index = link.index;
        let known = self.view.links.get(&index);
        let before = known.map(|known| (known.up, known.carrier));
        let after = (presence == Presence::Here).then_some((link.up, link.carrier));
        let links = Arc::make_mut(&mut self.view.links);
        let same = match presence {
            Presence::Here => links.insert(index, link.clone()).as_ref() == Some(link),
            Presence::Gone => links.remove(&index).is_none(),
        };
        self.changed |= !same;
        if before.is_some_and(|(up, _)| up) && !after.is_some_and(|(up, _)| up) {
            let routes = Arc::make_mut(&mut self.view.routes);
            routes.flush_link(index, Family::V4);
            routes.flush_link(index, Family::V6);
        }
        before != after
    }

    /// Takes an address; true when it changed something.
    pub(crate) fn address(&mut self, address: Address, presence: Presence) -> bool {
        let addresses = Arc::make_mut(&mut self.view.addresses);
        let key = (address.interface, address.address);
        let same = match presence {
            Presence::Here => addresses.insert(key, address) == Some(address),
            Presence::Gone => addresses.remove(&key).is_none(),
        };
        let family = Family::of(address.address.addr());
        if presence == Presence::Gone && family == Family::V4 && !has_address(addresses, address.interface) {
            Arc::make_mut(&mut self.view.routes).flush_link(address.interface, Family::V4);
        }
        self.changed |= !same;
        !same
    }

    pub(crate) fn router(&mut self, router: Router, presence: Presence) {
        let routers = Arc::make_mut(&mut self.view.routers);
        self.changed |= match presence {
            Presence::Here => routers.insert(router),
            Presence::Gone => routers.remove(&router),
        };
    }

    pub(crate) fn route(&mut self, message: &RouteMessage, change: Change) {
        if message.table != RT_TABLE_MAIN || message.protocol == self.protocol {
            return;
        }
        let Some(route) = ForeignRoute::from_message(message) else { return };
        let routes = Arc::make_mut(&mut self.view.routes);
        match change {
            Change::Added => routes.insert(message.prefix, route, false),
            Change::Replaced => routes.insert(message.prefix, route, true),
            Change::Deleted => routes.remove(message.prefix, &route),
        }
        self.changed = true;
    }
}

fn has_address(addresses: &BTreeMap<(u32, ipnet::IpNet), Address>, interface: u32) -> bool {
    addresses.values().any(|address| address.interface == interface && address.address.addr().is_ipv4())
}
