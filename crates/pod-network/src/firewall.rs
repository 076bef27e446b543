//! Our own nftables table: masquerade, spoofed sources, Service addresses that nobody translated.
//!
//! ```text
//! table inet muslin {
//!   chain pods-in        hook prerouting, raw      a pod's packet with a source that is not its own: drop
//!   chain node-guard     hook input, filter        a pod of any node that talks to routing protocols: drop
//!   chain untranslated   hook forward, filter + 10 to a Service range, not translated: drop
//!   chain masquerade     hook postrouting, srcnat  from a pod to outside the cluster: the node's address
//! }
//! ```
//!
//! The last two are there only for a plan that has ranges for them: packets between pods pay for every chain on their way.
//!
//! Every [`apply`] replaces the whole table in one transaction: packets see the old rules or the new ones. It
//! speaks the netlink of `nf_tables` itself, because the image has no `nft`. Tables of others are never looked at.

mod expression;
mod interval;
mod ruleset;
mod survey;

pub use survey::{Chain, Family, ForwardDrop, chains, forward_drops, is_present};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::netlink::{Batch, NetlinkError, Socket};

/// The name of our table, of family `inet`.
pub const TABLE: &str = "muslin";

/// What the table is to do. Ranges of both families are mixed; each works within its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallPlan {
    /// Whose packets get the node's address, and where they keep their own.
    pub masquerade: Masquerade,
    /// Service ranges: a packet to one of them that comes to be forwarded found no rule that translates it, and
    /// would travel in circles between this node and its router. Conversations of the node itself are not
    /// touched: their packets are translated on the way out.
    pub service_ranges_to_drop: Vec<IpNet>,
    /// Who may not speak routing protocols with the node.
    #[serde(default)]
    pub node_guard: NodeGuard,
}

/// Pods, of whatever node, do not speak routing protocols with the node: its speaker need not even refuse them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeGuard {
    /// The pod ranges of all nodes.
    pub pod_ranges: Vec<IpNet>,
    /// Who in these ranges is a peer nevertheless.
    pub peers: Vec<IpNet>,
}

/// Masquerade: from `pod_ranges` to anywhere but `never`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masquerade {
    /// Sources: this node's pod ranges that ask for it.
    pub pod_ranges: Vec<IpNet>,
    /// Destinations that see the pod's own address: the cluster's ranges and the addresses of its nodes.
    pub never: Vec<IpNet>,
}

/// Why the kernel does not have the table that was asked for. It has the one of before, whole.
#[derive(Debug, thiserror::Error)]
#[error("table inet {TABLE}: {0}")]
pub struct FirewallError(#[source] NetlinkError);

impl FirewallError {
    /// Whether the kernel has it and this process may not look: it lacks `CAP_NET_ADMIN`.
    pub fn is_forbidden(&self) -> bool {
        self.0.errno() == Some(libc::EPERM)
    }
}

/// Makes the kernel's table be what `plan` says, in one step, whatever was there before.
pub fn apply(plan: &FirewallPlan) -> Result<(), FirewallError> {
    execute(ruleset::replace(plan))
}

/// Removes the table; one that is not there is removed already.
pub fn remove() -> Result<(), FirewallError> {
    execute(ruleset::remove())
}

fn execute(batch: Batch) -> Result<(), FirewallError> {
    transaction(batch).map_err(FirewallError)
}

fn transaction(batch: Batch) -> Result<(), NetlinkError> {
    let mut socket = Socket::netfilter()?;
    socket.allow_large_batches(2 * batch.size())?;
    // The message that ends the transaction is not acknowledged by all kernels; the one before it is.
    let last = batch.len() - 1;
    socket.execute_until(batch, last)?;
    close_beside(socket);
    Ok(())
}

/// Closing waits until the kernel has freed the rules that were replaced, tens of milliseconds after the new ones are in
/// force: routes that are to be announced do not wait with it.
fn close_beside(socket: Socket) {
    // Without a thread the socket is closed here.
    let _ = std::thread::Builder::new().name("muslin-nft-close".to_owned()).spawn(move || drop(socket));
}
