//! Whether a live object already says all that is wanted of it: then it is not written.
//!
//! Pure. A field that is wanted must be there with the same value; what else is there (defaults, other managers' fields) does
//! not matter, except in what selects pods: one label more there, and a Service or a budget selects none. Lists must be as long, and each
//! item covered. That a field is not wanted any more is not seen here (`apply` marks what it asked for). A value that the API server writes in another form (`0.5` as
//! `500m`) is not recognised as the same: the caller remembers what it wrote last.

use serde_json::Value;

/// What selects pods: no API server adds anything to it.
const SELECTORS: [&str; 2] = ["selector", "podSelector"];

/// See the module.
pub(super) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        // Absent and null are the same to an API server.
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| match live.get(key) {
                Some(live) if SELECTORS.contains(&key.as_str()) => live == wanted,
                Some(live) => covers(live, wanted),
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// An API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wanted_must_be_there_and_the_rest_may_be() {
        for (live, wanted, is_covered) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1}), true),
            (json!({"a": 1}), json!({"a": 2}), false),
            (json!({}), json!({"a": 1}), false),
            (json!({}), json!({"a": null, "b": [], "c": {"d": null}}), true),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}}), true),
            (json!({"a": [1, 2]}), json!({"a": [1]}), false),
            (json!({"a": [{"b": 1, "default": true}]}), json!({"a": [{"b": 1}]}), true),
            (json!({"a": "4Gi"}), json!({"a": "4096Mi"}), false),
            (json!({"a": [1]}), json!({"a": {}}), false),
            (json!({"selector": {"a": "b"}}), json!({"selector": {"a": "b"}}), true),
            (json!({"selector": {"a": "b", "c": "d"}}), json!({"selector": {"a": "b"}}), false),
        ] {
            assert_eq!(covers(&live, &wanted), is_covered, "{live} {wanted}");
        }
    }
}
