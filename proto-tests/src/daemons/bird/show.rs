//! What birdc shows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use crate::daemons::as_path;
use crate::route::{Community, LargeCommunity, Route};

/// Names of the sessions that run, those out of a range included.
pub(super) fn sessions(protocols: &str) -> impl Iterator<Item = &str> {
    protocols.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        (words.next() == Some("BGP")).then_some(name)
    })
}

/// Reads `show route all`: a line per route, with its attributes indented below. Further routes of the same prefix
/// begin with their type.
pub(super) fn routes(shown: &str) -> Result<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::new();
    for line in shown.lines() {
        let attribute = line.trim_start();
        // BIRD 3 writes names as its filters do.
        let attribute = attribute.strip_prefix("BGP.").or_else(|| attribute.strip_prefix("bgp_"));
        if let Some((attribute, value)) = attribute.and_then(|rest| rest.split_once(": ")) {
            let route = routes.last_mut().with_context(|| format!("no route before {line:?}"))?;
            set(route, attribute, value).with_context(|| line.to_owned())?;
        } else if let Some(first) = line.split_whitespace().next() {
            let prefix = match first.parse() {
                Ok(prefix) => Some(prefix),
                Err(_) if first == "unicast" => routes.last().map(|route| route.prefix),
                Err(_) => None,
            };
            routes.extend(prefix.map(|prefix| Route {
                prefix,
                as_path: vec![],
                next_hop: std::net::Ipv4Addr::UNSPECIFIED.into(),
                med: 0,
                local_pref: 100,
                communities: BTreeSet::new(),
                extended_communities: BTreeSet::new(),
                large_communities: BTreeSet::new(),
            }));
        }
    }
    Ok(routes)
}

fn set(route: &mut Route, attribute: &str, value: &str) -> Result<()> {
    match attribute {
        "as_path" | "path" => route.as_path = as_path(value)?,
        "next_hop" => route.next_hop = next_hop(value)?,
        "med" => route.med = value.parse()?,
        "local_pref" => route.local_pref = value.parse()?,
        "community" => {
            route.communities = tuples(value)
                .map(|parts| match *numbers(parts)? {
                    [a, b] => Ok::<Community, anyhow::Error>((u16::try_from(a)?, u16::try_from(b)?)),
                    _ => bail!("not a pair"),
                })
                .collect::<Result<_>>()?;
        }
        "ext_community" => {
            route.extended_communities = tuples(value).map(|parts| parts.replace(", ", ":")).collect();
        }
        "large_community" => {
            route.large_communities = tuples(value)
                .map(|parts| match *numbers(parts)? {
                    [a, b, c] => Ok::<LargeCommunity, anyhow::Error>((a, b, c)),
                    _ => bail!("not three"),
                })
                .collect::<Result<_>>()?;
        }
        _ => {}
    }
    Ok(())
}

/// The global one, or the link-local one if there is no other.
fn next_hop(value: &str) -> Result<IpAddr> {
    let hops = value.split_whitespace().map(str::parse).collect::<Result<Vec<IpAddr>, _>>()?;
    hops.into_iter().find(|hop| !hop.is_unspecified()).context("empty")
}

/// The insides of `(1,2) (3,4)`.
fn tuples(text: &str) -> impl Iterator<Item = &str> {
    text.split(['(', ')']).filter(|part| !part.trim().is_empty())
}

fn numbers(parts: &str) -> Result<Vec<u32>> {
    parts.split(',').map(|number| Ok(number.trim().parse()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_with_their_attributes() {
        let shown = "BIRD 2.0.12 ready.\nTable master6:\nfd01::/64 unicast [p6 14:27] * (100) [AS65001i]\n\
                     \tvia fd99::1 on e0\n\tType: BGP univ\n\tBGP.as_path: 65001 4200000001\n\
                     \tBGP.next_hop: fd99::1 fe80::1\n\tBGP.med: 7\n\tBGP.community: (65001,1) (65001,2)\n\
                     \tBGP.ext_community: (rt, 65001, 7)\n\
                     \tBGP.large_community: (65001, 1, 2)\nfd02::/64 unicast [p6 14:27] * (100) [AS65001i]\n";
        let routes = routes(shown).unwrap();
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0].as_path, [65001, 4_200_000_001]);
        assert_eq!(routes[0].next_hop, "fd99::1".parse::<IpAddr>().unwrap());
        assert_eq!(routes[0].communities, [(65001, 1), (65001, 2)].into());
        assert_eq!(routes[0].extended_communities, ["rt:65001:7".to_owned()].into());
        assert_eq!(routes[0].large_communities, [(65001, 1, 2)].into());
        assert_eq!((routes[0].med, routes[1].med), (7, 0));
    }

    #[test]
    fn further_paths_of_a_prefix_are_routes_of_their_own() {
        let shown = "10.1.0.0/24  unicast [p4 14:27] * (100) [AS1i]\n\tBGP.next_hop: 192.0.2.1\n\
                     \x20                    unicast [p4 14:27] (100) [AS2i]\n\tBGP.next_hop: 192.0.2.2\n";
        let routes = routes(shown).unwrap();
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0].prefix, routes[1].prefix);
        assert_ne!(routes[0].next_hop, routes[1].next_hop);
    }
}
