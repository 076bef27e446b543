//! The table as one transaction of `nf_tables`.

use ipnet::IpNet;

use super::expression::{self, End, Expression, Membership, NFTA_DATA_VALUE};
use super::interval::{Family, Interval, intervals};
use super::{FirewallPlan, TABLE};
use crate::interface::HOST_INTERFACE_PREFIX;
use crate::netlink::Batch;

/// The ports that routing protocols listen on: BGP (RFC 4271 §8.2.1), BFD over one hop and over several
/// (RFC 5881 §4, RFC 5883 §5).
const ROUTING_PORTS: [(u8, u16); 3] = [(TCP, 179), (UDP, 3784), (UDP, 4784)];
/// RFC 4861 §4.2.
const ROUTER_ADVERTISEMENT: u8 = 134;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Elements to a message: their list's length is a 16-bit field.
const ELEMENTS: usize = 500;

const PODS: [&str; 2] = ["pods-v4", "pods-v6"];
const CLUSTER: [&str; 2] = ["cluster-v4", "cluster-v6"];
const SERVICES: [&str; 2] = ["services-v4", "services-v6"];
const ALL_PODS: [&str; 2] = ["all-pods-v4", "all-pods-v6"];
const PEERS: [&str; 2] = ["peers-v4", "peers-v6"];

/// Replaces the table: adding it first makes the deletion succeed whether or not it was there.
pub(super) fn replace(plan: &FirewallPlan) -> Batch {
    let mut table = Transaction::begin();
    table.table(NEW_TABLE, CREATE);
    table.table(DELETE_TABLE, 0);
    table.table(NEW_TABLE, CREATE);
    for (family, names) in Family::BOTH.into_iter().zip(0..) {
        table.set(PODS[names], family, &plan.masquerade.pod_ranges);
        table.set(CLUSTER[names], family, &plan.masquerade.never);
        table.set(SERVICES[names], family, &plan.service_ranges_to_drop);
        table.set(ALL_PODS[names], family, &plan.node_guard.pod_ranges);
        table.set(PEERS[names], family, &plan.node_guard.peers);
    }
    let from_a_pod = Expression::ComesInBy(HOST_INTERFACE_PREFIX);
    let drop = [Expression::Count, Expression::Drop];

    table.chain(&Chain { name: "pods-in", kind: "filter", hook: PREROUTING, priority: libc::NF_IP_PRI_RAW });
    let spoofed = [&[from_a_pod, Expression::SourceBelongsElsewhere], &drop[..]].concat();
    table.rule("pods-in", "a source that is not the pod's own", &spoofed);

    table.chain(&Chain { name: "node-guard", kind: "filter", hook: INPUT, priority: libc::NF_IP_PRI_FILTER });
    // A host may be set up to take its default route from any link, also from one that comes later.
    let advertised = [&[from_a_pod, Expression::IcmpV6(ROUTER_ADVERTISEMENT)], &drop[..]].concat();
    table.rule("node-guard", "no pod is a router", &advertised);
    let source = |family, set| Expression::Address { family, which: End::Source, set, is: Membership::In };
    for (family, names) in Family::BOTH.into_iter().zip(0..) {
        let rule = [source(family, PEERS[names]), Expression::Accept];
        table.rule("node-guard", "a pod that is a peer", &rule);
    }
    for (protocol, port) in ROUTING_PORTS {
        let to_port = Expression::ToPort { protocol, port };
        let own = [&[from_a_pod, to_port], &drop[..]].concat();
        table.rule("node-guard", "no pod speaks routing protocols with the node", &own);
        for (family, names) in Family::BOTH.into_iter().zip(0..) {
            let other = [&[source(family, ALL_PODS[names]), to_port], &drop[..]].concat();
            table.rule("node-guard", "nor does one of another node", &other);
        }
    }

    // Packets between pods pay for each chain on their way, whether or not it has something to say.
    if !plan.service_ranges_to_drop.is_empty() {
        untranslated(&mut table);
    }
    if !plan.masquerade.pod_ranges.is_empty() {
        masquerade(&mut table);
    }
    table.end()
}

