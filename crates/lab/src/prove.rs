//! Makes the proofs: sends the packets, gathers what was seen, and hands it to the judges.

mod evidence;
mod judge;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::{Place, Web};
use crate::capture::Witness;
use crate::kernel_routes::KernelRoutes;
use crate::lab::Lab;
use crate::probe::{Answers, Host, Protocol, Responders, ask, fire};
use crate::report::Proof;
use crate::tamper;
use crate::topology;

use evidence::{Evidence, Member, Wire};

/// How long an answer may take. Long, since machines that test are busy; only a failing proof waits so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// The proofs while BGP is up.
pub(crate) fn connected(lab: &mut Lab) -> Result<Vec<Proof>, LabError> {
    let tampered = lab.options.tamper.map(|what| tamper::apply(lab, what)).transpose()?;
    let step = lab.progress.step("probes: every pod to every pod, out and in");
    let evidence = gather(lab)?;
    let proofs = vec![
        judge::same_node(&evidence),
        judge::other_node(&evidence),
        judge::source(&evidence),
        judge::hops(&evidence),
        judge::wire(&evidence),
        judge::no_tunnel(&evidence, &tunnel_devices(lab)?),
        judge::masquerade(&evidence),
        judge::from_outside(&evidence),
        judge::routes(lab)?,
        judge::service(lab, &service_routes(lab)?),
        judge::untranslated(&evidence),
    ];
    step.done();
    drop(tampered);
    Ok(proofs)
}

/// The proof while one of the reflectors is dead.
pub(crate) fn without_a_reflector(lab: &Lab) -> Result<Proof, LabError> {
    let step = lab.progress.step("probes with one reflector less");
    let proof = judge::reflector_loss(&gather(lab)?);
    step.done();
    Ok(proof)
}

/// The proofs when BGP is stopped and the learned routes are gone.
pub(crate) fn without_bgp(lab: &Lab) -> Result<Vec<Proof>, LabError> {
    let step = lab.progress.step("probes without BGP");
    let evidence = gather_silence(lab)?;
    let proofs = vec![judge::silence(&evidence), judge::isolation(&evidence)];
    step.done();
    Ok(proofs)
}

/// Witnesses for every pod and the outside host, and for the wires between nodes.
struct Witnesses {
    hosts: Vec<Witness>,
    wires: Vec<Witness>,
}

impl Witnesses {
    fn start(lab: &Lab, hosts: &[Host]) -> Result<Self, LabError> {
        Ok(Self {
            hosts: hosts.iter().map(|host| Witness::start(&host.namespace)).collect::<Result<_, _>>()?,
            wires: lab.network.wires().iter().map(Witness::start).collect::<Result<_, _>>()?,
        })
    }

    fn evidence(&self, lab: &Lab, answers: Vec<Answers>) -> Result<Evidence, LabError> {
        let members = lab.members().into_iter().zip(answers).zip(&self.hosts);
        let members = members.map(|(((host, place), answers), witness)| Member {
            name: host.name,
            addresses: host.addresses,
            place,
            answers,
            seen: witness.take(),
        });
        let wires = lab.network.wires().iter().zip(&self.wires).map(|(namespace, witness)| {
            Ok(Wire { links: Wire::links_of_nodes(lab, &namespace.links()?), seen: witness.take() })
        });
        Ok(Evidence {
            blueprint: lab.blueprint.clone(),
            members: members.collect(),
            wires: wires.collect::<Result<_, LabError>>()?,
        })
    }
}

fn gather(lab: &Lab) -> Result<Evidence, LabError> {
    let _context = lab.runtime.enter();
    let members = lab.members();
    let hosts = lab.hosts();
    let responders = Responders::start(&hosts)?;
    let witnesses = Witnesses::start(lab, &hosts)?;
    // Nobody answers on a cluster IP: kube-proxy is not here. What follows passes the same links after it.
    fire(&lab.network.outside, &Family::BOTH.map(|family| Web::CLUSTER_IP.get(family)))?;
    let answers = in_parallel(&members, |(host, _)| {
        let others = members.iter().filter(|(other, _)| other.name != host.name);
        ask(host, &addresses(others.map(|(host, _)| host)), &Protocol::ALL, PATIENCE)
    })?;
    lab.runtime.block_on(responders.stop());
    witnesses.evidence(lab, answers)
}

