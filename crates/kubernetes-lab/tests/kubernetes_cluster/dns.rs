//! The cluster's DNS, asked from pods.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muslin_netns::Namespace;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::same;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Address(IpAddr),
    /// A Service's port.
    Port(u16),
    Other,
}

/// A Service with addresses, one without, and its named port: from a pod on each node, by both of the DNS' addresses.
pub(crate) fn names(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(SERVICES)?;
    let cluster_ips = cluster.cluster_ips("named")?;
    let servers: [IpAddr; 2] = ["10.96.0.10".parse()?, "fd96::a".parse()?];
    for pod in cluster.one_per_node() {
        for server in servers {
            let ask = |name: &str, kind| eventually(|| query(&pod.network, server, name, kind));
            for (family, kind) in FAMILIES.into_iter().zip([A, AAAA]) {
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
            let ports = ask("_http._tcp.named.default.svc.cluster.local", SRV)?;
            ensure!(ports.contains(&Answer::Port(80)), "port 80 is not among {ports:?}");
        }
    }
    Ok(())
}

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata:
  name: named
spec:
  selector: {app: web}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata:
  name: headless
spec:
  clusterIP: None
  selector: {app: web}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80, targetPort: http}]
";

/// The answers to one question (RFC 1035 §4), sorted.
fn query(from: &Namespace, server: IpAddr, name: &str, kind: u16) -> Result<Vec<Answer>> {
    // Id 1, recursion desired, one question.
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let answer = from
        .run(|| -> std::io::Result<Vec<u8>> {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.connect((server, 53))?;
            socket.send(&question)?;
            let mut answer = vec![0; 4096];
            let length = socket.recv(&mut answer)?;
            answer.truncate(length);
            Ok(answer)
        })?
        .with_context(|| format!("{} asks {server} for {name}", from.name()))?;
    let mut answers =
        parse(&answer, question.len()).with_context(|| format!("{name} from {server}: {answer:?}"))?;
    ensure!(!answers.is_empty(), "{server} knows no {name} of type {kind}");
    answers.sort();
    Ok(answers)
}

fn parse(message: &[u8], mut at: usize) -> Option<Vec<Answer>> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let count = u16_at(6)?;
    let mut answers = Vec::new();
    for _ in 0..count {
        // A name: labels up to an empty one, or up to a pointer.
        loop {
            let length = *message.get(at)?;
            if length >= 0xc0 {
                at += 2;
                break;
            }
            at += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
        let (kind, length) = (u16_at(at)?, usize::from(u16_at(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        answers.push(match kind {
            A => Answer::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            AAAA => Answer::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            SRV => Answer::Port(u16::from_be_bytes(data.get(4..6)?.try_into().ok()?)),
            _ => Answer::Other,
        });
        at += 10 + length;
    }
    Some(answers)
}
