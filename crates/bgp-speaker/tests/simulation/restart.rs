//! A graceful restart in a network at rest: no kernel may lose a route for it (RFC 4724).

use std::time::Duration;

use muslin_bgp_speaker::session::Stop;
use muslin_bgp_speaker::speaker::Start;

use crate::invariants::{stale_routes_at, stale_routes_out_of_place};
use crate::network::USUALLY_SLOW;
use crate::topology::Peering;
use crate::world::World;

impl World {
    /// Restarts a speaker whose peers all keep its routes meanwhile; says what kernels forgot meanwhile.
    pub(crate) fn restart_gracefully(&mut self) -> Vec<String> {
        let hosts = self.originated.len();
        let first = self.network.random.below(hosts);
        let candidates = (0..hosts).map(|host| (first + host) % hosts);
        let Some(host) = candidates.into_iter().find(|host| self.is_kept_by_all(*host)) else {
            return Vec::new();
        };
        self.tell(&format!("host {host} restarts gracefully"));
        self.network.on(host, |speaker, now| speaker.stop(now, &Stop::Restart));
        self.network.crash(host);
        // What the speaker tells its own kernel while it stops is not passed on.
        self.network.forgotten.clear();
        let away = self.network.random.time(Duration::ZERO, Duration::from_secs(3));
        self.network.run(away);
        // Both sides dial: slow packets are what lets each establish another connection.
        self.network.slow = 40;
        self.start(host, Start::ROUTES_KEPT);
        self.network.run(Duration::from_secs(3));
        self.network.slow = USUALLY_SLOW;
        self.network.run(Duration::from_secs(37));
        let forgotten = self.network.forgotten.iter();
        forgotten.map(|(other, prefix)| format!("{other} forgot {prefix} while {host} restarted")).collect()
    }

    /// A speaker goes and stays away for longer than anybody waits for it, then comes back; says what was used
    /// or passed on meanwhile that should not have been, and what was left in the end.
    pub(crate) fn outlive(&mut self) -> Vec<String> {
        let host = self.network.random.below(self.originated.len());
        self.tell(&format!("host {host} stays away"));
        self.network.crash(host);
        let mut found = Vec::new();
        for _ in 0..24 {
            self.network.run(Duration::from_secs(5));
            found.extend(stale_routes_out_of_place(self));
        }
        found.extend(stale_routes_at(self, host));
        self.start(host, Start::Fresh);
        self.network.run(Duration::from_secs(40));
        found
    }

    fn is_kept_by_all(&self, host: usize) -> bool {
        self.sessions_of(host).all(|peering| peering.restart.is_some())
    }

    fn sessions_of(&self, host: usize) -> impl Iterator<Item = &Peering> {
        let peerings = self.topology.peerings.iter();
        peerings.filter(move |peering| {
            peering.ends.contains(&host) && peering.sides.iter().all(|side| !side.absent)
        })
    }
}
