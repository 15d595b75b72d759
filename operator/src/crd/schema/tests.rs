use serde_json::json;

use super::*;

fn document(spec: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "orders"}, "spec": spec})
}

fn violations(spec: &Value) -> Vec<String> {
    match check(&document(spec), None) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_spec_is_a_cluster_of_three_with_every_default() {
    let cluster = check(&document(&json!({})), None).unwrap();
    assert_eq!(cluster.spec.replicas, 3);
    assert_eq!(cluster.spec.consensus.election_timeout, "1s");
    assert_eq!(cluster.spec.storage.size, "4Gi");
    assert!(!cluster.spec.paused);
}

#[test]
fn every_rule_names_its_field_and_what_stands_there() {
    let rows = [
        (json!({"replicas": 4}), "spec.replicas", "1, 3, 5, 7 or 9", "4"),
        (json!({"replicas": 11}), "spec.replicas", "from 1 to 9", "11"),
        (json!({"replicas": "three"}), "spec.replicas", "type integer", "three"),
        (json!({"replica": 3}), "spec.replica", "unknown field", ""),
        (json!({"storage": {"sise": "4Gi"}}), "spec.storage.sise", "unknown field", ""),
        (json!({"deletionPolicy": "Keep"}), "spec.deletionPolicy", "one of Retain, Delete", "Keep"),
        (json!({"storage": {"size": "lots"}}), "spec.storage.size", "whole number of bytes", "lots"),
        (json!({"storage": {"size": "1.3"}}), "spec.storage.size", "whole number of bytes", "1.3"),
        (json!({"storage": {"size": "2Gi"}}), "spec.storage.size", "4 × spec.consensus.quota + 512Mi", "2Gi"),
        (json!({"consensus": {"quota": "1Mi"}}), "spec.consensus.quota", "16Mi to 64Gi", "1Mi"),
        (
            json!({"consensus": {"electionTimeout": "soon"}}),
            "spec.consensus.electionTimeout",
            "duration",
            "soon",
        ),
        (
            json!({"consensus": {"electionTimeout": "90s"}}),
            "spec.consensus.electionTimeout",
            "100ms to 60s",
            "90s",
        ),
        (
            json!({"consensus": {"electionTimeout": "400ms"}}),
            "spec.consensus.electionTimeout",
            "5 × spec.consensus.heartbeatInterval",
            "400ms",
        ),
        (
            json!({"sidecar": {"resources": {"limits": {"memory": "1Gi"}}}}),
            "spec.sidecar.resources.limits.memory",
            "2 × spec.consensus.quota + 128Mi",
            "1Gi",
        ),
        (json!({"sidecar": {"logLevel": "loud"}}), "spec.sidecar.logLevel", "one of error", "loud"),
        (json!({"repair": {"unhealthyAfter": "0s"}}), "spec.repair.unhealthyAfter", "1s to 24h", "0s"),
    ];
    for (spec, field, rule, value) in rows {
        let found = violations(&spec);
        assert_eq!(found.len(), 1, "{spec} gave {found:?}");
        assert!(found[0].starts_with(&format!("{field}: ")), "{spec} gave {found:?}");
        assert!(found[0].contains(rule), "{spec} gave {found:?}");
        assert!(found[0].contains(value), "{spec} gave {found:?}");
    }
}

#[test]
fn edges_of_the_arithmetic_are_accepted() {
    let rows = [
        json!({"consensus": {"quota": "512Mi"}, "storage": {"size": "2560Mi"}}),
        json!({"sidecar": {"resources": {"limits": {"memory": "1152Mi", "cpu": 2}}}}),
        json!({"consensus": {"electionTimeout": "500ms", "heartbeatInterval": "100ms"}}),
        json!({"template": {"spec": {"containers": [{"name": "app", "image": "x"}]}}}),
        json!({"replicas": 9}),
    ];
    for spec in rows {
        assert_eq!(violations(&spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn one_below_the_edges_is_refused() {
    let rows = [
        json!({"storage": {"size": "2559Mi"}}),
        json!({"sidecar": {"resources": {"limits": {"memory": "1151Mi"}}}}),
        json!({"consensus": {"electionTimeout": "499ms"}}),
    ];
    for spec in rows {
        assert_eq!(violations(&spec).len(), 1, "{spec}");
    }
}

#[test]
fn names_are_checked_as_an_api_server_and_our_rule_would() {
    let long = "a".repeat(41);
    for (name, rule) in [
        ("a.b", "no dot"),
        (long.as_str(), "at most 40 characters"),
        ("Orders", "lower-case"),
        ("-a", "beginning"),
    ] {
        let mut document = document(&json!({}));
        document["metadata"]["name"] = json!(name);
        let found = check(&document, None).unwrap_err();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let said = found[0].to_string();
        assert!(said.starts_with("metadata.name: ") && said.contains(rule), "{said}");
        assert!(said.ends_with(&format!("(found {name:?})")), "{said}");
    }
}

#[test]
fn the_storage_class_cannot_be_changed_added_or_dropped() {
    let with = |class: Option<&str>| {
        let storage = class.map_or_else(|| json!({}), |class| json!({"storageClassName": class}));
        document(&json!({"storage": storage}))
    };
    let rows = [
        (None, None, true),
        (Some("fast"), Some("fast"), true),
        (Some("fast"), Some("slow"), false),
        (None, Some("fast"), false),
        (Some("fast"), None, false),
    ];
    for (before, after, allowed) in rows {
        let old = check(&with(before), None).unwrap();
        assert_eq!(check(&with(after), Some(&old)).is_ok(), allowed, "{before:?} → {after:?}");
    }
}

#[test]
fn the_size_is_compared_with_what_is_provisioned_not_with_the_old_spec() {
    let mut typo = document(&json!({"storage": {"size": "400Gi"}}));
    let old = check(&typo, None).unwrap();
    typo["status"] = json!({"provisionedStorage": "4Gi"});
    typo["spec"]["storage"]["size"] = json!("4Gi");
    assert!(check(&typo, Some(&old)).is_ok(), "a typo must not be for ever");
    typo["spec"]["storage"]["size"] = json!("3Gi");
    let found = check(&typo, Some(&old)).unwrap_err();
    assert!(found[0].to_string().contains("volumes only grow"), "{found:?}");
}

#[test]
fn the_definition_stays_far_below_what_kubectl_apply_can_annotate() {
    let yaml = definition_yaml().unwrap();
    assert!(yaml.len() < 64 * 1024, "{} bytes", yaml.len());
}

#[test]
fn the_definition_carries_lists_that_merge_by_key_scale_and_columns() {
    let definition = serde_json::to_value(super::super::definition()).unwrap();
    let version = &definition["spec"]["versions"][0];
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    assert_eq!(status["members"]["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(status["conditions"]["x-kubernetes-list-map-keys"], json!(["type"]));
    assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.replicas");
    let columns: Vec<&str> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Voters", "Ready", "Leader", "Phase", "Version", "Term", "Fault-tolerance", "Age"]);
    assert_eq!(definition["spec"]["names"]["shortNames"], json!(["rcl"]));
}

/// An API server refuses formats that it does not know for a type, and unsigned ones are among them.
#[test]
fn the_schema_has_no_unsigned_formats() {
    let text = definition_yaml().unwrap();
    assert!(!text.contains("uint"), "{text}");
}
