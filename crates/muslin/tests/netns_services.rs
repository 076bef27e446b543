//! Many Services, of which some change all the time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/session.rs"]
mod session;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use daemon::{Daemon, PATIENCE};
use ipnet::IpNet;
use session::{CLUSTER, END_OF_RIB, KEEPALIVE, OPEN, Session, Site, UPDATE, prefixes};

const SERVICES: usize = 5000;
/// Those whose endpoints come and go, at most.
const FLAPPING: usize = 20;
/// How often one of them does, and how long that takes: a hundred times a second.
const CHANGES: usize = 300;
const PACE: Duration = Duration::from_millis(10);
/// What may be sent besides, such as an End-of-RIB.
const SLACK: usize = 5;

/// The address that is announced for a Service.
fn address(number: usize) -> String {
    format!("198.18.{}.{}", number / 250, number % 250 + 1)
}

fn routes(numbers: std::ops::Range<usize>) -> BTreeSet<IpNet> {
    numbers.map(|number| format!("{}/32", address(number)).parse().unwrap()).collect()
}

/// A Service that is announced where its endpoint is.
fn service(number: usize) -> String {
    let (high, low) = (number / 250, number % 250 + 1);
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: s{number}, namespace: default}}
spec: {{type: LoadBalancer, externalTrafficPolicy: Local, clusterIPs: [10.96.{high}.{low}], ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {}}}]}}}}
",
        address(number)
    )
}

/// Its one endpoint, a local one.
fn slice(number: usize, ready: bool) -> String {
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{number}, namespace: default, labels: {{kubernetes.io/service-name: s{number}}}}}
addressType: IPv4
endpoints: [{{addresses: [10.244.1.9], nodeName: n1, conditions: {{ready: {ready}}}}}]
ports: [{{port: 80}}]
"
    )
}

/// What the router was sent.
#[derive(Clone, Default)]
struct Heard {
    updates: usize,
    /// Prefixes that were announced or withdrawn, each as often as it was.
    prefixes: usize,
    /// What is announced now.
    routes: BTreeSet<IpNet>,
    is_over: bool,
}

impl Heard {
    fn take(&mut self, update: &[u8]) {
        let [withdrawn, announced] = prefixes(update);
        self.updates += 1;
        self.prefixes += withdrawn.len() + announced.len();
        for route in withdrawn {
            self.routes.remove(&route);
        }
        self.routes.extend(announced);
    }
}

/// The test's router, which keeps its session up and counts.
struct Router(Arc<(Mutex<Heard>, Condvar)>);

impl Router {
    fn listen(mut session: Session) -> Self {
        let router = Self(Arc::default());
        let heard = router.0.clone();
        session.wait_for_ever();
        std::thread::spawn(move || {
            while let Ok((kind, body)) = session.receive() {
                match kind {
                    UPDATE => heard.0.lock().unwrap().take(&body),
                    KEEPALIVE => session.send(KEEPALIVE, &[]),
                    OPEN => {}
                    _ => break,
                }
                heard.1.notify_all();
            }
            heard.0.lock().unwrap().is_over = true;
            heard.1.notify_all();
        });
        router
    }

    /// Waits until what was heard is so, and returns it.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Heard) -> bool) -> Heard {
        let heard = self.0.0.lock().unwrap();
        let on = |heard: &mut Heard| !heard.is_over && !holds(heard);
        let (heard, waited) = self.0.1.wait_timeout_while(heard, 2 * PATIENCE, on).unwrap();
        assert!(!heard.is_over, "the session was reset before {what}");
        assert!(!waited.timed_out(), "{what}: {} routes, {} UPDATEs", heard.routes.len(), heard.updates);
        heard.clone()
    }
}

/// Has the endpoints of the first Services come and go together, and leaves them ready; returns how many changes that were.
fn flap(state: &Path, services: usize) -> usize {
    let rounds = CHANGES / services;
    for round in 0..=rounds {
        let ready = round == rounds || round % 2 == 0;
        let slices: String = (0..services).map(|number| slice(number, ready)).collect();
        // Written beside and renamed: nobody reads half a file.
        let new = state.join("flapping.new");
        fs::write(&new, slices).unwrap();
        fs::rename(&new, state.join("flapping.yaml")).unwrap();
        // The pace is what is tested, not awaited.
        std::thread::park_timeout(PACE * services as u32);
    }
    (rounds + 1) * services
}

/// Processor time of the agent.
fn processor_time(agent: &Daemon) -> Duration {
    // Of all its threads, in hundredths of a second (proc_pid_stat(5)); the name before may have blanks.
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let [user, system] = [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap());
    Duration::from_millis(10 * (user + system))
}

#[test]
fn fault_42_services_that_flap_among_five_thousand_are_all_that_is_sent() {
    let advertised = "---
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {serviceLoadBalancerIPs: [{cidr: 198.18.0.0/15}]}
";
    let services: String = (0..SERVICES).map(service).collect();
    let slices: String = (FLAPPING..SERVICES).map(|number| slice(number, true)).collect();
    let site = Site::start(&[CLUSTER, advertised, &services, &slices].concat());
    let mut session = Session::accept(&site.router);
    session.send(UPDATE, &END_OF_RIB);
    let router = Router::listen(session);
    let has = |heard: &Heard, numbers| heard.routes.is_superset(&routes(numbers));
    let mut before = router.until("the steady ones", |heard| has(heard, FLAPPING..SERVICES));
    for flapping in [1, FLAPPING] {
        assert!(!has(&before, 0..flapping), "they are ready already");
        let (begun, used) = (Instant::now(), processor_time(&site.agent));
        let changes = flap(&site.state, flapping);
        router.until("the last change", |heard| has(heard, 0..flapping));
        let (took, used) = (begun.elapsed(), processor_time(&site.agent).checked_sub(used).unwrap());
        let messages = site.agent.json(&["peers", "tor"])["messages"].clone();
        assert_eq!(messages["established"], 1, "the session was reset");
        let all = messages["sent"]["update"].as_u64().unwrap() as usize;
        let after = router.until("everything that was sent", |heard| heard.updates >= all);
        assert!(has(&after, FLAPPING..SERVICES), "another Service was withdrawn");
        let (updates, prefixes) = (after.updates - before.updates, after.prefixes - before.prefixes);
        println!(
            "{changes} changes of {flapping} in {took:?}: {updates} UPDATEs, {prefixes} prefixes, {used:?} of processor time"
        );
        assert!(updates <= changes + SLACK && prefixes <= changes + SLACK, "{updates}, {prefixes}");
        assert!(used < took, "{used:?} of processor time in {took:?}");
        before = after;
    }
}
