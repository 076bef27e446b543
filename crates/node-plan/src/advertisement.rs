//! What `RouteAdvertisement`s ask of a node: which routes, with which attributes, to whom.
//!
//! A route that advertisements speak of carries a label, which stands for the set of them. Each peer's export
//! policy says what becomes of each label: so a Service that comes or goes changes what is originated, and no
//! policy.

mod export;

pub(crate) use export::ExportRules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_speaker::config::{Cause, OriginatedRoute, RouteSource};
use muslin_cluster::kubernetes::{Labels, Service};
use muslin_cluster::resources::{
    Advertisement, AdvertisementType, BgpPeer, RouteAdvertisement, ServiceAddress,
};
use muslin_cluster::{ClusterState, Kind, Problem};

use crate::causes::{Caused, Subject};

/// Most causes that are written out where several ask for one route.
const SHOWN_CAUSES: usize = 3;

/// A kind of route that advertisements may speak of; from then on they alone decide about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Routes {
    Pods,
    Service(ServiceAddress),
}

/// An advertisement, by its place among those that hold for the node.
pub(crate) type Index = usize;

/// An advertisement that holds for the node.
struct Item<'a> {
    written: &'a Advertisement,
    object: &'a RouteAdvertisement,
    cause: Cause,
    /// Short name, unique in the cluster.
    name: String,
}

/// All advertisements, as one node sees them.
pub(crate) struct Advertisements<'a> {
    items: Vec<Item<'a>>,
    governed: BTreeSet<Routes>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Caused<String>>,
}

impl<'a> Advertisements<'a> {
    /// Those that select a node with these labels.
    pub(crate) fn of(state: &'a ClusterState, labels: Option<&Labels>) -> Self {
        let mut all =
            Self { items: Vec::new(), governed: BTreeSet::new(), problems: Vec::new(), notes: Vec::new() };
        for (name, object) in &state.route_advertisements {
            let subject = Subject::new(Kind::RouteAdvertisement, name, object);
            let spec = &object.spec;
            all.governed.extend(spec.advertisements.iter().flat_map(kinds));
            all.check_peers(state, &subject);
            if !spec.node_selector.as_ref().is_none_or(|selector| selector.matches(|key| labels?.get(key))) {
                continue;
            }
            for (index, written) in spec.advertisements.iter().enumerate() {
                let cause = subject.cause(format_args!(".spec.advertisements[{index}]"));
                all.items.push(Item { written, object, cause, name: format!("{name}[{index}]") });
            }
        }
        if all.governs(Routes::Pods) && all.pods().is_empty() {
            let note = "no RouteAdvertisement of pod CIDRs selects this node, so its pods are announced to the \
                        node mesh alone";
            all.notes.push(Caused::new(note.to_owned(), "RouteAdvertisement .spec.nodeSelector"));
        }
        all
    }

    /// A name that no peer has is a name misspelt.
    fn check_peers(&mut self, state: &ClusterState, subject: &Subject<'_, RouteAdvertisement>) {
        for (index, peer) in subject.object.spec.peers.iter().flatten().enumerate() {
            if !state.bgp_peers.contains_key(&**peer) {
                let field = format!(".spec.peers[{index}]");
                let message = format!("there is no BGPPeer {peer}");
                self.problems.push(subject.refused(&field, message, "make the peer, or correct the name"));
            }
        }
    }

    /// Whether advertisements alone decide about these routes.
    pub(crate) fn governs(&self, routes: Routes) -> bool {
        self.governed.contains(&routes)
    }

    /// Those that ask for pod blocks.
    pub(crate) fn pods(&self) -> BTreeSet<Index> {
        self.indexes(AdvertisementType::PodCIDR).collect()
    }

    /// Those that ask for prefixes of their own.
    fn prefixes(&self) -> impl Iterator<Item = (Index, IpNet, Cause)> {
        self.indexes(AdvertisementType::Prefix).flat_map(|index| {
            let item = &self.items[index];
            let prefixes = item.written.prefixes.iter().enumerate();
            prefixes.map(move |(place, prefix)| {
                (index, prefix.0, format!("{}.prefixes[{place}]", item.cause).into())
            })
        })
    }

    /// Those that ask for Services.
    pub(crate) fn services(&self) -> impl Iterator<Item = (Index, &'a Advertisement)> {
        self.indexes(AdvertisementType::Service).map(|index| (index, self.items[index].written))
    }

    fn indexes(&self, kind: AdvertisementType) -> impl Iterator<Item = Index> {
        let items = self.items.iter().enumerate();
        items.filter(move |(_, item)| item.written.advertisement_type == kind).map(|(index, _)| index)
    }

