//! What a `RouteAdvertisement` changes, as the router sees it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_lab::Dual;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::{host_name, same};
use crate::services::{service, ways_to};
use crate::status;

/// External IPs, and only they: what else is announced stays as it is.
const ADVERTISEMENT: &str = "apiVersion: muslin.dev/v1alpha1
kind: RouteAdvertisement
metadata:
  name: ranges
spec:
  advertisements:
  - advertisementType: Service
    service:
      addresses: [ExternalIP]
      aggregationLengthIPv4: 28
      aggregationLengthIPv6: 124
    attributes:
      communities: [\"65000:100\", \"65000:1:7\"]
";

pub(crate) fn aggregate(cluster: &Cluster) -> Result<()> {
    let address = Dual { v4: "198.51.100.37".parse()?, v6: "2001:db8:51::25".parse()? };
    let single = FAMILIES.map(|family| IpNet::from(address.get(family)));
    let ranges: [IpNet; 2] = ["198.51.100.32/28".parse()?, "2001:db8:51::20/124".parse()?];
    let ips = format!("  externalIPs: [\"{}\", \"{}\"]\n", address.v4, address.v6);
    cluster.kubectl.apply(&service("ranged", "app: web", &ips))?;
    let announced = |there: &[IpNet], gone: &[IpNet]| {
        eventually(|| {
            for prefix in there {
                same(format!("ways to {prefix}"), &ways_to(cluster, *prefix)?.len(), &cluster.nodes.len())?;
            }
            gone.iter().try_for_each(|prefix| {
                same(format!("ways to {prefix}"), &ways_to(cluster, *prefix)?, &BTreeSet::new())
            })
        })
    };
    announced(&single, &ranges)?;
    cluster.kubectl.apply(ADVERTISEMENT)?;
    announced(&ranges, &single)?;
    let routes = status::best_routes(cluster)?;
    for range in ranges {
        let route = routes.iter().find(|route| route["prefix"] == range.to_string());
        let communities =
            &route.with_context(|| format!("the router has no path to {range}"))?["communities"];
        for wanted in ["65000:100", "65000:1:7"] {
            let has = communities.as_array().is_some_and(|has| has.iter().any(|has| has == wanted));
            ensure!(has, "{range} came with {communities}, without {wanted}");
        }
    }
    for family in FAMILIES {
        eventually(|| host_name(&cluster.outside, (address.get(family), 80).into()))?;
    }
    cluster.kubectl.run(&["delete", "routeadvertisements.muslin.dev", "ranges"])?;
    announced(&single, &ranges)?;
    cluster.kubectl.run(&["delete", "service", "ranged"])?;
    announced(&[], &[single, ranges].concat())
}
