//! A BGP speaker inside another program: it announces one prefix to one peer and prints what it learns.
//!
//! ```text
//! cargo run -p muslin-bgp-speaker --example embed -- LOCAL_AS LOCAL_ADDRESS PEER_AS PEER_ADDRESS PREFIX
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use muslin_bgp_speaker::config::{
    OriginatedRoute, PeerConfig, Policy, RemoteAs, RouteSource, SessionConfig, SpeakerConfig,
};
use muslin_bgp_speaker::net::{FibUpdate, Shutdown, spawn};
use muslin_bgp_speaker::rib::{NextHopResolver, Resolution};

/// This program forwards no packets, so it takes every next hop for a neighbour.
struct EverywhereIsNear(IpAddr);

impl NextHopResolver for EverywhereIsNear {
    fn resolve(&self, next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
        Some(Resolution { gateway: next_hop, interface: 1, metric: 0, direct: true })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == self.0
    }
}

pub(crate) fn config(arguments: &[String]) -> Result<SpeakerConfig, Box<dyn Error>> {
    let [local_as, local_address, peer_as, peer_address, prefix] = arguments else {
        return Err("wanted: LOCAL_AS LOCAL_ADDRESS PEER_AS PEER_ADDRESS PREFIX".into());
    };
    let local_address: Ipv4Addr = local_address.parse()?;
    let session = SessionConfig {
        local_address: Some(local_address.into()),
        ..SessionConfig::external(RemoteAs::Is(peer_as.parse()?))
            // RFC 8212: without policies an external peer gets nothing and gives nothing.
            .with_policies(Policy::accept_all("all in"), Policy::accept_all("all out"))
    };
    Ok(SpeakerConfig {
        listen: vec![SocketAddr::new(local_address.into(), 179)],
        peers: vec![PeerConfig::new(peer_address.parse()?, session)],
        originated: vec![OriginatedRoute::new(prefix.parse()?, RouteSource::Static, "command line")],
        ..SpeakerConfig::new(local_as.parse()?, local_address)
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    run(config(&arguments)?).await
}

pub(crate) async fn run(config: SpeakerConfig) -> Result<(), Box<dyn Error>> {
    let resolver = EverywhereIsNear(config.router_id.into());
    let speaker = spawn(config, Box::new(resolver))?;

    let mut events = speaker.events()?;
    let mut routes = speaker.fib().ok_or("the routes have another reader")?;
    loop {
        tokio::select! {
            Ok(event) = events.recv() => println!("{event:?}"),
            update = routes.next() => match update {
                Some(FibUpdate::Changes(changes)) => {
                    for change in changes {
                        match change.route {
                            Some(route) => println!("{} via {:?}", change.prefix, route.next_hops),
                            None => println!("{} is gone", change.prefix),
                        }
                    }
                }
                Some(FibUpdate::Synced) => println!("this was everything for now"),
                None => break,
            },
            () = interrupted() => break,
        }
    }
    speaker.shutdown(Shutdown::Deconfigure).await;
    Ok(())
}

/// Returns when the input is closed: Ctrl-D ends the program in order.
async fn interrupted() {
    let mut line = [0];
    while matches!(tokio::io::AsyncReadExt::read(&mut tokio::io::stdin(), &mut line).await, Ok(1..)) {}
}
