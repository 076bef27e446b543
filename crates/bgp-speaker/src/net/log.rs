//! What happens, as log lines: one per event, with fields.

use crate::speaker::SpeakerEvent;

/// Writes an event to the log. Changes of state are for everyone; a family that was switched off or an
/// address that cannot be listened on wants a person.
pub(super) fn log(event: &SpeakerEvent) {
    match event {
        SpeakerEvent::SessionUp { peer, asn } => tracing::info!(%peer, asn, "session established"),
        SpeakerEvent::SessionDown { peer, reason, remedy } => {
            tracing::info!(%peer, %reason, remedy = remedy.as_deref(), "session lost");
        }
        SpeakerEvent::AttemptFailed { peer, reason, remedy } => {
            tracing::info!(%peer, %reason, remedy = remedy.as_deref(), "no session");
        }
        SpeakerEvent::EndOfRib { peer, family } => tracing::debug!(%peer, %family, "all routes received"),
        SpeakerEvent::LongLivedStale { peer, families } => {
            let families = families.join(", ");
            tracing::warn!(%peer, %families, "the peer's restart time is over: its routes stay as last resort");
        }
        SpeakerEvent::RetentionExpired { peer } => {
            tracing::info!(%peer, "the peer did not come back in time: its routes are removed");
        }
        SpeakerEvent::FamilyDisabled { peer, family } => {
            tracing::warn!(%peer, %family, "an UPDATE could not be read: the family is off until a reset");
        }
        SpeakerEvent::PrefixLimitNear { peer, family, received, most } => {
            tracing::warn!(%peer, %family, received, most, "the peer comes near its prefix limit");
        }
        SpeakerEvent::PrefixLimitExceeded { peer, family, most, discarded: true } => {
            tracing::warn!(%peer, %family, most, "the peer is at its prefix limit: what it sends beyond is refused");
        }
        SpeakerEvent::PrefixLimitExceeded { peer, family, most, discarded: false } => {
            tracing::warn!(%peer, %family, most, "the peer has more prefixes than its limit");
        }
        SpeakerEvent::SharedIdentifier { peer, id, other } => {
            tracing::warn!(%peer, %id, %other, "two internal peers have one identifier: give each router its own");
        }
        SpeakerEvent::OwnIdentifierSeen { peer, id, prefix } => {
            tracing::warn!(%peer, %id, %prefix, "another router has our identifier: its routes are refused here");
        }
        SpeakerEvent::Synced => tracing::info!("every peer that can be waited for has sent its routes"),
        SpeakerEvent::ListenFailed { address, error } => {
            tracing::warn!(%address, %error, "cannot listen; trying again");
        }
    }
}
