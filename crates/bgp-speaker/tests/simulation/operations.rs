//! What happens to a simulated network: operators, links and machines.

use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_speaker::Command;
use muslin_bgp_speaker::config::PeerKey;
use muslin_bgp_speaker::session::Stop;
use muslin_bgp_speaker::speaker::{Input, Start};

use crate::network::link;
use crate::random::Random;
use crate::topology::{Peering, Relation, Side};
use crate::world::{Origination, World, address, anycast, block};

/// Things that one seed does to its network.
const OPERATIONS: usize = 25;

/// Longer than any timer that is left to run out when everything works again: the hold time, what graceful
/// restart keeps, and the longest pause between attempts.
const QUIET: Duration = Duration::from_secs(90);

impl World {
    /// Lets a seed's worth of things happen.
    pub(crate) fn disturb(&mut self) {
        for _ in 0..OPERATIONS {
            let pause = match self.random().below(10) {
                0..5 => self.random().time(Duration::ZERO, Duration::from_millis(3)),
                5..8 => self.random().time(Duration::ZERO, Duration::from_secs(2)),
                _ => self.random().time(Duration::ZERO, Duration::from_secs(40)),
            };
            self.network.run(pause);
            self.operate();
        }
    }

    /// Repairs what is broken and takes back what keeps sessions down; policies, routes and external peers
    /// that were removed stay as they are.
    pub(crate) fn calm(&mut self) {
        self.tell("everything is repaired");
        self.network.thaw();
        for peering in self.topology.peerings.clone() {
            self.network.mend(link(peering.ends[0], peering.ends[1]));
        }
        for peering in &mut self.topology.peerings {
            for side in &mut peering.sides {
                side.shut_down = false;
                side.absent &= peering.relation == Relation::External;
            }
        }
        for host in 0..self.network.hosts.len() {
            if self.network.hosts[host].speaker.is_none() {
                self.start(host, Start::Fresh);
            }
            self.configure(host);
            self.route(host, |table| table.unreachable.clear());
            for key in self.peer_keys(host) {
                self.command(host, Command::Start { peer: key });
            }
        }
        self.network.run(QUIET);
    }

    fn operate(&mut self) {
        let host = self.any_host();
        let peerings = self.topology.peerings.len();
        let choice = self.random().below(peerings);
        let end = self.random().below(2);
        let peering = self.topology.peerings[choice].clone();
        let between = link(peering.ends[0], peering.ends[1]);
        let kind = self.random().below(100);
        match kind {
            0..14 => self.change_origination(host),
            14..19 => self.steal(host),
            19..27 => {
                self.tell(&format!("link {between:?} is cut"));
                self.network.cut(between);
            }
            27..38 => {
                self.tell(&format!("link {between:?} is mended"));
                self.network.mend(between);
            }
            38..43 => {
                let ends: &[usize] = [&[0, 1][..], &[0], &[1]][self.random().below(3)];
                self.tell(&format!("connections of {between:?} are reset at {ends:?}"));
                self.network.reset(between, ends);
            }
            43..52 => self.restart(host),
            52..58 => {
                let side = &mut self.topology.peerings[choice].sides[end];
                side.absent = !side.absent;
                let told = format!("peer of {} on {between:?}: absent {}", peering.ends[end], side.absent);
                self.tell(&told);
                self.configure(peering.ends[end]);
            }
            58..75 => self.change_policy(choice, end),
            75..84 => self.change_next_hops(host),
            84 => {
                let leaves = !self.leaving.remove(&host) && self.leaving.insert(host);
                self.tell(&format!("host {host} says that it leaves: {leaves}"));
                self.configure(host);
            }
            85 | 86 => {
                let pause = self.random().time(Duration::ZERO, Duration::from_secs(45));
                self.tell(&format!("host {host} stands still for {pause:?}, and its clock skips"));
                self.network.freeze(host, pause);
            }
            87..89 => {
                let side = &mut self.topology.peerings[choice].sides[end];
                side.shut_down = !side.shut_down;
                let told =
                    format!("peer of {} on {between:?}: shut down {}", peering.ends[end], side.shut_down);
                self.tell(&told);
                self.configure(peering.ends[end]);
            }
            _ => self.command_something(&peering, end),
        }
    }

    fn change_origination(&mut self, host: usize) {
        let prefix = if self.random().chance(35) && !self.topology.is_node(host) {
            anycast(self.random().below(3) as u8)
        } else {
            block(host, self.random().below(3) as u8)
        };
        if self.originated[host].contains_key(&prefix) && self.random().chance(60) {
            self.tell(&format!("host {host} withdraws {prefix}"));
            self.originated[host].remove(&prefix);
        } else {
            let with = self.origination();
            self.tell(&format!("host {host} originates {prefix} with {with:?}"));
            self.originated[host].insert(prefix, with);
        }
        self.configure(host);
    }

    fn origination(&mut self) -> Origination {
        let with_med = self.topology.compares_meds();
        let random = self.random();
        Origination {
            med: (with_med && random.chance(40)).then(|| random.below(3) as u32),
            local_pref: random.chance(30).then(|| 90 + random.below(3) as u32 * 10),
            community: random.chance(30).then(|| random.below(4) as u16),
        }
    }

