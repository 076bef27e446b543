//! BMP collectors as the speaker is told of them.

use std::net::SocketAddr;
use std::time::Duration;

use muslin_bgp_speaker::config::{BmpCollector, BmpTables};
use muslin_cluster::resources::{BmpCollectorSpec, BmpTable};

use crate::causes::Caused;

/// The port that IANA assigned to BMP.
const BMP_PORT: u16 = 11019;

pub(crate) fn collector(Caused { value: spec, cause }: Caused<BmpCollectorSpec>) -> BmpCollector {
    let address = SocketAddr::new(spec.address, spec.port.unwrap_or(BMP_PORT));
    let usual = BmpCollector::new(address);
    let tables = spec.tables.map_or(BmpTables::ALL, |tables| BmpTables {
        before_policy: tables.contains(&BmpTable::PrePolicy),
        after_policy: tables.contains(&BmpTable::PostPolicy),
        loc_rib: tables.contains(&BmpTable::LocRib),
    });
    let statistics = match spec.statistics_interval {
        None => usual.statistics,
        Some(interval) => Some(interval.0.max(Duration::from_secs(1))).filter(|_| !interval.0.is_zero()),
    };
    BmpCollector { tables, statistics, cause, ..usual }
}
