//! Serde over a [`Tree`], with errors that carry field path, line and remedy.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::suggest::nearest;
use super::tree::{Entry, Tree, Value, describe_text};

/// Reads a value of type `T`.
pub(super) fn from_tree<T: DeserializeOwned>(tree: &Tree) -> Result<T, FieldError> {
    T::deserialize(At(tree))
}

/// Why a value does not fit its type.
#[derive(Debug)]
pub(super) struct FieldError {
    /// Path to the field, innermost first.
    path: Vec<String>,
    /// Line of the innermost value that is known.
    pub(super) line: Option<u32>,
    pub(super) message: String,
    pub(super) remedy: String,
}

impl FieldError {
    fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: Vec::new(), line: None, message: message.into(), remedy: remedy.into() }
    }

    /// The path as people write it: `.spec.filters[0]`.
    pub(super) fn field(&self) -> String {
        self.path.iter().rev().map(String::as_str).collect()
    }

    fn at(mut self, line: u32) -> Self {
        self.line.get_or_insert(line);
        self
    }

    fn within(mut self, segment: String) -> Self {
        self.path.push(segment);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field(), self.message)
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), "")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("found {}", words(found)), write_expected(expected))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let remedy = match nearest(variant, expected) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", expected.join(", ")),
        };
        Self::new(format!("found {}", describe_text(variant)), remedy)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let remedy = match nearest(field, expected) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the fields are {}", expected.join(", ")),
        };
        Self::new("there is no such field", remedy)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("the field is missing", "write it").within(format!(".{field}"))
    }
}

/// What was found, in words.
fn words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => describe_text(text),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Seq => "a sequence".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// What is expected, as an instruction; serde names numbers by their Rust types.
fn write_expected(expected: &dyn Expected) -> String {
    let range = match expected.to_string().as_str() {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "i32" | "i64" | "u64" => "a whole number",
        "a string" => "text; put a number or true/false in quotes",
        "a boolean" => "true or false",
        other => return format!("write {}", other.strip_prefix("struct ").map_or(other, |_| "an object")),
    };
    format!("write {range}")
}

/// Reads the value of one place.
#[derive(Clone, Copy)]
struct At<'de>(&'de Tree);

impl<'de> Deserializer<'de> for At<'de> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        let read = match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(number) => visitor.visit_u64(*number),
            Value::Signed(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(items) => visitor.visit_seq(Items { rest: items.iter(), index: 0 }),
            Value::Map(entries) => visitor.visit_map(Fields { rest: entries.iter(), current: None }),
        };
        read.map_err(|error| error.at(self.0.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match &self.0.value {
            Value::Text(text) => visitor.visit_enum(Variant(text)),
            other => Err(FieldError::new(
                format!("found {}", other.describe()),
                format!("write one of {}", variants.join(", ")),
            )),
        }
        .map_err(|error| error.at(self.0.line))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_unit()
    }

    /// Addresses and the like are text here, not octets.
    fn is_human_readable(&self) -> bool {
        true
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier
    }
}

struct Items<'de> {
    rest: std::slice::Iter<'de, Tree>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FieldError> {
        let Some(item) = self.rest.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(At(item)).map(Some).map_err(|error| error.within(format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Fields<'de> {
    rest: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        self.current = self.rest.next();
        let Some(entry) = self.current else { return Ok(None) };
        let key: BorrowedStrDeserializer<'de, FieldError> = BorrowedStrDeserializer::new(&entry.key);
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.at(entry.line).within(format!(".{}", entry.key)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FieldError> {
        let Some(entry) = self.current.take() else {
            return Err(FieldError::new("a value was asked for before its field", ""));
        };
        seed.deserialize(At(&entry.value))
            .map_err(|error| error.at(entry.line).within(format!(".{}", entry.key)))
    }
}

/// The name of one choice among several.
struct Variant<'de>(&'de str);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = FieldError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), FieldError> {
        let name: StrDeserializer<'de, FieldError> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = FieldError;

    fn unit_variant(self) -> Result<(), FieldError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, FieldError> {
        Err(FieldError::new(format!("found {} alone", describe_text(self.0)), "write its value too"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, FieldError> {
        Err(FieldError::new(format!("found {} alone", describe_text(self.0)), "write its values too"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, FieldError> {
        Err(FieldError::new(format!("found {} alone", describe_text(self.0)), "write its fields too"))
    }
}
