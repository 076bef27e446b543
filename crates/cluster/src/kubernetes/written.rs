//! Objects as they are written.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::problem::Fault;

/// One of Kubernetes' own objects as it is written: of its fields those that are read, as texts. Any other is passed
/// over unseen, whatever it holds.
pub(crate) trait Written: DeserializeOwned {
    /// What is kept of it.
    type Kept;

    /// Its metadata, of which no more is there than [`metadata`] reads.
    fn metadata(&self) -> &ObjectMeta;

    /// Its metadata.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;

    /// What is kept of it. What cannot be understood is left out and becomes a fault.
    fn kept(self, faults: &mut Vec<Fault>) -> Self::Kept;
}

/// Reads what is used of an object's metadata. Who manages which of its fields is often longer than they are.
pub(super) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
    }
    let Metadata { name, namespace, uid, resource_version, creation_timestamp, labels } =
        Metadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        creation_timestamp,
        labels,
        ..ObjectMeta::default()
    })
}
