//! Route leaks (RFC 9234 §5): routes of providers and peers go to customers and nobody else, and say so by
//! ONLY_TO_CUSTOMER. No policy can override it.

use muslin_bgp_packet::{Asn, Role};

use super::attributes::{AttributeId, Attributes, Marks};
use super::peers::PeerView;

/// Whether a route should not have come from this peer.
pub(super) fn is_leaked(view: &PeerView, attributes: &Attributes, received: AttributeId) -> bool {
    if !attributes.row(received).marks.contains(Marks::ONLY_TO_CUSTOMER) {
        return false;
    }
    match view.role {
        Some(Role::Provider | Role::RouteServer) => true,
        Some(Role::Peer) => attributes.decode(received).otc != Some(view.asn),
        Some(Role::Customer | Role::RouteServerClient) | None => false,
    }
}

/// ONLY_TO_CUSTOMER as it is added to a route that came without it.
pub(super) fn added_on_ingress(
    view: &PeerView,
    attributes: &Attributes,
    received: AttributeId,
) -> Option<Asn> {
    let missing = !attributes.row(received).marks.contains(Marks::ONLY_TO_CUSTOMER);
    match view.role {
        Some(Role::Customer | Role::Peer | Role::RouteServerClient) if missing => Some(view.asn),
        _ => None,
    }
}

/// Whether a route that has ONLY_TO_CUSTOMER may not be sent to whom we are this.
pub(crate) fn would_leak(role: Option<Role>, marks: Marks) -> bool {
    marks.contains(Marks::ONLY_TO_CUSTOMER)
        && matches!(role, Some(Role::Customer | Role::Peer | Role::RouteServerClient))
}

/// Whether routes to whom we are this leave with ONLY_TO_CUSTOMER.
pub(crate) fn adds_on_egress(role: Option<Role>) -> bool {
    matches!(role, Some(Role::Provider | Role::Peer | Role::RouteServer))
}
