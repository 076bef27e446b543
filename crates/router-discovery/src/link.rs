//! Router discovery on one interface, without I/O: when to advertise, when to ask, and who is there.
//!
//! A point-to-point link has one router at its other end, and that is the neighbour. Where several are heard, the
//! one that was first stays for as long as it answers: a neighbour that was replaced, or that has a new address, is
//! found out by asking, not by waiting for its time to run out.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use crate::wire::{ALL_NODES, ALL_ROUTERS, Advertisement, HardwareAddress, Malformed, Message, Solicitation};

/// `MaxRtrAdvInterval`, as other BGP speakers have it on unnumbered links; RFC 4861 §6.2.1 allows 4 s to 1800 s.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);
/// `MinRtrAdvInterval`: a third of the longest.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(3300);
/// `MAX_INITIAL_RTR_ADVERTISEMENTS` (RFC 4861 §10).
const INITIAL_ADVERTISEMENTS: u8 = 3;
/// `MIN_DELAY_BETWEEN_RAS`.
const LEAST_DELAY: Duration = Duration::from_secs(3);
/// `MAX_RA_DELAY_TIME`.
const LONGEST_ANSWER_DELAY: Duration = Duration::from_millis(500);
/// `RTR_SOLICITATION_INTERVAL`; without an answer it doubles (RFC 7559 §2) …
const FIRST_ASKING: Duration = Duration::from_secs(4);
/// … up to this, which is also how long a neighbour may be silent before it is asked.
const LAST_ASKING: Duration = Duration::from_mins(1);
/// In this time a router that is there has answered: [`LONGEST_ANSWER_DELAY`] and [`LEAST_DELAY`], and some.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a silent neighbour is remembered, as long as the usual lifetime of a router (`AdvDefaultLifetime`): a
/// restart of its control plane must not cost a session that graceful restart keeps.
const MEMORY: Duration = Duration::from_mins(30);
/// Most routers of one link that are remembered.
const MOST_ROUTERS: usize = 8;

/// Something that happened on the interface.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// It can send now: it has carrier and a link-local address.
    Up,
    /// It cannot any more. The neighbour is not forgotten: the same one may be back.
    Down,
    /// An ICMPv6 message came.
    Received(Received<'a>),
}

/// An ICMPv6 message and what its IPv6 header said.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Hop limit on arrival.
    pub hop_limit: u8,
    /// The message from its type on.
    pub octets: &'a [u8],
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this with hop limit 255.
    Send {
        /// Where to.
        to: Ipv6Addr,
        /// What.
        message: Message,
    },
    /// [`Link::neighbour`] is another one now.
    NeighbourChanged,
}

/// Why a message was not looked at (RFC 4861 §6.1.1, §6.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It may have been forwarded, so it may be from anywhere.
    #[error("hop limit {0} is not 255")]
    HopLimit(u8),
    /// Routers advertise by their link-local address.
    #[error("an advertisement from {0}, which is not link-local")]
    Source(Ipv6Addr),
    /// Who has no address yet has no Ethernet address to tell either.
    #[error("a solicitation from nowhere with a link-layer address")]
    Anonymous,
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The machine of one interface.
#[derive(Debug)]
pub struct Link {
    hardware: Option<HardwareAddress>,
    random: u64,
    up: bool,
    /// When to advertise next.
    advertise: Option<Instant>,
    advertised: Option<Instant>,
    /// Who is told of us alone, and when.
    answer: Option<(Instant, Ipv6Addr)>,
    /// Advertisements of the first, quick ones that are left.
    initial: u8,
    /// When to ask next, and how long to wait for an answer then.
    ask: Option<(Instant, Duration)>,
    routers: Vec<Router>,
    neighbour: Option<Ipv6Addr>,
    trial: Option<Trial>,
    outputs: VecDeque<Output>,
}

/// A router that was heard.
#[derive(Clone, Copy, Debug)]
struct Router {
    address: Ipv6Addr,
    hardware: Option<HardwareAddress>,
    heard: Instant,
}

