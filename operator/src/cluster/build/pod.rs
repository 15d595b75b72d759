//! The pod: the user's template with the sidecar put into it.
//!
//! The sidecar is the first init container, with `restartPolicy: Always`: it starts before the application and stops after
//! it. Where the user has no application, it is the pod's one container. Works on raw JSON, so that what the user wrote reaches the API server as it is, and a typo is refused there.
//!
//! May import: this folder. Deliberately absent: checks of the template (`validate` has refused reserved names and ports).

use serde_json::{Map, Value, json};

use super::{Blueprint, CLIENT_PORT, HTTP_PORT, PEER_PORT, labels, peer_tls_name};

/// The sidecar's container.
pub const SIDECAR: &str = "outrigger-sidecar";
/// The volume of the log and the snapshots.
pub(super) const DATA: &str = "outrigger-data";
/// What hides the service account's token from the sidecar.
const NO_TOKEN: &str = "outrigger-no-token";
/// The volume of the members' certificates.
const PEER_TLS: &str = "outrigger-peer-tls";
const PEER_TLS_PATH: &str = "/etc/outrigger/peer-tls";
const DATA_PATH: &str = "/var/lib/outrigger";
/// Below the volume's root, where file systems keep a `lost+found` of their own.
const DATA_DIR: &str = "/var/lib/outrigger/data";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The user and group that the sidecar runs as.
const USER: u32 = 65532;
/// What a pod without one of its own is given to stop, in seconds, as Kubernetes does.
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// What the sidecar is given on top of the user's grace, in seconds: it is told to end only when the application has.
const SIDECAR_GRACE_SECONDS: i64 = 10;

/// The user's template with the sidecar, its volumes and the labels that select it.
pub(super) fn template(blueprint: Blueprint<'_>) -> Value {
    let mut template = blueprint.spec.template.clone();
    let metadata = object(&mut template, "metadata");
    let named = object(metadata, "labels");
    for (key, value) in labels::matching(blueprint.name()) {
        set(named, &key, Value::String(value));
    }
    // Only what selects the pods is ours: a Service of the user's may go by the others.
    for (key, value) in labels::all(blueprint.name()) {
        default(named, &key, Value::String(value));
    }
    let annotations = object(metadata, "annotations");
    default(
        annotations,
        "kubectl.kubernetes.io/default-container",
        first_container(&blueprint.spec.template),
    );
    let spec = object(&mut template, "spec");
    // What is no list is no application either, and is left for the API server to refuse.
    let has_app = match spec.get("containers") {
        None | Some(Value::Null) => false,
        Some(Value::Array(containers)) => !containers.is_empty(),
        Some(_) => true,
    };
    if has_app {
        prepend(spec, "initContainers", with(sidecar(blueprint), "restartPolicy", json!("Always")));
    } else {
        // A pod has at least one container: without an application, the sidecar is it.
        set(spec, "containers", json!([sidecar(blueprint)]));
    }
    let secret = peer_tls_name(blueprint.name());
    // Readable by the pod's file system group, which the sidecar is in.
    prepend(
        spec,
        "volumes",
        json!({"name": PEER_TLS, "secret": {"secretName": secret, "defaultMode": 0o440}}),
    );
    prepend(spec, "volumes", json!({"name": NO_TOKEN, "emptyDir": {"sizeLimit": "1Mi"}}));
    spread(spec, blueprint);
    let security = object(spec, "securityContext");
    default(security, "fsGroup", json!(USER));
    default(security, "fsGroupChangePolicy", json!("OnRootMismatch"));
    let grace = match spec.get("terminationGracePeriodSeconds") {
        None | Some(Value::Null) => Some(DEFAULT_GRACE_SECONDS),
        Some(grace) => grace.as_i64(),
    };
    // What is no number is left for the API server to refuse.
    if let Some(grace) = grace {
        set(spec, "terminationGracePeriodSeconds", json!(grace.saturating_add(SIDECAR_GRACE_SECONDS)));
    }
    template
}

