//! DEL: succeeds whatever is missing; when it returns, route, traffic and address are gone.

use std::io::Write;

use super::reaper::Reaper;
use crate::cni::{Error, NetworkConfig};
use crate::fail_point;
use crate::interface::{self, Outcome};
use crate::ipam::{Attachment, Store, StoreError, now};

/// Neither the namespace nor a previous result is looked at: the name of the node's interface follows from the
/// attachment. `log` is told what did not work and does not matter.
pub(super) fn del(config: &NetworkConfig, attachment: &Attachment, log: &mut dyn Write) -> Result<(), Error> {
    let outcome = interface::condemn(&interface::host_name(attachment))?;
    fail_point::reached("after-condemn");
    if let Err(error) = release(config, attachment) {
        // A full disk must not keep a pod from ending. The address counts as taken until the ledger is next
        // compared with the kernel, which no longer has it.
        let _ = writeln!(log, "{}: address not released: {error}", attachment.container);
    }
    fail_point::reached("after-release");
    if outcome == Outcome::Done {
        Reaper::new(&config.data_dir).start();
    }
    Ok(())
}

fn release(config: &NetworkConfig, attachment: &Attachment) -> Result<(), StoreError> {
    let store = Store::lock(&config.data_dir)?;
    let mut ledger = store.load(interface::attached)?;
    if ledger.release(attachment, now()).is_empty() {
        return Ok(());
    }
    store.save(&ledger)
}
