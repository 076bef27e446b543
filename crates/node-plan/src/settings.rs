//! The `BGPConfiguration` that is in force: `default`, overridden field by field by `node.NAME`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::Asn;
use muslin_bgp_speaker::config::{BmpCollector, Cause, Identification, OriginatedRoute, RouteSource};
use muslin_cluster::kubernetes::Labels;
use muslin_cluster::resources::{
    AdvertisedRange, BgpConfiguration, BgpConfigurationSpec, DefaultRoute, GracefulRestart, PasswordSource,
    StaticRoute, usable_asn,
};
use muslin_cluster::{ClusterState, Kind, ObjectRef, Origin, Problem};

use crate::bmp::collector;
use crate::causes::{Caused, Subject};

/// The AS of a cluster that names none: the first private one (RFC 6996), as Calico has it.
const DEFAULT_ASN: Asn = Asn(64512);
pub(crate) const BGP_PORT: u16 = 179;
const DEFAULT_MAX_PATHS: u8 = 16;

/// What holds for one speaker.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) asn: Asn,
    pub(crate) router_id: Option<Ipv4Addr>,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    /// What peers that name no address are spoken to from.
    pub(crate) local_addresses: Vec<IpAddr>,
    /// `None` accepts no connections.
    pub(crate) listen_port: Option<u16>,
    pub(crate) max_paths: u8,
    pub(crate) names: Names,
    pub(crate) mesh: Mesh,
    pub(crate) cluster_cidrs: Vec<Caused<IpNet>>,
    pub(crate) service_cluster_ips: Vec<Caused<IpNet>>,
    pub(crate) service_external_ips: Vec<Caused<IpNet>>,
    pub(crate) service_load_balancer_ips: Vec<Caused<IpNet>>,
    /// What may be learned; `None` if nothing is said.
    pub(crate) import: Option<Vec<Caused<IpNet>>>,
    /// The cause, if a default route may be learned.
    pub(crate) default_route: Option<Cause>,
    pub(crate) originate: Vec<OriginatedRoute>,
    pub(crate) bmp: Vec<BmpCollector>,
}

/// Which of our names peers are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    host: bool,
    software: bool,
}

impl Names {
    /// What we call ourselves on this host.
    pub(crate) fn identification(self, host: Option<&str>) -> Identification {
        let software = self.software.then(|| concat!("muslin/", env!("CARGO_PKG_VERSION")).into());
        Identification { host: host.filter(|_| self.host).map(Into::into), software }
    }
}

/// Sessions between nodes that share a link.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    pub(crate) enabled: bool,
    /// `None` is the usual one.
    pub(crate) hold_time: Option<Duration>,
    pub(crate) graceful_restart: Option<GracefulRestart>,
    pub(crate) password: Option<PasswordSource>,
    pub(crate) cause: Cause,
    /// The object that says so, if one does.
    pub(crate) origin: Option<(ObjectRef, Arc<Origin>)>,
}

impl Settings {
    /// The settings of a node, or of a stand-alone speaker.
    pub(crate) fn of(state: &ClusterState, node: Option<&str>) -> Self {
        let layers = Layers::of(state, node);
        let mesh = layers.find(|spec| spec.node_mesh.as_ref());
        let mesh = match mesh {
            None => Mesh {
                enabled: true,
                hold_time: None,
                graceful_restart: None,
                password: None,
                cause: "node mesh, on by default".into(),
                origin: None,
            },
            Some((subject, mesh)) => Mesh {
                enabled: mesh.enabled.unwrap_or(true),
                hold_time: mesh.hold_time.map(|time| time.0),
                graceful_restart: mesh.graceful_restart,
                password: mesh.password.clone(),
                cause: subject.cause(".spec.nodeMesh"),
                origin: Some((subject.reference.clone(), subject.object.origin.clone())),
            },
        };
        // Who owns which block must come out alike on every node, so no node may see ranges of its own.
        let cluster = Layers::of(state, None);
        let import = layers.find(|spec| spec.import.as_ref());
        Self {
            asn: layers.asn(labels_of(state, node)),
            router_id: layers.find(|spec| spec.router_id.as_ref()).map(|(_, id)| id.0),
            cluster_id: layers.find(|spec| spec.cluster_id.as_ref()).map(|(_, id)| id.0),
            local_addresses: layers
                .find(|spec| spec.local_addresses.as_ref())
                .map_or_else(Vec::new, |(_, addresses)| addresses.clone()),
            listen_port: match layers.find(|spec| spec.listen_port.as_ref()) {
                None => Some(BGP_PORT),
                Some((_, port)) => (*port != 0).then_some(*port),
            },
            max_paths: layers
                .find(|spec| spec.max_paths.as_ref())
                .map_or(DEFAULT_MAX_PATHS, |(_, paths)| *paths),
            names: Names {
                host: layers.find(|spec| spec.announce_hostname.as_ref()).is_none_or(|(_, told)| *told),
                software: layers.find(|spec| spec.announce_version.as_ref()).is_none_or(|(_, told)| *told),
            },
            mesh,
            cluster_cidrs: cluster.list("clusterCIDRs", |spec| spec.cluster_cidrs.as_ref(), |cidr| cidr.0),
            service_cluster_ips: cluster.list(
                "serviceClusterIPs",
                |spec| spec.service_cluster_ips.as_ref(),
                range,
            ),
            service_external_ips: layers.list(
                "serviceExternalIPs",
                |spec| spec.service_external_ips.as_ref(),
                range,
            ),
            service_load_balancer_ips: layers.list(
                "serviceLoadBalancerIPs",
                |spec| spec.service_load_balancer_ips.as_ref(),
                range,
            ),
            import: import.as_ref().and_then(|(subject, import)| {
                let cidrs = import.cidrs.as_ref()?.iter().enumerate();
                let cause = |index| subject.cause(format_args!(".spec.import.cidrs[{index}]"));
                Some(cidrs.map(|(index, cidr)| Caused::new(cidr.0, cause(index))).collect())
            }),
            default_route: import
                .filter(|(_, import)| import.default_route == Some(DefaultRoute::Accept))
                .map(|(subject, _)| subject.cause(".spec.import.defaultRoute")),
            originate: layers
                .list("originate", |spec| spec.originate.as_ref(), Clone::clone)
                .into_iter()
                .map(originated)
                .collect(),
            bmp: layers
                .list("bmp", |spec| spec.bmp.as_ref(), Clone::clone)
                .into_iter()
                .map(collector)
                .collect(),
        }
    }
}

