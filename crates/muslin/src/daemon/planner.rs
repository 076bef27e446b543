//! Plans anew when the cluster or the kernel changes, and carries out the difference.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ipnet::IpNet;
use muslin_bgp_speaker::config::SpeakerConfig;
use muslin_bgp_speaker::{Family, FamilySet, PeerStatus, Start};
use muslin_cluster::ClusterState;
use muslin_node_plan::{Handover, Lingering};
use muslin_route_programmer::{Adopted, DesiredRoute, RouteChange};
use tokio::sync::watch;
use tracing::{info, warn};

use super::pods::{HostSettings, Pods};
use super::{Admission, Daemon, Learned, Plan, Role, fib};
use crate::error::sentence;
use crate::kernel::{ViewResolver, discovered_on, facts};

/// How often the packet filter and the kernel's settings are looked at: others change them, and the kernel keeps no
/// owner's word.
pub(super) const AUDIT: Duration = Duration::from_secs(10);

/// How long changes wait at most for a planner that has just planned for others.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Parts of the plan that could not be carried out, each a sentence with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// The speaker's configuration: the one before stays in force.
    pub(crate) speaker: Option<String>,
    /// Address blocks or firewall.
    pub(crate) pods: Option<String>,
    /// CNI configuration.
    pub(crate) cni: Option<String>,
    /// Kernel settings of the host.
    pub(crate) settings: HostSettings,
}

/// Runs as long as the daemon.
pub(crate) async fn run(
    daemon: Arc<Daemon>,
    mut state: watch::Receiver<Arc<ClusterState>>,
) -> anyhow::Result<()> {
    let mut view = daemon.programmer.watch_view();
    let mut found = daemon.discovery.watch();
    let mut pods = match &daemon.role {
        Role::Node(node) => Some(Pods::new(node.clone())),
        Role::Speaker(_) => None,
    };
    let mut blackholes = BTreeSet::new();
    let mut audit = tokio::time::interval(AUDIT);
    let mut drain = daemon.drain.watch();
    let mut admission = daemon.admission.subscribe();
    let mut configured = None;
    let mut event = Instant::now();
    let mut handover = Handover::default();
    let mut lingering = Lingering::default();
    loop {
        let begun = Instant::now();
        daemon.pulse.beat();
        let cluster = state.borrow_and_update().clone();
        let kernel = facts(&view.borrow_and_update(), &found.borrow_and_update());
        let plan = {
            // Let go of before anything is awaited: nobody needs a plan that another one has replaced.
            let before = daemon.plan.borrow().clone();
            Plan::after(before.as_deref(), &mut lingering, &daemon.role, &cluster, &kernel)
        };
        if let Role::Node(node) = &daemon.role
            && let Some(node) = cluster.nodes.get(node.name.as_str())
        {
            daemon.drain.follow(node.leaving);
        }
        if let Some(plan) = plan {
            let changed = daemon.plan.borrow().as_deref() != Some(&plan);
            drain.mark_unchanged();
            let wanted = daemon.drain.applied(plan.speaker());
            // The audit's tick looks again as long as it takes.
            let wanted = hand_over(&daemon, &mut handover, wanted, &cluster, changed).await?;
            if changed || configured.as_ref() != Some(&wanted) {
                let mut faults = Faults { cni: daemon.faults.borrow().cni.clone(), ..Faults::default() };
                // Unused addresses of our blocks lead nowhere before anyone is told to send packets for them.
                program_blackholes(&daemon, &mut blackholes, &plan).await?;
                if let (Some(pods), Plan::Node(plan)) = (&mut pods, &plan) {
                    faults.pods = pods.apply(plan, &kernel).err().map(|error| sentence(&error));
                    faults.settings.clone_from(pods.settings());
                }
                faults.speaker = configure(&daemon, &wanted, event).await?.err();
                configured = Some(wanted);
                report(&daemon, &plan, &faults);
                daemon.faults.send_replace(faults);
                daemon.plan.send_replace(Some(Arc::new(plan)));
            }
        } else if daemon.plan.borrow().is_none()
            && let Role::Node(node) = &daemon.role
        {
            info!(node = node.name, "waiting for the Node object");
        }
        if let Some(plan) = daemon.plan.borrow().as_deref() {
            // Interfaces come and go, and their carriers, while the plan names them all the same.
            daemon.discovery.follow(discovered_on(&view.borrow(), &plan.discovery().interfaces));
        }
        if *admission.borrow_and_update() == Admission::Open
            && daemon.plan.borrow().is_some()
            && let Some(pods) = &pods
        {
            announce(&daemon, pods);
        }
        // What the speaker resolves may have changed although the plan has not.
        if let Some(speaker) = daemon.speaker.get() {
            speaker.next_hops_changed();
        }
        let rested = Instant::now() + (2 * begun.elapsed()).min(LONGEST_REST);
        tokio::select! {
            _ = audit.tick() => if let Some(pods) = &mut pods {
                pods.audit();
                settle(&daemon, pods);
                if *daemon.admission.borrow() == Admission::Announced {
                    announce(&daemon, pods);
                }
            },
            () = until(lingering.poll_timeout()) => {}
            // It lives as long as the daemon.
            _ = admission.changed() => {}
            // The drain lives as long as the daemon.
            _ = drain.changed() => {}
            changed = state.changed() => changed.context("the cluster's state is no longer followed")?,
            changed = found.changed() => changed.context("routers on the links are no longer looked for")?,
            changed = view.changed() => changed.context("the kernel's routes are no longer followed")?,
        }
        event = Instant::now();
        // What changes without end gets a third of a core. The first change after a rest is planned for at once.
        tokio::time::sleep_until(rested.into()).await;
    }
}

