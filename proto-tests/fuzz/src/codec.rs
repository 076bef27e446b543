//! The codec with arbitrary octets. Each function panics when it breaks a promise.

use bytes::BytesMut;
use muslin_bgp_packet::frame::{HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, next_frame};
use muslin_bgp_packet::{
    Absent, AsWidth, AttributeContext, DecodeContext, Family, FamilyNlri, FamilySet, NextHop, NlriField,
    Notification, Open, PathAttributes, PeerKind, Prefix, RouteRefresh, Treatment, UpdateEncoder, UpdateView,
    parse_attributes,
};

/// An OPEN that is accepted is written and read back as the same.
pub fn open(body: &[u8]) {
    if body.len() > MAX_LENGTH - HEADER_LENGTH {
        return;
    }
    if let Ok(open) = Open::decode(body) {
        let mut wire = BytesMut::new();
        open.encode(&mut wire);
        assert!(wire.len() <= MAX_LENGTH);
        assert_eq!(Open::decode(&wire[HEADER_LENGTH..]), Ok(open));
    }
}

/// A NOTIFICATION is shown in one line, written, and read back as the same.
pub fn notification(body: &[u8]) {
    if body.len() > MAX_LENGTH - HEADER_LENGTH {
        return;
    }
    if let Ok(notification) = Notification::decode(body) {
        assert!(!notification.to_string().contains(char::is_control));
        let mut wire = BytesMut::new();
        notification.encode(&mut wire);
        assert_eq!(Notification::decode(&wire[HEADER_LENGTH..]), Ok(notification));
    }
}

/// A ROUTE-REFRESH that is accepted is written and read back as the same.
pub fn route_refresh(body: &[u8]) {
    if let Ok(refresh) = RouteRefresh::decode(body) {
        let mut wire = BytesMut::new();
        refresh.encode(&mut wire);
        assert_eq!(RouteRefresh::decode(&wire[HEADER_LENGTH..]), Ok(refresh));
    }
}

/// A stream gives the same messages, and ends with the same error, whether it arrives at once or in pieces.
/// The first octet is the length of a piece.
pub fn frame(octets: &[u8]) {
    let Some((&piece, stream)) = octets.split_first() else { return };
    for max in [MAX_LENGTH, MAX_EXTENDED_LENGTH] {
        let at_once = frames([stream].into_iter(), max);
        let in_pieces = frames(stream.chunks(usize::from(piece).max(1)), max);
        assert_eq!(at_once, in_pieces);
    }
}

type Frames = (Vec<muslin_bgp_packet::Frame>, Option<Notification>);

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>, max: usize) -> Frames {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&mut buffer, max) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(notification) => return (frames, Some(notification)),
            }
        }
    }
    (frames, None)
}

/// Attributes never end a session by themselves, and those that are accepted are written and read back as the
/// same. The first octet is the context.
pub fn attributes(octets: &[u8]) {
    let Some((&context, block)) = octets.split_first() else { return };
    let context = decode_context(context).attributes;
    let parsed = parse_attributes(context, block);
    assert!(parsed.treatment() <= Treatment::TreatAsWithdraw);
    for fault in &parsed.faults {
        assert!(fault.offset < block.len());
        assert!(!fault.to_string().contains(char::is_control));
    }
    if cfg!(feature = "planted-bug") {
        // Three octets away from any seed, each of which shows as new coverage.
        assert!(parsed.attributes.unknown.len() < 4, "the planted bug");
    }
    if parsed.faults.is_empty() && !parsed.absent.intersects(Absent::ORIGIN | Absent::AS_PATH) {
        survives(context, parsed.attributes);
    }
}

fn survives(context: AttributeContext, attributes: PathAttributes) {
    let mut wire = BytesMut::new();
    attributes.encode_canonical(AsWidth::Four, &mut wire);
    let again = parse_attributes(AttributeContext { as_width: AsWidth::Four, ..context }, &wire);
    assert_eq!(again.faults, []);
    assert_eq!(again.attributes, PathAttributes { next_hop: None, ..attributes });
    wire.clear();
    again.attributes.encode_canonical(AsWidth::Two, &mut wire);
}

