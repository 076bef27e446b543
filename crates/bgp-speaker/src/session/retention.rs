//! How long the routes of a lost session stay in use (RFC 4724 §4.2, RFC 9494 §4.2).
//!
//! ```text
//!   loss ──restart time──▶ long-lived families stay, marked ──stale time──▶ gone
//!                          the others go
//!   return, at any time ──▶ what the peer does not repeat goes at its End-of-RIB, or after a limit
//! ```

use std::time::{Duration, Instant};

use muslin_bgp_packet::{Family, FamilySet, LongLivedFamily};

use super::{Session, SessionOutput};

/// A peer that came back has this long to send all its routes again (RFC 4724 §4.2, last paragraph).
const LONGEST_STALE: Duration = Duration::from_mins(6);

/// How long a peer's routes may stay beyond its restart time (RFC 9494 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LongLived {
    ipv4: Option<Duration>,
    ipv6: Option<Duration>,
    /// Families in which the peer forwarded packets all the while (F bit).
    pub kept: FamilySet,
}

impl LongLived {
    /// What a capability says, no time longer than `most`.
    pub(super) fn read(families: &[LongLivedFamily], most: Duration) -> Self {
        families.iter().fold(Self::default(), |mut read, item| {
            let Some(family) = item.family.family() else { return read };
            let time = Duration::from_secs(item.stale_time.into()).min(most);
            *read.slot(family) = (!time.is_zero()).then_some(time);
            read.kept = if item.forwarding_kept { read.kept.with(family) } else { read.kept.without(family) };
            read
        })
    }

    /// The families with a time of their own.
    pub fn families(&self) -> FamilySet {
        Family::ALL.into_iter().filter(|family| self.time(*family).is_some()).collect()
    }

    /// The time of a family.
    pub fn time(&self, family: Family) -> Option<Duration> {
        match family {
            Family::Ipv4Unicast => self.ipv4,
            Family::Ipv6Unicast => self.ipv6,
        }
    }

    fn slot(&mut self, family: Family) -> &mut Option<Duration> {
        match family {
            Family::Ipv4Unicast => &mut self.ipv4,
            Family::Ipv6Unicast => &mut self.ipv6,
        }
    }
}

/// Routes of a lost session that are in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retained {
    families: FamilySet,
    /// When the restart time is over; `None` when it is, or the peer is back.
    restart: Option<Instant>,
    long_lived: LongLived,
    ends: [Option<Instant>; 2],
}

/// What the passing of time makes of retained routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Aged {
    long_lived: FamilySet,
    gone: FamilySet,
}

impl Retained {
    pub(super) fn new(now: Instant, families: FamilySet, time: Duration, long_lived: LongLived) -> Self {
        Self { families, restart: Some(now + time), long_lived, ends: [None; 2] }
    }

    fn age(&mut self, now: Instant) -> Aged {
        let mut aged = Aged::default();
        if self.restart.is_some_and(|until| until <= now) {
            self.restart = None;
            for family in self.families.iter() {
                let time = self.long_lived.time(family);
                self.ends[slot(family)] = time.map(|time| now + time);
                #[cfg(feature = "planted-bugs")]
                if crate::planted::is_planted(crate::planted::Bug::StaleTimeForgotten) {
                    self.ends[slot(family)] = None;
                }
                match time {
                    Some(_) => aged.long_lived = aged.long_lived.with(family),
                    None => aged.gone = aged.gone.with(family),
                }
            }
        }
        let ended = |family: &Family| self.ends[slot(*family)].is_some_and(|until| until <= now);
        aged.gone = self.families.iter().filter(ended).fold(aged.gone, FamilySet::with);
        self.families = aged.gone.iter().fold(self.families, FamilySet::without);
        aged
    }

    /// The peer is back.
    fn returned(&mut self, now: Instant) {
        self.restart = None;
        let latest = now + LONGEST_STALE;
        for family in self.families.iter() {
            let end = &mut self.ends[slot(family)];
            *end = Some(end.map_or(latest, |end| end.min(latest)));
        }
    }

    fn next(&self) -> Option<Instant> {
        let ends = self.families.iter().filter_map(|family| self.ends[slot(family)]);
        self.restart.into_iter().chain(ends).min()
    }