/// The neighbour was asked whether it is still there, since another router appeared.
#[derive(Clone, Copy, Debug)]
struct Trial {
    begun: Instant,
}

impl Link {
    /// A machine for an interface that is down. `hardware` is its Ethernet address; `seed` jitters its timers.
    pub fn new(hardware: Option<HardwareAddress>, seed: u64) -> Self {
        Self {
            hardware,
            random: seed,
            up: false,
            advertise: None,
            advertised: None,
            answer: None,
            initial: 0,
            ask: None,
            routers: Vec::new(),
            neighbour: None,
            trial: None,
            outputs: VecDeque::new(),
        }
    }

    /// The interface has this Ethernet address from now on.
    ///
    /// Neighbours keep what they are told (RFC 4861 §7.2.6), so they are told at once and a few times more: packets to
    /// an address that is gone are lost.
    pub fn set_hardware(&mut self, now: Instant, hardware: Option<HardwareAddress>) {
        if self.hardware == hardware {
            return;
        }
        self.hardware = hardware;
        if self.up {
            self.initial = INITIAL_ADVERTISEMENTS;
            self.send_advertisement(now);
        }
    }

    /// The link-local address of the router at the other end.
    pub fn neighbour(&self) -> Option<Ipv6Addr> {
        self.neighbour
    }

