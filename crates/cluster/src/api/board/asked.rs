//! What is read of a specification for columns of `kubectl get`: the words for what one path cannot show.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

/// Most addresses that a column names.
const NAMED: usize = 2;

/// What an object asks for, as far as columns show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::api) struct Asked {
    /// Where a `BGPPeer` says that its peers are.
    place: Option<Place>,
    /// What a `RouteAdvertisement` speaks of, each once.
    types: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// An address or a range.
    Known(String),
    /// Where nodes look for them.
    Sought(String),
}

impl Asked {
    /// Reads a specification of any kind, also one that is refused: a column is to show what was written.
    pub(in crate::api) fn of(spec: &Value) -> Self {
        let mut types: Vec<String> = Vec::new();
        for one in list(&spec["advertisements"]).filter_map(|one| text(&one["advertisementType"])) {
            if !types.contains(&one) {
                types.push(one);
            }
        }
        Self { place: place(spec), types }
    }

    /// Where the peers are, of whom nodes have found `addresses`.
    pub(super) fn address(&self, addresses: &BTreeSet<IpAddr>) -> Option<String> {
        match self.place.as_ref()? {
            Place::Sought(_) if !addresses.is_empty() => {
                let named: Vec<_> = addresses.iter().take(NAMED).map(ToString::to_string).collect();
                let more = match addresses.len() - named.len() {
                    0 => String::new(),
                    more => format!("+{more}"),
                };
                Some(format!("{}{more}", named.join(",")))
            }
            Place::Known(place) | Place::Sought(place) => Some(place.clone()),
        }
    }

    /// What a `RouteAdvertisement` speaks of.
    pub(super) fn types(&self) -> Option<String> {
        (!self.types.is_empty()).then(|| self.types.join(","))
    }
}

fn place(spec: &Value) -> Option<Place> {
    let interface = text(&spec["interface"]);
    if let Some(address) = text(&spec["peerAddress"]) {
        let on = interface.map(|name| format!("%{name}")).unwrap_or_default();
        return Some(Place::Known(format!("{address}{on}")));
    }
    if let Some(range) = text(&spec["listenRange"]) {
        return Some(Place::Known(range));
    }
    let interfaces: Vec<_> =
        interface.into_iter().chain(list(&spec["interfaces"]).filter_map(text)).collect();
    if interfaces.is_empty() {
        return text(&spec["autoDiscovery"]["mode"]).map(Place::Sought);
    }
    Some(Place::Sought(interfaces.join(",")))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(spec: &Value, found: &[&str]) -> String {
        let found = found.iter().map(|address| address.parse().unwrap()).collect();
        Asked::of(spec).address(&found).unwrap_or_default()
    }

    #[test]
    fn every_way_to_name_a_peer_fills_the_column() {
        assert_eq!(address(&json!({"peerAddress": "10.0.0.1"}), &["10.0.0.1"]), "10.0.0.1");
        assert_eq!(address(&json!({"peerAddress": "fe80::1", "interface": "eth0"}), &[]), "fe80::1%eth0");
        assert_eq!(address(&json!({"listenRange": "10.0.0.0/24"}), &["10.0.0.9"]), "10.0.0.0/24");
        assert_eq!(address(&json!({"interface": "eth0"}), &[]), "eth0");
        assert_eq!(address(&json!({"interfaces": ["eth0", "swp*"]}), &[]), "eth0,swp*");
        let gateway = json!({"autoDiscovery": {"mode": "DefaultGateway"}});
        assert_eq!(address(&gateway, &[]), "DefaultGateway");
        assert_eq!(address(&gateway, &["10.0.0.1", "fd00::1"]), "10.0.0.1,fd00::1");
        assert_eq!(
            address(&json!({"interface": "eth0"}), &["fe80::3", "fe80::1", "fe80::2"]),
            "fe80::1,fe80::2+1"
        );
        assert_eq!(address(&json!({"peerASN": 65000}), &[]), "");
    }

    #[test]
    fn each_type_of_advertisement_is_named_once() {
        let types = |types: &[&str]| {
            let all: Vec<_> = types.iter().map(|one| json!({"advertisementType": one})).collect();
            Asked::of(&json!({"advertisements": all})).types()
        };
        assert_eq!(types(&["PodCIDR", "Service", "PodCIDR"]).as_deref(), Some("PodCIDR,Service"));
        assert_eq!(types(&[]), None);
    }
}
