//! From the configuration in force to the wanted one, with the least disturbance.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::peer::{Peer, Standing, min_ttl, settings};
use super::peers::scope;
use super::{ListenPlan, Output, Speaker};
use crate::config::{
    ConfigError, ConnectMode, ListenRange, PeerConfig, PeerKey, SessionConfig, Shared, SpeakerConfig,
};
use crate::rib::{PeerIndex, Refusal};
use crate::session::Stop;

impl Speaker {
    /// Makes `wanted` the configuration in force. Peers that are gone get Cease/3, and those that are to see us at
    /// another address; sessions whose negotiated parameters no longer fit are reset by Cease/6; everything else,
    /// policies included, changes under running sessions.
    ///
    /// # Errors
    /// A configuration that cannot be: the one in force stays, untouched.
    pub fn configure(&mut self, now: Instant, mut wanted: SpeakerConfig) -> Result<(), ConfigError> {
        wanted.validate()?;
        wanted.share_policies(&self.config);
        let previous = std::mem::replace(&mut self.config, wanted);
        self.configure_rib(now, &previous);
        self.configure_listening(&previous);
        self.remove_peers(now);
        self.configure_ranges(now);
        self.configure_peers(now);
        self.apply_rules(now, &self.peers.indexes());
        self.watch_initial_sync(now);
        Ok(())
    }

    fn configure_listening(&mut self, previous: &SpeakerConfig) {
        let plan = listen_plan(&self.config);
        if plan != listen_plan(previous) {
            self.outputs.push_back(Output::Listen(plan));
        }
    }

    /// Ends peers that are no longer wanted, or wanted somewhere else.
    fn remove_peers(&mut self, now: Instant) {
        let wanted: HashMap<&PeerKey, &PeerConfig> =
            self.config.peers.iter().map(|peer| (&peer.key, peer)).collect();
        let named: HashSet<_> =
            self.config.peers.iter().map(|peer| (peer.address, &peer.interface)).collect();
        let ranges: HashSet<_> = self.config.listen_ranges.iter().map(|range| &range.key).collect();
        let leaving: Vec<PeerIndex> = self
            .peers
            .iter()
            .filter(|(_, peer)| match &peer.range {
                // A peer that is now known by address leaves its range.
                Some(range) => !ranges.contains(range) || named.contains(&(peer.address, &peer.interface)),
                None => !wanted.get(&peer.key).is_some_and(|config| peer.is_at(config)),
            })
            .map(|(index, _)| index)
            .collect();
        for index in leaving {
            self.remove_peer(now, index);
        }
    }

