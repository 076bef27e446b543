//! BMP collectors in a `BGPConfiguration` (RFC 7854).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::fields::TimeSpan;
use crate::problem::Fault;

/// A collector that is told of sessions and routes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::BMP_COLLECTOR))]
pub struct BmpCollectorSpec {
    /// Where it is.
    pub address: IpAddr,
    /// TCP port that it listens on; 11019 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Which tables it is told; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<BmpTable>>,
    /// How often it is told numbers; every minute if absent, `0s` is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics_interval: Option<TimeSpan>,
}

/// A table that a collector may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub enum BmpTable {
    /// What peers sent, before policy.
    PrePolicy,
    /// What import left of it.
    PostPolicy,
    /// The best paths (RFC 9069).
    LocRib,
}

pub(super) fn check(collectors: &[BmpCollectorSpec], faults: &mut Vec<Fault>) {
    for (index, collector) in collectors.iter().enumerate() {
        let at = |field: &str| format!(".spec.bmp[{index}].{field}");
        if collector.port == Some(0) {
            faults.push(Fault::new(at("port"), "found 0", "write the port that the collector listens on"));
        }
        if collector.address.is_unspecified() {
            faults.push(Fault::new(
                at("address"),
                "found the unspecified address",
                "write the collector's address",
            ));
        }
        if collector.tables.as_ref().is_some_and(Vec::is_empty) {
            faults.push(Fault::new(
                at("tables"),
                "found an empty list",
                "write PrePolicy, PostPolicy or LocRib, or leave the field out for all of them",
            ));
        }
        let same =
            |other: &BmpCollectorSpec| (other.address, other.port) == (collector.address, collector.port);
        if collectors[..index].iter().any(same) {
            faults.push(Fault::new(at("address"), "it is there twice", "write each collector once"));
        }
    }
}
