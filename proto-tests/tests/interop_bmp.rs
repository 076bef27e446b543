//! BMP (RFC 7854, RFC 9069) as a collector that is not ours reads it: pmacct's `pmbmpd`.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::{feeder, wait, wire};
use serde_json::Value;

/// pmbmpd in its namespace, which writes what it understands as lines of JSON.
struct Collector(Process);

impl Collector {
    fn start(host: &Namespace) -> Result<Self> {
        let folder = Process::folder()?;
        let messages = folder.path().join("messages.json");
        let configuration = format!(
            "daemonize: false\nbmp_daemon_ip: {}\nbmp_daemon_port: 11019\nbmp_daemon_msglog_file: {}\n",
            feeder::ADDRESS,
            messages.display()
        );
        fs::write(folder.path().join("pmbmpd.conf"), configuration)?;
        let mut command = Command::new("/usr/sbin/pmbmpd");
        command.args(["-f", "pmbmpd.conf"]);
        Ok(Self(Process::start(host, folder, &mut command)?))
    }

    /// Every message so far.
    fn messages(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.0.path("messages.json")).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a message that has all these fields.
    fn await_message(&mut self, wanted: &[(&str, Value)]) -> Result<Value> {
        wait::until(&format!("{wanted:?}"), || {
            self.0.check()?;
            let messages = self.messages();
            let fits = |message: &&Value| wanted.iter().all(|(field, value)| message[*field] == *value);
            let found = messages.iter().find(fits).cloned();
            Ok(found.ok_or_else(|| {
                let lines: Vec<_> = messages.iter().rev().take(20).map(ToString::to_string).collect();
                format!("{}\n{}", lines.join("\n"), self.0.log().unwrap_or_default())
            }))
        })
    }
}

fn peer() -> (&'static str, Value) {
    ("peer_ip", feeder::ADDRESS.to_string().into())
}

fn of_type(kind: &str) -> (&'static str, Value) {
    ("bmp_msg_type", kind.into())
}

fn route(prefix: &str, log: &str) -> [(&'static str, Value); 3] {
    [of_type("route_monitor"), ("ip_prefix", prefix.into()), ("log_type", log.into())]
}

/// An UPDATE of the feeder's.
fn announce(prefixes: &[&str]) -> Vec<u8> {
    let next_hop = Ipv4Addr::from(u32::from(feeder::ADDRESS));
    let attributes = [wire::origin(0), wire::as_path(&[feeder::ASN, 64999]), wire::next_hop(next_hop)];
    wire::update(&[], &attributes, prefixes)
}

#[test]
fn pmbmpd_reads_sessions_routes_of_every_table_changes_and_numbers() -> Result<()> {
    let (host, testers) = feeder::hosts()?;
    let bmp = format!("bmp: [{{address: {}, statisticsInterval: 1s}}]", feeder::ADDRESS);
    let speaker = feeder::start_muslin_with(&host, &bmp, "[IPv4, IPv6]")?;
    let mut session = feeder::await_session(&testers, &speaker)?;
    session.send(&announce(&["203.0.113.0/24", "198.51.100.0/24"]))?;
    // It is dumped what was there before it came.
    let mut collector = Collector::start(&testers)?;
    collector.await_message(&[of_type("init")])?;
    let up = collector.await_message(&[of_type("peer_up"), peer()])?;
    ensure!(up["bgp_id"] == feeder::ADDRESS.to_string(), "{up}");
    for (table, field, value) in [("before policy", "is_post", 0), ("after policy", "is_post", 1)] {
        let mut wanted = route("203.0.113.0/24", "update").to_vec();
        wanted.extend([peer(), (field, value.into())]);
        let told = collector.await_message(&wanted).with_context(|| table.to_owned())?;
        ensure!(told["as_path"] == format!("{} 64999", feeder::ASN), "{told}");
        ensure!(told["bgp_nexthop"] == feeder::ADDRESS.to_string(), "{told}");
    }
    let mut in_loc_rib = route("203.0.113.0/24", "update").to_vec();
    in_loc_rib.push(("is_loc", 1.into()));
    collector.await_message(&in_loc_rib).context("Loc-RIB")?;

    session.send(&wire::update(&["198.51.100.0/24"], &[], &[]))?;
    collector.await_message(&route("198.51.100.0/24", "withdraw"))?;
    session.send(&announce(&["192.0.2.0/25"]))?;
    collector.await_message(&route("192.0.2.0/25", "update")).context("what changes after the dump")?;
    collector.await_message(&[of_type("stats"), peer()])?;

    drop(session);
    collector.await_message(&[of_type("peer_down"), peer()])?;
    Ok(())
}

#[test]
fn a_collector_that_comes_back_is_told_everything_anew() -> Result<()> {
    let (host, testers) = feeder::hosts()?;
    let bmp = format!("bmp: [{{address: {}}}]", feeder::ADDRESS);
    let speaker = feeder::start_muslin_with(&host, &bmp, "[IPv4]")?;
    let mut session = feeder::await_session(&testers, &speaker)?;
    session.send(&announce(&["203.0.113.0/24"]))?;
    for _ in 0..2 {
        let mut collector = Collector::start(&testers)?;
        collector.await_message(&[of_type("peer_up"), peer()])?;
        collector.await_message(&route("203.0.113.0/24", "update"))?;
    }
    Ok(())
}
