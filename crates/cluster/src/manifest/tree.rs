//! A document in which every value knows the line that it stands on.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Options, Spanned};

/// A value and its line, from 1.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) value: Value,
    pub(super) line: u32,
}

/// What YAML and JSON can say. Fields without a value are left out: they are as good as absent.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Sequence(Vec<Tree>),
    Map(Vec<Entry>),
}

/// A field of an object.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u32,
    pub(super) value: Tree,
}

/// A text that is neither YAML nor JSON.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Octets of a text that are read at a time: its trees are many times larger than the objects that they become, and
/// those of a piece find room in a processor's cache.
pub(super) const PIECE: usize = 32 << 10;

/// Reads the documents of a text one after the other; empty ones are left out.
pub(super) fn documents(text: &str, mut take: impl FnMut(&Tree)) -> Result<(), SyntaxError> {
    let mut first_line = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(end_of_piece(rest));
        let documents = match read(piece) {
            Ok(documents) => documents,
            // Said of the whole text, with the lines that its author sees.
            Err(error) if piece.len() == text.len() => return Err(error),
            Err(error) => return Err(read(text).err().unwrap_or(error)),
        };
        for mut document in documents {
            document.move_down(first_line);
            take(&document);
        }
        first_line += u32::try_from(piece.lines().count()).unwrap_or(u32::MAX);
        rest = after;
    }
    Ok(())
}

/// Where the first piece ends: at the next beginning of a document, which is a line that nothing else can hold
/// (YAML 1.2 section 9.1.2), unless a directive stands before it.
fn end_of_piece(text: &str) -> usize {
    let mut from = PIECE.min(text.len());
    while let Some(found) = text.as_bytes()[from..].windows(4).position(|octets| octets == b"\n---") {
        let line = from + found + 1;
        let before = text[..line].trim_end().rsplit('\n').next().unwrap_or_default();
        let alone = text.as_bytes().get(line + 3).is_none_or(u8::is_ascii_whitespace);
        if alone && !before.starts_with('%') {
            return line;
        }
        from = line;
    }
    text.len()
}

fn read(text: &str) -> Result<Vec<Tree>, SyntaxError> {
    // Enough for every object of a cluster of five thousand nodes in one file, and for the schemas of resources.
    // No Kubernetes tool prints anchors; people's own may repeat a block, not fill the memory.
    let options: Options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_documents: 100_000,
            max_depth: 128,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 50_000 },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Spanned<Value>>(text, options)
        .map(|documents| documents.into_iter().map(Tree::from).collect())
        .map_err(|error| {
            let location = error.location();
            SyntaxError {
                line: location.map_or(0, |location| u32::try_from(location.line()).unwrap_or(u32::MAX)),
                message: error.without_snippet().to_string(),
            }
        })
}

impl From<Spanned<Value>> for Tree {
    fn from(spanned: Spanned<Value>) -> Self {
        let line = u32::try_from(spanned.referenced.line()).unwrap_or(u32::MAX);
        Self { value: spanned.value, line }
    }
}

impl From<serde_json::Value> for Tree {
    /// What comes from a program has no lines.
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Value::Unsigned(number),
                (None, Some(number)) => Value::Signed(number),
                (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text),
            Json::Array(items) => Value::Sequence(items.into_iter().map(Self::from).collect()),
            Json::Object(fields) => {
                let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
                Value::Map(fields.map(|(key, value)| Entry { key, line: 0, value: value.into() }).collect())
            }
        };
        Self { value, line: 0 }
    }
}

impl Tree {
    /// Counts its lines from the beginning of the text of which it is a piece.
    fn move_down(&mut self, lines: u32) {
        if lines == 0 {
            return;
        }
        self.line += lines;
        match &mut self.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.move_down(lines)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.line += lines;
                    entry.value.move_down(lines);
                }
            }
            _ => {}
        }
    }

    /// The field `key`, if this is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of the field `key`.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The line of the field `key`, or of the object if it has none.
    pub(super) fn line_of(&self, key: &str) -> u32 {
        self.entry(key).map_or(self.line, |entry| entry.line)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The paths and lines of what problems may refer to: what is specified, and the state that plans look at.
    pub(super) fn field_lines(&self) -> Vec<(Box<str>, u32)> {
        let mut lines = Vec::new();
        if self.line == 0 {
            return lines;
        }
        for part in ["spec", "status", "endpoints"] {
            if let Some(entry) = self.entry(part) {
                lines.push((format!(".{part}").into(), entry.line));
                entry.value.collect_lines(&format!(".{part}"), &mut lines);
            }
        }
        lines
    }

    fn collect_lines(&self, path: &str, lines: &mut Vec<(Box<str>, u32)>) {
        match &self.value {
            Value::Map(entries) => {
                for entry in entries {
                    let path = format!("{path}.{}", entry.key);
                    entry.value.collect_lines(&path, lines);
                    lines.push((path.into(), entry.line));
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    item.collect_lines(&path, lines);
                    lines.push((path.into(), item.line));
                }
            }
            _ => {}
        }
    }
}

impl Value {
    /// The value in words, short enough for a message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Unsigned(number) => format!("the number {number}"),
            Self::Signed(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => describe_text(text),
            Self::Sequence(_) => "a sequence".to_owned(),
            Self::Map(_) => "an object".to_owned(),
        }
    }
}

/// A text in quotes, cut where it becomes long.
pub(super) fn describe_text(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(u64::try_from(number).map_or(Value::Signed(number), Value::Unsigned))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            sequence.push(item.into());
        }
        Ok(Value::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = fields.next_entry::<Spanned<String>, Spanned<Value>>()? {
            if matches!(value.value, Value::Null) {
                continue;
            }
            let line = u32::try_from(key.referenced.line()).unwrap_or(u32::MAX);
            entries.push(Entry { key: key.value, line, value: value.into() });
        }
        Ok(Value::Map(entries))
    }
}