    /// Somebody originates a block that a node owns, or stops doing so.
    fn steal(&mut self, thief: usize) {
        let owner = self.any_host();
        if owner == thief || !self.topology.is_node(owner) {
            return;
        }
        let prefix: IpNet = block(owner, 0);
        self.tell(&format!("host {thief} steals {prefix}, or gives it back"));
        if self.originated[thief].remove(&prefix).is_none() {
            self.originated[thief].insert(prefix, Origination::default());
        }
        self.configure(thief);
    }

    fn restart(&mut self, host: usize) {
        if self.network.hosts[host].speaker.is_none() {
            self.start_again(host);
            return;
        }
        let orderly = self.random().chance(40);
        self.tell(&format!("host {host} stops, orderly: {orderly}"));
        if orderly {
            let stop = if self.random().chance(50) { Stop::Restart } else { Stop::Removed };
            self.network.on(host, |speaker, now| speaker.stop(now, &stop));
        }
        self.network.crash(host);
        if self.random().chance(70) {
            let away = self.random().time(Duration::ZERO, Duration::from_secs(5));
            self.network.run(away);
            self.start_again(host);
        }
    }

    fn start_again(&mut self, host: usize) {
        let start = self.random().pick(&[Start::Fresh, Start::ROUTES_KEPT]);
        self.tell(&format!("host {host} starts: {start:?}"));
        self.start(host, start);
    }

    fn change_policy(&mut self, choice: usize, end: usize) {
        let peering = &self.topology.peerings[choice];
        let external = peering.relation == Relation::External;
        let unique = self.topology.has_unique_ases();
        let with_med = self.topology.compares_meds() && external;
        let host = peering.ends[end];
        let prefixes: Vec<IpNet> =
            (0..self.originated.len()).map(|host| block(host, 0)).chain([anycast(0)]).collect();
        let random = &mut self.network.random;
        let side = &mut self.topology.peerings[choice].sides[end];
        // Refusals and preferences within an AS may hide routes or never settle: that is configuration, not a fault.
        if external && random.chance(50) {
            let prefix = random.pick(&prefixes);
            let set = if random.chance(50) { &mut side.refused_in } else { &mut side.refused_out };
            if !set.remove(&prefix) {
                set.insert(prefix);
            }
        } else if external && unique && random.chance(40) {
            side.prepend = random.below(3) as u8;
        } else if with_med && random.chance(60) {
            side.med = random.chance(70).then(|| random.below(3) as u32);
        } else {
            side.community = random.chance(70).then(|| random.below(3) as u16);
        }
        let Peering { ends, sides, .. } = &self.topology.peerings[choice];
        let told = format!("host {host} towards {}: {:?}", ends[1 - end], sides[end]);
        self.tell(&told);
        self.configure(host);
    }

    fn change_next_hops(&mut self, host: usize) {
        let other = address(self.any_host());
        let lost = self.random().chance(50);
        let metric = self.random().below(3) as u32;
        self.tell(&format!("host {host} loses or finds the way to {other}, metric {metric}"));
        self.route(host, |table| {
            if lost && !table.unreachable.remove(&other) {
                table.unreachable.insert(other);
            }
            table.metrics.insert(other, metric);
        });
    }

    fn command_something(&mut self, peering: &Peering, end: usize) {
        let host = peering.ends[end];
        let Some(peer) = self.key_of(host, peering.ends[1 - end]) else { return };
        let text = || "simulation".into();
        let command = match self.random().below(6) {
            0 | 1 => Command::Refresh { peer },
            2 | 3 => Command::Resend { peer },
            4 => Command::Reset { peer, text: text() },
            _ => Command::Shutdown { peer, text: text() },
        };
        self.tell(&format!("host {host}: {command:?}"));
        self.command(host, command);
    }

    fn command(&mut self, host: usize, command: Command) {
        self.network.on(host, |speaker, now| speaker.handle_input(now, Input::Command(command)));
    }

    fn peer_keys(&self, host: usize) -> Vec<PeerKey> {
        let speaker = self.network.hosts[host].speaker.as_ref();
        let peers = speaker.map(|speaker| speaker.peers(self.network.now)).unwrap_or_default();
        peers.into_iter().map(|peer| peer.key).collect()
    }

    /// What a speaker calls another one.
    pub(crate) fn key_of(&self, host: usize, other: usize) -> Option<PeerKey> {
        let peers = self.network.hosts[host].speaker.as_ref()?.peers(self.network.now);
        peers.into_iter().find(|peer| peer.address == address(other)).map(|peer| peer.key)
    }

    fn any_host(&mut self) -> usize {
        self.network.random.below(self.originated.len())
    }

    fn random(&mut self) -> &mut Random {
        &mut self.network.random
    }

    pub(crate) fn tell(&self, what: &str) {
        if self.network.trace {
            println!("{:>12.6} == {what}", self.network.elapsed());
        }
    }
}

impl Side {
    /// Whether a route that stands on the other side may come over to this one.
    pub(crate) fn lets_in(&self, prefix: IpNet) -> bool {
        !self.refused_in.contains(&prefix)
    }

    /// Whether a route of this side may leave.
    pub(crate) fn lets_out(&self, prefix: IpNet) -> bool {
        !self.refused_out.contains(&prefix)
    }
}