    /// Takes in what happened; a message that may not be believed is refused with the reason.
    ///
    /// # Errors
    /// For received messages only; nothing has changed then.
    pub fn try_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), Refused> {
        match input {
            Input::Up => self.rise(now),
            Input::Down => {
                self.up = false;
                (self.advertise, self.answer, self.ask, self.trial) = (None, None, None, None);
            }
            Input::Received(received) => match received.judge()? {
                Message::Solicitation(_) => self.answer_soon(now, received.source),
                Message::Advertisement(Advertisement { source, .. }) => {
                    self.hear(now, Router { address: received.source, hardware: source, heard: now });
                }
            },
        }
        Ok(())
    }

    /// Takes in what happened; messages that may not be believed change nothing.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let _refused = self.try_input(now, input);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.advertise.is_some_and(|at| at <= now) {
            self.send_advertisement(now);
        }
        if let Some((at, to)) = self.answer
            && at <= now
        {
            self.answer = None;
            self.outputs.push_back(Output::Send { to, message: self.advertisement() });
        }
        if let Some((at, pause)) = self.ask
            && at <= now
        {
            self.send_solicitation();
            self.ask = Some((now + pause, (pause * 2).min(LAST_ASKING)));
        }
        if let Some(Trial { begun }) = self.trial
            && begun + ANSWER <= now
        {
            self.trial = None;
            let neighbour = self.neighbour;
            self.forget(|router| Some(router.address) == neighbour && router.heard < begun);
        }
        self.forget(|router| router.heard + MEMORY <= now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let memory = self.routers.iter().map(|router| router.heard + MEMORY);
        let trial = self.trial.map(|trial| trial.begun + ANSWER);
        let answer = self.answer.map(|(at, _)| at);
        [self.advertise, answer, self.ask.map(|(at, _)| at), trial].into_iter().flatten().chain(memory).min()
    }

    fn rise(&mut self, now: Instant) {
        if self.up {
            return;
        }
        self.up = true;
        self.initial = INITIAL_ADVERTISEMENTS;
        self.send_solicitation();
        self.ask = Some((now + FIRST_ASKING, FIRST_ASKING * 2));
        self.send_advertisement(now);
    }

    /// RFC 4861 §6.2.6: after a random delay, to everybody; but to the asker alone, one at a time, when everybody
    /// was told a moment ago.
    fn answer_soon(&mut self, now: Instant, asker: Ipv6Addr) {
        if !self.up {
            return;
        }
        let soon = now + self.random_between(Duration::ZERO, LONGEST_ANSWER_DELAY);
        let earliest = self.advertised.map_or(soon, |last| last + LEAST_DELAY);
        if soon < earliest && asker.is_unicast_link_local() {
            self.answer.get_or_insert((soon, asker));
        } else {
            let at = soon.max(earliest);
            self.advertise = Some(self.advertise.map_or(at, |planned| planned.min(at)));
        }
    }

    fn hear(&mut self, now: Instant, router: Router) {
        let known = self.routers.iter().position(|known| known.address == router.address);
        match known {
            Some(place) => self.routers[place] = router,
            None if self.routers.len() < MOST_ROUTERS => {
                self.routers.push(router);
                // It may have come up after our last words.
                self.answer_soon(now, router.address);
            }
            None => return,
        }
        let neighbour = self.routers.iter().find(|known| Some(known.address) == self.neighbour).copied();
        match neighbour {
            None => self.choose(router.address),
            Some(neighbour) if neighbour.address == router.address => {
                if self.up {
                    self.ask = Some((now + LAST_ASKING, LAST_ASKING));
                }
            }
            Some(neighbour) if neighbour.hardware.is_some() && neighbour.hardware == router.hardware => {
                // The same router with another address.
                self.neighbour = Some(router.address);
                self.routers.retain(|known| known.address != neighbour.address);
                self.outputs.push_back(Output::NeighbourChanged);
            }
            Some(neighbour) => {
                let silent = now.saturating_duration_since(neighbour.heard) >= LAST_ASKING;
                if self.up && self.trial.is_none() && (known.is_none() || silent) {
                    self.trial = Some(Trial { begun: now });
                    self.send_solicitation();
                }
            }
        }
    }

    fn choose(&mut self, address: Ipv6Addr) {
        self.neighbour = Some(address);
        self.outputs.push_back(Output::NeighbourChanged);
    }

    /// Forgets routers; if the neighbour is among them, the one heard last takes its place.
    fn forget(&mut self, gone: impl Fn(&Router) -> bool) {
        self.routers.retain(|router| !gone(router));
        let there = |address| self.routers.iter().any(|router| router.address == address);
        if self.neighbour.is_some_and(|address| !there(address)) {
            self.neighbour =
                self.routers.iter().max_by_key(|router| router.heard).map(|router| router.address);
            self.outputs.push_back(Output::NeighbourChanged);
        }
    }

    fn send_advertisement(&mut self, now: Instant) {
        self.outputs.push_back(Output::Send { to: ALL_NODES, message: self.advertisement() });
        self.advertised = Some(now);
        self.initial = self.initial.saturating_sub(1);
        let pause = match self.initial {
            0 => self.random_between(SHORTEST_INTERVAL, LONGEST_INTERVAL),
            _ => LEAST_DELAY,
        };
        self.advertise = Some(now + pause);
    }

    fn advertisement(&self) -> Message {
        Message::Advertisement(Advertisement { source: self.hardware, ..Advertisement::default() })
    }

    fn send_solicitation(&mut self) {
        let solicitation = Solicitation { source: self.hardware };
        self.outputs
            .push_back(Output::Send { to: ALL_ROUTERS, message: Message::Solicitation(solicitation) });
    }

    /// `SplitMix64`: all that jitter needs.
    fn random_between(&mut self, least: Duration, most: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + most.saturating_sub(least) * ((bits >> 40) as u32) / (1 << 24)
    }
}

impl Received<'_> {
    /// RFC 4861 §6.1.1 and §6.1.2.
    fn judge(&self) -> Result<Message, Refused> {
        if self.hop_limit != u8::MAX {
            return Err(Refused::HopLimit(self.hop_limit));
        }
        let message = Message::parse(self.octets)?;
        match message {
            Message::Advertisement(_) if !self.source.is_unicast_link_local() => {
                Err(Refused::Source(self.source))
            }
            Message::Solicitation(Solicitation { source: Some(_) }) if self.source.is_unspecified() => {
                Err(Refused::Anonymous)
            }
            message => Ok(message),
        }
    }
}