/// Questions to pods of other nodes, of which none may arrive; behind them on the same links questions whose answers
/// prove that the first ones are through or dropped, so that nothing needs a waiting time.
fn gather_silence(lab: &Lab) -> Result<Evidence, LabError> {
    let _context = lab.runtime.enter();
    let members = lab.members();
    let hosts = lab.hosts();
    let responders = Responders::start(&hosts)?;
    let witnesses = Witnesses::start(lab, &hosts)?;
    in_parallel(&members, |(host, place)| {
        let elsewhere = members.iter().filter(|(_, at)| at != place && *at != Place::Outside);
        match place {
            Place::Node(_) => fire(host, &addresses(elsewhere.map(|(host, _)| host))),
            Place::Outside => Ok(()),
        }
    })?;
    // From pods past their node and the routers.
    let answers = in_parallel(&members, |(host, place)| {
        let near = members.iter().filter(|(other, at)| {
            other.name != host.name && *place != Place::Outside && (at == place || *at == Place::Outside)
        });
        ask(host, &addresses(near.map(|(host, _)| host)), &Protocol::ALL, PATIENCE)
    })?;
    // From the routers to the nodes.
    let nodes = lab.blueprint.nodes.iter().flat_map(crate::blueprint::NodePart::addresses);
    let nodes: Vec<IpAddr> =
        nodes.flat_map(|address| Family::BOTH.map(|family| address.get(family))).collect();
    ask(&lab.network.outside, &nodes, &[Protocol::Icmp], PATIENCE)?;
    lab.runtime.block_on(responders.stop());
    witnesses.evidence(lab, answers)
}

fn addresses<'a>(hosts: impl Iterator<Item = &'a Host>) -> Vec<IpAddr> {
    hosts.flat_map(|host| Family::BOTH.map(|family| host.addresses.get(family))).collect()
}

/// Hosts that ask at the same time. More would only lose packets, at the witnesses first.
const AT_A_TIME: usize = 8;

fn in_parallel<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, LabError> + Sync,
) -> Result<Vec<T>, LabError> {
    let mut results = Vec::with_capacity(items.len());
    for wave in items.chunks(AT_A_TIME) {
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> = wave.iter().map(|item| scope.spawn(|| work(item))).collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            let joined = joined.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.collect::<Result<Vec<T>, _>>()
        });
        results.extend(done?);
    }
    Ok(results)
}

/// Tunnel devices of nodes, routers and pods: "vxlan0 (vxlan) in n1".
fn tunnel_devices(lab: &Lab) -> Result<Vec<String>, LabError> {
    let mut found = Vec::new();
    for namespace in lab.namespaces() {
        for link in topology::tunnels(namespace)? {
            let kind = link.kind.unwrap_or_default();
            found.push(format!("{} ({kind}) in {}", link.name, namespace.name()));
        }
    }
    Ok(found)
}

/// A Service address at a router: where the kernel sends it, and where it should.
struct ServiceRoute {
    router: String,
    address: IpAddr,
    found: BTreeSet<IpAddr>,
    wanted: BTreeSet<IpAddr>,
}

fn service_routes(lab: &Lab) -> Result<Vec<ServiceRoute>, LabError> {
    let mut routes = Vec::new();
    let addresses = [Web::CLUSTER_IP, Web::EXTERNAL_IP, Web::LOAD_BALANCER_IP];
    for ((router, expected), part) in
        lab.network.routers.iter().zip(lab.all_on_routers()).zip(&lab.blueprint.routers)
    {
        let routes_of_router = router.routes()?;
        let table = KernelRoutes::new(&routes_of_router, &lab.network.link_locals);
        for address in addresses.iter().flat_map(|dual| Family::BOTH.map(|family| dual.get(family))) {
            let wanted = expected.iter().filter(|route| route.prefix.contains(&address));
            let wanted = wanted.max_by_key(|route| route.prefix.prefix_len());
            routes.push(ServiceRoute {
                router: part.name.clone(),
                address,
                found: table.route_to(address).unwrap_or_default(),
                wanted: wanted.map(|route| route.gateways.clone()).unwrap_or_default(),
            });
        }
    }
    Ok(routes)
}