fn untranslated(table: &mut Transaction) {
    // Behind kube-proxy's own chains of this hook, which refuse connections to Services without endpoints.
    let behind_filter = libc::NF_IP_PRI_FILTER + 10;
    table.chain(&Chain { name: "untranslated", kind: "filter", hook: FORWARD, priority: behind_filter });
    // Most packets are of connections whose first one passed: no set is asked for their address.
    table.rule("untranslated", "what passed before", &[Expression::Established, Expression::Accept]);
    // What connection tracking calls invalid has no status to ask for, and is translated by nobody.
    table.rule("untranslated", "what was translated", &[Expression::Translated, Expression::Accept]);
    for (family, set) in Family::BOTH.into_iter().zip(SERVICES) {
        let to_service = Expression::Address { family, which: End::Destination, set, is: Membership::In };
        let rule = [to_service, Expression::Count, Expression::Drop];
        table.rule("untranslated", "a Service address that nothing translated", &rule);
    }
}

/// With this chain the kernel follows every connection of the node.
fn masquerade(table: &mut Transaction) {
    let (kind, hook, priority) = ("nat", POSTROUTING, libc::NF_IP_PRI_NAT_SRC);
    table.chain(&Chain { name: "masquerade", kind, hook, priority });
    for (family, names) in Family::BOTH.into_iter().zip(0..) {
        let address = |which, set, is| Expression::Address { family, which, set, is };
        let rule = [
            address(End::Source, PODS[names], Membership::In),
            address(End::Destination, CLUSTER[names], Membership::NotIn),
            Expression::Masquerade,
        ];
        table.rule("masquerade", "from a pod to outside the cluster", &rule);
    }
}

/// Removes the table, whether or not it is there.
pub(super) fn remove() -> Batch {
    let mut table = Transaction::begin();
    table.table(NEW_TABLE, CREATE);
    table.table(DELETE_TABLE, 0);
    table.end()
}

struct Chain {
    name: &'static str,
    kind: &'static str,
    hook: libc::c_int,
    priority: libc::c_int,
}

/// Requests between the two messages that make them one step.
struct Transaction(Batch, u32);

impl Transaction {
    fn begin() -> Self {
        let mut batch = Batch::default();
        batch.push("change the firewall", (BATCH_BEGIN, 0), &envelope(), |_| {});
        Self(batch, 0)
    }

    fn end(mut self) -> Batch {
        self.0.push("change the firewall", (BATCH_END, 0), &envelope(), |_| {});
        self.0
    }

    fn table(&mut self, kind: u16, flags: u16) {
        self.0.push(format!("replace table {TABLE}"), (kind, flags), &HEADER, |m| {
            m.string(NFTA_TABLE_NAME, TABLE);
        });
    }

    fn chain(&mut self, chain: &Chain) {
        let purpose = format!("add chain {}", chain.name);
        self.0.push(purpose, (NEW_CHAIN, CREATE), &HEADER, |m| {
            m.string(NFTA_CHAIN_TABLE, TABLE);
            m.string(NFTA_CHAIN_NAME, chain.name);
            m.string(NFTA_CHAIN_TYPE, chain.kind);
            m.nest(NFTA_CHAIN_HOOK, |m| {
                m.be32(NFTA_HOOK_HOOKNUM, chain.hook.cast_unsigned());
                m.be32(NFTA_HOOK_PRIORITY, chain.priority.cast_unsigned());
            });
            m.be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
        });
    }

