//! Secrets out of what is given away.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What stands where a secret stood.
const REDACTED: &str = "REDACTED";
/// Fields whose value is a secret, in lower case.
const SECRET_FIELDS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "privatekey",
    "clientkeydata",
    "client-key-data",
    "client_secret",
    "bearertoken",
    "authorization",
    "apikey",
];
/// An annotation with the whole object in it, as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// A secret that is shorter than this stands in too many places by chance.
const SHORTEST: usize = 4;

/// Takes secrets out, and remembers them.
#[derive(Default)]
pub(super) struct Redactor {
    secrets: BTreeSet<String>,
}

impl Redactor {
    /// Takes the secrets out of a value.
    pub(super) fn redact(&mut self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(fields) => {
                let is_secret = fields.get("kind").is_some_and(|kind| kind == "Secret");
                for (name, field) in fields {
                    let lower = name.to_lowercase();
                    let whole = is_secret && matches!(&*lower, "data" | "stringdata");
                    if whole
                        || lower == LAST_APPLIED
                        || (field.is_string() && SECRET_FIELDS.contains(&&*lower))
                    {
                        self.take(field);
                    } else {
                        self.redact(field);
                    }
                }
            }
            _ => {}
        }
    }

    /// Replaces every text in the value.
    fn take(&mut self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.take(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.take(field)),
            Value::String(text) => {
                self.learn(text);
                REDACTED.clone_into(text);
            }
            _ => *value = REDACTED.into(),
        }
    }

    /// Remembers a secret as it stands, and as it is in or out of base64.
    fn learn(&mut self, text: &str) {
        let text = text.trim();
        self.secrets.insert(STANDARD.encode(text));
        if let Ok(plain) = STANDARD.decode(text)
            && let Ok(plain) = String::from_utf8(plain)
        {
            self.secrets.insert(plain.trim().to_owned());
        }
        self.secrets.insert(text.to_owned());
    }

    /// The documents of a YAML or JSON file without their secrets.
    pub(super) fn documents(&mut self, text: &str) -> anyhow::Result<String> {
        let mut parts = Vec::new();
        for mut document in serde_saphyr::from_multiple::<Value>(text)? {
            self.redact(&mut document);
            parts.push(serde_saphyr::to_string(&document)?);
        }
        Ok(parts.join("---\n"))
    }

    /// The same octets with every secret that is known blotted out.
    pub(super) fn blot(&self, octets: &[u8]) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(octets).into_owned();
        // The longest first: one may be a part of another.
        let mut secrets: Vec<&String> =
            self.secrets.iter().filter(|secret| secret.len() >= SHORTEST).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets.into_iter().filter(|secret| *secret != REDACTED) {
            text = text.replace(secret, REDACTED);
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_taken_out_however_it_is_written_and_wherever_else_it_stands() {
        let mut redactor = Redactor::default();
        let text = "kind: Secret\nmetadata: {name: bgp}\nstringData: {password: hunter22}\n---\nkind: Secret\ndata: {key: czNjcmV0LTE=}\n";
        let clean = redactor.documents(text).unwrap();
        assert!(clean.contains("name: bgp") && clean.matches(REDACTED).count() == 2, "{clean}");
        let log = "session: hunter22, aHVudGVyMjI=, s3cret-1 and czNjcmV0LTE= were seen";
        let blotted = String::from_utf8(redactor.blot(log.as_bytes())).unwrap();
        assert_eq!(blotted, "session: REDACTED, REDACTED, REDACTED and REDACTED were seen");
    }

    #[test]
    fn fields_and_annotations_that_hold_secrets_go_and_references_stay() {
        let mut value = json!({
            "spec": {"password": {"secretKeyRef": {"name": "bgp", "key": "password"}}},
            "users": [{"user": {"token": "abcdefgh", "client-key-data": "LS0t"}}],
            "metadata": {"annotations": {LAST_APPLIED: "{\"stringData\": {\"password\": \"hunter22\"}}"}},
            "peers": [{"key": "tor-1"}],
        });
        Redactor::default().redact(&mut value);
        assert_eq!(value["spec"]["password"]["secretKeyRef"]["name"], "bgp");
        assert_eq!(value["peers"][0]["key"], "tor-1");
        let text = value.to_string();
        assert!(!text.contains("abcdefgh") && !text.contains("LS0t") && !text.contains("hunter22"), "{text}");
    }
}