/// Sleeps until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

/// What the speaker is to be while one topology of nodes takes the place of another.
async fn hand_over(
    daemon: &Daemon,
    handover: &mut Handover,
    wanted: SpeakerConfig,
    cluster: &ClusterState,
    changed: bool,
) -> anyhow::Result<SpeakerConfig> {
    let before = handover.is_under_way();
    let mut ready = BTreeSet::new();
    if let Some(speaker) = daemon.speaker.get().filter(|_| changed || before) {
        let complete = |peer: &PeerStatus| {
            peer.established
                && peer.families.iter().all(|family| !family.negotiated || family.end_of_rib_received)
        };
        ready = speaker.peers().await?.into_iter().filter(complete).map(|peer| peer.key).collect();
    }
    let nodes = cluster.nodes.keys().cloned().collect();
    let applied = handover.apply(Instant::now(), wanted, &nodes, &ready);
    match (before, handover.is_under_way()) {
        (false, true) => {
            info!("sessions between nodes change: the old ones stay until the new ones carry their routes");
        }
        (true, false) => info!("the new sessions between nodes carry the routes: the old ones end"),
        (false, false) | (true, true) => {}
    }
    Ok(applied)
}

/// Looks after the kernel's settings between two plans.
fn settle(daemon: &Daemon, pods: &mut Pods) {
    pods.settle();
    daemon.faults.send_if_modified(|faults| {
        let is_news = faults.settings != *pods.settings();
        faults.settings.clone_from(pods.settings());
        is_news
    });
}

/// Writes the CNI configuration; what does not work is tried again with every audit.
fn announce(daemon: &Daemon, pods: &Pods) {
    let fault = pods.announce().err().map(|error| sentence(&error));
    let is_news = daemon.faults.send_if_modified(|faults| {
        let is_news = faults.cni != fault;
        faults.cni.clone_from(&fault);
        is_news
    });
    match fault {
        None => _ = daemon.admission.send_replace(Admission::Announced),
        Some(fault) if is_news => warn!("{fault}"),
        Some(_) => {}
    }
}

