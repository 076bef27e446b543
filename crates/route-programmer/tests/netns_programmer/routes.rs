//! The programmer against the kernel: routes of every kind, and what others do to them.

use crate::host::Host;
use muslin_route_programmer::{DesiredRoute, NextHop, ProgrammerConfig, RouteChange, RouteState};

#[test]
fn routes_of_every_kind_are_added_replaced_and_deleted() {
    let host = Host::new();
    host.block_on(async {
        let programmer = host.programmer(ProgrammerConfig::default()).await;
        let uplink = host.uplink(&programmer);
        let first = NextHop::via([10, 0, 0, 2], uplink);
        let second = NextHop::via([10, 0, 0, 3], uplink);
        let v6 = NextHop::via("fd00::2".parse::<std::net::IpAddr>().unwrap(), uplink);
        let net = |text: &str| text.parse().unwrap();

        programmer
            .apply(vec![
                RouteChange::install(net("10.244.1.0/24"), DesiredRoute::over([first])),
                RouteChange::install(net("10.244.2.0/24"), DesiredRoute::over([first, second])),
                RouteChange::install(net("10.244.3.0/24"), DesiredRoute::blackhole()),
                RouteChange::install(net("10.244.4.0/24"), DesiredRoute::over([v6])),
                RouteChange::install(net("10.244.5.0/24"), DesiredRoute::over([NextHop::on(uplink)])),
                RouteChange::install(net("fd44:1::/64"), DesiredRoute::over([v6])),
                RouteChange::install(net("fd44:2::/64"), DesiredRoute::blackhole()),
            ])
            .await
            .unwrap();
        programmer.mark_synced().await.unwrap();
        let status = programmer.settled().await.unwrap();
        assert!(status.agreement, "{status:#?}");
        assert_eq!(status.installed, 7);
        eprintln!("{status:#?}");
        for report in programmer.routes(None, 100).await.unwrap() {
            assert_eq!(report.state, RouteState::Installed);
        }
    });
}
