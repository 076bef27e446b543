//! The core of address management. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::candidates::{Candidates, candidates};
use crate::cni::AddressRange;

/// One container's interface in one network: what an address is given to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name in the CNI configuration.
    pub network: String,
    /// The container's id.
    pub container: String,
    /// The interface's name inside the container.
    pub interface: String,
}

/// Time since the machine started, sleep included; wall clocks jump, this one does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootTime(pub Duration);

impl BootTime {
    fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What an allocation asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// For whom.
    pub attachment: &'a Attachment,
    /// The node's blocks: one address of each family that has one.
    pub blocks: &'a [IpNet],
    /// Addresses that nobody may get.
    pub reserved: &'a [IpAddr],
    /// Addresses that must be the ones, at most one of a family.
    pub exactly: &'a [IpAddr],
    /// The only ranges to choose from; empty for no such limit.
    pub within: &'a [AddressRange],
    /// How long a released address rests.
    pub rest: Duration,
}

/// What an allocation got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Addresses that were free.
    New(Vec<IpAddr>),
    /// The attachment had these already.
    Held(Vec<IpAddr>),
}

impl Grant {
    /// The addresses, IPv4 before IPv6.
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::New(addresses) | Self::Held(addresses) => addresses,
        }
    }
}

/// Why an allocation got nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// Every address of a family is in use.
    #[error("all addresses of {blocks:?} are in use")]
    Exhausted {
        /// The blocks of that family.
        blocks: Vec<IpNet>,
    },
    /// Only resting addresses are left.
    #[error("no address of {blocks:?} is free; {resting} rest, the first until {wait:?} from now")]
    Resting {
        /// The blocks of that family.
        blocks: Vec<IpNet>,
        /// How many rest.
        resting: usize,
        /// When the first of them may be used again.
        wait: Duration,
    },
    /// An address that was asked for belongs to somebody.
    #[error("address {address} belongs to container {} interface {}", owner.container, owner.interface)]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: Attachment,
    },
    /// An address that was asked for was released a moment ago.
    #[error("address {address} rests for another {wait:?}")]
    TakenByRest {
        /// The address.
        address: IpAddr,
        /// For how long it still rests.
        wait: Duration,
    },
    /// An address that was asked for is not one that pods of this node may have.
    #[error("address {address} is not one that a pod of this node may have: {blocks:?}")]
    Unusable {
        /// The address.
        address: IpAddr,
        /// The node's blocks.
        blocks: Vec<IpNet>,
    },
    /// Two addresses of one family were asked for.
    #[error("{first} and {second} were asked for: one address of a family")]
    TwoOfOneFamily {
        /// One.
        first: IpAddr,
        /// The other.
        second: IpAddr,
    },
}

/// An attachment that the kernel knows: an interface with these addresses exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Which one.
    pub attachment: Attachment,
    /// The addresses routed to it.
    pub addresses: Vec<IpAddr>,
}

/// How full one block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockUsage {
    /// The block.
    pub block: IpNet,
    /// How many addresses pods have.
    pub allocated: u64,
    /// How many were released and are not yet given out again.
    pub resting: u64,
    /// How many are left, resting ones not counted.
    pub free: u128,
}

/// Who has which address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    leases: BTreeMap<IpAddr, Lease>,
    /// Released addresses and since when they rest.
    resting: BTreeMap<IpAddr, BootTime>,
    /// The last address given out: the next search begins behind it, so that an address comes back late.
    last_v4: Option<Ipv4Addr>,
    last_v6: Option<Ipv6Addr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    attachment: Attachment,
    since: BootTime,
}

impl Ledger {
    /// The ledger of a node whose own one is lost: what the kernel has is in use.
    pub fn recovered(attached: &[Attached], now: BootTime) -> Self {
        let mut ledger = Self::default();
        ledger.adopt(attached, now);
        ledger
    }

