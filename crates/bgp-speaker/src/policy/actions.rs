//! What the actions of a rule do to attributes.

use muslin_bgp_packet::PathAttributes;

use crate::config::Action;

/// Applies actions in their order.
pub(crate) fn apply(actions: &[Action], attributes: &mut PathAttributes) {
    for action in actions {
        match action {
            Action::LocalPref(value) => attributes.local_pref = Some(*value),
            Action::Med(value) => attributes.med = Some(*value),
            Action::Prepend(asn, times) => {
                attributes.as_path = attributes.as_path.prepended(*asn, *times);
            }
            Action::AddCommunity(community) => insert(&mut attributes.communities, *community),
            Action::RemoveCommunity(community) => attributes.communities.retain(|have| have != community),
            Action::AddLargeCommunity(community) => insert(&mut attributes.large_communities, *community),
        }
    }
}

/// Lists of communities are sorted and without duplicates.
fn insert<T: Ord>(list: &mut Vec<T>, value: T) {
    if let Err(place) = list.binary_search(&value) {
        list.insert(place, value);
    }
}