    fn rule(&mut self, chain: &str, comment: &str, expressions: &[Expression<'_>]) {
        let purpose = format!("add a rule to chain {chain}");
        self.0.push(purpose, (NEW_RULE, CREATE | libc::NLM_F_APPEND as u16), &HEADER, |m| {
            m.string(NFTA_RULE_TABLE, TABLE);
            m.string(NFTA_RULE_CHAIN, chain);
            m.nest(NFTA_RULE_EXPRESSIONS, |m| {
                for expression in expressions {
                    expression::write(m, *expression);
                }
            });
            // What `nft` shows as the rule's comment: type 0, length, text and a zero.
            let text = comment.as_bytes();
            let user_data = [&[0, text.len() as u8 + 1], text, &[0]].concat();
            m.bytes(NFTA_RULE_USERDATA, &user_data);
        });
    }

    /// A set of the `prefixes` of `family`, possibly empty.
    fn set(&mut self, name: &str, family: Family, prefixes: &[IpNet]) {
        self.1 += 1;
        let id = self.1;
        let (data_type, length) = match family {
            Family::V4 => (TYPE_IPADDR, 4),
            Family::V6 => (TYPE_IP6ADDR, 16),
        };
        self.0.push(format!("add set {name}"), (NEW_SET, CREATE), &HEADER, |m| {
            m.string(NFTA_SET_TABLE, TABLE);
            m.string(NFTA_SET_NAME, name);
            m.be32(NFTA_SET_FLAGS, NFT_SET_INTERVAL);
            m.be32(NFTA_SET_KEY_TYPE, data_type);
            m.be32(NFTA_SET_KEY_LEN, length);
            m.be32(NFTA_SET_ID, id);
        });
        for some in intervals(prefixes, family).chunks(ELEMENTS) {
            self.elements(name, some);
        }
    }

    fn elements(&mut self, set: &str, intervals: &[Interval]) {
        self.0.push(format!("fill set {set}"), (NEW_SET_ELEMENT, CREATE), &HEADER, |m| {
            m.string(NFTA_SET_ELEM_LIST_TABLE, TABLE);
            m.string(NFTA_SET_ELEM_LIST_SET, set);
            m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                for interval in intervals {
                    m.nest(NFTA_LIST_ELEM, |m| {
                        m.nest(NFTA_SET_ELEM_KEY, |m| m.bytes(NFTA_DATA_VALUE, &interval.first));
                    });
                    let Some(behind) = &interval.behind else { continue };
                    m.nest(NFTA_LIST_ELEM, |m| {
                        m.nest(NFTA_SET_ELEM_KEY, |m| m.bytes(NFTA_DATA_VALUE, behind));
                        m.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
                    });
                }
            });
        });
    }
}

/// `struct nfgenmsg`: family, version, resource id.
pub(super) const HEADER: [u8; 4] = [libc::NFPROTO_INET as u8, 0, 0, 0];

/// The header of the messages around a transaction names the subsystem instead.
const fn envelope() -> [u8; 4] {
    let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
    [libc::AF_UNSPEC as u8, 0, high, low]
}

const BATCH_BEGIN: u16 = libc::NFNL_MSG_BATCH_BEGIN as u16;
const BATCH_END: u16 = libc::NFNL_MSG_BATCH_END as u16;
const NEW_TABLE: u16 = message(libc::NFT_MSG_NEWTABLE);
const DELETE_TABLE: u16 = message(libc::NFT_MSG_DELTABLE);
const NEW_CHAIN: u16 = message(libc::NFT_MSG_NEWCHAIN);
const NEW_RULE: u16 = message(libc::NFT_MSG_NEWRULE);
const NEW_SET: u16 = message(libc::NFT_MSG_NEWSET);
const NEW_SET_ELEMENT: u16 = message(libc::NFT_MSG_NEWSETELEM);
const CREATE: u16 = libc::NLM_F_CREATE as u16;

pub(super) const fn message(kind: libc::c_int) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | kind.cast_unsigned() as u16
}

// Hooks and verdicts (linux/netfilter.h).
const PREROUTING: libc::c_int = libc::NF_INET_PRE_ROUTING;
const INPUT: libc::c_int = libc::NF_INET_LOCAL_IN;
const FORWARD: libc::c_int = libc::NF_INET_FORWARD;
const POSTROUTING: libc::c_int = libc::NF_INET_POST_ROUTING;
const NF_ACCEPT: u32 = 1;

// Attributes (linux/netfilter/nf_tables.h).
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFT_SET_INTERVAL: u32 = 4;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
/// How `nft` calls these types of keys; the kernel only hands them on.
const TYPE_IPADDR: u32 = 7;
const TYPE_IP6ADDR: u32 = 8;
