use super::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const HARDWARE: HardwareAddress = [2, 0, 0, 0, 0, 1];

/// A link and the time on it.
struct Bench {
    link: Link,
    now: Instant,
    sent: Vec<(Instant, Message)>,
    /// Advertisements to one router alone.
    told: Vec<(Instant, Ipv6Addr)>,
    changes: usize,
}

impl Bench {
    fn down(seed: u64) -> Self {
        let link = Link::new(Some(HARDWARE), seed);
        Self { link, now: Instant::now(), sent: Vec::new(), told: Vec::new(), changes: 0 }
    }

    fn up() -> Self {
        let mut bench = Self::down(7);
        bench.input(Input::Up);
        bench
    }

    fn input(&mut self, input: Input<'_>) {
        self.link.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Send { to, message: Message::Advertisement(_) } if to != ALL_NODES => {
                    self.told.push((self.now, to));
                }
                Output::Send { to, message } => {
                    let wanted = match message {
                        Message::Solicitation(_) => ALL_ROUTERS,
                        Message::Advertisement(_) => ALL_NODES,
                    };
                    assert_eq!(to, wanted);
                    self.sent.push((self.now, message));
                }
                Output::NeighbourChanged => self.changes += 1,
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.link.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "a timer of the past");
            self.now = at;
            self.link.handle_timeout(at);
            self.drain();
            assert!(self.link.poll_timeout() != Some(at), "a timer that is not served");
        }
        self.now = end;
    }

    fn receive(&mut self, source: Ipv6Addr, message: Message) {
        let mut octets = Vec::new();
        message.encode(&mut octets);
        self.input(Input::Received(Received { source, hop_limit: 255, octets: &octets }));
    }

    fn hear(&mut self, source: Ipv6Addr) {
        self.receive(source, Message::Advertisement(Advertisement::default()));
    }

    fn hear_from(&mut self, source: Ipv6Addr, hardware: HardwareAddress) {
        let advertisement = Advertisement { source: Some(hardware), ..Advertisement::default() };
        self.receive(source, Message::Advertisement(advertisement));
    }

    fn asked(&self) -> Vec<Instant> {
        let asked = self.sent.iter().filter(|(_, message)| matches!(message, Message::Solicitation(_)));
        asked.map(|(at, _)| *at).collect()
    }

    fn advertised(&self) -> Vec<Instant> {
        let told = self.sent.iter().filter(|(_, message)| matches!(message, Message::Advertisement(_)));
        told.map(|(at, _)| *at).collect()
    }
}

/// A container's interface got another Ethernet address after it was there, and routers sent to the one that was gone.
#[test]
fn an_interface_with_a_new_ethernet_address_is_advertised_with_it_at_once() {
    let new = [2, 0, 0, 0, 0, 9];
    let mut bench = Bench::up();
    bench.pass(Duration::from_mins(5));
    bench.sent.clear();
    bench.link.set_hardware(bench.now, Some(new));
    bench.drain();
    let Some((at, Message::Advertisement(told))) = bench.sent.first() else { panic!("nothing was said") };
    assert_eq!((*at, told.source), (bench.now, Some(new)));
    bench.sent.clear();
    bench.link.set_hardware(bench.now, Some(new));
    bench.drain();
    assert!(bench.sent.is_empty(), "nothing is new");

    let mut down = Bench::down(1);
    down.link.set_hardware(down.now, Some(new));
    down.drain();
    assert!(down.sent.is_empty(), "nobody can hear it");
    down.input(Input::Up);
    let sources = down.sent.iter().map(|(_, message)| match message {
        Message::Advertisement(said) => said.source,
        Message::Solicitation(said) => said.source,
    });
    assert!(sources.eq([Some(new); 2]));
}

#[test]
fn nothing_is_sent_before_the_link_is_up() {
    let mut bench = Bench::down(1);
    bench.receive(OTHER, Message::Solicitation(Solicitation::default()));
    bench.hear(ROUTER);
    bench.pass(Duration::from_mins(5));
    assert!(bench.sent.is_empty());
    assert_eq!(bench.link.neighbour(), Some(ROUTER), "what is heard is heard");
}

#[test]
fn a_link_that_comes_up_asks_and_tells_at_once_and_quickly_again() {
    let mut bench = Bench::up();
    let begun = bench.now;
    assert_eq!((bench.asked(), bench.advertised()), (vec![begun], vec![begun]));
    bench.pass(LEAST_DELAY * 2);
    assert_eq!(bench.advertised().len(), 3);
}

/// RFC 4861 §6.2.1: a host must not take a BGP speaker for its way out.
#[test]
fn we_are_nobodys_default_router() {
    let mut bench = Bench::up();
    bench.pass(Duration::from_mins(10));
    for (_, message) in &bench.sent {
        if let Message::Advertisement(advertisement) = message {
            let said_nothing = Advertisement { source: Some(HARDWARE), ..Advertisement::default() };
            assert_eq!(*advertisement, said_nothing);
            assert_eq!(advertisement.lifetime, 0);
        }
    }
}

#[test]
fn advertisements_are_periodic_with_jitter_and_never_too_dense() {
    let mut pauses = Vec::new();
    for seed in 0..20 {
        let mut bench = Bench::down(seed);
        bench.input(Input::Up);
        for _ in 0..40 {
            bench.receive(OTHER, Message::Solicitation(Solicitation::default()));
            bench.pass(Duration::from_millis(700));
        }
        bench.pass(Duration::from_mins(3));
        let told = bench.advertised();
        pauses.extend(told.windows(2).map(|pair| pair[1] - pair[0]));
    }
    assert!(pauses.iter().all(|pause| (LEAST_DELAY..=LONGEST_INTERVAL).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause > LONGEST_INTERVAL * 9 / 10));
    assert!(pauses.iter().collect::<std::collections::BTreeSet<_>>().len() > 100, "jitter");
}

