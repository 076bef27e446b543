//! From a type to the structural schema that the API server wants (`apiextensions.k8s.io/v1`).

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A CEL rule by which the API server refuses an object. It says the same as a check of the type, which stays for
/// folders and for servers whose schema is older.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rule {
    pub(crate) rule: &'static str,
    pub(crate) message: &'static str,
}

/// Longest text of most fields: rules over it have a price, which the API server limits.
const LONGEST_TEXT: u32 = 253;

/// A text of at most `longest` characters that fits the CEL rule.
pub(super) fn text<const LONGEST: u32>(expected: &str, rule: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": LONGEST,
        "x-kubernetes-validations": [{"rule": rule, "message": format!("write {expected}")}],
    })
}

/// A text that fits the regular expression, and is refused in words.
pub(super) fn matching<const LONGEST: u32>(expected: &str, pattern: &str) -> Schema {
    text::<LONGEST>(expected, &format!("self.matches('{pattern}')"))
}

/// A text that fits the regular expression; who writes another one is shown the expression. A rule in words has a price, the
/// longest text times the expression times how many of them there may be, and the API server takes none of more than ten
/// million: four thousand texts of up to six hundred characters cost three times as much.
pub(super) fn pattern<const LONGEST: u32>(_: &str, pattern: &str) -> Schema {
    json_schema!({"type": "string", "maxLength": LONGEST, "pattern": pattern})
}

/// A number without quotes within the bounds, or a text that fits the regular expression; `reserved` are refused as
/// either.
///
/// It has the rule in words and the bare expression, of which [`rewrite`] leaves one.
pub(super) fn number_or_text(
    expected: &str,
    pattern: &str,
    (least, most): (u64, u64),
    reserved: &[u32],
) -> Schema {
    // A number is not equal to its own text, so the expression is asked of texts alone.
    let mut rule = format!("string(self) != self || self.matches('{pattern}')");
    if !reserved.is_empty() {
        let reserved: Vec<_> = reserved.iter().map(|number| format!("'{number}'")).collect();
        rule = format!("!(string(self) in [{}]) && ({rule})", reserved.join(", "));
    }
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": pattern,
        "minimum": least,
        "maximum": most,
        "x-kubernetes-validations": [{"rule": rule, "message": format!("write {expected}")}],
    })
}

/// The structural schema of `T`.
pub(crate) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    rewrite(&mut schema, Number::One);
    schema
}

/// How many of a value an object may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    One,
    /// As many as its lists are long.
    Many,
}

/// Takes out what a structural schema may not have, and bounds what has no bound.
fn rewrite(schema: &mut Value, number: Number) {
    let Value::Object(fields) = schema else { return };
    for word in ["title", "$schema", "default"] {
        fields.remove(word);
    }
    if let Some(default) = fields.remove("x-muslin-default") {
        fields.insert("default".to_owned(), default);
    }
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = fields.remove(word) {
            merge_choices(fields, choices);
        }
    }
    // `Option`: a field without a value is left out.
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        let one = types.first().cloned().unwrap_or_default();
        fields.insert("type".to_owned(), one);
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    rewrite_format(fields);
    if fields.contains_key("x-kubernetes-int-or-string") {
        // CEL takes such a text to be as long as a request can be: it can pay for one, and for no list of them.
        fields.remove(if number == Number::One { "pattern" } else { "x-kubernetes-validations" });
    }
    let is = |name: &str, fields: &Map<String, Value>| fields.get("type").is_some_and(|found| found == name);
    if is("string", fields) && !fields.contains_key("enum") {
        fields.entry("maxLength").or_insert(json!(LONGEST_TEXT));
    }
    if is("array", fields) {
        fields.entry("maxItems").or_insert(json!(LONGEST_LIST));
    }
    if is("object", fields) && fields.contains_key("additionalProperties") {
        fields.entry("maxProperties").or_insert(json!(LONGEST_LIST));
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(|inner| rewrite(inner, number));
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(word) {
            rewrite(inner, Number::Many);
        }
    }
}

/// Most items of a list.
const LONGEST_LIST: u32 = 64;

/// Alternatives become one schema: names with their descriptions, or a value that may be absent.
fn merge_choices(fields: &mut Map<String, Value>, choices: Vec<Value>) {
    let mut names = Vec::new();
    let mut described = Vec::new();
    for choice in choices.into_iter().filter(|choice| choice.get("type") != Some(&json!("null"))) {
        let Value::Object(choice) = choice else { continue };
        if let Some(name) = choice.get("const") {
            if let (Some(name), Some(words)) =
                (name.as_str(), choice.get("description").and_then(Value::as_str))
            {
                described.push(format!("`{name}`: {}", words.trim_end_matches('.')));
            }
            names.push(name.clone());
            continue;
        }
        for (key, value) in choice {
            // The field's own description says more than its type's.
            fields.entry(key).or_insert(value);
        }
    }
    if names.is_empty() {
        return;
    }
    fields.insert("type".to_owned(), json!("string"));
    fields.insert("enum".to_owned(), names.into());
    if !described.is_empty() {
        let own = fields.get("description").and_then(Value::as_str).unwrap_or_default();
        let described = format!("{own}\n{}.", described.join("; "));
        fields.insert("description".to_owned(), described.trim().into());
    }
}

/// Formats of Rust become bounds, and an address gets its rule: the API server knows none of them.
fn rewrite_format(fields: &mut Map<String, Value>) {
    let Some(format) = fields.remove("format") else { return };
    let most = match format.as_str().unwrap_or_default() {
        "uint8" => Some(u64::from(u8::MAX)),
        "uint16" => Some(u64::from(u16::MAX)),
        "uint32" => Some(u64::from(u32::MAX)),
        "ip" => {
            let rule = json!([{"rule": "isIP(self)", "message": "write an IPv4 or IPv6 address"}]);
            fields.insert("x-kubernetes-validations".to_owned(), rule);
            fields.insert("maxLength".to_owned(), json!(45));
            None
        }
        known @ ("int32" | "int64" | "date-time") => {
            fields.insert("format".to_owned(), known.into());
            None
        }
        _ => None,
    };
    if let Some(most) = most {
        fields.entry("minimum").or_insert(json!(0));
        fields.insert("maximum".to_owned(), json!(most));
    }
}
