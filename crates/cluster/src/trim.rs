//! What is kept of an object whose whole type is kept: nothing that a server or a tool adds to it.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Names, labels, our own annotations, and what tells two objects of one name apart.
pub(crate) fn metadata(metadata: &mut ObjectMeta) {
    let whole = std::mem::take(metadata);
    let annotations = whole.annotations.map(|mut annotations| {
        annotations.retain(|key, _| key.starts_with("muslin.dev/"));
        annotations
    });
    *metadata = ObjectMeta {
        name: whole.name,
        namespace: whole.namespace,
        uid: whole.uid,
        creation_timestamp: whole.creation_timestamp,
        labels: whole.labels,
        annotations: annotations.filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    };
}

pub(crate) fn secret(mut secret: Secret) -> Secret {
    metadata(&mut secret.metadata);
    Secret { metadata: secret.metadata, data: secret.data, ..Secret::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_annotations_are_kept() {
        let annotation = |key: &str| (key.to_owned(), "x".to_owned());
        let annotations =
            [annotation("muslin.dev/asn"), annotation("kubectl.kubernetes.io/last-applied-configuration")];
        let mut kept =
            ObjectMeta { annotations: Some(annotations.into_iter().collect()), ..ObjectMeta::default() };
        metadata(&mut kept);
        assert_eq!(kept.annotations.unwrap().keys().collect::<Vec<_>>(), ["muslin.dev/asn"]);
    }
}
