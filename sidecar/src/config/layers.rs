//! Where a setting's value comes from: flag, environment, file, default, in this order.
//!
//! May import: serde_yaml, std's files (the one file that is read before the checks is the file of settings itself).
//! Deliberately absent: what values mean.

use std::collections::BTreeMap;

use super::settings::{RunArgs, SETTINGS, variable};
use super::{ConfigError, ConfigErrors};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Environment(String),
    /// The file at this path.
    File(String),
    /// Nobody gave it.
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Environment(name) => write!(f, "${name}"),
            Self::File(path) => f.write_str(path),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Every setting's value and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Layers {
    /// Lays the sources over each other. `environment` looks one variable up.
    ///
    /// # Errors
    /// When the file cannot be read, is no flat map, or has unknown keys.
    pub fn read(args: &RunArgs, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let path = args.file.clone().or_else(|| environment(&variable("config")));
        let file = match &path {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    ConfigErrors(vec![ConfigError::UnreadableFile {
                        path: path.clone(),
                        problem: error.to_string(),
                    }])
                })?;
                parse_file(path, &text)?
            }
            None => BTreeMap::new(),
        };
        let mut values = BTreeMap::new();
        for setting in &SETTINGS {
            let flag = setting.flag;
            let name = setting.variable();
            let found = (args.flags.get(flag).map(|value| (value.clone(), Source::Flag)))
                // An empty variable is how a manifest spells "not set".
                .or_else(|| {
                    let value = environment(&name).filter(|value| !value.is_empty())?;
                    Some((value, Source::Environment(name)))
                })
                .or_else(|| {
                    let value = file.get(flag)?;
                    Some((value.clone(), Source::File(path.clone().unwrap_or_default())))
                })
                .or_else(|| setting.default.map(|value| (value.to_owned(), Source::Default)));
            if let Some(found) = found {
                values.insert(flag, found);
            }
        }
        Ok(Self { values })
    }

    /// A setting's value and its source.
    #[must_use]
    pub fn get(&self, flag: &str) -> Option<(&str, &Source)> {
        self.values.get(flag).map(|(value, source)| (value.as_str(), source))
    }
}

fn parse_file(path: &str, text: &str) -> Result<BTreeMap<&'static str, String>, ConfigErrors> {
    let malformed =
        |problem: String| ConfigErrors(vec![ConfigError::MalformedFile { path: path.to_owned(), problem }]);
    let value: serde_yaml::Value =
        serde_yaml::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let map = match value {
        serde_yaml::Value::Mapping(map) => map,
        // An empty file sets nothing.
        serde_yaml::Value::Null => return Ok(BTreeMap::new()),
        serde_yaml::Value::Bool(_)
        | serde_yaml::Value::Number(_)
        | serde_yaml::Value::String(_)
        | serde_yaml::Value::Sequence(_)
        | serde_yaml::Value::Tagged(_) => return Err(malformed("it is not a map of settings".to_owned())),
    };
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    for (key, value) in &map {
        let Some(key) = key.as_str() else {
            errors.extend(malformed(format!("the key {key:?} is not a text")).0);
            continue;
        };
        let Some(setting) = SETTINGS.iter().find(|setting| setting.flag == key) else {
            errors.push(ConfigError::UnknownKey {
                path: path.to_owned(),
                key: key.to_owned(),
                nearest: nearest(key),
            });
            continue;
        };
        match scalar(value) {
            Some(Some(text)) => {
                values.insert(setting.flag, text);
            }
            Some(None) => {}
            None => errors.extend(malformed(format!("`{key}` is a list or a map, not one value")).0),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(ConfigErrors(errors)) }
}

/// A scalar as text; `Some(None)` for null, `None` for what is no scalar.
fn scalar(value: &serde_yaml::Value) -> Option<Option<String>> {
    match value {
        serde_yaml::Value::Null => Some(None),
        serde_yaml::Value::Bool(value) => Some(Some(value.to_string())),
        serde_yaml::Value::Number(value) => Some(Some(value.to_string())),
        serde_yaml::Value::String(value) => Some(Some(value.clone())),
        serde_yaml::Value::Sequence(_) | serde_yaml::Value::Mapping(_) | serde_yaml::Value::Tagged(_) => None,
    }
}

/// The setting with the fewest edits between its flag and `key`.
fn nearest(key: &str) -> &'static str {
    let distance = |setting: &&super::Setting| edits(key, setting.flag);
    SETTINGS.iter().min_by_key(distance).map_or("name", |setting| setting.flag)
}

/// Levenshtein's distance.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, left) in one.chars().enumerate() {
        let mut diagonal = place;
        let mut before = place + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(&other) {
            let replace = diagonal + usize::from(left != *right);
            diagonal = *cell;
            before = replace.min(before + 1).min(diagonal + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = place + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
