//! What a speaker still announces while its node is drained (RFC 8326).

use muslin_bgp_speaker::config::{RouteSource, SpeakerConfig};
use serde::{Deserialize, Serialize};

/// How far a drain has come. Peers lose a route only after they had the time to find another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainPhase {
    /// Everything is announced as a last resort, so that traffic moves to other ways.
    ShuttingDown,
    /// Only the pods' own routes are left, for as long as there are pods.
    ServicesWithdrawn,
    /// Nothing originates here any more.
    Drained,
}

/// The configuration of a speaker whose plan is `plan`, in this phase of a drain.
pub fn draining(plan: &SpeakerConfig, phase: DrainPhase) -> SpeakerConfig {
    let mut config = SpeakerConfig { graceful_shutdown: true, ..plan.clone() };
    config.originated.retain(|route| match phase {
        DrainPhase::ShuttingDown => true,
        DrainPhase::ServicesWithdrawn => route.source == RouteSource::Pod,
        DrainPhase::Drained => false,
    });
    config
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use muslin_bgp_packet::Asn;
    use muslin_bgp_speaker::config::OriginatedRoute;

    use super::*;

    #[test]
    fn rfc8326_1_a_drain_ends_services_first_and_pods_last() {
        let mut plan = SpeakerConfig::new(Asn(65001), Ipv4Addr::new(192, 0, 2, 1));
        let sources = [
            ("10.244.1.0/24", RouteSource::Pod),
            ("10.96.0.0/16", RouteSource::Service),
            ("192.0.2.0/24", RouteSource::Static),
        ];
        plan.originated = sources
            .map(|(prefix, source)| OriginatedRoute::new(prefix.parse().unwrap(), source, "test"))
            .to_vec();
        let left = |phase| {
            let config = draining(&plan, phase);
            assert!(config.graceful_shutdown);
            config.originated.iter().map(|route| route.prefix.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(left(DrainPhase::ShuttingDown).len(), 3);
        assert_eq!(left(DrainPhase::ServicesWithdrawn), ["10.244.1.0/24"]);
        assert!(left(DrainPhase::Drained).is_empty());
    }
}
