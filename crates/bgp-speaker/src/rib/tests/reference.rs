//! A naive RIB: everything is kept in maps and everything is computed anew, rule by rule as the RFCs have it.
//! It shares no code with the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, Community, FamilySet, NextHop, PathAttributes, PeerKind};

use super::support::{Heard, LINK, OWN_AS, OWN_ID, Ways, net};
use crate::config::{GuardRange, ImportGuard, OriginatedRoute, ReflectorRole, RouteSource, Verdict};
use crate::policy::tests::model::{Route, act, judge};
use crate::rib::{NextHopResolver, PeerIndex, PeerView};

#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub(super) attributes: PathAttributes,
    pub(super) next_hop: NextHop,
    pub(super) stale: bool,
}

pub(super) struct Reference {
    pub(super) views: BTreeMap<PeerIndex, PeerView>,
    pub(super) up: BTreeSet<PeerIndex>,
    pub(super) learned: BTreeMap<(IpNet, PeerIndex, u32), Learned>,
    pub(super) originated: BTreeMap<IpNet, OriginatedRoute>,
    pub(super) guard: ImportGuard,
    pub(super) ways: Ways,
    pub(super) max_paths: usize,
}

/// A path that may be used.
#[derive(Clone, Debug)]
pub(super) struct Usable {
    pub(super) peer: PeerIndex,
    pub(super) path_id: u32,
    attributes: PathAttributes,
    next_hop: NextHop,
    gateway: Option<(IpAddr, u32)>,
    metric: u32,
}

fn is_v4(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V4(_))
}

fn keep_least<K: Ord>(paths: &mut Vec<Usable>, key: impl Fn(&Usable) -> K) {
    if let Some(least) = paths.iter().map(&key).min() {
        paths.retain(|path| key(path) == least);
    }
}

impl Reference {
    pub(super) fn new(guard: ImportGuard, ways: Ways, max_paths: usize) -> Self {
        Self {
            views: BTreeMap::new(),
            up: BTreeSet::new(),
            learned: BTreeMap::new(),
            originated: BTreeMap::new(),
            guard,
            ways,
            max_paths,
        }
    }

    fn is_internal(&self, peer: PeerIndex) -> bool {
        self.views.get(&peer).is_some_and(|view| view.decode.attributes.peer == PeerKind::Internal)
    }

    fn is_client(&self, peer: PeerIndex) -> bool {
        self.is_internal(peer) && self.views[&peer].reflector == ReflectorRole::Client
    }

    fn guarded(&self, prefix: IpNet, internal: bool, learned: &Learned) -> bool {
        let guard = &self.guard;
        let next_hop = IpNet::from(learned.next_hop.global);
        let has = |ranges: &[GuardRange], net: &IpNet| ranges.iter().any(|range| range.range.contains(net));
        let owned = guard.owned_blocks.iter().filter(|owned| owned.block.contains(&prefix));
        let owned = owned.max_by_key(|owned| owned.block.prefix_len());
        if has(&guard.own_blocks, &next_hop)
            || guard.owned_blocks.iter().any(|owned| owned.block.contains(&next_hop))
        {
            return false;
        }
        if prefix.prefix_len() == 0 {
            return guard.allow_default;
        }
        if has(&guard.own_addresses, &prefix) || has(&guard.own_blocks, &prefix) {
            return false;
        }
        let named = guard.allowed.ranges().unwrap_or_default().iter().map(|range| range.range);
        let named = named.filter(|range| range.contains(&prefix)).max_by_key(IpNet::prefix_len);
        if guard.allowed.ranges().is_some() && named.is_none() && owned.is_none() {
            return false;
        }
        let names_within = |range: &IpNet| named.is_some_and(|named| range.contains(&named));
        let longest = |ranges: &[GuardRange]| {
            let covering = ranges.iter().map(|range| range.range).filter(|range| range.contains(&prefix));
            covering.max_by_key(IpNet::prefix_len)
        };
        if longest(&guard.protected).is_some_and(|range| {
            !names_within(&range) && !owned.is_some_and(|owned| range.contains(&owned.block))
        }) || longest(&guard.service_ranges).is_some_and(|range| !names_within(&range))
        {
            return false;
        }
        let covers = |range: &GuardRange| range.range != prefix && prefix.contains(&range.range);
        if named != Some(prefix) && guard.protected.iter().any(covers) {
            return false;
        }
        let Some(owned) = owned else { return true };
        let (owner, stranger) = if internal {
            let known = owned.addresses.contains(&learned.next_hop.global);
            (known, !owned.addresses.is_empty() && !known)
        } else {
            let same = owned.origin_as == learned.attributes.as_path.origin();
            (same && owned.origin_as.is_some() && !owned.shares_as, owned.origin_as.is_some() && !same)
        };
        owner || (!stranger && (owned.block == prefix || names_within(&owned.block)))
    }

