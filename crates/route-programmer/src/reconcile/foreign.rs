//! Routes of other programs in our table, by prefix: what ours must not disturb.

use ipnet::IpNet;
use smallvec::SmallVec;

use super::Map;
use crate::status::{Clash, ClashEffect};
use crate::wire::constants::RTPROT_KERNEL;
use crate::wire::route::RouteMessage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    metric: u32,
    protocol: u8,
    object: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Foreign {
    routes: Map<IpNet, SmallVec<[Key; 1]>>,
    /// Next-hop objects that foreign routes and groups name, and how often.
    objects: Map<u32, u32>,
}

impl Foreign {
    /// Routes with a type of service have a key of their own and never meet ours.
    pub(crate) fn insert(&mut self, route: &RouteMessage, replace: bool) {
        if route.tos != 0 {
            return;
        }
        let key = Key { metric: route.metric, protocol: route.protocol, object: route.object };
        if replace {
            self.take(route.prefix, |known| known.metric == key.metric);
        }
        let keys = self.routes.entry(route.prefix).or_default();
        if !keys.contains(&key) {
            keys.push(key);
            if let Some(object) = key.object {
                self.hold(object);
            }
        }
    }

    pub(crate) fn remove(&mut self, route: &RouteMessage) {
        let (metric, protocol) = (route.metric, route.protocol);
        self.take(route.prefix, |known| (known.metric, known.protocol) == (metric, protocol));
    }

    fn take(&mut self, prefix: IpNet, matches: impl Fn(&Key) -> bool) {
        let Some(keys) = self.routes.get_mut(&prefix) else { return };
        let Some(position) = keys.iter().position(matches) else { return };
        let key = keys.remove(position);
        if keys.is_empty() {
            self.routes.remove(&prefix);
        }
        if let Some(count) = key.object.and_then(|object| self.objects.get_mut(&object)) {
            *count = count.saturating_sub(1);
        }
    }

    /// A foreign group or route names this object.
    pub(crate) fn hold(&mut self, object: u32) {
        *self.objects.entry(object).or_default() += 1;
    }

    /// Whether deleting the object would take something foreign with it.
    pub(crate) fn holds(&self, object: u32) -> bool {
        self.objects.get(&object).is_some_and(|count| *count > 0)
    }

    /// Whether anyone else has a route for the prefix.
    pub(crate) fn has(&self, prefix: IpNet) -> bool {
        self.routes.contains_key(&prefix)
    }

    /// How a route of ours with this metric fares against the others of its prefix; the worst counts.
    ///
    /// The kernel's own route of a link is never overruled: the next hops of all other routes rest on it.
    pub(crate) fn clash(&self, prefix: IpNet, metric: u32) -> Option<Clash> {
        let keys = self.routes.get(&prefix)?;
        let clashes = keys.iter().map(|key| {
            let effect = if key.metric == metric || key.protocol == RTPROT_KERNEL {
                ClashEffect::OursBlocked
            } else if key.metric < metric {
                ClashEffect::TheirsPreferred
            } else {
                ClashEffect::OursPreferred
            };
            Clash { prefix, protocol: key.protocol, metric: key.metric, effect }
        });
        clashes.min_by_key(|clash| clash.effect)
    }

    /// Whether another route has exactly this key, so that replacing could hit it.
    pub(crate) fn shares_key(&self, prefix: IpNet, metric: u32) -> bool {
        self.routes.get(&prefix).is_some_and(|keys| keys.iter().any(|key| key.metric == metric))
    }

    /// Whether others have the same routes here and there.
    pub(crate) fn has_the_routes_of(&self, other: &Self) -> bool {
        self.routes == other.routes
    }

    pub(crate) fn clear(&mut self) {
        self.routes.clear();
        self.objects.clear();
    }
}
