//! Live reflectors, which know their peers by range, with scripted clients around them.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::segment::Segment;
use muslin_proto_tests::tester::Tester;
use muslin_proto_tests::wire::{self, Open};
use muslin_proto_tests::{muslin, wait};

const ASN: u32 = 65000;

/// The AS of those outside.
const OUTSIDE: u32 = 65100;

/// A reflector that knows its peers by range: clients from .0 to .31, others up to .63, another AS from .64 on.
pub(crate) struct Reflector {
    pub(crate) address: Ipv4Addr,
    pub(crate) process: Process,
}

/// Reflectors on one link, and the host of all scripted peers.
pub(crate) struct Fabric {
    testers: Namespace,
    pub(crate) reflectors: Vec<Reflector>,
    _segment: Segment,
}

/// A scripted internal peer's address, its identifier as well.
pub(crate) fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

impl Fabric {
    /// A reflector for each of these clusters; they are plain internal peers of one another.
    pub(crate) fn new(clusters: &[&str]) -> Result<Self> {
        let mut segment = Segment::new()?;
        let testers = segment.host("testers", &[])?;
        for number in [1, 2, 3, 4, 33, 34, 65] {
            testers.add_address("eth0", format!("{}/24", host(number)).parse()?)?;
        }
        let addresses: Vec<_> = (101..).map(host).take(clusters.len()).collect();
        let mut reflectors = Vec::new();
        for (address, cluster) in addresses.iter().zip(clusters) {
            let router = segment.host("reflector", &[&format!("{address}/24")])?;
            let twins = addresses.iter().filter(|other| *other != address);
            let process = muslin::start_speaker(&router, &manifests(*address, cluster, twins))?;
            reflectors.push(Reflector { address: *address, process });
        }
        let fabric = Self { testers, reflectors, _segment: segment };
        for reflector in &fabric.reflectors {
            wait::until("the reflectors know each other", || {
                let peers = muslin::ask_json(&reflector.process, &["peers"])?;
                let peers = peers.as_array().cloned().unwrap_or_default();
                let well = peers.iter().filter(|peer| peer["established"] == true).count();
                let all = well + 1 == clusters.len();
                Ok(if all { Ok(()) } else { Err(format!("{well} established")) })
            })
            .with_context(|| fabric.log())?;
        }
        Ok(fabric)
    }

    /// An established session of a scripted peer with a reflector.
    pub(crate) fn peer(&self, number: u8, reflector: usize) -> Result<Tester> {
        self.peer_with(number, reflector, &[])
    }

    /// The same with further capabilities.
    pub(crate) fn peer_with(&self, number: u8, reflector: usize, further: &[Vec<u8>]) -> Result<Tester> {
        self.session(ASN, number, reflector, further)
    }

    /// An established session of a scripted peer of another AS.
    pub(crate) fn outsider(&self, number: u8, reflector: usize) -> Result<Tester> {
        self.session(OUTSIDE, number, reflector, &[])
    }

    fn session(&self, asn: u32, number: u8, reflector: usize, further: &[Vec<u8>]) -> Result<Tester> {
        let mut capabilities = wire::common_capabilities(asn);
        capabilities.extend_from_slice(further);
        let open = Open::new(asn, host(number), 90)
            .with_parameters(wire::parameters(&[wire::capabilities(&capabilities)]));
        let session = wait::until("the session", || {
            let attempt = || -> Result<Tester> {
                let mut tester = self.meet(number, reflector)?;
                tester.establish(&open)?;
                Ok(tester)
            };
            Ok(attempt().map_err(|error| format!("{error:#}")))
        });
        session.with_context(|| self.log())
    }

    /// A connection on which nothing was said yet.
    pub(crate) fn meet(&self, number: u8, reflector: usize) -> Result<Tester> {
        Tester::connect(&self.testers, host(number), self.reflectors[reflector].address)
    }

    pub(crate) fn log(&self) -> String {
        let logs = self.reflectors.iter().map(|reflector| {
            let log = reflector.process.log().unwrap_or_else(|error| error.to_string());
            let routes = muslin::routes(reflector.process.path("")).unwrap_or_default();
            format!("{}:\n{log}{routes}", reflector.address)
        });
        logs.collect::<Vec<_>>().join("\n")
    }
}

fn manifests<'a>(address: Ipv4Addr, cluster: &str, twins: impl Iterator<Item = &'a Ipv4Addr>) -> String {
    let peer = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: {name}}}\nspec: {{peerASN: internal, {spec}}}\n"
        )
    };
    let all = "addPath: {send: All}";
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{asn: {ASN}, routerID: {address}, clusterID: {cluster}}}\n{}{}",
        peer("clients", &format!("listenRange: 192.0.2.0/27, routeReflectorClient: true, {all}")),
        peer("others", &format!("listenRange: 192.0.2.32/27, {all}")),
    );
    let outside = format!(
        "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: all}}\n\
         spec: {{import: [{{action: Accept}}], export: [{{action: Accept}}]}}\n\
         ---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: outside}}\n\
         spec: {{peerASN: {OUTSIDE}, listenRange: 192.0.2.64/27, filters: [all]}}\n"
    );
    text += &outside;
    for twin in twins {
        text += &peer(&format!("twin-{twin}"), &format!("peerAddress: {twin}, connectRetry: 1s, {all}"));
    }
    text
}

/// An UPDATE of a peer for these prefixes, with further attributes.
pub(crate) fn announce(number: u8, further: &[Vec<u8>], prefixes: &[&str]) -> Vec<u8> {
    let mut attributes =
        vec![wire::origin(0), wire::as_path(&[]), wire::next_hop(host(number)), wire::local_pref(100)];
    attributes.extend_from_slice(further);
    wire::update(&[], &attributes, prefixes)
}
