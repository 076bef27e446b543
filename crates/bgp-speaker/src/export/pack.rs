//! Routes into messages: encoded once, packed by what they share.

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use muslin_bgp_packet::{Family, NextHop, Nlri, TooLong, UpdateEncoder};

use super::key::GroupKey;
use super::rewrite::Outgoing;

/// A prefix to be written, with its path identifier where the session has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) prefix: IpNet,
    pub(crate) path_id: Option<u32>,
}

/// Writes messages of one group.
pub(crate) struct Packer {
    encoder: UpdateEncoder,
    messages: BytesMut,
    attributes: BytesMut,
}

impl Packer {
    pub(crate) fn new(key: &GroupKey) -> Self {
        Self {
            encoder: UpdateEncoder::new(usize::from(key.shape.max_message)),
            messages: BytesMut::new(),
            attributes: BytesMut::new(),
        }
    }

    /// Octets written so far.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Announces prefixes of one family with one set of attributes. The index of each that does not fit with
    /// its attributes into a message is returned (RFC 4271 §9.2).
    pub(crate) fn announce(
        &mut self,
        key: &GroupKey,
        outgoing: &Outgoing,
        family: Family,
        items: &[Item],
    ) -> Vec<usize> {
        let start = self.messages.len();
        outgoing.encode(key, &mut self.attributes);
        if self.try_announce(&outgoing.next_hop, family, items).is_ok() {
            return Vec::new();
        }
        self.messages.truncate(start);
        let too_long = |index: &usize| {
            let fits = self.try_announce(&outgoing.next_hop, family, &items[*index..=*index]);
            fits.is_err()
        };
        (0..items.len()).filter(too_long).collect()
    }

    fn try_announce(&mut self, next_hop: &NextHop, family: Family, items: &[Item]) -> Result<(), TooLong> {
        let Self { encoder, messages, attributes } = self;
        match family {
            Family::Ipv4Unicast => encoder.announce(messages, attributes, next_hop, ipv4(items)),
            Family::Ipv6Unicast => encoder.announce(messages, attributes, next_hop, ipv6(items)),
        }
    }

    /// Withdraws prefixes of either family.
    pub(crate) fn withdraw(&mut self, items: &[Item]) {
        self.encoder.withdraw(&mut self.messages, ipv4(items));
        self.encoder.withdraw(&mut self.messages, ipv6(items));
    }

    /// Ends the initial routes of a family (RFC 4724 §2).
    pub(crate) fn end_of_rib(&mut self, family: Family) {
        UpdateEncoder::end_of_rib(family, &mut self.messages);
    }

    /// What was written since the last time.
    pub(crate) fn take(&mut self) -> Bytes {
        self.messages.split().freeze()
    }
}

fn ipv4(items: &[Item]) -> impl Iterator<Item = Nlri<ipnet::Ipv4Net>> {
    items.iter().filter_map(|item| match item.prefix {
        IpNet::V4(prefix) => Some(Nlri { prefix, path_id: item.path_id }),
        IpNet::V6(_) => None,
    })
}

fn ipv6(items: &[Item]) -> impl Iterator<Item = Nlri<ipnet::Ipv6Net>> {
    items.iter().filter_map(|item| match item.prefix {
        IpNet::V6(prefix) => Some(Nlri { prefix, path_id: item.path_id }),
        IpNet::V4(_) => None,
    })
}