    /// Import and next-hop resolution.
    fn usable(&self, prefix: IpNet) -> Vec<Usable> {
        let mut usable = Vec::new();
        if let Some(route) = self.originated.get(&prefix) {
            let attributes = PathAttributes {
                origin: muslin_bgp_packet::Origin::Igp,
                local_pref: route.local_pref,
                med: route.med,
                communities: route.communities.clone(),
                large_communities: route.large_communities.clone(),
                ..PathAttributes::default()
            };
            let next_hop = NextHop::new(Ipv4Addr::UNSPECIFIED.into());
            let (peer, path_id) = (PeerIndex::LOCAL, 0);
            usable.push(Usable { peer, path_id, attributes, next_hop, gateway: None, metric: 0 });
        }
        for ((_, peer, path_id), learned) in self.learned.iter().filter(|((at, ..), _)| *at == prefix) {
            let view = &self.views[peer];
            let internal = self.is_internal(*peer);
            let mut attributes = learned.attributes.clone();
            if attributes.as_path.count(OWN_AS) > usize::from(view.allowed_own_as)
                || attributes.originator_id == Some(OWN_ID)
                || attributes.cluster_list.contains(&OWN_ID)
                || learned.next_hop.is_martian()
                || !self.guarded(prefix, internal, learned)
            {
                continue;
            }
            let from = (&*view.key.0, view.address, learned.next_hop.global);
            let route = Route {
                prefix,
                source: RouteSource::Learned,
                learned: Some(from),
                attributes: &learned.attributes,
            };
            let (verdict, actions, _) = judge(&view.import, &route);
            if verdict == Verdict::Reject {
                continue;
            }
            if attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
                attributes.local_pref = Some(0);
            }
            act(&actions, &mut attributes);
            if self.ways.is_local(learned.next_hop.global) {
                continue;
            }
            let Some(way) = self.ways.resolve(learned.next_hop.global, None) else { continue };
            usable.push(Usable {
                peer: *peer,
                path_id: *path_id,
                attributes,
                next_hop: learned.next_hop,
                gateway: Some((way.gateway, way.interface)),
                metric: way.metric,
            });
        }
        usable
    }

    /// RFC 4271 §9.1.2.2 to the letter; the ECMP set, the best path first.
    fn elect(&self, mut paths: Vec<Usable>) -> Vec<Usable> {
        if paths.iter().any(|path| path.peer == PeerIndex::LOCAL) {
            paths.retain(|path| path.peer == PeerIndex::LOCAL);
        }
        keep_least(&mut paths, |path| std::cmp::Reverse(path.attributes.local_pref.unwrap_or(100)));
        keep_least(&mut paths, |path| path.attributes.as_path.length());
        keep_least(&mut paths, |path| path.attributes.origin);
        let neighbour = |path: &Usable| path.attributes.as_path.neighbor();
        let all = paths.clone();
        paths.retain(|path| {
            !all.iter().any(|other| {
                neighbour(other) == neighbour(path)
                    && other.attributes.med.unwrap_or(0) < path.attributes.med.unwrap_or(0)
            })
        });
        let internal = |path: &Usable| path.peer == PeerIndex::LOCAL || self.is_internal(path.peer);
        keep_least(&mut paths, |path| internal(path));
        keep_least(&mut paths, |path| path.metric);
        paths.sort_by_key(|path| {
            let view = self.views.get(&path.peer);
            let id = view.map_or(Ipv4Addr::UNSPECIFIED, |view| view.id);
            let address = view.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |view| view.address);
            let id = path.attributes.originator_id.unwrap_or(id);
            (id, path.attributes.cluster_list.len(), address, path.path_id)
        });
        paths
    }

    pub(super) fn prefixes(&self) -> BTreeSet<IpNet> {
        self.learned.keys().map(|(prefix, ..)| *prefix).chain(self.originated.keys().copied()).collect()
    }

    /// The selected paths of a destination, the best first.
    pub(super) fn selected(&self, prefix: IpNet) -> Vec<Usable> {
        let mut selected: Vec<Usable> = Vec::new();
        for path in self.elect(self.usable(prefix)) {
            if selected.iter().all(|other| other.gateway != path.gateway) {
                selected.push(path);
            }
        }
        selected.truncate(self.max_paths.max(1));
        selected
    }

    /// What the kernel should have.
    pub(super) fn kernel(&self, prefix: IpNet) -> BTreeSet<(IpAddr, u32)> {
        self.selected(prefix).into_iter().filter_map(|path| path.gateway).collect()
    }

    /// What a peer should have been sent; identifiers of several paths are of the reference's own making.
    pub(super) fn sent(&self, to: PeerIndex) -> BTreeMap<(IpNet, u32), Heard> {
        let view = &self.views[&to];
        let mut sent = BTreeMap::new();
        for prefix in self.prefixes() {
            let family: FamilySet = if is_v4(&prefix) {
                muslin_bgp_packet::Family::Ipv4Unicast.into()
            } else {
                muslin_bgp_packet::Family::Ipv6Unicast.into()
            };
            let several = family.iter().all(|family| view.add_path_send.families.contains(family));
            let mut offered = Vec::new();
            if several {
                let mut rest = self.usable(prefix);
                while !rest.is_empty() {
                    let equal = self.elect(rest.clone());
                    let taken = |path: &Usable| {
                        equal.iter().any(|other| other.peer == path.peer && other.path_id == path.path_id)
                    };
                    rest.retain(|path| !taken(path));
                    offered.extend(equal);
                }
                offered.retain(|path| self.export(to, prefix, path).is_some());
                offered.truncate(usize::from(view.add_path_send.paths));
            } else {
                offered.extend(self.selected(prefix).into_iter().next());
            }
            for path in offered.iter().filter(|path| path.peer != to) {
                if let Some(heard) = self.export(to, prefix, path) {
                    let id = u32::from(path.peer.0) | (path.path_id << 16);
                    sent.insert((prefix, if several { id } else { 0 }), heard);
                }
            }
        }
        sent
    }

    fn export(&self, to: PeerIndex, prefix: IpNet, path: &Usable) -> Option<Heard> {
        let view = &self.views[&to];
        let internal = self.is_internal(to);
        let communities = &path.attributes.communities;
        if communities.contains(&Community::NO_ADVERTISE) {
            return None;
        }
        if !internal
            && (communities.contains(&Community::NO_EXPORT)
                || communities.contains(&Community::NO_EXPORT_SUBCONFED))
        {
            return None;
        }
        let reflected = self.is_internal(path.peer);
        if internal && reflected && !self.is_client(path.peer) && !self.is_client(to) {
            return None;
        }
        let local = path.peer == PeerIndex::LOCAL;
        let source = if local { self.originated[&prefix].source } else { RouteSource::Learned };
        let learned = self.views.get(&path.peer).filter(|_| !local);
        let learned = learned.map(|view| (&*view.key.0, view.address, path.next_hop.global));
        let route = Route { prefix, source, learned, attributes: &path.attributes };
        let (verdict, actions, _) = judge(&view.export, &route);
        if verdict == Verdict::Reject {
            return None;
        }
        let own: IpAddr = if is_v4(&prefix) { view.local.ipv4?.into() } else { view.local.ipv6?.into() };
        let shared = path.gateway == Some((path.next_hop.global, LINK));
        let keeps = !local && (internal || shared);
        let next_hop = if keeps { path.next_hop } else { NextHop::new(own) };
        let mut attributes = path.attributes.clone();
        if internal {
            if reflected {
                attributes.originator_id = attributes.originator_id.or(Some(self.views[&path.peer].id));
                attributes.cluster_list.insert(0, OWN_ID);
            }
            attributes.local_pref = attributes.local_pref.or(Some(100));
            act(&actions, &mut attributes);
        } else {
            if !attributes.as_path.is_empty() {
                attributes.med = None;
            }
            attributes.originator_id = None;
            attributes.cluster_list = Vec::new();
            act(&actions, &mut attributes);
            attributes.local_pref = None;
            attributes.as_path = attributes.as_path.prepended(OWN_AS, 1);
        }
        Some(Heard { attributes, next_hop })
    }
}

/// Prefixes that the model test plays with.
pub(super) fn prefix(index: usize) -> IpNet {
    const PREFIXES: [&str; 7] = [
        "10.10.0.0/16",
        "10.10.1.0/24",
        "10.20.0.0/16",
        "192.0.2.0/24",
        "0.0.0.0/0",
        "2001:db8:1::/48",
        "2001:db8:2::/64",
    ];
    net(PREFIXES[index % PREFIXES.len()])
}

/// An AS that no peer is in.
pub(super) const FAR_AS: Asn = Asn(65010);
