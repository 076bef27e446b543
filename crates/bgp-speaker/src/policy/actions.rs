//! What the actions of rules do to a route.

use std::num::NonZeroU32;

use muslin_bgp_packet::{AnyCommunity, CommunityKind, ExtendedCommunity, PathAttributes};

use crate::config::{Action, CommunityTest, LinkBandwidth, MedChange, NextHopChange};

/// Applies actions in their order. What is no attribute, [`next_hop`] and [`priority`] say.
pub(crate) fn apply<'a>(actions: impl IntoIterator<Item = &'a Action>, attributes: &mut PathAttributes) {
    for action in actions {
        match action {
            Action::LocalPref(value) => attributes.local_pref = Some(*value),
            Action::Med(change) => attributes.med = changed_med(attributes.med, *change),
            Action::Prepend(asn, times) => {
                attributes.as_path = attributes.as_path.prepended(*asn, *times);
            }
            Action::AddCommunity(community) => add(attributes, *community),
            Action::RemoveCommunities(test) => remove(attributes, test),
            Action::ClearCommunities(CommunityKind::Standard) => attributes.communities.clear(),
            Action::ClearCommunities(CommunityKind::Extended) => attributes.extended_communities.clear(),
            Action::ClearCommunities(CommunityKind::Large) => attributes.large_communities.clear(),
            Action::LinkBandwidth(bandwidth) => {
                attributes.extended_communities.retain(|community| community.as_link_bandwidth().is_none());
                insert(&mut attributes.extended_communities, community_of(*bandwidth));
            }
            Action::NextHop(_) | Action::Priority(_) => {}
        }
    }
}

/// The change of the next hop: the last one counts.
pub(crate) fn next_hop<'a>(actions: impl IntoIterator<Item = &'a Action>) -> Option<NextHopChange> {
    let changes = actions.into_iter().filter_map(|action| match action {
        Action::NextHop(change) => Some(*change),
        _ => None,
    });
    changes.last()
}

/// The metric of the kernel's route: the last one counts.
pub(crate) fn priority<'a>(actions: impl IntoIterator<Item = &'a Action>) -> Option<NonZeroU32> {
    let priorities = actions.into_iter().filter_map(|action| match action {
        Action::Priority(metric) => Some(*metric),
        _ => None,
    });
    priorities.last()
}

fn changed_med(med: Option<u32>, change: MedChange) -> Option<u32> {
    match change {
        MedChange::Set(value) => Some(value),
        MedChange::Add(by) => {
            let sum = i64::from(med.unwrap_or(0)).saturating_add(by).clamp(0, u32::MAX.into());
            u32::try_from(sum).ok()
        }
        MedChange::Remove => None,
    }
}

fn add(attributes: &mut PathAttributes, community: AnyCommunity) {
    match community {
        AnyCommunity::Standard(community) => insert(&mut attributes.communities, community),
        AnyCommunity::Extended(community) => insert(&mut attributes.extended_communities, community),
        AnyCommunity::Large(community) => insert(&mut attributes.large_communities, community),
    }
}

fn remove(attributes: &mut PathAttributes, test: &CommunityTest) {
    match test {
        CommunityTest::Is(AnyCommunity::Standard(community)) => {
            attributes.communities.retain(|have| have != community);
        }
        CommunityTest::Is(AnyCommunity::Extended(community)) => {
            attributes.extended_communities.retain(|have| have != community);
        }
        CommunityTest::Is(AnyCommunity::Large(community)) => {
            attributes.large_communities.retain(|have| have != community);
        }
        CommunityTest::Like(pattern) => {
            attributes.communities.retain(|have| !pattern.is_match(&have.to_string()));
            attributes.extended_communities.retain(|have| !pattern.is_match(&have.to_string()));
            attributes.large_communities.retain(|have| !pattern.is_match(&have.to_string()));
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the field is a floating-point number: what does not fit is rounded"
)]
fn community_of(LinkBandwidth { asn, bits_per_second }: LinkBandwidth) -> ExtendedCommunity {
    ExtendedCommunity::link_bandwidth(asn, (bits_per_second as f64 / 8.0) as f32)
}

/// Lists of communities are sorted and without duplicates.
fn insert<T: Ord>(list: &mut Vec<T>, value: T) {
    if let Err(place) = list.binary_search(&value) {
        list.insert(place, value);
    }
}
