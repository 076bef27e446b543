//! Audits, a stretch at a time between other work.

use std::io;

use super::task::Task;
use crate::dump::{End, Reader};
use crate::mirror::Mirror;
use crate::path::Family;
use crate::reconcile::{Audit, Change};
use crate::wire::request::Dump;
use crate::wire::route::RouteMessage;

/// Datagrams (32 KiB each, some four hundred routes) of a stretch: a change waits for a millisecond at most.
const STRETCH: usize = 4;

/// An audit whose routes are being read.
#[derive(Debug)]
pub(super) struct Auditing {
    audit: Audit,
    mirror: Mirror,
    family: Family,
}

impl Task {
    /// Reads a stretch of the audit that is wanted or under way; says whether there was one.
    pub(super) async fn audit(&mut self) -> bool {
        let wanted = self.auditing.is_some() || self.reconciler.wants_audit();
        // A full read is more than that.
        if !wanted || self.reconciler.wants_resync() {
            return false;
        }
        if let Err(error) = self.audit_stretch().await {
            tracing::warn!(%error, "cannot compare the kernel's routing state; it is read anew");
            self.reconciler.handle_interrupted();
        }
        true
    }

    async fn audit_stretch(&mut self) -> io::Result<()> {
        let Some(mut auditing) = self.auditing.take() else { return self.begin_audit().await };
        let (reconciler, audit, mirror) = (&mut self.reconciler, &mut auditing.audit, &mut auditing.mirror);
        let end = self.reader.go_on(STRETCH, |message| {
            if let Some(route) = RouteMessage::parse(message.body) {
                mirror.route(&route, Change::Added);
                reconciler.audit_route(audit, &route);
            }
        })?;
        match (end, auditing.family) {
            (None, _) => self.auditing = Some(auditing),
            (Some(End::Interrupted), _) => self.reconciler.handle_interrupted(),
            (Some(_), Family::V4) => {
                self.reader.begin(Dump::Routes(Family::V6))?;
                self.auditing = Some(Auditing { family: Family::V6, ..auditing });
            }
            (Some(_), Family::V6) => self.end_audit(auditing),
        }
        Ok(())
    }

    async fn begin_audit(&mut self) -> io::Result<()> {
        let mut mirror = self.mirror.fresh();
        let (end, objects) = self.read_surroundings(&mut mirror).await?;
        let audit = self.reconciler.begin_audit(objects.as_deref());
        if end == End::Interrupted {
            self.reconciler.handle_interrupted();
            return Ok(());
        }
        self.reader.begin(Dump::Routes(Family::V4))?;
        self.auditing = Some(Auditing { audit, mirror, family: Family::V4 });
        Ok(())
    }

    fn end_audit(&mut self, auditing: Auditing) {
        // What happened meanwhile is known then.
        self.take_events();
        self.reconciler.end_audit(&auditing.audit);
        if !self.mirror.has(&auditing.mirror.into_view()) {
            self.reconciler.handle_interrupted();
        }
    }

    /// Gives up the audit under way: a full read makes up for it.
    pub(super) fn abandon_audit(&mut self) -> io::Result<()> {
        if self.auditing.take().is_some() {
            // The rest of the dump waits in the socket.
            self.reader = Reader::open()?;
        }
        Ok(())
    }
}