/// The AS of a node.
pub(crate) fn asn_of(state: &ClusterState, node: &str) -> Asn {
    Layers::of(state, Some(node)).asn(labels_of(state, Some(node)))
}

fn labels_of<'a>(state: &'a ClusterState, node: Option<&str>) -> Option<&'a Labels> {
    Some(&state.nodes.get(node?)?.labels)
}

fn range(range: &AdvertisedRange) -> IpNet {
    range.cidr.0
}

fn originated(Caused { value: route, cause }: Caused<StaticRoute>) -> OriginatedRoute {
    OriginatedRoute {
        prefix: route.cidr.0,
        source: RouteSource::Static,
        label: None,
        local_pref: route.local_pref,
        med: route.med,
        communities: route.communities.iter().map(|community| community.0).collect(),
        large_communities: route.large_communities.iter().map(|community| community.0).collect(),
        cause,
    }
}

/// The configurations that count, the more specific first.
struct Layers<'a>(Vec<Subject<'a, BgpConfiguration>>);

impl<'a> Layers<'a> {
    fn of(state: &'a ClusterState, node: Option<&str>) -> Self {
        let names = node.map(|node| format!("node.{node}")).into_iter().chain(["default".to_owned()]);
        let found = names.filter_map(|name| {
            let (name, object) = state.bgp_configurations.get_key_value(&*name)?;
            Some(Subject::new(Kind::BgpConfiguration, name, object))
        });
        Self(found.collect())
    }

    /// The AS of a node with these labels. One that is written for the node itself comes before its label, and its
    /// label before one that is written for all.
    fn asn(&self, labels: Option<&Labels>) -> Asn {
        let of_layer = |subject: &Subject<'a, BgpConfiguration>| {
            let spec = &subject.object.spec;
            let value = spec.asn_node_label.as_ref().and_then(|label| labels?.get(label));
            value.and_then(usable_asn).or(spec.asn.map(|asn| asn.0))
        };
        self.0.iter().find_map(of_layer).unwrap_or(DEFAULT_ASN)
    }

    /// The field in the most specific configuration that has it.
    fn find<T>(
        &self,
        field: impl Fn(&'a BgpConfigurationSpec) -> Option<&'a T>,
    ) -> Option<(Subject<'a, BgpConfiguration>, &'a T)> {
        self.0.iter().find_map(|subject| Some((subject.clone(), field(&subject.object.spec)?)))
    }

    /// The items of a list, each with its cause.
    fn list<T: 'a, U>(
        &self,
        name: &str,
        field: impl Fn(&'a BgpConfigurationSpec) -> Option<&'a Vec<T>>,
        value: impl Fn(&T) -> U,
    ) -> Vec<Caused<U>> {
        let Some((subject, items)) = self.find(field) else { return Vec::new() };
        let items = items.iter().enumerate();
        items
            .map(|(index, item)| {
                Caused::new(value(item), subject.cause(format_args!(".spec.{name}[{index}]")))
            })
            .collect()
    }
}

/// What is written in configurations but has no effect.
pub(crate) fn unused(state: &ClusterState, node: Option<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, object) in &state.bgp_configurations {
        let subject = Subject::new(Kind::BgpConfiguration, name, object);
        let own = node.is_some_and(|node| name.strip_prefix("node.") == Some(node));
        if &**name != "default" && !name.starts_with("node.") {
            problems.push(subject.refused(
                "",
                "nobody asks for this name",
                "call it `default`, or `node.NAME`",
            ));
        }
        let spec = &object.spec;
        let of_all = [
            (spec.cluster_cidrs.is_some(), ".spec.clusterCIDRs"),
            (spec.service_cluster_ips.is_some(), ".spec.serviceClusterIPs"),
        ];
        let label = spec.asn_node_label.as_ref().filter(|_| own || &**name == "default");
        if let Some(label) = label
            && let Some(value) = labels_of(state, node).and_then(|labels| labels.get(label))
            && usable_asn(value).is_none()
        {
            let node = node.unwrap_or_default();
            let message = format!("Node {node} has {label}={value}, which is no AS number");
            let remedy =
                "label it with a number from 1 to 4294967294 that is not reserved; `asn` holds meanwhile";
            problems.push(subject.refused(".spec.asnNodeLabel", message, remedy));
        }
        for (_, field) in of_all.iter().filter(|(present, _)| own && *present) {
            problems.push(subject.refused(field, "it holds for all nodes alike", "write it in `default`"));
        }
    }
    problems
}
