//! The CNI plugin, address management, pod interfaces and masquerade of a Muslin node.
