//! Configurations in records: as JSON, so that a record outlives new fields.

use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, to_value};

use crate::config::{
    ImportGuard, ListenRange, OriginatedRoute, PeerConfig, RemoteAs, RouteSource, SessionConfig,
    SpeakerConfig,
};

/// A configuration as it stands in a record. Secrets are not in it.
pub(super) fn write(config: &SpeakerConfig) -> Vec<u8> {
    // Plain data with string keys always becomes JSON.
    serde_json::to_vec(config).unwrap_or_default()
}

/// A configuration out of a record. Fields that it does not have, or has in a form of another version, get their
/// defaults, so that a record is of use for longer than the program that wrote it.
pub(super) fn read(octets: &[u8]) -> Option<SpeakerConfig> {
    let mut value: Value = serde_json::from_slice(octets).ok()?;
    let (asn, id) =
        (from_value(value.get("asn")?.clone()).ok()?, from_value(value.get("router_id")?.clone()).ok()?);
    let session = to_value(SessionConfig::external(RemoteAs::External)).ok()?;
    let address = std::net::Ipv4Addr::UNSPECIFIED.into();
    let external = SessionConfig::external(RemoteAs::External);
    let peer = to_value(PeerConfig::new(address, external.clone())).ok()?;
    let range = to_value(ListenRange::new(ipnet::Ipv4Net::default().into(), external)).ok()?;
    for item in items(&mut value, "peers") {
        fit::<SessionConfig>(item.get_mut("session")?, &session);
        fit::<PeerConfig>(item, &peer);
    }
    for item in items(&mut value, "listen_ranges") {
        fit::<SessionConfig>(item.get_mut("session")?, &session);
        fit::<ListenRange>(item, &range);
    }
    let route = OriginatedRoute::new(ipnet::Ipv4Net::default().into(), RouteSource::Static, "");
    let route = to_value(route).ok()?;
    for item in items(&mut value, "originated") {
        fit::<OriginatedRoute>(item, &route);
    }
    let usual = to_value(SpeakerConfig::new(asn, id)).ok()?;
    if let Some(guard) = value.get_mut("guard") {
        fit::<ImportGuard>(guard, usual.get("guard")?);
    }
    fit::<SpeakerConfig>(&mut value, &usual);
    from_value(value).ok()
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Makes a value one that a `T` can be read from: field by field it is as it was, or as `default` has it.
fn fit<T: DeserializeOwned>(value: &mut Value, default: &Value) {
    let (Value::Object(fields), Value::Object(defaults)) = (&mut *value, default) else { return };
    for (key, default) in defaults {
        fields.entry(key.clone()).or_insert_with(|| default.clone());
    }
    if from_value::<T>(value.clone()).is_ok() {
        return;
    }
    let Value::Object(fields) = value else { return };
    for (key, usual) in defaults {
        let mut one = defaults.clone();
        one.insert(key.clone(), fields.get(key).cloned().unwrap_or_default());
        if from_value::<T>(Value::Object(one)).is_err() {
            fields.insert(key.clone(), usual.clone());
        }
    }
}
