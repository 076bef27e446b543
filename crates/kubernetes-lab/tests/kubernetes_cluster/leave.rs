//! A node that leaves in order: drained, switched off, and back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{AGNHOST, NAMESPACE};
use muslin_lab::Dual;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::disturb::AGENTS;
use crate::faults::everybody_meets;
use crate::http::{same, udp_host_name};
use crate::power;
use crate::services::{publish, ways};

/// Pods that move when their node is drained, and serve for as long as that takes.
const MOVABLE: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: movable
spec:
  replicas: 3
  selector:
    matchLabels: {app: movable}
  template:
    metadata:
      labels: {app: movable}
    spec:
      terminationGracePeriodSeconds: 30
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels: {app: movable}
      containers:
      - name: server
        image: IMAGE
        imagePullPolicy: Never
        args: [netexec, --http-port=8080, --udp-port=8081, --delay-shutdown=5]
        readinessProbe:
          httpGet: {path: /healthz, port: 8080}
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: movable
spec:
  type: LoadBalancer
  selector: {app: movable}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: name, protocol: UDP, port: 80, targetPort: 8081}]
";

/// Of pods that a drain leaves alone, and of each node only its own.
const STAYING: &str = "apiVersion: v1
kind: Service
metadata:
  name: staying
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: name, protocol: UDP, port: 80, targetPort: 8081}]
";

/// So many questions in a row reach three nodes, but for once in a hundred million times.
const ENOUGH: usize = 50;

/// Somebody outside who asks a Service again and again.
struct Asking {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u32>>>,
}

impl Asking {
    fn start(cluster: &Cluster, addresses: Dual) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ask = |family| {
            let (from, to) = (cluster.outside.clone(), (addresses.get(family), 80).into());
            let stop = stop.clone();
            thread::spawn(move || {
                let mut asked = 0;
                while !stop.load(Ordering::Relaxed) {
                    udp_host_name(&from, to).with_context(|| format!("after {asked} answers"))?;
                    asked += 1;
                    rest(Duration::from_millis(20));
                }
                Ok(asked)
            })
        };
        let threads = FAMILIES.map(ask).into();
        Self { stop, threads }
    }

    /// How many questions were answered, if all were.
    fn finish(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        for thread in self.threads {
            let Ok(asked) = thread.join() else { bail!("the asking thread panicked") };
            all += asked?;
        }
        Ok(all)
    }
}

pub(crate) fn drained_and_rebooted(cluster: &Cluster) -> Result<()> {
    let addresses = Dual { v4: "192.0.2.4".parse()?, v6: "2001:db8:2::4".parse()? };
    // Its endpoints stay where they are, one of them on the node that is drained.
    let staying = Dual { v4: "192.0.2.6".parse()?, v6: "2001:db8:2::6".parse()? };
    let kubectl = &cluster.kubectl;
    kubectl.apply(STAYING)?;
    publish(cluster, "staying", staying)?;
    kubectl.apply(&MOVABLE.replace("IMAGE", AGNHOST))?;
    publish(cluster, "movable", addresses)?;
    cluster.lab().await_rollout("default", "deployment/movable")?;
    let await_ways = |count: usize| {
        eventually(|| {
            for address in FAMILIES.iter().flat_map(|family| [addresses.get(*family), staying.get(*family)]) {
                same(format!("ways to {address}"), &ways(cluster, address)?.len(), &count)?;
            }
            Ok(())
        })
    };
    await_ways(3)?;
    // The router spreads questions over nodes by their ports, and each node's kube-proxy has to know the Service.
    for family in FAMILIES {
        eventually(|| {
            (0..ENOUGH).try_for_each(|_| {
                udp_host_name(&cluster.outside, (addresses.get(family), 80).into())?;
                udp_host_name(&cluster.outside, (staying.get(family), 80).into()).map(drop)
            })
        })?;
    }

    let asking = [addresses, staying].map(|addresses| Asking::start(cluster, addresses));
    kubectl.run(&[
        "drain",
        "n3",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--timeout=90s",
    ])?;
    cluster.lab().await_rollout("default", "deployment/movable")?;
    let agent = agent(cluster, "n3")?;
    // Pods of DaemonSets are still there, so the drain goes as far as Services and no further.
    let drain =
        ["exec", "--namespace", NAMESPACE, &agent, "--", "muslin", "drain", "--wait=2s", "--timeout=6s"];
    let said = kubectl.output(&drain, None)?;
    let said = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(said.contains("Service routes are withdrawn"), "muslin drain says: {said}");
    await_ways(2)?;
    power::kill(cluster, 2)?;
    rest(Duration::from_secs(1));
    for (name, asking) in ["movable", "staying"].into_iter().zip(asking) {
        let answered = asking.finish().context(name)?;
        eprintln!("{answered} questions to the Service {name}, all answered");
    }

    // The machine is back: a drain ends with the machine that was drained.
    cluster.lab().node_mut(2).context("a third node")?.power_on()?;
    kubectl.run(&["uncordon", "n3"])?;
    await_ways(3)?;
    kubectl.run(&["delete", "deployment/movable", "service/movable", "service/staying", "--wait=false"])?;
    cluster.lab().await_nodes()?;
    everybody_meets(cluster).map(drop)
}