#[test]
fn a_solicitation_is_answered_soon() {
    let mut bench = Bench::up();
    bench.pass(Duration::from_mins(1));
    let told = bench.advertised().len();
    // Whatever is planned, more than the least delay has passed since the last one after this.
    let last = *bench.advertised().last().unwrap();
    bench.pass((last + LEAST_DELAY).saturating_duration_since(bench.now));
    let begun = bench.now;
    bench.receive(Ipv6Addr::UNSPECIFIED, Message::Solicitation(Solicitation::default()));
    bench.pass(LONGEST_ANSWER_DELAY);
    assert_eq!(bench.advertised().len(), told + 1, "{begun:?}");
}

#[test]
fn a_router_that_appears_is_told_of_us_at_once() {
    let mut bench = Bench::up();
    bench.pass(LEAST_DELAY * 2);
    let told = bench.advertised().len();
    bench.hear(ROUTER);
    assert_eq!((bench.link.neighbour(), bench.changes), (Some(ROUTER), 1));
    bench.pass(LONGEST_ANSWER_DELAY);
    // Everybody was told a moment ago.
    assert_eq!(bench.advertised().len(), told);
    assert_eq!(bench.told.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [ROUTER]);
}

#[test]
fn a_flood_of_questions_is_answered_now_and_then() {
    let mut bench = Bench::up();
    for number in 0..10_000_u16 {
        let asker = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
        bench.receive(asker, Message::Solicitation(Solicitation::default()));
        bench.pass(Duration::from_millis(1));
    }
    assert!(bench.told.len() + bench.advertised().len() < 100, "{}", bench.told.len());
}

#[test]
fn rfc8950_2_a_neighbour_with_a_new_address_replaces_itself_at_once() {
    let mut bench = Bench::up();
    bench.hear_from(ROUTER, [2, 9, 9, 9, 9, 9]);
    bench.hear_from(OTHER, [2, 9, 9, 9, 9, 9]);
    assert_eq!((bench.link.neighbour(), bench.changes), (Some(OTHER), 2));
}

#[test]
fn rfc8950_2_a_neighbour_that_was_replaced_is_found_out_by_asking() {
    let mut bench = Bench::up();
    bench.hear_from(ROUTER, [2, 9, 9, 9, 9, 9]);
    bench.pass(Duration::from_secs(20));
    let asked = bench.asked().len();
    bench.hear_from(OTHER, [2, 8, 8, 8, 8, 8]);
    assert_eq!(bench.asked().len(), asked + 1);
    assert_eq!(bench.link.neighbour(), Some(ROUTER), "not yet");
    bench.pass(ANSWER);
    assert_eq!((bench.link.neighbour(), bench.changes), (Some(OTHER), 2));
}

#[test]
fn of_two_routers_the_first_stays_while_it_answers() {
    let mut bench = Bench::up();
    bench.hear(ROUTER);
    for _ in 0..200 {
        bench.hear(OTHER);
        bench.pass(Duration::from_secs(1));
        bench.hear(ROUTER);
        bench.pass(Duration::from_secs(9));
    }
    assert_eq!((bench.link.neighbour(), bench.changes), (Some(ROUTER), 1));
    // Asked once when the other one appeared; otherwise both are heard all the time.
    assert!(bench.asked().len() <= 3, "{}", bench.asked().len());
}

#[test]
fn a_restart_or_a_flap_costs_no_neighbour_and_long_silence_does() {
    let mut bench = Bench::up();
    bench.hear(ROUTER);
    bench.input(Input::Down);
    bench.pass(Duration::from_mins(2));
    bench.input(Input::Up);
    assert_eq!((bench.link.neighbour(), bench.changes), (Some(ROUTER), 1));
    bench.pass(MEMORY);
    assert_eq!((bench.link.neighbour(), bench.changes), (None, 2));
}

#[test]
fn silence_is_asked_about_ever_more_rarely() {
    let mut bench = Bench::up();
    bench.pass(Duration::from_mins(10));
    let pauses: Vec<_> = bench.asked().windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(pauses[..6], [4, 8, 16, 32, 60, 60]);
}

#[test]
fn what_may_be_from_elsewhere_is_not_believed() {
    let mut octets = Vec::new();
    Message::Advertisement(Advertisement::default()).encode(&mut octets);
    let mut asking = Vec::new();
    Message::Solicitation(Solicitation { source: Some(HARDWARE) }).encode(&mut asking);
    let global = "2001:db8::1".parse().unwrap();
    let cases = [
        (Received { source: ROUTER, hop_limit: 254, octets: &octets }, Refused::HopLimit(254)),
        (Received { source: global, hop_limit: 255, octets: &octets }, Refused::Source(global)),
        (Received { source: Ipv6Addr::UNSPECIFIED, hop_limit: 255, octets: &asking }, Refused::Anonymous),
        (
            Received { source: ROUTER, hop_limit: 255, octets: &octets[..12] },
            Refused::Malformed(Malformed::Short(12)),
        ),
    ];
    for (received, refused) in cases {
        let mut bench = Bench::up();
        let now = bench.now;
        assert_eq!(bench.link.try_input(now, Input::Received(received)), Err(refused));
        assert_eq!(bench.link.neighbour(), None);
    }
}

#[test]
fn a_flood_of_routers_is_bounded() {
    let mut bench = Bench::up();
    bench.hear(ROUTER);
    for number in 2..2000_u16 {
        bench.hear(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number));
    }
    assert_eq!(bench.link.routers.len(), MOST_ROUTERS);
    bench.hear(ROUTER);
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.link.neighbour(), Some(ROUTER));
    assert!(bench.advertised().len() <= 4);
}