    /// Gives `wish.attachment` one address of each family, or none of any.
    pub fn allocate(&mut self, wish: &Wish<'_>, now: BootTime) -> Result<Grant, AllocateError> {
        let held = self.addresses_of(wish.attachment);
        if !held.is_empty() {
            return Ok(Grant::Held(held));
        }
        self.resting.retain(|_, since| now.since(*since) < wish.rest);
        let v4 = self.choose(wish, now, IpAddr::is_ipv4)?;
        let v6 = self.choose(wish, now, IpAddr::is_ipv6)?;
        let chosen: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
        for &address in &chosen {
            match address {
                IpAddr::V4(address) => self.last_v4 = Some(address),
                IpAddr::V6(address) => self.last_v6 = Some(address),
            }
            self.leases.insert(address, Lease { attachment: wish.attachment.clone(), since: now });
        }
        Ok(Grant::New(chosen))
    }

    /// Takes back what `attachment` has; the addresses rest from `now` on. Returns them.
    pub fn release(&mut self, attachment: &Attachment, now: BootTime) -> Vec<IpAddr> {
        let held = self.addresses_of(attachment);
        for address in &held {
            self.leases.remove(address);
            self.resting.insert(*address, now);
        }
        held
    }

    /// Takes back what `attachment` was given but never used: no rest is needed.
    pub fn cancel(&mut self, attachment: &Attachment) {
        self.leases.retain(|_, lease| lease.attachment != *attachment);
    }

    /// Releases every attachment of `network` that `is_valid` does not know, and returns them.
    pub fn collect_garbage(
        &mut self,
        network: &str,
        is_valid: impl Fn(&Attachment) -> bool,
        now: BootTime,
    ) -> Vec<Attachment> {
        let stale =
            self.attachments(|lease| lease.attachment.network == network && !is_valid(&lease.attachment));
        for attachment in &stale {
            self.release(attachment, now);
        }
        stale
    }

    /// Makes the ledger agree with the kernel: what is `attached` is in use, and what is not, and was given out
    /// longer than `grace` ago, lost its DEL and is released. The grace is for ADDs that are still at work.
    pub fn reconcile(&mut self, attached: &[Attached], grace: Duration, now: BootTime) -> Vec<Attachment> {
        self.adopt(attached, now);
        let lost = self.attachments(|lease| {
            now.since(lease.since) > grace && attached.iter().all(|one| one.attachment != lease.attachment)
        });
        for attachment in &lost {
            self.release(attachment, now);
        }
        lost
    }

    /// After a reboot no pod of before exists. Its addresses rest as if released when the machine started, which
    /// was later.
    pub fn begin_boot(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        self.resting = leases
            .into_keys()
            .chain(std::mem::take(&mut self.resting).into_keys())
            .map(|address| (address, BootTime::default()))
            .collect();
    }

    /// Every attachment that has an address.
    pub fn all_attachments(&self) -> Vec<Attachment> {
        self.attachments(|_| true)
    }

    /// The addresses of `attachment`, IPv4 before IPv6.
    pub fn addresses_of(&self, attachment: &Attachment) -> Vec<IpAddr> {
        let held = self.leases.iter().filter(|(_, lease)| lease.attachment == *attachment);
        held.map(|(address, _)| *address).collect()
    }

    /// The addresses that were released and not given out since.
    pub fn resting(&self) -> impl Iterator<Item = IpAddr> {
        self.resting.keys().copied()
    }

    /// How full `block` is.
    pub fn usage(&self, block: IpNet) -> BlockUsage {
        let count = |addresses: &mut dyn Iterator<Item = &IpAddr>| {
            addresses.filter(|address| block.contains(*address)).count() as u64
        };
        let allocated = count(&mut self.leases.keys());
        let resting = count(&mut self.resting.keys());
        let free = Candidates::of(block).size.saturating_sub(u128::from(allocated + resting));
        BlockUsage { block, allocated, resting, free }
    }

