//! STATUS: would an ADD work now?

use crate::cni::{Code, Error, NetworkConfig};
use crate::host::{Family, forwards};
use crate::interface;
use crate::ipam::{Attachment, Store, Wish, now};
use crate::network_file::NetworkFile;

/// An address is allocated as an ADD would, and not kept.
pub(super) fn status(config: &NetworkConfig) -> Result<(), Error> {
    let network = NetworkFile::read(&config.data_dir).map_err(|error| unavailable(&error.into()))?;
    for (family, name) in [(Family::V4, "IPv4"), (Family::V6, "IPv6")] {
        let in_use = network.blocks.iter().any(|block| block.addr().is_ipv4() == (family == Family::V4));
        if in_use && !forwards(family) {
            let message = format!("the node does not forward {name} packets");
            return Err(Error::new(Code::LimitedConnectivity, message));
        }
    }
    let attachment =
        Attachment { network: config.name.clone(), container: String::new(), interface: String::new() };
    let wish = Wish {
        attachment: &attachment,
        blocks: &network.blocks,
        reserved: &network.reserved,
        exactly: &[],
        within: &config.ranges,
        rest: config.rest,
    };
    let tried = Store::lock(&config.data_dir).and_then(|store| {
        let ledger = store.load(interface::attached)?;
        store.save(&ledger)?;
        Ok(ledger)
    });
    let mut ledger = tried.map_err(|error| unavailable(&error.into()))?;
    ledger.allocate(&wish, now()).map_err(|error| unavailable(&error.into()))?;
    Ok(())
}

fn unavailable(error: &Error) -> Error {
    Error::new(Code::Unavailable, error.to_string())
}
