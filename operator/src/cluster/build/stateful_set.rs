//! The StatefulSet.
//!
//! Pods come and go in parallel and are restarted by the operator alone (`OnDelete`): ordered starts deadlock when the first
//! pod waits for a quorum. Claims are kept whatever happens to the set; what becomes of them is the operator's to say.
//!
//! May import: this folder. Deliberately absent: the growth of volumes, for claim templates never change.

use serde_json::{Value, json};

use super::{Blueprint, headless_name, labels, pod, stateful_set_name};

pub(super) fn stateful_set(blueprint: Blueprint<'_>) -> Value {
    let name = blueprint.name();
    let storage = &blueprint.spec.storage;
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": pod::DATA, "labels": labels::all(name)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": blueprint.claim_size}},
        },
    });
    if let Some(class) = &storage.storage_class_name
        && let Some(Value::Object(spec)) = claim.get_mut("spec")
    {
        spec.insert("storageClassName".to_owned(), json!(class));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": blueprint.meta(stateful_set_name(name)),
        "spec": {
            "serviceName": headless_name(name),
            "replicas": blueprint.pods,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "selector": {"matchLabels": labels::matching(name)},
            "template": pod::template(blueprint),
            "volumeClaimTemplates": [claim],
        },
    })
}
