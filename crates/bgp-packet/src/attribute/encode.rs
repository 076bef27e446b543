//! Attributes onto the wire.

use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};

use super::header::{AttributeFlags, put_header, type_code};
use super::{Aggregator, PathAttributes, UnknownAttribute};
use crate::AsWidth;
use crate::frame::patch_u16;

const WELL_KNOWN: AttributeFlags = AttributeFlags::TRANSITIVE;
const TRANSITIVE: AttributeFlags = AttributeFlags::OPTIONAL.union(AttributeFlags::TRANSITIVE);
const NON_TRANSITIVE: AttributeFlags = AttributeFlags::OPTIONAL;

impl PathAttributes {
    /// Appends all attributes but NEXT_HOP, which [`UpdateEncoder`](crate::UpdateEncoder) adds where it
    /// belongs, in ascending order of type (RFC 4271 §5).
    pub fn encode_canonical(&self, width: AsWidth, out: &mut BytesMut) {
        let mut encoder = Encoder { out, unknown: &self.unknown };
        encoder.put(WELL_KNOWN, type_code::ORIGIN, &[self.origin as u8]);
        encoder.put_with(WELL_KNOWN, type_code::AS_PATH, |out| self.as_path.write(width, out));
        encoder.put_number(NON_TRANSITIVE, type_code::MULTI_EXIT_DISC, self.med);
        encoder.put_number(WELL_KNOWN, type_code::LOCAL_PREF, self.local_pref);
        if self.atomic_aggregate {
            encoder.put(WELL_KNOWN, type_code::ATOMIC_AGGREGATE, &[]);
        }
        if let Some(aggregator) = self.aggregator {
            encoder.put_with(TRANSITIVE, type_code::AGGREGATOR, |out| put_aggregator(aggregator, width, out));
        }
        encoder.put_items(TRANSITIVE, type_code::COMMUNITIES, &self.communities, |item, out| {
            out.put_u32(item.0);
        });
        encoder.put_number(NON_TRANSITIVE, type_code::ORIGINATOR_ID, self.originator_id.map(u32::from));
        let put_address = |address: &Ipv4Addr, out: &mut BytesMut| out.put_slice(&address.octets());
        encoder.put_items(NON_TRANSITIVE, type_code::CLUSTER_LIST, &self.cluster_list, put_address);
        encoder.put_items(
            TRANSITIVE,
            type_code::EXTENDED_COMMUNITIES,
            &self.extended_communities,
            |item, out| out.put_slice(&item.0),
        );
        if width == AsWidth::Two {
            self.put_as4(&mut encoder);
        }
        encoder.put_items(TRANSITIVE, type_code::LARGE_COMMUNITY, &self.large_communities, |item, out| {
            out.put_u32(item.global.0);
            out.put_u32(item.local1);
            out.put_u32(item.local2);
        });
        encoder.put_number(TRANSITIVE, type_code::ONLY_TO_CUSTOMER, self.otc.map(u32::from));
        encoder.put_unknown_below(None);
    }

    /// What 2-octet fields could not hold (RFC 6793 §4.2.2).
    fn put_as4(&self, encoder: &mut Encoder<'_>) {
        if !self.as_path.fits_two_octets() {
            let path = self.as_path.without_confederation();
            if !path.is_empty() {
                encoder.put_with(TRANSITIVE, type_code::AS4_PATH, |out| path.write(AsWidth::Four, out));
            }
        }
        if let Some(aggregator) = self.aggregator.filter(|aggregator| !aggregator.asn.fits_two_octets()) {
            encoder.put_with(TRANSITIVE, type_code::AS4_AGGREGATOR, |out| {
                put_aggregator(aggregator, AsWidth::Four, out);
            });
        }
    }
}

fn put_aggregator(aggregator: Aggregator, width: AsWidth, out: &mut BytesMut) {
    match width {
        AsWidth::Two => out.put_u16(aggregator.asn.to_two_octets()),
        AsWidth::Four => out.put_u32(aggregator.asn.0),
    }
    out.put_slice(&aggregator.address.octets());
}

/// Appends attributes and puts those that we only pass on in between.
struct Encoder<'a> {
    out: &'a mut BytesMut,
    unknown: &'a [UnknownAttribute],
}

impl Encoder<'_> {
    fn put(&mut self, flags: AttributeFlags, type_code: u8, value: &[u8]) {
        self.put_unknown_below(Some(type_code));
        put_header(self.out, flags, type_code, value.len());
        self.out.put_slice(value);
    }

    fn put_number(&mut self, flags: AttributeFlags, type_code: u8, number: Option<u32>) {
        if let Some(number) = number {
            self.put(flags, type_code, &number.to_be_bytes());
        }
    }

    fn put_items<T>(
        &mut self,
        flags: AttributeFlags,
        type_code: u8,
        items: &[T],
        put_item: impl Fn(&T, &mut BytesMut),
    ) {
        if !items.is_empty() {
            self.put_with(flags, type_code, |out| items.iter().for_each(|item| put_item(item, out)));
        }
    }

    /// For values whose length is known only when they are written.
    fn put_with(&mut self, flags: AttributeFlags, type_code: u8, put_value: impl FnOnce(&mut BytesMut)) {
        self.put_unknown_below(Some(type_code));
        let start = self.out.len();
        put_header(self.out, flags, type_code, 0);
        let value = self.out.len();
        put_value(self.out);
        let length = self.out.len() - value;
        if let Ok(short) = u8::try_from(length) {
            self.out[value - 1] = short;
        } else {
            // A second octet of length is needed: the value moves up by one.
            self.out.put_u8(0);
            self.out.copy_within(value..value + length, value + 1);
            self.out[start] = (flags | AttributeFlags::EXTENDED_LENGTH).bits();
            patch_u16(self.out, value - 1, length);
        }
    }

    fn put_unknown_below(&mut self, type_code: Option<u8>) {
        while let Some((first, rest)) = self.unknown.split_first()
            && type_code.is_none_or(|type_code| first.type_code < type_code)
        {
            let flags = TRANSITIVE | AttributeFlags::PARTIAL;
            put_header(self.out, flags, first.type_code, first.value.len());
            self.out.put_slice(&first.value);
            self.unknown = rest;
        }
    }
}
