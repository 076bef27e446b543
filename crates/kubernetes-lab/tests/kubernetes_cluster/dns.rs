//! The cluster's DNS, asked from pods.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use muslin_netns::Namespace;

use muslin_lab::Family;

use crate::cluster::{Cluster, eventually};
use crate::http::same;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const OPT: u16 = 41;
/// Octets of an answer at most.
const LARGEST: u16 = 4096;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Address(IpAddr),
    /// A Service's port, and who serves it.
    Port(u16, String),
    Other,
}

/// A Service with addresses and one without, their named ports, and the names of the latter's pods: from a pod on each node, by both of the DNS' addresses.
pub(crate) fn names(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(SERVICES)?;
    let cluster_ips = cluster.cluster_ips("named")?;
    let servers: [IpAddr; 2] = ["10.96.0.10".parse()?, "fd96::a".parse()?];
    for pod in cluster.one_per_node() {
        for server in servers.into_iter().filter(|server| cluster.families.contains(&Family::of(*server))) {
            let ask = |name: &str, kind| eventually(|| query(&pod.network, server, name, kind));
            for &family in cluster.families {
                let kind = if family == Family::V4 { A } else { AAAA };
                let found = ask("named.default.svc.cluster.local", kind)?;
                same("the Service's address", &found, &vec![Answer::Address(cluster_ips.get(family))])?;
                let mut pods: Vec<Answer> =
                    cluster.web.iter().map(|pod| Answer::Address(pod.addresses.get(family))).collect();
                pods.sort();
                eventually(|| {
                    let found = query(&pod.network, server, "headless.default.svc.cluster.local", kind)?;
                    same("the pods' addresses", &found, &pods)
                })?;
            }
            let named = "named.default.svc.cluster.local";
            let ports = ask(&format!("_http._tcp.{named}"), SRV)?;
            same("the Service's port", &ports, &vec![Answer::Port(80, named.to_owned())])?;
            same("the pods by their names", &names_of_pods(&pod.network, server)?, &addresses(cluster))?;
        }
    }
    Ok(())
}

/// Where the pods of the headless Service are by the names that it has for each of them.
fn names_of_pods(from: &Namespace, server: IpAddr) -> Result<BTreeSet<IpAddr>> {
    let mut all = BTreeSet::new();
    for answer in query(from, server, "_http._tcp.headless.default.svc.cluster.local", SRV)? {
        let Answer::Port(8080, name) = &answer else { bail!("a pod's port is {answer:?}") };
        // The name is of one address, and so of one family.
        let found = query(from, server, name, A).or_else(|_| query(from, server, name, AAAA))?;
        let [Answer::Address(address)] = found[..] else { bail!("{name} is {found:?}") };
        all.insert(address);
    }
    Ok(all)
}

fn addresses(cluster: &Cluster) -> BTreeSet<IpAddr> {
    let addresses = cluster.web.iter().map(|pod| pod.addresses);
    addresses.flat_map(|own| cluster.families.iter().map(move |family| own.get(*family))).collect()
}

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata:
  name: named
spec:
  selector: {app: web}
  ipFamilyPolicy: PreferDualStack
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata:
  name: headless
spec:
  clusterIP: None
  selector: {app: web}
  ipFamilyPolicy: PreferDualStack
  ports: [{name: http, port: 80, targetPort: http}]
";

/// The answers to one question (RFC 1035 §4), sorted.
fn query(from: &Namespace, server: IpAddr, name: &str, kind: u16) -> Result<Vec<Answer>> {
    // Id 1, recursion desired, one question and one thing beside it.
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
    let asked = question.len();
    // An answer may be as large as what it is read into (RFC 6891 §6.1.2).
    question.extend([&[0], &OPT.to_be_bytes()[..], &LARGEST.to_be_bytes(), &[0; 6]].concat());
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let answer = from
        .run(|| -> std::io::Result<Vec<u8>> {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.connect((server, 53))?;
            socket.send(&question)?;
            let mut answer = vec![0; LARGEST.into()];
            let length = socket.recv(&mut answer)?;
            answer.truncate(length);
            Ok(answer)
        })?
        .with_context(|| format!("{} asks {server} for {name}", from.name()))?;
    let mut answers = parse(&answer, asked).with_context(|| format!("{name} from {server}: {answer:?}"))?;
    ensure!(!answers.is_empty(), "{server} knows no {name} of type {kind}");
    answers.sort();
    Ok(answers)
}

fn parse(message: &[u8], mut at: usize) -> Option<Vec<Answer>> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let count = u16_at(6)?;
    let mut answers = Vec::new();
    for _ in 0..count {
        (_, at) = name_at(message, at)?;
        let (kind, length) = (u16_at(at)?, usize::from(u16_at(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        answers.push(match kind {
            A => Answer::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            AAAA => Answer::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            SRV => Answer::Port(u16_at(at + 14)?, name_at(message, at + 16)?.0),
            _ => Answer::Other,
        });
        at += 10 + length;
    }
    Some(answers)
}

/// A name, and what comes after it: labels up to an empty one, or up to a pointer to where the rest is.
fn name_at(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut labels, mut end) = (Vec::new(), None);
    // A message that leads in circles has an end, too.
    for _ in 0..message.len() {
        let length = *message.get(at)?;
        if length >= 0xc0 {
            end = end.or(Some(at + 2));
            at = usize::from(u16::from_be_bytes([length & 0x3f, *message.get(at + 1)?]));
            continue;
        }
        let label = message.get(at + 1..at + 1 + usize::from(length))?;
        at += 1 + label.len();
        if label.is_empty() {
            return Some((labels.join("."), end.unwrap_or(at)));
        }
        labels.push(String::from_utf8_lossy(label).into_owned());
    }
    None
}
