//! Where a peer is: at an address, in a range, at the other end of an interface, or where the node's default
//! route leads.

use super::{AddressFamily, BgpPeerSpec, ConnectMode, is_link_local};

/// A peer that the node's own routes name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoDiscovery {
    /// Which of them.
    pub mode: AutoDiscoveryMode,
    /// Only the one of this family; of each family if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_family: Option<AddressFamily>,
}

/// Which of the node's routes name a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum AutoDiscoveryMode {
    /// The gateways of the default route with the lowest metric.
    DefaultGateway,
}

/// Longest name of an interface that Linux has, in octets.
const LONGEST_NAME: usize = 15;

impl BgpPeerSpec {
    /// Names and patterns of the interfaces at whose other ends the peers are found.
    pub fn unnumbered(&self) -> impl Iterator<Item = (String, &str)> {
        let alone = self.peer_address.is_none() && self.listen_range.is_none();
        let one =
            self.interface.as_deref().filter(|_| alone).map(|name| (".spec.interface".to_owned(), name));
        let several = self.interfaces.iter().enumerate();
        let several = several.map(|(index, name)| (format!(".spec.interfaces[{index}]"), name.as_str()));
        one.into_iter().chain(several)
    }
}

/// Whether the interface has the name, or one that the pattern means: `*` is any number of characters.
pub fn interface_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|end| tail.is_char_boundary(*end))
                .any(|end| interface_matches(rest, &tail[end..]))
        }),
    }
}

/// Checks all that says where a peer is.
pub(super) fn check(spec: &BgpPeerSpec, mut fault: impl FnMut(&str, &str, &str)) {
    let interface = spec.peer_address.is_none() && spec.interface.is_some();
    let ways = [
        (".peerAddress", spec.peer_address.is_some()),
        (".listenRange", spec.listen_range.is_some()),
        (".autoDiscovery", spec.auto_discovery.is_some()),
        (".interfaces", !spec.interfaces.is_empty()),
        // Beside a range it has a fault of its own.
        (".interface", interface && spec.listen_range.is_none()),
    ];
    let mut ways = ways.into_iter().filter_map(|(field, present)| present.then_some(field));
    match (ways.next(), ways.next()) {
        (None, _) => fault(
            "",
            "there is no peer",
            "name its `peerAddress`, its `interface`, a `listenRange`, or `autoDiscovery`",
        ),
        (Some(first), Some(second)) => {
            let message = format!("there is a `{}` too", &first[1..]);
            fault(second, &message, "keep one and make a second BGPPeer");
        }
        (Some(_), None) => {}
    }
    if let Some(address) = spec.peer_address {
        if address.is_unspecified() || address.is_multicast() {
            fault(".peerAddress", "found an address that no host has", "write the peer's own address");
        }
        if is_link_local(address) && spec.interface.is_none() {
            fault(".peerAddress", "found a link-local address", "name the `interface` that it is on");
        }
        if let Some(name) = spec.interface.as_deref().filter(|name| name.contains('*')) {
            let message = format!("found the pattern {name:?} for one address");
            fault(".interface", &message, "write the name of the interface");
        }
    }
    check_names(spec, &mut fault);
    check_range(spec, &mut fault);
    if spec.unnumbered().next().is_some() {
        let fixed = [
            (spec.multihop.is_some(), ".multihop", "the peer is at the other end of the link"),
            (spec.local_address.is_some(), ".localAddress", "the session is between link-local addresses"),
            (
                spec.source_interface.is_some(),
                ".sourceInterface",
                "the session is between link-local addresses",
            ),
        ];
        for (_, field, message) in fixed.into_iter().filter(|(present, ..)| *present) {
            fault(field, message, "leave it out");
        }
    }
}

fn check_names(spec: &BgpPeerSpec, fault: &mut impl FnMut(&str, &str, &str)) {
    let named = spec.interface.iter().map(|name| (".interface".to_owned(), name));
    let several = spec.interfaces.iter().enumerate();
    let named = named.chain(several.map(|(index, name)| (format!(".interfaces[{index}]"), name)));
    for (field, name) in named {
        let impossible = name.is_empty()
            || name.len() > LONGEST_NAME
            || name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | '%'));
        if impossible {
            let message = format!("found {name:?}, which no interface is called");
            fault(&field, &message, "write a name as eth0, or a pattern as eth*");
        }
    }
}

fn check_range(spec: &BgpPeerSpec, fault: &mut impl FnMut(&str, &str, &str)) {
    if spec.listen_range.is_some() {
        let active = [
            (spec.port.is_some(), ".port"),
            (spec.interface.is_some(), ".interface"),
            (spec.connect_mode == Some(ConnectMode::Both), ".connectMode"),
        ];
        for (_, field) in active.into_iter().filter(|(present, _)| *present) {
            fault(field, "peers of a listen range connect to us", "leave it out");
        }
    } else if spec.listen_limit.is_some() {
        fault(".listenLimit", "there is no `listenRange` to limit", "leave it out");
    }
}

#[cfg(test)]
mod tests {
    use super::interface_matches;

    #[test]
    fn a_star_is_any_number_of_characters() {
        for (pattern, name) in [("eth0", "eth0"), ("eth*", "eth10"), ("e*1*f0", "enp1s0f0"), ("*", "x")] {
            assert!(interface_matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("eth0", "eth01"), ("eth*", "et"), ("e*f1", "enp1s0f0"), ("", "x")] {
            assert!(!interface_matches(pattern, name), "{pattern} {name}");
        }
    }
}
