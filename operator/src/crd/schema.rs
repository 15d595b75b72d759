//! Checks a document against the very schema and rules that an API server would check it with, and writes the definition out.
//!
//! The walk below covers what our own schema uses (types, required fields, enums, ranges, lengths, unknown fields); the rules
//! are evaluated by kube's CEL. Pure: no API server, no file.

use std::fmt;

use kube::CustomResourceExt;
use serde_json::Value;

use super::{API_VERSION, KIND, RaftCluster};

/// One thing that is wrong with a document: where, what, and the value that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, such as `spec.storage.size`.
    pub field: String,
    /// The rule that it breaks, in words that say what to do instead.
    pub rule: String,
    /// What stands there, if anything does.
    pub value: Option<String>,
}

impl Violation {
    fn new(field: &str, rule: impl Into<String>, value: Option<&Value>) -> Self {
        Self { field: field.to_owned(), rule: rule.into(), value: value.map(brief) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A rule often begins with the name of its field; saying it twice helps nobody.
        let rule = self.rule.strip_prefix(&self.field).map_or(self.rule.as_str(), str::trim_start);
        let field = if self.field.is_empty() { "the document" } else { &self.field };
        write!(out, "{field}: {rule}")?;
        match &self.value {
            Some(value) => write!(out, " (found {value})"),
            None => Ok(()),
        }
    }
}

/// Reads a document as a `RaftCluster`, or says everything that is wrong with it.
///
/// `old` is the object that it replaces, if there is one: immutable fields are then compared.
///
/// # Errors
/// All violations, those of the schema first; the rules are evaluated only on a document that has the right shape.
pub fn check(document: &Value, old: Option<&RaftCluster>) -> Result<RaftCluster, Vec<Violation>> {
    let mut found = Vec::new();
    check_kind(document, &mut found);
    let schema = root_schema();
    walk(&schema, document, "", &mut found);
    check_metadata(document, &mut found);
    if !found.is_empty() {
        return Err(found);
    }
    let cluster: RaftCluster = serde_json::from_value(document.clone())
        .map_err(|error| vec![Violation::new("spec", error.to_string(), None)])?;
    let rules = match old {
        Some(old) => cluster.validate_cel_update(old),
        None => cluster.validate_cel(),
    };
    match rules {
        Ok(()) => Ok(cluster),
        Err(errors) => {
            let defaulted = serde_json::to_value(&cluster).unwrap_or(Value::Null);
            let mut found: Vec<Violation> = Vec::new();
            for error in errors.into_vec() {
                let field = field_of(&error.field_path, &error.message).to_owned();
                let violation = Violation::new(&field, error.message, at(&defaulted, &field));
                if !found.contains(&violation) {
                    found.push(violation);
                }
            }
            Err(found)
        }
    }
}

/// Where a broken rule points. A rule of the root can name no field below `metadata` (an API server takes only paths of the
/// schema, which has none there), so its message's first word is the path.
fn field_of<'a>(path: &'a str, message: &'a str) -> &'a str {
    let first = message.split_whitespace().next().unwrap_or_default();
    if path.is_empty() && first.contains('.') { first } else { path }
}

/// The definition as YAML, with a line that says where it comes from.
///
/// # Errors
/// None in practice: the definition is made of maps, strings and numbers.
pub fn definition_yaml() -> Result<String, serde_yaml::Error> {
    let yaml = serde_yaml::to_string(&super::definition())?;
    Ok(format!("# Generated from operator/src/crd by `make generate`. Do not edit.\n{yaml}"))
}

fn root_schema() -> Value {
    let definition = RaftCluster::crd();
    let schema = definition.spec.versions.first().and_then(|version| version.schema.as_ref());
    serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema.as_ref())).unwrap_or(Value::Null)
}

fn check_kind(document: &Value, found: &mut Vec<Violation>) {
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let value = document.get(field);
        if value.and_then(Value::as_str) != Some(wanted) {
            found.push(Violation::new(field, format!("must be {wanted}"), value));
        }
    }
}

/// An API server checks names before any rule: a DNS label with dots allowed. The dots are our own rule's to refuse.
fn check_metadata(document: &Value, found: &mut Vec<Violation>) {
    let name = document.pointer("/metadata/name");
    let valid = name.and_then(Value::as_str).is_some_and(|name| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        name.len() <= 253
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte))
    });
    if !valid {
        let rule = "must be lower-case letters, digits and '-', beginning and ending with a letter or digit";
        found.push(Violation::new("metadata.name", rule, name));
    }
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<Violation>) {
    if flag(schema, "x-kubernetes-int-or-string") {
        if !(value.is_i64() || value.is_string()) {
            found.push(Violation::new(path, "must be a whole number or a string", Some(value)));
        }
        return;
    }
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if let Some(wanted) = schema.get("type").and_then(Value::as_str)
        && !has_type(value, wanted)
    {
        found.push(Violation::new(path, format!("must be of type {wanted}"), Some(value)));
        return;
    }
    check_enum(schema, value, path, found);
    match value {
        Value::Object(fields) => walk_object(schema, fields, path, found),
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    walk(item_schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        Value::Number(number) => check_range(schema, number, path, found),
        Value::String(text) => {
            let longest = schema.get("maxLength").and_then(Value::as_u64);
            if let Some(longest) = longest.filter(|longest| text.chars().count() as u64 > *longest) {
                found.push(Violation::new(
                    path,
                    format!("must be at most {longest} characters"),
                    Some(value),
                ));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn walk_object(
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
    path: &str,
    found: &mut Vec<Violation>,
) {
    let join = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let required = schema.get("required").and_then(Value::as_array);
    for field in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(field) {
            found.push(Violation::new(&join(field), "is required", None));
        }
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (field, value) in fields {
        // The root's own fields are not part of a definition's schema; an API server knows them by itself.
        if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&field.as_str()) {
            continue;
        }
        match properties.get(field) {
            Some(inner) => walk(inner, value, &join(field), found),
            None if flag(schema, "x-kubernetes-preserve-unknown-fields") => {}
            None => {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                let rule = format!("unknown field; known here: {}", known.join(", "));
                found.push(Violation::new(&join(field), rule, None));
            }
        }
    }
}

fn check_enum(schema: &Value, value: &Value, path: &str, found: &mut Vec<Violation>) {
    let Some(allowed) = schema.get("enum").and_then(Value::as_array) else {
        return;
    };
    if !allowed.contains(value) {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        found.push(Violation::new(path, format!("must be one of {}", names.join(", ")), Some(value)));
    }
}

fn check_range(schema: &Value, number: &serde_json::Number, path: &str, found: &mut Vec<Violation>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let value = number.as_f64().unwrap_or(f64::NAN);
    let below = bound("minimum").is_some_and(|minimum| value < minimum);
    let above = bound("maximum").is_some_and(|maximum| value > maximum);
    if below || above {
        let text = |name| bound(name).map_or_else(|| "any".to_owned(), |bound| bound.to_string());
        let rule = format!("must be from {} to {}", text("minimum"), text("maximum"));
        found.push(Violation::new(path, rule, Some(&Value::Number(number.clone()))));
    }
}

fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        // A type that the walk does not know is left to the API server rather than refused here.
        _ => true,
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(document, |value, part| value.get(part))
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    let head: String = text.chars().take(57).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests;
