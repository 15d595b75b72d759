//! From a `RaftCluster` whose schema and rules stand to values that cannot be wrong any more.
//!
//! Pure. CEL has checked ranges already; what is parsed here is parsed once, and what CEL cannot see into (the schema-less
//! template) is checked here.

use std::time::Duration;

use serde_json::Value;

use super::facts::Repair;
use super::ids::ClusterName;
use super::quantity;
use crate::crd::{
    ConsensusSpec, DeletionPolicy, LogLevel, RaftCluster, RepairMode, RepairSpec, UpdateStrategyType,
};

/// A spec that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The resource's name.
    pub name: ClusterName,
    /// The resource's namespace; `default` when it has none.
    pub namespace: String,
    /// How many voters.
    pub replicas: u8,
    /// Nothing may be changed.
    pub paused: bool,
    /// What becomes of the volumes.
    pub deletion_policy: DeletionPolicy,
    /// How long a silent leader is waited for.
    pub election_timeout: Duration,
    /// How often a leader is heard from.
    pub heartbeat_interval: Duration,
    /// How large the key space may grow, in bytes.
    pub quota_bytes: u64,
    /// How much the sidecar logs.
    pub log_level: LogLevel,
    /// Whether lost volumes are replaced without a person.
    pub repair: Repair,
    /// Whether outdated pods are restarted without a person.
    pub restart_outdated: bool,
    /// The volume's size, as written.
    pub storage_size: String,
}

/// What is wrong with a spec that the schema cannot see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The object has no name.
    #[error("metadata.name is missing: give the cluster a name")]
    NoName,
    /// A number of replicas that no cluster can have.
    #[error("spec.replicas: must be 1, 3, 5, 7 or 9 (found {found})")]
    Replicas {
        /// What stands there.
        found: i32,
    },
    /// A text that is not a duration.
    #[error("{field}: must be a duration such as 1s, 500ms or 5m (found {found:?})")]
    Duration {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: String,
    },
    /// A text that is not a number of bytes.
    #[error("{field}: must be a whole number of bytes such as 512Mi or 2Gi (found {found:?})")]
    Quantity {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: String,
    },
    /// A container or volume of the user's takes a name of the sidecar's.
    #[error("{field}: names that begin with outrigger- are the sidecar's (found {found:?}); choose another")]
    ReservedName {
        /// The field.
        field: String,
        /// What stands there.
        found: String,
    },
    /// A container of the user's takes a port of the sidecar's.
    #[error("{field}: ports 2379 to 2381 are the sidecar's (found {found}); choose another")]
    ReservedPort {
        /// The field.
        field: String,
        /// What stands there.
        found: i64,
    },
}

/// Reads the spec.
///
/// # Errors
/// Everything that is wrong with it, not only the first.
pub fn validate(cluster: &RaftCluster) -> Result<Wanted, Vec<Invalid>> {
    let (wanted, wrong) = read(cluster);
    if wrong.is_empty() { Ok(wanted) } else { Err(wrong) }
}

/// Reads the spec as far as it goes; what cannot be read is what it would be by default. For looking at a cluster whose spec is wrong,
/// never for changing anything.
#[must_use]
pub fn read(cluster: &RaftCluster) -> (Wanted, Vec<Invalid>) {
    let spec = &cluster.spec;
    let mut wrong = template(&cluster.spec.template);
    let mut time = |field: &'static str, text: &str, default: &str| {
        duration(field, text).unwrap_or_else(|invalid| {
            wrong.push(invalid);
            duration(field, default).unwrap_or_default()
        })
    };
    let (consensus, usual) = (&spec.consensus, ConsensusSpec::default());
    let election_timeout =
        time("spec.consensus.electionTimeout", &consensus.election_timeout, &usual.election_timeout);
    let heartbeat_interval =
        time("spec.consensus.heartbeatInterval", &consensus.heartbeat_interval, &usual.heartbeat_interval);
    let after = time(
        "spec.repair.unhealthyAfter",
        &spec.repair.unhealthy_after,
        &RepairSpec::default().unhealthy_after,
    );
    if cluster.metadata.name.is_none() {
        wrong.push(Invalid::NoName);
    }
    let quota_bytes = quantity::bytes(&consensus.quota).unwrap_or_else(|| {
        wrong.push(Invalid::Quantity { field: "spec.consensus.quota", found: consensus.quota.clone() });
        quantity::bytes(&usual.quota).unwrap_or_default()
    });
    let replicas = u8::try_from(spec.replicas).ok().filter(|count| count % 2 == 1 && *count <= 9);
    let replicas = replicas.unwrap_or_else(|| {
        wrong.push(Invalid::Replicas { found: spec.replicas });
        let voters = cluster.status.as_ref().and_then(|status| u8::try_from(status.voters).ok());
        voters.filter(|voters| *voters > 0).unwrap_or(3)
    });
    let wanted = Wanted {
        name: ClusterName(cluster.metadata.name.clone().unwrap_or_default()),
        namespace: cluster.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        replicas,
        paused: spec.paused,
        deletion_policy: spec.deletion_policy,
        election_timeout,
        heartbeat_interval,
        quota_bytes,
        log_level: spec.sidecar.log_level,
        repair: match spec.repair.policy {
            RepairMode::Automatic => Repair::After(after),
            RepairMode::Manual => Repair::ByHand,
        },
        restart_outdated: match spec.update_strategy.kind {
            UpdateStrategyType::LeaderLast => true,
            UpdateStrategyType::OnDelete => false,
        },
        storage_size: spec.storage.size.clone(),
    };
    (wanted, wrong)
}