    /// Whether the peer, or the node mesh, is told what an advertisement asks for.
    fn tells(&self, index: Index, peer: Option<&Subject<'_, BgpPeer>>) -> bool {
        let spec = &self.items[index].object.spec;
        match (&spec.peers, &spec.peer_selector, peer) {
            (None, None, _) => true,
            (_, _, None) => false,
            (names, selector, Some(peer)) => {
                let labels = peer.object.metadata.labels.as_ref();
                let label = |key: &str| labels?.get(key).map(String::as_str);
                names.iter().flatten().any(|name| **name == **peer.name())
                    || selector.as_ref().is_some_and(|selector| selector.matches(label))
            }
        }
    }
}

fn kinds(written: &Advertisement) -> Vec<Routes> {
    match written.advertisement_type {
        AdvertisementType::PodCIDR => vec![Routes::Pods],
        AdvertisementType::Service => {
            let service = written.service.iter().flat_map(|service| &service.addresses);
            service.map(|address| Routes::Service(*address)).collect()
        }
        AdvertisementType::Prefix => Vec::new(),
    }
}

/// Who asks for a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Askers {
    /// Whether it is announced to everybody without being asked for by an advertisement.
    pub(crate) usual: bool,
    pub(crate) by: BTreeSet<Index>,
}

impl Askers {
    /// Announced as ever.
    pub(crate) const USUAL: Self = Self { usual: true, by: BTreeSet::new() };
}

/// What is announced under one prefix.
#[derive(Clone, Debug)]
struct Announced {
    route: OriginatedRoute,
    causes: Vec<Cause>,
    askers: Askers,
}

/// What a node originates. Of two routes to one prefix the first gives its attributes, and whoever asks for
/// either asks for both.
#[derive(Debug, Default)]
pub(crate) struct Origination(BTreeMap<IpNet, Announced>);

impl Origination {
    /// Adds a route.
    pub(crate) fn add(&mut self, route: OriginatedRoute, askers: Askers) {
        let known = self.0.entry(route.prefix).or_insert_with(|| Announced {
            route: route.clone(),
            causes: Vec::new(),
            askers: Askers::default(),
        });
        if !known.causes.contains(&route.cause) {
            known.causes.push(route.cause);
        }
        known.askers.usual |= askers.usual;
        known.askers.by.extend(askers.by);
    }

    /// Adds the prefixes that advertisements write out.
    pub(crate) fn add_prefixes(&mut self, advertisements: &Advertisements<'_>) {
        for (index, prefix, cause) in advertisements.prefixes() {
            let askers = Askers { usual: false, by: BTreeSet::from([index]) };
            self.add(OriginatedRoute::new(prefix, RouteSource::Static, &cause), askers);
        }
    }

    /// Who asks for routes, by the label of these.
    fn labels(&self, advertisements: &Advertisements<'_>) -> BTreeMap<Arc<str>, &Askers> {
        let labelled = self.0.values();
        labelled.filter_map(|one| Some((advertisements.label(&one.askers)?, &one.askers))).collect()
    }

    /// The routes, by source: pods, Services, then what is written out.
    pub(crate) fn routes(&self, advertisements: &Advertisements<'_>) -> Vec<OriginatedRoute> {
        let mut routes: Vec<_> = self
            .0
            .values()
            .map(|one| OriginatedRoute {
                label: advertisements.label(&one.askers),
                cause: causes(&one.causes).into(),
                ..one.route.clone()
            })
            .collect();
        routes.sort_by_key(|route| route.source);
        routes
    }
}

/// How many of these routes each `RouteAdvertisement` asks for, by its name.
pub fn advertised(routes: &[OriginatedRoute]) -> BTreeMap<String, usize> {
    let mut advertised = BTreeMap::new();
    for label in routes.iter().filter_map(|route| route.label.as_deref()) {
        // Several advertisements of one object ask for the route together. No object has a `[` in its name.
        let names: BTreeSet<_> =
            label.split('+').filter_map(|item| Some(item.split_once('[')?.0.to_owned())).collect();
        for name in names {
            *advertised.entry(name).or_default() += 1;
        }
    }
    advertised
}

impl Advertisements<'_> {
    /// What policies know these askers by; none for what is announced as ever.
    fn label(&self, askers: &Askers) -> Option<Arc<str>> {
        let names = askers.by.iter().map(|index| self.items[*index].name.as_str());
        match (askers.usual, askers.by.is_empty()) {
            (true, true) => None,
            (usual, _) => {
                let usual = usual.then_some("usual");
                Some(usual.into_iter().chain(names).collect::<Vec<_>>().join("+").into())
            }
        }
    }
}

fn causes(causes: &[Cause]) -> String {
    let shown = causes[..causes.len().min(SHOWN_CAUSES)].join(", ");
    match causes.len().saturating_sub(SHOWN_CAUSES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether the labels of a Service are selected by an advertisement.
pub(crate) fn selects(written: &Advertisement, service: &Service) -> bool {
    written.selector.as_ref().is_none_or(|selector| selector.matches(|key| service.labels.get(key)))
}
