//! A Service as the end of a way: nobody has its address, kube-proxy puts that of an endpoint in its place.

use std::net::IpAddr;
use std::path::Path;

use muslin_node_plan::{EndpointOf, Inquired};

use super::Step;
use crate::api::Explained;
use crate::cli::Target;
use crate::client;

/// A Service that packets are sent to.
pub(super) struct Service {
    /// "Service default/web".
    object: String,
    /// The address that was asked for, or all that it has.
    pub(super) addresses: Vec<IpAddr>,
    endpoints: Vec<EndpointOf>,
}

/// The Service that is meant, by its name or by an address; `None` if it is something else, or nobody can say.
pub(super) async fn asked(socket: &Path, target: &Target) -> Option<Service> {
    let find = async |name: &str| -> Option<Inquired> {
        client::get_with(socket, "/v1/find", &[("name", name)]).await.ok()
    };
    let (found, asked) = match target {
        Target::Name(name) => (find(name).await?, None),
        Target::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
            let explained: Explained =
                client::get_with(socket, "/v1/explain", &[("prefix", prefix)]).await.ok()?;
            let mut services = explained.objects.iter().filter_map(|object| object.strip_prefix("Service "));
            let name = services.find_map(|service| service.split(' ').next())?;
            (find(&format!("service/{name}")).await?, Some(prefix.addr()))
        }
        Target::Prefix(_) => return None,
    };
    let endpoints = found.endpoints?;
    let own = found.addresses.into_iter().map(|address| address.address);
    let addresses: Vec<IpAddr> = asked.map_or_else(|| own.collect(), |asked| vec![asked]);
    // A headless one is nothing but a name for its endpoints.
    let addresses =
        if addresses.is_empty() { endpoints.iter().map(|one| one.address).collect() } else { addresses };
    Some(Service { object: found.object, addresses, endpoints })
}

impl Service {
    /// The endpoint to which packets for the Service's address may go, and what is to be said of it; or that there is none.
    pub(super) fn behind(&self, address: IpAddr) -> Result<(IpAddr, Step), String> {
        let ready: Vec<&EndpointOf> =
            self.endpoints.iter().filter(|one| one.address.is_ipv4() == address.is_ipv4()).collect();
        let Some(chosen) = ready.first() else {
            return Err(format!(
                "{} has no ready endpoint: kube-proxy refuses packets to {address}",
                self.object
            ));
        };
        let on = chosen.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        let found = format!(
            "kube-proxy, which is not asked here, puts an endpoint in the place of {address}, {} ready; this is the way to {}{on}",
            ready.len(),
            chosen.address
        );
        Ok((chosen.address, Step { place: self.object.clone(), found: vec![found] }))
    }
}
