//! IANA "BGP Error (Notification) Codes" in words.

/// Code and subcode in words; an empty subcode is one that says nothing.
pub(super) fn of(code: u8, subcode: u8) -> (&'static str, &'static str) {
    let (name, subcodes): (_, &[&str]) = match code {
        1 => (
            "message header error",
            &["connection not synchronized", "bad message length", "bad message type"],
        ),
        2 => ("OPEN error", &OPEN),
        3 => ("UPDATE error", &UPDATE),
        4 => ("hold timer expired", &[]),
        5 => (
            "unexpected message",
            &["while waiting for OPEN", "while waiting for KEEPALIVE", "in an established session"],
        ),
        6 => ("cease", &CEASE),
        7 => ("ROUTE-REFRESH error", &["invalid message length"]),
        8 => ("send hold timer expired", &[]),
        _ => ("unknown error", &[]),
    };
    let subcode = match usize::from(subcode).checked_sub(1) {
        None => "",
        Some(index) => subcodes.get(index).copied().unwrap_or("unknown reason"),
    };
    (name, subcode)
}

const OPEN: [&str; 11] = [
    "unsupported version number",
    "bad peer AS",
    "bad BGP identifier",
    "unsupported optional parameter",
    "authentication failure",
    "unacceptable hold time",
    "unsupported capability",
    "unknown reason",
    "unknown reason",
    "unknown reason",
    "role mismatch",
];

const UPDATE: [&str; 11] = [
    "malformed attribute list",
    "unrecognized well-known attribute",
    "missing well-known attribute",
    "attribute flags error",
    "attribute length error",
    "invalid ORIGIN",
    "AS routing loop",
    "invalid NEXT_HOP",
    "optional attribute error",
    "invalid network field",
    "malformed AS_PATH",
];

const CEASE: [&str; 10] = [
    "maximum number of prefixes reached",
    "administrative shutdown",
    "peer de-configured",
    "administrative reset",
    "connection rejected",
    "other configuration change",
    "connection collision resolution",
    "out of resources",
    "hard reset",
    "BFD down",
];
