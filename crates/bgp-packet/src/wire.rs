//! Combinators that several messages share. All are shallow: one header at a time, bounded by its own length.

use nom::bytes::complete::take;
use nom::error::{ErrorKind, ParseError};
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

/// What is asked for is longer than what is there; the caller knows what that means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short;

impl ParseError<&[u8]> for Short {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Short>;

/// A type octet, a length octet and that many octets.
pub(crate) fn tlv8(input: &[u8]) -> Parsed<'_, (u8, &[u8])> {
    (be_u8, length_data(be_u8)).parse_complete(input)
}

/// A type octet, two octets of length and that many octets.
pub(crate) fn tlv16(input: &[u8]) -> Parsed<'_, (u8, &[u8])> {
    (be_u8, length_data(be_u16)).parse_complete(input)
}

/// Two octets of length and that many octets.
pub(crate) fn block16(input: &[u8]) -> Parsed<'_, &[u8]> {
    length_data(be_u16).parse_complete(input)
}

/// A length octet and that many octets.
pub(crate) fn block8(input: &[u8]) -> Parsed<'_, &[u8]> {
    length_data(be_u8).parse_complete(input)
}

/// The next octets as an array.
pub(crate) fn array<const N: usize>(input: &[u8]) -> Parsed<'_, [u8; N]> {
    let (rest, octets) = take(N)(input)?;
    match octets.try_into() {
        Ok(array) => Ok((rest, array)),
        Err(_) => Err(nom::Err::Error(Short)),
    }
}
