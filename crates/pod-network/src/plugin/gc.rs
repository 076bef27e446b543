//! GC: whatever the runtime no longer knows is released and removed.

use std::collections::BTreeSet;

use super::add::ADD_IN_PROGRESS;
use crate::cni::{Code, Error, NetworkConfig, ValidAttachment};
use crate::interface::{self, HostInterface, InterfaceError};
use crate::ipam::{Attachment, Store, StoreError, now};

/// Goes on when something fails, and names all of it at the end.
pub(super) fn gc(config: &NetworkConfig) -> Result<(), Error> {
    let valid: BTreeSet<Attachment> = config.valid_attachments.iter().map(|one| known(config, one)).collect();
    let mut failures = Vec::new();
    // Interfaces of ADDs that are at work have no alias yet, but the ledger has them.
    let expected = match release(config, &valid) {
        Ok(remaining) => Some(remaining.iter().map(interface::host_name).collect::<BTreeSet<String>>()),
        Err(error) => {
            failures.push(error.to_string());
            None
        }
    };
    if let Err(error) = remove(config, &valid, expected.as_ref(), &mut failures) {
        failures.push(error.to_string());
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::Io, "garbage is left").with_details(failures.join("; ")))
}

fn known(config: &NetworkConfig, valid: &ValidAttachment) -> Attachment {
    Attachment {
        network: config.name.clone(),
        container: valid.container.clone(),
        interface: valid.interface.clone(),
    }
}

/// Returns whoever still has addresses, in any network.
fn release(config: &NetworkConfig, valid: &BTreeSet<Attachment>) -> Result<Vec<Attachment>, StoreError> {
    let store = Store::lock(&config.data_dir)?;
    let mut ledger = store.load(interface::attached)?;
    ledger.collect_garbage(&config.name, |attachment| valid.contains(attachment), now());
    if let Ok(attached) = interface::attached() {
        ledger.reconcile(&attached, ADD_IN_PROGRESS, now());
        // What the kernel still has of this network and nobody lists goes below; its addresses go here.
        ledger.collect_garbage(&config.name, |attachment| valid.contains(attachment), now());
    }
    store.save(&ledger)?;
    Ok(ledger.all_attachments())
}

fn remove(
    config: &NetworkConfig,
    valid: &BTreeSet<Attachment>,
    expected: Option<&BTreeSet<String>>,
    failures: &mut Vec<String>,
) -> Result<(), InterfaceError> {
    let is_garbage = |interface: &HostInterface| match &interface.attachment {
        Some(attachment) => attachment.network == config.name && !valid.contains(attachment),
        None => expected.is_some_and(|names| !names.contains(&interface.name)),
    };
    for garbage in interface::inventory()?.iter().filter(|interface| is_garbage(interface)) {
        if let Err(error) = interface::condemn(&garbage.name) {
            failures.push(error.to_string());
        }
    }
    interface::reap()?;
    Ok(())
}
