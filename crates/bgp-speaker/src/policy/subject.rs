//! What rules look at.

use std::cell::OnceCell;
use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::PathAttributes;

use crate::config::{PeerKey, RouteSource};

/// A route before a policy.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) prefix: IpNet,
    pub(crate) source: RouteSource,
    /// What we originate it under.
    pub(crate) label: Option<&'a str>,
    /// Where it was learned; `None` for what we originate.
    pub(crate) learned: Option<Learned<'a>>,
    /// What was read of its attributes so far. It may serve all prefixes that share them.
    pub(crate) memo: &'a Memo,
    /// Reads the attributes, which costs; done at most once, and only when a rule asks.
    pub(crate) read: &'a dyn Fn() -> PathAttributes,
}

/// Where a route was learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Learned<'a> {
    pub(crate) peer: &'a PeerKey,
    pub(crate) address: IpAddr,
    pub(crate) next_hop: IpAddr,
}

/// Attributes and their text forms, once read.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    attributes: OnceCell<PathAttributes>,
    as_path: OnceCell<String>,
    communities: OnceCell<Vec<String>>,
}

impl<'a> Subject<'a> {
    /// The attributes.
    pub(crate) fn attributes(&self) -> &'a PathAttributes {
        self.memo.attributes.get_or_init(self.read)
    }

    /// The AS_PATH in text form.
    pub(crate) fn as_path(&self) -> &'a str {
        self.memo.as_path.get_or_init(|| self.attributes().as_path.to_string())
    }

    /// The communities in text form.
    pub(crate) fn communities(&self) -> &'a [String] {
        self.memo.communities.get_or_init(|| {
            let attributes = self.attributes();
            let standard = attributes.communities.iter().map(ToString::to_string);
            let extended = attributes.extended_communities.iter().map(ToString::to_string);
            let large = attributes.large_communities.iter().map(ToString::to_string);
            standard.chain(extended).chain(large).collect()
        })
    }
}
