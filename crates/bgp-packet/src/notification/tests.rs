use super::*;

fn text_data(length: u8, text: &[u8]) -> Notification {
    let mut data = vec![length];
    data.extend_from_slice(text);
    Notification::cease(Cease::AdministrativeShutdown).with_data(&data)
}

#[test]
fn rfc9003_1_a_text_is_carried_and_shown() {
    let sent = Notification::cease_with_text(Cease::AdministrativeShutdown, "maintenance until 14:00");
    let mut wire = BytesMut::new();
    sent.encode(&mut wire);
    let received = Notification::decode(&wire[frame::HEADER_LENGTH..]).unwrap();
    assert_eq!(received.communication(), Some("maintenance until 14:00"));
    assert_eq!(received.to_string(), "cease: administrative shutdown (6/2) \"maintenance until 14:00\"");
}

#[test]
fn rfc9003_1_a_long_text_is_cut_between_characters() {
    let sent = Notification::cease_with_text(Cease::AdministrativeReset, &"ü".repeat(200));
    assert_eq!(sent.communication().unwrap().len(), 254);
}

#[test]
fn rfc9003_1_wrong_text_is_no_text_and_never_an_error() {
    for wrong in [
        text_data(0, b""),
        text_data(9, b"short"),
        text_data(2, &[0xFF, 0xFE]),
        Notification::cease(Cease::AdministrativeShutdown),
        Notification::cease(Cease::PeerDeconfigured).with_data(b"\x02hi"),
    ] {
        assert_eq!(wrong.communication(), None, "{wrong:?}");
    }
}

#[test]
fn a_peers_text_cannot_forge_log_lines() {
    assert_eq!(
        text_data(6, b"a\nERR\x1b").to_string(),
        "cease: administrative shutdown (6/2) \"a\\nERR\\u{1b}\""
    );
}

#[test]
fn rfc8538_1_a_hard_reset_tells_what_it_stands_for() {
    let reset =
        Notification::hard_reset(&Notification::cease_with_text(Cease::AdministrativeShutdown, "bye"));
    assert_eq!(reset.inner().unwrap().communication(), Some("bye"));
    assert_eq!(reset.to_string(), "cease: hard reset (6/9) for cease: administrative shutdown (6/2) \"bye\"");
}

#[test]
fn a4_25_a_notification_without_subcode_is_only_an_error_to_log() {
    assert_eq!(
        Notification::decode(&[6]).unwrap_err().to_string(),
        "message header error: bad message length (1/2) data 0014"
    );
    assert_eq!(Notification::decode(&[6, 2]).unwrap().to_string(), "cease: administrative shutdown (6/2)");
}

#[test]
fn unknown_codes_are_shown_by_number() {
    assert_eq!(Notification::new(99, 7).to_string(), "unknown error: unknown reason (99/7)");
}