/// Two members on one node may be a quorum that goes with it: they are spread over nodes and zones as far as there are any,
/// unless the user has said where pods go.
fn spread(spec: &mut Value, blueprint: Blueprint<'_>) {
    if spec.pointer("/affinity/podAntiAffinity").is_some() {
        return;
    }
    let over = |key: &str| {
        json!({
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels::matching(blueprint.name())},
        })
    };
    let constraints = json!([over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")]);
    default(spec, "topologySpreadConstraints", constraints);
}

fn sidecar(blueprint: Blueprint<'_>) -> Value {
    let sidecar = &blueprint.spec.sidecar;
    let image = sidecar.image.as_deref().unwrap_or(&blueprint.settings.sidecar_image);
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": HTTP_PORT},
            "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures,
        })
    };
    let port = |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let mut container = json!({
        "name": SIDECAR,
        "image": image,
        "args": arguments(blueprint),
        // Variables, not flags: commands that are run in the container show the same certificate.
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "OUTRIGGER_PEER_TLS_DIR", "value": PEER_TLS_PATH},
            {"name": "OUTRIGGER_PEER_TLS_NAME", "value": "$(POD_NAME)"},
        ],
        "ports": [
            port("etcd-client", CLIENT_PORT),
            port("outrigger-peer", PEER_PORT),
            port("outrigger-http", HTTP_PORT),
        ],
        "startupProbe": probe("/livez", 1, 60),
        "readinessProbe": probe("/readyz", 2, 2),
        "livenessProbe": probe("/livez", 10, 6),
        // The signal to end comes only when the application's grace is over; its node is gone from service long before.
        "lifecycle": {"preStop": {"exec": {"command": ["/outrigger", "drain"]}}},
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": DATA, "mountPath": DATA_PATH},
            {"name": PEER_TLS, "mountPath": PEER_TLS_PATH, "readOnly": true},
            {"name": NO_TOKEN, "mountPath": TOKEN_PATH, "readOnly": true},
        ],
    });
    if let Some(resources) = &sidecar.resources {
        set(&mut container, "resources", json!(resources));
    }
    container
}

/// How the sidecar is started. Nothing in here may change when the cluster is scaled, or scaling would restart everybody.
fn arguments(blueprint: Blueprint<'_>) -> Vec<String> {
    let wanted = blueprint.wanted;
    let zone = blueprint.zone();
    let flags: [(&str, String); 9] = [
        ("--name", "$(POD_NAME)".to_owned()),
        ("--data-dir", DATA_DIR.to_owned()),
        ("--advertise-peer", format!("$(POD_NAME).{zone}:{PEER_PORT}")),
        ("--advertise-client", format!("http://$(POD_NAME).{zone}:{CLIENT_PORT}")),
        ("--peers-dns", zone.clone()),
        ("--heartbeat-interval", format!("{}ms", wanted.heartbeat_interval.as_millis())),
        ("--election-timeout", format!("{}ms", wanted.election_timeout.as_millis())),
        ("--quota-bytes", wanted.quota_bytes.to_string()),
        ("--log-level", wanted.log_level.to_string()),
    ];
    let mut arguments = vec!["run".to_owned()];
    arguments.extend(flags.into_iter().map(|(flag, value)| format!("{flag}={value}")));
    arguments.push("--log-format=json".to_owned());
    arguments
}

/// `kubectl logs` and `exec` mean the application when nothing else is said.
fn first_container(template: &Value) -> Value {
    template.pointer("/spec/containers/0/name").cloned().unwrap_or_else(|| json!(SIDECAR))
}

/// The object under `key`, made if there is none. What is no object is left for the API server to refuse.
fn object<'a>(of: &'a mut Value, key: &str) -> &'a mut Value {
    if of.is_null() {
        *of = Value::Object(Map::new());
    }
    match of {
        Value::Object(map) => {
            let value = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            value
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            other
        }
    }
}

fn with(mut of: Value, key: &str, value: Value) -> Value {
    set(&mut of, key, value);
    of
}

fn set(of: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = of {
        map.insert(key.to_owned(), value);
    }
}

fn default(of: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = of {
        map.entry(key).or_insert(value);
    }
}

fn prepend(of: &mut Value, key: &str, item: Value) {
    let Value::Object(map) = of else { return };
    let list = map.entry(key).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    if let Value::Array(items) = list {
        items.insert(0, item);
    }
}