/// Reads durations such as `1m30s` or `500ms`: whole numbers with the units h, m, s and ms.
fn duration(field: &'static str, text: &str) -> Result<Duration, Invalid> {
    let invalid = || Invalid::Duration { field, found: text.to_owned() };
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let unit_end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let milliseconds = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            _ => None,
        };
        let part = Duration::from_millis(milliseconds.ok_or_else(invalid)?);
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(total) }
}

fn template(template: &Value) -> Vec<Invalid> {
    let mut wrong = Vec::new();
    for list in ["containers", "initContainers", "volumes"] {
        for (index, item) in items(template.pointer("/spec"), list).enumerate() {
            let path = format!("spec.template.spec.{list}[{index}]");
            reserved(item, "name", &path, &mut wrong);
            for (position, port) in items(Some(item), "ports").enumerate() {
                let port = port.get("containerPort").and_then(Value::as_i64);
                if let Some(found) = port.filter(|port| (2379..=2381).contains(port)) {
                    let field = format!("{path}.ports[{position}].containerPort");
                    wrong.push(Invalid::ReservedPort { field, found });
                }
            }
            // The log and the members' keys are the sidecar's alone.
            for mounts in ["volumeMounts", "volumeDevices"] {
                for (position, mount) in items(Some(item), mounts).enumerate() {
                    reserved(mount, "name", &format!("{path}.{mounts}[{position}]"), &mut wrong);
                }
            }
        }
    }
    wrong
}

fn items<'a>(of: Option<&'a Value>, list: &str) -> impl Iterator<Item = &'a Value> {
    of.and_then(|of| of.get(list)).and_then(Value::as_array).into_iter().flatten()
}

fn reserved(item: &Value, key: &str, path: &str, wrong: &mut Vec<Invalid>) {
    let name = item.get(key).and_then(Value::as_str).unwrap_or_default();
    if name.starts_with("outrigger-") {
        wrong.push(Invalid::ReservedName { field: format!("{path}.{key}"), found: name.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::RaftClusterSpec;

    fn cluster(spec: Value) -> RaftCluster {
        RaftCluster::new("orders", serde_json::from_value::<RaftClusterSpec>(spec).unwrap())
    }

    #[test]
    fn defaults_become_values() {
        let wanted = validate(&cluster(json!({}))).unwrap();
        assert_eq!(wanted.replicas, 3);
        assert_eq!(wanted.election_timeout, Duration::from_secs(1));
        assert_eq!(wanted.heartbeat_interval, Duration::from_millis(100));
        assert_eq!(wanted.repair, Repair::After(Duration::from_secs(300)));
        assert_eq!(wanted.namespace, "default");
    }

    #[test]
    fn durations_add_up_and_garbage_is_refused() {
        for (text, wanted) in
            [("1s", 1_000), ("1m30s", 90_000), ("250ms", 250), ("1h", 3_600_000), ("1s500ms", 1_500)]
        {
            assert_eq!(duration("f", text), Ok(Duration::from_millis(wanted)), "{text}");
        }
        for text in ["", "1", "s", "1.5s", "-1s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration("f", text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_ports_of_the_sidecar_are_refused_by_path() {
        let spec = json!({"template": {"spec": {
            "containers": [{
                "name": "app",
                "ports": [{"containerPort": 80}, {"containerPort": 2380}],
                "volumeMounts": [{"name": "mine"}, {"name": "outrigger-peer-tls"}],
            }],
            "volumes": [{"name": "outrigger-data"}],
        }}});
        let wrong: Vec<String> =
            validate(&cluster(spec)).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(
            wrong[0].starts_with("spec.template.spec.containers[0].ports[1].containerPort: "),
            "{wrong:?}"
        );
        assert!(wrong[1].starts_with("spec.template.spec.containers[0].volumeMounts[1].name: "), "{wrong:?}");
        assert!(wrong[2].starts_with("spec.template.spec.volumes[0].name: "), "{wrong:?}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let wrong =
            validate(&cluster(json!({"replicas": 2, "repair": {"unhealthyAfter": "x"}}))).unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn what_cannot_be_read_is_as_by_default_and_the_rest_as_written() {
        let spec =
            json!({"replicas": 2, "paused": true, "repair": {"unhealthyAfter": "x", "policy": "Manual"}});
        let mut odd = cluster(spec);
        odd.status = Some(crate::crd::RaftClusterStatus { voters: 5, ..Default::default() });
        let (wanted, wrong) = read(&odd);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert_eq!((wanted.replicas, wanted.paused, wanted.repair), (5, true, Repair::ByHand));
    }
}
