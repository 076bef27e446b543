//! The last way to a `Local` Service on this node stays until another node's has had the time to arrive.
//!
//! An endpoint that is ending still serves for a while, and the API may say at the same moment that it ends and that one
//! on another node is ready. A node that let go at once would withdraw the only route that the routers have, since the
//! other node's is on its way. Nobody tells a node that its routers have another one: behind a router of another AS
//! they keep it to themselves. So the route stays for a time that an announcement takes many times over. That time runs
//! from when another node's endpoint is ready: where one has been for long, a node lets go at once. It ends
//! sooner if the endpoint ends to serve, and is not made for the occasion: an agent that starts has none to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;

/// How long after another node's endpoint is ready: two watches, two plans and two announcements take a tenth of it,
/// and an endpoint that is ending is usually given thirty seconds.
const ARRIVES: Duration = Duration::from_secs(3);

/// The routes that are held.
#[derive(Clone, Debug, Default)]
pub struct Lingering {
    /// Those of the Services with an endpoint here, and since when there is a ready one elsewhere.
    since: BTreeMap<IpNet, Instant>,
    /// When the first of those that are held need not be any longer.
    ends: Option<Instant>,
}

impl Lingering {
    /// What is to be held now: of `ending`, the addresses of Services whose endpoint here is ending while another
    /// one is ready, those that are `announced`, unless that one has been ready for long enough. It is in `relieved`,
    /// as all with an endpoint here are while there is a ready one elsewhere.
    pub fn held(
        &mut self,
        now: Instant,
        ending: &BTreeSet<IpNet>,
        relieved: &BTreeSet<IpNet>,
        announced: impl Fn(&IpNet) -> bool,
    ) -> BTreeSet<IpNet> {
        self.since.retain(|prefix, _| relieved.contains(prefix));
        for prefix in relieved {
            self.since.entry(*prefix).or_insert(now);
        }
        let until = |prefix: &IpNet| self.since.get(prefix).map(|since| *since + ARRIVES);
        let held = ending.iter().filter(|prefix| announced(prefix));
        let held = held.filter_map(|prefix| Some((*prefix, until(prefix).filter(|until| now < *until)?)));
        let held: BTreeMap<IpNet, Instant> = held.collect();
        self.ends = held.values().min().copied();
        held.into_keys().collect()
    }

    /// When the next of what is held need not be held any longer.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> BTreeSet<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_route_is_held_until_another_one_has_had_the_time_to_arrive() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        let ending = prefixes(&["192.0.2.1/32"]);
        assert_eq!(lingering.held(now, &ending, &ending, |_| true), ending);
        assert_eq!(lingering.poll_timeout(), Some(now + ARRIVES));
        // Whatever else makes a new plan begins no new time.
        let later = now + ARRIVES.mul_f64(0.9);
        assert_eq!(lingering.held(later, &ending, &ending, |_| true), ending);
        assert_eq!(lingering.held(now + ARRIVES, &ending, &ending, |_| true), prefixes(&[]));
        assert_eq!(lingering.poll_timeout(), None);
        assert_eq!(
            lingering.held(now + 2 * ARRIVES, &ending, &ending, |_| false),
            prefixes(&[]),
            "it is gone for good"
        );
    }

    #[test]
    fn a_route_goes_at_once_when_another_one_has_long_arrived() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        let (none, address) = (prefixes(&[]), prefixes(&["192.0.2.1/32"]));
        assert_eq!(lingering.held(now, &none, &address, |_| true), none, "its endpoint here is ready");
        assert_eq!(lingering.held(now + ARRIVES, &address, &address, |_| true), none);
        assert_eq!(lingering.poll_timeout(), None);
    }

    #[test]
    fn a_route_is_held_for_what_is_left_of_the_time_that_another_one_needs() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        let address = prefixes(&["192.0.2.1/32"]);
        lingering.held(now, &prefixes(&[]), &address, |_| true);
        assert_eq!(lingering.held(now + ARRIVES / 3, &address, &address, |_| true), address);
        assert_eq!(lingering.poll_timeout(), Some(now + ARRIVES));
    }

    #[test]
    fn the_time_begins_again_when_the_other_endpoint_was_away() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        let (none, address) = (prefixes(&[]), prefixes(&["192.0.2.1/32"]));
        lingering.held(now, &none, &address, |_| true);
        lingering.held(now + ARRIVES, &none, &none, |_| true);
        assert_eq!(lingering.held(now + 2 * ARRIVES, &address, &address, |_| true), address);
    }

    #[test]
    fn a_route_goes_at_once_when_its_endpoint_ends_to_serve() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        let both = prefixes(&["192.0.2.1/32", "192.0.2.2/32"]);
        lingering.held(now, &both, &both, |_| true);
        let left = prefixes(&["192.0.2.2/32"]);
        assert_eq!(lingering.held(now, &left, &left, |_| true), left);
    }

    #[test]
    fn what_was_not_announced_is_not_held() {
        let mut lingering = Lingering::default();
        let ending = prefixes(&["192.0.2.1/32"]);
        let held = lingering.held(Instant::now(), &ending, &ending, |_| false);
        assert_eq!(held, prefixes(&[]));
    }
}