    fn attachments(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<Attachment> {
        let mut found: Vec<Attachment> = self
            .leases
            .values()
            .filter(|lease| wanted(lease))
            .map(|lease| lease.attachment.clone())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    fn adopt(&mut self, attached: &[Attached], now: BootTime) {
        for one in attached {
            for &address in &one.addresses {
                if let Entry::Vacant(vacant) = self.leases.entry(address) {
                    vacant.insert(Lease { attachment: one.attachment.clone(), since: now });
                    self.resting.remove(&address);
                }
            }
        }
    }

    /// The address of one family, `None` if the node has no block of it and nobody asks for one.
    fn choose(
        &self,
        wish: &Wish<'_>,
        now: BootTime,
        of_family: fn(&IpAddr) -> bool,
    ) -> Result<Option<IpAddr>, AllocateError> {
        let blocks: Vec<IpNet> =
            wish.blocks.iter().copied().filter(|block| of_family(&block.addr())).collect();
        let candidates = candidates(&blocks, wish.within);
        let mut asked = wish.exactly.iter().copied().filter(of_family);
        if let Some(first) = asked.next() {
            if let Some(second) = asked.next() {
                return Err(AllocateError::TwoOfOneFamily { first, second });
            }
            return self.exactly(first, &candidates, wish, now).map(Some);
        }
        if blocks.is_empty() {
            return Ok(None);
        }
        let free = self.next_free(&candidates, wish.reserved);
        free.map(Some).ok_or_else(|| self.nothing_free(blocks, &candidates, wish, now))
    }

    fn exactly(
        &self,
        address: IpAddr,
        candidates: &[Candidates],
        wish: &Wish<'_>,
        now: BootTime,
    ) -> Result<IpAddr, AllocateError> {
        let usable = candidates.iter().any(|range| range.position(address).is_some());
        if !usable || wish.reserved.contains(&address) {
            return Err(AllocateError::Unusable { address, blocks: wish.blocks.to_vec() });
        }
        if let Some(lease) = self.leases.get(&address) {
            return Err(AllocateError::Taken { address, owner: lease.attachment.clone() });
        }
        if let Some(since) = self.resting.get(&address) {
            let wait = wish.rest.saturating_sub(now.since(*since));
            return Err(AllocateError::TakenByRest { address, wait });
        }
        Ok(address)
    }

    /// Round robin, beginning behind the last address that was given out. However large the ranges are, the
    /// search passes each taken, resting and reserved address at most twice.
    fn next_free(&self, candidates: &[Candidates], reserved: &[IpAddr]) -> Option<IpAddr> {
        let last = |range: &Candidates| match range.first {
            IpAddr::V4(_) => self.last_v4.and_then(|last| range.position(last.into())),
            IpAddr::V6(_) => self.last_v6.and_then(|last| range.position(last.into())),
        };
        let (turn, behind) = candidates
            .iter()
            .enumerate()
            .find_map(|(index, range)| last(range).map(|position| (index, position + 1)))
            .unwrap_or_default();
        // The range of the last address comes twice: first what is behind that address, at the end all of it.
        let rotation = candidates.iter().skip(turn).chain(candidates.iter().take(turn + 1));
        rotation.enumerate().find_map(|(round, range)| {
            let from = if round == 0 { behind } else { 0 };
            (from..range.size)
                .map(|position| range.at(position))
                .find(|address| self.is_free(*address) && !reserved.contains(address))
        })
    }

    fn is_free(&self, address: IpAddr) -> bool {
        !self.leases.contains_key(&address) && !self.resting.contains_key(&address)
    }

    fn nothing_free(
        &self,
        blocks: Vec<IpNet>,
        candidates: &[Candidates],
        wish: &Wish<'_>,
        now: BootTime,
    ) -> AllocateError {
        let ours = |address: &IpAddr| candidates.iter().any(|range| range.position(*address).is_some());
        let rests =
            self.resting.iter().filter(|(address, _)| ours(address) && !wish.reserved.contains(address));
        let waits = rests.map(|(_, since)| wish.rest.saturating_sub(now.since(*since)));
        match waits.clone().min() {
            Some(wait) => AllocateError::Resting { blocks, resting: waits.count(), wait },
            None => AllocateError::Exhausted { blocks },
        }
    }
}

#[cfg(test)]
mod tests;
