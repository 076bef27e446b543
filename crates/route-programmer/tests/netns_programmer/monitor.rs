//! The programmer's own socket for events: how much it holds, and what happens when it hears nothing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use muslin_route_programmer::{NextHopObjects, ProgrammerConfig};
use rustix::net::sockopt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{SockFilter, SockRef};

use crate::host::{Host, OURS, no_audits, over};
use crate::raw::{Act, ForeignMessage, send_foreign};

/// A second descriptor of the socket that listens in this host's namespace: the only one there with groups.
fn monitor(host: &Host) -> OwnedFd {
    let read = || std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let table = host.namespace.run(read).unwrap();
    // Columns: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; protocol 0 is rtnetlink.
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening: Vec<_> =
        rows.filter(|row| row[1] == "0" && row[3] != "00000000").map(|row| row[9].to_owned()).collect();
    let [inode] = &listening[..] else { panic!("not one listener:\n{table}") };
    let socket = format!("socket:[{inode}]");
    let is_it = |path: &std::path::Path| {
        std::fs::read_link(path).is_ok_and(|target| target.to_str() == Some(&*socket))
    };
    let mut descriptors = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let path = descriptors.find(|path| is_it(path)).unwrap();
    let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(this, number, PidfdGetfdFlags::empty()).unwrap()
}

#[test]
fn fault_06_the_buffer_for_events_is_raised_past_the_systems_limit() {
    let host = Host::new();
    let wanted = ProgrammerConfig::default().event_buffer;
    assert_eq!(wanted, 16 << 20);
    let _running = host.start_with(NextHopObjects::WherePossible);
    let has = sockopt::socket_recv_buffer_size(monitor(&host)).unwrap();

    // The kernel reserves twice of what is asked for, and tells that. A user namespace's root may not pass the limit.
    let limit: usize =
        std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    let own = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let expected = match sockopt::set_socket_recv_buffer_size_force(&own, wanted) {
        Ok(()) => wanted * 2,
        Err(_) => wanted.min(limit) * 2,
    };
    assert_eq!(has, expected, "rmem_max is {limit}");
}

#[test]
fn fault_07_the_audit_finds_what_no_event_told() {
    for next_hop_objects in [NextHopObjects::WherePossible, NextHopObjects::Never] {
        let host = Host::new();
        let audit_interval = Duration::from_millis(50);
        let running = host.start(ProgrammerConfig { audit_interval, next_hop_objects, ..no_audits() });
        let (a, a6) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "fd00::2"));
        let prefixes: Vec<_> = (1..=10)
            .map(|number| (format!("10.{number}.0.0/16"), a))
            .chain((1..=10).map(|number| (format!("fd44:{number}::/64"), a6)))
            .collect();
        let routes: Vec<_> = prefixes.iter().map(|(prefix, hop)| (prefix.as_str(), over(&[*hop]))).collect();
        running.install(&routes);
        let before = running.programmer.status();

        // A filter that lets nothing pass.
        SockRef::from(&monitor(&host)).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
        let act = |(number, (prefix, _)): (usize, &'_ (String, _))| {
            let foreign = |act, gateway| (act, prefix.clone(), gateway);
            match number {
                0 => foreign(Act::Replace, Some("10.0.0.9")),
                _ => foreign(Act::Delete, None),
            }
        };
        let acts: Vec<_> = prefixes.iter().enumerate().map(act).collect();
        let messages: Vec<_> = acts
            .iter()
            .map(|(act, prefix, gateway)| ForeignMessage {
                act: *act,
                prefix,
                protocol: OURS,
                metric: 77,
                gateway: *gateway,
            })
            .collect();
        send_foreign(&host.namespace, &messages);
        let found = before.counters.drifted + 20;
        let status = running.await_status(|status| status.counters.drifted >= found && status.agreement);
        assert_eq!(status.counters.drifted, found, "{status:#?}");
        assert_eq!(status.counters.disturbed, before.counters.disturbed, "an event told: {status:#?}");
        assert_eq!(status.counters.overruns, 0);
        for (prefix, hop) in &prefixes {
            host.await_hops(prefix, &[*hop]);
        }
        assert_eq!(host.own_routes().len(), 20);
        // Nobody disturbs them any more, and no audit finds anything.
        let audits = status.counters.resyncs;
        let status = running.await_status(|status| status.counters.resyncs > audits + 2);
        assert_eq!(status.counters.drifted, found);
    }
}
