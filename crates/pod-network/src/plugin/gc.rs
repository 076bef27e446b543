//! GC: whatever the runtime no longer knows is released and removed.

use std::collections::BTreeSet;

use super::add::ADD_IN_PROGRESS;
use crate::cni::{Code, Error, NetworkConfig, ValidAttachment};
use crate::fail_point;
use crate::interface::{self, HostInterface};
use crate::ipam::{Attachment, Store, StoreError, now};

/// Goes on when something fails, and names all of it at the end.
pub(super) fn gc(config: &NetworkConfig) -> Result<(), Error> {
    let valid: BTreeSet<Attachment> = config.valid_attachments.iter().map(|one| known(config, one)).collect();
    let mut failures = Vec::new();
    if let Err(store) = release(config, &valid, &mut failures) {
        failures.push(store.to_string());
        // Without the ledger nobody knows which interface without an alias belongs to an ADD that is at work.
        condemn(config, &valid, None, &mut failures);
    }
    fail_point::reached("after-release");
    if let Err(error) = interface::reap() {
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

/// Frees the addresses of garbage, once the kernel routes them no more: who is killed in between leaves none that is
/// free and still somebody's.
fn release(
    config: &NetworkConfig,
    valid: &BTreeSet<Attachment>,
    failures: &mut Vec<String>,
) -> Result<(), StoreError> {
    let store = Store::lock(&config.data_dir)?;
    let mut ledger = store.load(interface::attached)?;
    ledger.collect_garbage(&config.name, |attachment| valid.contains(attachment), now());
    if let Ok(attached) = interface::attached() {
        ledger.reconcile(&attached, ADD_IN_PROGRESS, now());
        // What the kernel still has of this network and nobody lists goes below; its addresses go here.
        ledger.collect_garbage(&config.name, |attachment| valid.contains(attachment), now());
    }
    // Interfaces of ADDs that are at work have no alias yet, but the ledger has them, of whichever network.
    let expected = ledger.all_attachments().iter().map(interface::host_name).collect();
    condemn(config, valid, Some(&expected), failures);
    fail_point::reached("after-condemn");
    if failures.is_empty() {
        store.save(&ledger)?;
    }
    Ok(())
}

/// Switches off the interfaces that are garbage.
fn condemn(
    config: &NetworkConfig,
    valid: &BTreeSet<Attachment>,
    expected: Option<&BTreeSet<String>>,
    failures: &mut Vec<String>,
) {
    let is_garbage = |interface: &HostInterface| match &interface.attachment {
        Some(attachment) => attachment.network == config.name && !valid.contains(attachment),
        None => expected.is_some_and(|names| !names.contains(&interface.name)),
    };
    let condemned = interface::inventory().map(|interfaces| {
        let garbage = interfaces.into_iter().filter(is_garbage);
        garbage.filter_map(|interface| interface::condemn(&interface.name).err()).collect::<Vec<_>>()
    });
    let errors = condemned.unwrap_or_else(|error| vec![error]);
    failures.extend(errors.iter().map(ToString::to_string));
}