/// Starts the speaker with the first plan, then changes it. The inner error is a configuration that cannot be.
async fn configure(
    daemon: &Daemon,
    wanted: &SpeakerConfig,
    event: Instant,
) -> anyhow::Result<Result<(), String>> {
    use muslin_bgp_speaker::net::{ConfigureError, RecordConfig, SpawnError, spawn_recorded, spawn_started};

    if let Some(speaker) = daemon.speaker.get() {
        return match speaker.configure_after(event, wanted.clone()).await {
            Ok(()) => Ok(Ok(())),
            Err(ConfigureError::Refused(error)) => Ok(Err(error.to_string())),
            Err(ConfigureError::Gone(error)) => Err(error.into()),
        };
    }
    let resolver = Box::new(ViewResolver(daemon.programmer.watch_view()));
    let (config, start) = (wanted.clone(), start(&daemon.role, daemon.programmer.status().adopted));
    let spawned = match &daemon.record {
        Some(folder) => spawn_recorded(config, resolver, start, RecordConfig::new(folder)),
        None => spawn_started(config, resolver, start),
    };
    let speaker = match spawned {
        Ok(speaker) => speaker,
        Err(SpawnError::Config(error)) => return Ok(Err(error.to_string())),
        Err(error @ (SpawnError::System(_) | SpawnError::Record { .. })) => return Err(error.into()),
    };
    *daemon.events.lock().await = speaker.events().ok();
    let Some(stream) = speaker.fib() else { bail!("the speaker's routes are read by someone else") };
    match daemon.role {
        Role::Speaker(Learned::PassedOn) => daemon.programmer.mark_synced().await?,
        Role::Node(_) | Role::Speaker(Learned::Installed) => {
            daemon.routes.spawn(fib::run(stream, daemon.programmer.clone(), daemon.ways.clone()));
        }
    }
    if daemon.speaker.set(speaker).is_err() {
        bail!("the speaker was started twice");
    }
    Ok(Ok(()))
}

/// Whether another process of ours has just ended here. Its routes in the kernel tell: a reboot leaves none,
/// and whatever is there has forwarded packets all the while. A family of which nothing is there proves
/// nothing, so its peers are not told that it was kept (RFC 4724 §3, F bit).
fn start(role: &Role, adopted: Adopted) -> Start {
    if matches!(role, Role::Speaker(Learned::PassedOn)) {
        return Start::Fresh;
    }
    let found = [(Family::Ipv4Unicast, adopted.ipv4_routes), (Family::Ipv6Unicast, adopted.ipv6_routes)];
    let forwarding_kept: FamilySet =
        found.into_iter().filter(|(_, routes)| *routes > 0).map(|(family, _)| family).collect();
    if forwarding_kept.is_empty() { Start::Fresh } else { Start::Restarted { forwarding_kept } }
}

async fn program_blackholes(daemon: &Daemon, known: &mut BTreeSet<IpNet>, plan: &Plan) -> anyhow::Result<()> {
    let wanted: BTreeSet<IpNet> = plan.blackholes().iter().map(|block| block.value).collect();
    let gone = known.difference(&wanted).map(|block| RouteChange::withdraw(*block));
    let new = wanted.difference(known).map(|block| RouteChange::install(*block, DesiredRoute::blackhole()));
    let changes: Vec<_> = gone.chain(new).collect();
    *known = wanted;
    if !changes.is_empty() {
        daemon.programmer.apply(changes).await?;
    }
    Ok(())
}

/// Logs what is newly wrong; what stays wrong was said before.
fn report(daemon: &Daemon, plan: &Plan, faults: &Faults) {
    let before = daemon.plan.borrow().clone();
    let known = before.as_deref().map_or(&[][..], Plan::problems);
    for problem in plan.problems().iter().filter(|problem| !known.contains(problem)) {
        warn!("{problem}");
    }
    let awaited = before.as_deref().map_or(&[][..], |plan| &plan.discovery().awaited);
    for peer in plan.discovery().awaited.iter().filter(|peer| !awaited.contains(peer)) {
        info!("{peer}");
    }
    for fault in [&faults.speaker, &faults.pods].into_iter().flatten() {
        warn!("{fault}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4724_1_the_f_bit_is_for_families_of_which_the_kernel_held_routes() {
        let adopted = |ipv4_routes, ipv6_routes| Adopted { ipv4_routes, ipv6_routes, ..Adopted::default() };
        let role = Role::Speaker(Learned::Installed);
        assert_eq!(start(&role, adopted(0, 0)), Start::Fresh);
        assert_eq!(start(&role, adopted(3, 2)), Start::ROUTES_KEPT);
        let passes_on = Role::Speaker(Learned::PassedOn);
        assert_eq!(start(&passes_on, adopted(3, 2)), Start::Fresh, "it will forward nothing");
        let ipv6 = FamilySet::from(Family::Ipv6Unicast);
        assert_eq!(start(&role, adopted(0, 1)), Start::Restarted { forwarding_kept: ipv6 });
    }
}
