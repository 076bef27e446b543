//! The pure plan of a node: peers, originated routes, policies, address blocks and masquerade, each with its cause.