/// An UPDATE is viewed, its prefixes are all there, and routes that are accepted are packed and read back as
/// the same. The first octet is the context.
pub fn update(octets: &[u8]) {
    let Some((&context, body)) = octets.split_first() else { return };
    let context = decode_context(context);
    if body.len() > MAX_EXTENDED_LENGTH - HEADER_LENGTH {
        return;
    }
    let Ok(view) = UpdateView::parse(context, body) else { return };
    let mut scratch = Vec::new();
    let block = view.attribute_block().contiguous(&mut scratch);
    assert_eq!(block.len(), view.attribute_block().len());
    let parsed = parse_attributes(context.attributes, block);
    let verdict = view.verdict(parsed.absent, &parsed.faults);
    assert!(verdict >= parsed.treatment());
    if view.end_of_rib().is_some() {
        assert_eq!(verdict, Treatment::None);
        assert!(!view.is_reachable());
    }
    let mut attributes = BytesMut::new();
    parsed.attributes.encode_canonical(AsWidth::Four, &mut attributes);

    repack_withdrawn(context, view.withdrawn());
    let next_hop = parsed.attributes.next_hop.unwrap_or([192, 0, 2, 1].into());
    repack_announced(context, &attributes, &NextHop::new(next_hop.into()), view.announced());
    if let Some(reach) = view.mp_reach() {
        match reach.nlri {
            FamilyNlri::Ipv4(field) => repack_announced(context, &attributes, &reach.next_hop, field),
            FamilyNlri::Ipv6(field) => repack_announced(context, &attributes, &reach.next_hop, field),
        }
        assert_eq!(reach.nlri.iter().count(), reach.nlri.len());
    }
    if let Some(FamilyNlri::Ipv6(field)) = view.mp_unreach().map(|unreach| unreach.nlri) {
        repack_withdrawn(context, field);
    }
}

fn repack_announced<P: Prefix>(
    context: DecodeContext,
    attributes: &[u8],
    next_hop: &NextHop,
    field: NlriField<'_, P>,
) {
    let mut wire = BytesMut::new();
    let encoder = UpdateEncoder::new(MAX_LENGTH);
    if encoder.announce(&mut wire, attributes, next_hop, field).is_err() {
        // Attributes of an extended message may leave no room in a plain one.
        return;
    }
    let mut expected = field.iter();
    while let Ok(Some(frame)) = next_frame(&mut wire, MAX_LENGTH) {
        let view = UpdateView::parse(context, &frame.body).expect("what we pack is well-formed");
        match view.mp_reach().map(|reach| (reach.next_hop, reach.nlri)) {
            None => assert_fields(&mut expected, FamilyNlri::Ipv4(view.announced())),
            Some((read, nlri)) => {
                assert_eq!(read.global, next_hop.global);
                assert_fields(&mut expected, nlri);
            }
        }
    }
    assert_eq!((expected.next(), wire.len()), (None, 0));
}

fn repack_withdrawn<P: Prefix>(context: DecodeContext, field: NlriField<'_, P>) {
    let mut wire = BytesMut::new();
    UpdateEncoder::new(MAX_LENGTH).withdraw(&mut wire, field);
    let mut expected = field.iter();
    while let Ok(Some(frame)) = next_frame(&mut wire, MAX_LENGTH) {
        let view = UpdateView::parse(context, &frame.body).expect("what we pack is well-formed");
        let read = view.mp_unreach().map_or(FamilyNlri::Ipv4(view.withdrawn()), |unreach| unreach.nlri);
        assert_fields(&mut expected, read);
    }
    assert_eq!((expected.next(), wire.len()), (None, 0));
}

fn assert_fields<P: Prefix>(
    expected: &mut impl Iterator<Item = muslin_bgp_packet::Nlri<P>>,
    read: FamilyNlri<'_>,
) {
    for read in read.iter() {
        let expected = expected.next().map(|nlri| (nlri.prefix.into(), nlri.path_id));
        assert_eq!(expected, Some((read.prefix, read.path_id)));
    }
}

/// A context from an octet, so that all of them are tried.
fn decode_context(octet: u8) -> DecodeContext {
    let bit = |at: u8| octet >> at & 1 == 1;
    let only = |family: Family, is_in: bool| if is_in { FamilySet::from(family) } else { FamilySet::EMPTY };
    DecodeContext {
        attributes: AttributeContext {
            as_width: if bit(0) { AsWidth::Four } else { AsWidth::Two },
            peer: match octet >> 1 & 3 {
                0 => PeerKind::External,
                1 => PeerKind::Internal,
                _ => PeerKind::Confederation,
            },
        },
        // Without a family we could not read back what we pack, so at most IPv6 is missing.
        families: if bit(4) { FamilySet::from(Family::Ipv4Unicast) } else { FamilySet::ALL },
        add_path: if bit(5) { FamilySet::ALL } else { only(Family::Ipv6Unicast, bit(3)) },
        extended_next_hop: only(Family::Ipv4Unicast, bit(6)),
    }
}