    /// When the last of the routes goes if nothing happens.
    fn last(&self) -> Option<Instant> {
        let end = |family| match self.restart {
            Some(restart) => Some(restart + self.long_lived.time(family).unwrap_or_default()),
            None => self.ends[slot(family)],
        };
        self.families.iter().filter_map(end).max()
    }
}

fn slot(family: Family) -> usize {
    match family {
        Family::Ipv4Unicast => 0,
        Family::Ipv6Unicast => 1,
    }
}

impl Session {
    /// The peer is back: what is stale still waits for its End-of-RIB, but not for ever.
    pub(super) fn limit_retention(&mut self, now: Instant) {
        if let Some(retained) = &mut self.retained {
            retained.returned(now);
        }
    }

    /// Does what the passing of time asks for.
    pub(super) fn age_retained(&mut self, now: Instant) {
        let Some(retained) = &mut self.retained else { return };
        let Aged { long_lived, gone } = retained.age(now);
        if retained.families.is_empty() {
            self.retained = None;
        }
        if !gone.is_empty() {
            self.outputs.push_back(SessionOutput::RetentionExpired(gone));
        }
        if !long_lived.is_empty() {
            self.outputs.push_back(SessionOutput::LongLived(long_lived));
        }
    }

    pub(super) fn forget_retention(&mut self) {
        if let Some(retained) = self.retained.take() {
            self.outputs.push_back(SessionOutput::RetentionExpired(retained.families));
        }
    }

    /// Nothing of an earlier session is kept in these families any more.
    pub fn end_retention(&mut self, families: FamilySet) {
        if let Some(retained) = &mut self.retained {
            retained.families = families.iter().fold(retained.families, FamilySet::without);
            if retained.families.is_empty() {
                self.retained = None;
            }
        }
    }

    pub(super) fn next_retention(&self) -> Option<Instant> {
        self.retained.as_ref().and_then(Retained::next)
    }

    pub(super) fn retained_until(&self) -> Option<Instant> {
        self.retained.as_ref().and_then(Retained::last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: FamilySet = FamilySet::EMPTY.with(Family::Ipv4Unicast);
    const IPV6: FamilySet = FamilySet::EMPTY.with(Family::Ipv6Unicast);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn item(family: Family, stale_time: u32) -> LongLivedFamily {
        LongLivedFamily { family: family.into(), forwarding_kept: false, stale_time }
    }

    #[test]
    fn rfc9494_1_after_the_restart_time_each_family_has_a_time_of_its_own() {
        let began = Instant::now();
        let long_lived = LongLived::read(&[item(Family::Ipv6Unicast, 100)], seconds(3600));
        let mut retained = Retained::new(began, FamilySet::ALL, seconds(30), long_lived);
        assert_eq!(retained.last(), Some(began + seconds(130)));
        assert_eq!(retained.age(began + seconds(29)), Aged::default());
        assert_eq!(retained.age(began + seconds(30)), Aged { long_lived: IPV6, gone: IPV4 });
        assert_eq!(retained.next(), Some(began + seconds(130)));
        assert_eq!(retained.age(began + seconds(130)), Aged { long_lived: FamilySet::EMPTY, gone: IPV6 });
        assert!(retained.families.is_empty());
    }

    #[test]
    fn rfc9494_1_our_own_stale_time_is_the_longest_and_none_is_none() {
        let both = [item(Family::Ipv4Unicast, 16_777_215), item(Family::Ipv6Unicast, 0)];
        let long_lived = LongLived::read(&both, seconds(60));
        assert_eq!(long_lived.time(Family::Ipv4Unicast), Some(seconds(60)));
        assert_eq!(long_lived.families(), IPV4);
    }

    #[test]
    fn rfc9494_1_a_return_never_lengthens_the_stale_time() {
        let began = Instant::now();
        let long_lived = LongLived::read(&[item(Family::Ipv4Unicast, 100)], seconds(3600));
        let mut retained = Retained::new(began, IPV4, Duration::ZERO, long_lived);
        assert_eq!(retained.age(began).long_lived, IPV4);
        retained.returned(began + seconds(50));
        assert_eq!(retained.next(), Some(began + seconds(100)));
        let mut retained = Retained::new(began, IPV4, seconds(30), LongLived::default());
        retained.returned(began + seconds(10));
        assert_eq!(retained.next(), Some(began + seconds(10) + LONGEST_STALE));
    }
}
