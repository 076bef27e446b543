//! What a received UPDATE says: a strict reader, since our own speaker's output has to be right everywhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

/// Path attributes by type: flags and value.
pub type Attributes = BTreeMap<u8, (u8, Vec<u8>)>;

/// A route as announced to the tester.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// NEXT_HOP, or the global one of MP_REACH_NLRI.
    pub next_hop: IpAddr,
    /// AS_PATH, segments put together.
    pub as_path: Vec<u32>,
    /// All attributes but MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub attributes: Attributes,
}

/// What was announced and not withdrawn.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The newest route of each prefix.
    pub(super) routes: BTreeMap<IpNet, Route>,
    /// All paths; without identifiers they have zero.
    pub(super) paths: BTreeMap<(IpNet, u32), Route>,
    /// Whether IPv4 prefixes have identifiers.
    pub(super) ids: bool,
}

impl Tables {
    /// Carries an UPDATE out.
    pub(super) fn apply(&mut self, body: &[u8], as_width: usize) -> Result<()> {
        let (withdrawn, rest) = counted(body).context("withdrawn routes")?;
        let (attributes, announced) = counted(rest).context("path attributes")?;
        self.withdraw(prefixes(withdrawn, 4, self.ids)?);
        let mut all = read_attributes(attributes)?;
        if let Some((_, value)) = all.remove(&15) {
            let [0, 2, 1, nlri @ ..] = &*value else { bail!("MP_UNREACH_NLRI {value:02x?}") };
            self.withdraw(prefixes(nlri, 16, false)?);
        }
        let reach = all.remove(&14);
        let as_path =
            all.get(&2).map(|(_, value)| read_as_path(value, as_width)).transpose()?.unwrap_or_default();
        if let Some((_, value)) = reach {
            let [0, 2, 1, length @ (16 | 32), rest @ ..] = &*value else {
                bail!("MP_REACH_NLRI {value:02x?}")
            };
            let (next_hop, rest) = rest.split_at_checked(usize::from(*length)).context("next hop")?;
            let global: [u8; 16] = next_hop[..16].try_into()?;
            let nlri = rest.get(1..).context("reserved octet")?;
            let next_hop = Ipv6Addr::from(global).into();
            let route = Route { next_hop, as_path: as_path.clone(), attributes: all.clone() };
            self.announce(prefixes(nlri, 16, false)?, &route);
        }
        if !announced.is_empty() {
            let (_, next_hop) = all.get(&3).context("NEXT_HOP is missing")?;
            let next_hop: [u8; 4] = next_hop.as_slice().try_into().context("NEXT_HOP")?;
            let route = Route { next_hop: Ipv4Addr::from(next_hop).into(), as_path, attributes: all };
            self.announce(prefixes(announced, 4, self.ids)?, &route);
        }
        Ok(())
    }

    fn withdraw(&mut self, prefixes: Vec<(IpNet, u32)>) {
        for (prefix, id) in prefixes {
            self.paths.remove(&(prefix, id));
            match self.paths.range((prefix, 0)..=(prefix, u32::MAX)).next() {
                Some((_, left)) => drop(self.routes.insert(prefix, left.clone())),
                None => drop(self.routes.remove(&prefix)),
            }
        }
    }

    fn announce(&mut self, prefixes: Vec<(IpNet, u32)>, route: &Route) {
        for (prefix, id) in prefixes {
            self.paths.insert((prefix, id), route.clone());
            self.routes.insert(prefix, route.clone());
        }
    }
}

/// A part behind its length of two octets, and the rest.
fn counted(octets: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>().context("length")?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).context("it ends early")
}

fn read_attributes(mut octets: &[u8]) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    while let [flags, kind, rest @ ..] = octets {
        let (value, rest) = if flags & 0x10 == 0 {
            let (length, rest) = rest.split_first().context("attribute length")?;
            rest.split_at_checked(usize::from(*length)).context("attribute ends early")?
        } else {
            counted(rest)?
        };
        let before = attributes.insert(*kind, (*flags, value.to_vec()));
        ensure!(before.is_none(), "attribute {kind} is there twice");
        octets = rest;
    }
    ensure!(octets.is_empty(), "half an attribute is left over: {octets:02x?}");
    Ok(attributes)
}

fn read_as_path(mut octets: &[u8], width: usize) -> Result<Vec<u32>> {
    let mut path = Vec::new();
    while let [_, count, rest @ ..] = octets {
        let (numbers, rest) =
            rest.split_at_checked(usize::from(*count) * width).context("AS_PATH ends early")?;
        path.extend(
            numbers
                .chunks(width)
                .map(|number| number.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet))),
        );
        octets = rest;
    }
    ensure!(octets.is_empty(), "half a segment is left over");
    Ok(path)
}

/// Prefixes with the identifiers before them, if they have some.
fn prefixes(mut octets: &[u8], width: usize, ids: bool) -> Result<Vec<(IpNet, u32)>> {
    let mut all = Vec::new();
    while !octets.is_empty() {
        let mut id = 0;
        if ids {
            let (octets_of_id, rest) = octets.split_first_chunk::<4>().context("path identifier")?;
            (id, octets) = (u32::from_be_bytes(*octets_of_id), rest);
        }
        let (length, rest) = octets.split_first().context("prefix length")?;
        let (bits, rest) =
            rest.split_at_checked(usize::from(length.div_ceil(8))).context("prefix ends early")?;
        let mut address = [0; 16];
        address.get_mut(..bits.len()).context("prefix is too long")?.copy_from_slice(bits);
        let address = match width {
            4 => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
            _ => Ipv6Addr::from(address).into(),
        };
        let prefix = IpNet::new(address, *length)?;
        ensure!(prefix == prefix.trunc(), "{prefix} has host bits set");
        all.push((prefix, id));
        octets = rest;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn body(message: &[u8]) -> &[u8] {
        &message[19..]
    }

    #[test]
    fn an_update_adds_and_removes_in_both_families() {
        let mut tables = Tables::default();
        let next_hop = "fd99::1".parse().unwrap();
        let attributes = [
            wire::mp_reach(next_hop, &["fd01::/64"]),
            wire::origin(0),
            wire::as_path(&[65001, 4_200_000_001]),
            wire::next_hop(Ipv4Addr::new(192, 0, 2, 1)),
        ];
        tables.apply(body(&wire::update(&[], &attributes, &["10.0.0.0/24"])), 4).unwrap();
        assert_eq!(tables.routes.len(), 2);
        let route = &tables.routes[&"fd01::/64".parse().unwrap()];
        assert_eq!(route.as_path, [65001, 4_200_000_001]);
        assert_eq!(route.next_hop, IpAddr::V6(next_hop));
        tables
            .apply(body(&wire::update(&["10.0.0.0/24"], &[wire::mp_unreach(&["fd01::/64"])], &[])), 4)
            .unwrap();
        assert!(tables.routes.is_empty() && tables.paths.is_empty());
    }

    #[test]
    fn a_speaker_that_sends_nonsense_is_found_out() {
        let mut tables = Tables::default();
        let twice = wire::update(&[], &[wire::origin(0), wire::origin(0)], &[]);
        assert!(tables.apply(body(&twice), 4).is_err());
        let host_bits = wire::update(&["10.0.0.1/24"], &[], &[]);
        assert!(tables.apply(body(&host_bits), 4).is_ok(), "host bits beyond the octets are not on the wire");
        assert!(tables.apply(body(&wire::update(&["10.0.3.0/22"], &[], &[])), 4).is_err());
        assert!(tables.apply(&[0, 9, 1], 4).is_err());
    }
}