    fn remove_peer(&mut self, now: Instant, index: PeerIndex) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.session.stop(now, &Stop::Removed);
            peer.standing = Standing::Removed;
            self.settle(now, index);
        }
    }

    fn configure_peers(&mut self, now: Instant) {
        for position in 0..self.config.peers.len() {
            let config = self.config.peers[position].clone();
            match self.peers.find_by_key(&config.key) {
                Some(index) => self.change_peer(now, index, config.session, config.cause),
                None => self.add_peer(now, &config),
            }
        }
    }

    fn add_peer(&mut self, now: Instant, config: &PeerConfig) {
        let mut peer = Peer::new(now, &self.config, config);
        peer.session.set_own_restart(self.start.in_open(self.deferral.is_some()));
        let starts = !peer.is_shut_down();
        let Some(index) = self.peers.insert(peer) else { return };
        if starts && let Some(peer) = self.peers.get_mut(index) {
            peer.session.start(now);
        }
        self.settle(now, index);
    }

    fn configure_ranges(&mut self, now: Instant) {
        let ranges = self.config.listen_ranges.clone();
        self.peers.set_ranges(&ranges);
        for range in &ranges {
            for index in self.peers.indexes() {
                if self.peers.get(index).is_some_and(|peer| peer.range.as_ref() == Some(&range.key)) {
                    self.change_peer(now, index, range_session(range).into(), range.cause.clone());
                }
            }
        }
    }

    /// A peer out of a range that has room for it.
    pub(super) fn add_range_peer(&mut self, now: Instant, remote: SocketAddr) -> Option<PeerIndex> {
        let range = self.peers.range_with_room(remote.ip())?;
        let address = remote.ip().to_canonical();
        let interface = scope(remote).map(|number| {
            let name = self.rib.resolver().interface_name(number);
            name.unwrap_or_else(|| number.to_string().into())
        });
        let place = interface.as_ref().map(|name| format!("%{name}")).unwrap_or_default();
        let config = PeerConfig {
            key: PeerKey(format!("{}/{address}{place}", range.key).into()),
            interface,
            session: range_session(range).into(),
            cause: range.cause.clone(),
            ..PeerConfig::new(address, range.session.clone())
        };
        let mut peer = Peer::new(now, &self.config, &config);
        peer.range = Some(range.key.clone());
        peer.session.set_own_restart(self.start.in_open(self.deferral.is_some()));
        peer.session.start(now);
        self.peers.insert(peer)
    }

    fn change_peer(
        &mut self,
        now: Instant,
        index: PeerIndex,
        wanted: Shared<SessionConfig>,
        cause: crate::config::Cause,
    ) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.cause = cause;
        let settings = settings(&self.config, &wanted, peer.address);
        let old_options = peer.socket_options();
        let previous = std::mem::replace(&mut peer.config, wanted);
        let session_changed = settings != *peer.session.settings();
        if previous == peer.config && !session_changed {
            return;
        }
        peer.import = peer.config.import.clone();
        peer.export = peer.config.export.clone();
        if peer.leaves_address(&previous) {
            peer.session.stop(now, &Stop::AddressChanged);
        }
        peer.session.reconfigure(now, settings);
        if let Some(text) = peer.config.shutdown.clone() {
            if previous.shutdown.is_none() {
                peer.session.stop(now, &Stop::Shutdown(text));
            }
        } else if previous.shutdown.is_some() && !peer.is_shut_down() {
            peer.session.start(now);
        } else if peer.differs_in_view(&previous) && peer.session.established_connection().is_some() {
            peer.session.stop(now, &Stop::ConfigurationChanged);
        }
        if peer.config.max_prefixes != previous.max_prefixes {
            peer.session.forgive_limit(now);
            if self.rib.refusals(index).iter().any(|(refusal, _)| refusal == Refusal::PrefixLimit) {
                // What was discarded is not kept: the peer has to send it again.
                self.request_routes(index);
            }
        }
        let Some(peer) = self.peers.get_mut(index) else { return };
        let options = peer.socket_options();
        if options != old_options {
            let tune = |conn| Output::Tune { conn, options: options.clone() };
            self.outputs.extend(peer.session.connections().map(tune));
        }
        self.settle(now, index);
    }
}

impl Peer {
    /// Whether the session is to be from another address than the one it has.
    fn leaves_address(&self, previous: &SessionConfig) -> bool {
        let has = self.session.addresses().map(|(local, _)| local.ip());
        let wanted = self.config.local_address;
        wanted != previous.local_address && wanted.is_some() && has.is_some_and(|has| wanted != Some(has))
    }

    /// Whether it is where the configuration wants it.
    fn is_at(&self, config: &PeerConfig) -> bool {
        (self.address, &self.interface, self.port) == (config.address, &config.interface, config.port)
    }
}

fn range_session(range: &ListenRange) -> SessionConfig {
    SessionConfig { connect: ConnectMode::Passive, ..range.session.clone() }
}

fn listen_plan(config: &SpeakerConfig) -> ListenPlan {
    let peers = config.peers.iter().map(|peer| (IpNet::from(peer.address), &*peer.session));
    let ranges = config.listen_ranges.iter().map(|range| (range.range, &range.session));
    let sessions: Vec<_> = peers.chain(ranges).collect();
    let keys = sessions.iter().filter_map(|(from, session)| Some((*from, session.password.clone()?)));
    // The listener is shared: it drops only what nobody may send.
    let least = sessions.iter().map(|(_, session)| min_ttl(session.ttl).unwrap_or(0)).min();
    let ao_keys = sessions.iter().filter_map(|(from, session)| Some((*from, session.tcp_ao.clone()?)));
    let mut devices: Vec<_> = sessions.iter().filter_map(|(_, session)| session.device.clone()).collect();
    devices.sort_unstable();
    devices.dedup();
    ListenPlan {
        addresses: config.listen.clone(),
        devices,
        ao_keys: ao_keys.collect(),
        keys: keys.collect(),
        min_ttl: least.filter(|ttl| *ttl > 0),
    }
}