/// A pod that serves for a while after it was told to end.
fn moving(node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: moving-{node}
  labels: {{app: moving}}
spec:
  nodeName: {node}
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080, --udp-port=8081, --delay-shutdown=20]
    readinessProbe:
      httpGet: {{path: /healthz, port: 8080}}
      periodSeconds: 1
"
    )
}

const MOVING: &str = "apiVersion: v1
kind: Service
metadata:
  name: moving
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: moving}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: name, protocol: UDP, port: 80, targetPort: 8081}]
";

/// The node of the old endpoint lets go when the route of the new one is there, not when the endpoint is.
pub(crate) fn only_endpoint_moves(cluster: &Cluster) -> Result<()> {
    let addresses = Dual { v4: "192.0.2.5".parse()?, v6: "2001:db8:2::5".parse()? };
    let kubectl = &cluster.kubectl;
    kubectl.apply(&[&moving("n1"), MOVING].join("---\n"))?;
    publish(cluster, "moving", addresses)?;
    kubectl.run(&["wait", "pod/moving-n1", "--for=condition=Ready", "--timeout=60s"])?;
    let only_way = |node: usize| {
        eventually(|| {
            let way = BTreeSet::from([cluster.nodes[node].0.clone()]);
            FAMILIES.iter().try_for_each(|family| same("ways", &ways(cluster, addresses.get(*family))?, &way))
        })
    };
    only_way(0)?;
    for family in FAMILIES {
        eventually(|| udp_host_name(&cluster.outside, (addresses.get(family), 80).into()))?;
    }
    let moved = AtomicBool::new(false);
    let looked = thread::scope(|scope| {
        let watch = scope.spawn(|| -> Result<u32> {
            let mut looked = 0;
            while !moved.load(Ordering::Relaxed) {
                for family in FAMILIES {
                    let address = addresses.get(family);
                    ensure!(!ways(cluster, address)?.is_empty(), "no way to {address} after {looked} looks");
                }
                looked += 1;
            }
            Ok(looked)
        });
        let move_it = || {
            kubectl.run(&["delete", "pod", "moving-n1", "--wait=false"])?;
            kubectl.apply(&moving("n2"))?;
            only_way(1)
        };
        let result = move_it();
        moved.store(true, Ordering::Relaxed);
        let Ok(looked) = watch.join() else { bail!("the watching thread panicked") };
        result.and(looked)
    })?;
    eprintln!("{looked} looks at the router's routes, a way in each");
    kubectl.run(&["delete", "pod/moving-n2", "service/moving", "--wait=false"])?;
    Ok(())
}

/// The agent's pod of a node, as `pod/NAME`.
pub(crate) fn agent(cluster: &Cluster, node: &str) -> Result<String> {
    let on = format!("--field-selector=spec.nodeName={node}");
    let get = ["get", "pods", "--namespace", NAMESPACE, "--selector", AGENTS, &on, "--output", "name"];
    Ok(cluster.kubectl.run(&get)?.trim().to_owned())
}
