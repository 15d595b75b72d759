//! The on-call page has a place for every word that a status can show.
//!
//! The words are read from the code (reasons are literals, the enums are in the definition), so that a new one fails here until
//! somebody has written what to do about it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and indexes what it made"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/operations.md")).unwrap()
}

fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            // What stands in tests is never in a status.
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            into.push((path, text));
        }
    }
}

/// The literals that follow `before`, white space aside.
fn literals<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let rest = text.split(before).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    rest.filter_map(|rest| rest.split('"').next()).collect()
}

fn is_a_word(text: &&str) -> bool {
    text.starts_with(char::is_uppercase) && text.chars().all(char::is_alphanumeric)
}

fn reasons() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("operator/src"), &mut files);
    sources(&root().join("operator/plan/src"), &mut files);
    let mut found = BTreeSet::new();
    for (path, text) in &files {
        let mut words = literals(text, "Verdict::yes(");
        words.extend(literals(text, "Verdict::no("));
        // `reason` of a wait, and what the conditions say of a decision.
        if path.ends_with("decide/step.rs") || path.ends_with("status/verdicts.rs") {
            words.extend(literals(text, "=>"));
        }
        found.extend(words.into_iter().filter(is_a_word).map(str::to_owned));
    }
    found
}

fn conditions() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("operator/src/crd/conditions.rs")).unwrap();
    literals(&text, ": &str =").into_iter().map(str::to_owned).collect()
}

fn headings(page: &str, kind: &str) -> BTreeSet<String> {
    let begin = format!("### {kind} `");
    page.lines().filter_map(|line| Some(line.strip_prefix(&begin)?.strip_suffix('`')?.to_owned())).collect()
}

/// The words of the first column of the table below a heading.
fn rows(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, after) = page.split_once(&format!("### {heading}\n")).unwrap();
    let table =
        after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

/// The values that a field of the status may have, by the definition.
fn values(pointer: &str) -> BTreeSet<String> {
    let yaml = outrigger_operator::crd::schema::definition_yaml().unwrap();
    let definition: Value = serde_yaml::from_str(&yaml).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let field = definition.pointer(&format!("{status}{pointer}")).unwrap_or_else(|| panic!("{pointer}"));
    let listed = field["enum"].as_array().unwrap_or_else(|| panic!("{pointer} is no enum: {field}"));
    listed.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn every_reason_has_its_heading_and_no_heading_is_of_a_reason_that_is_gone() {
    let found = reasons();
    assert!(found.len() > 25, "the code is read wrongly: {found:?}");
    assert_eq!(found, headings(&page(), "Reason"));
}

#[test]
fn every_reason_says_what_it_means_and_what_to_do() {
    let page = page();
    for section in page.split("### Reason `").skip(1) {
        let (reason, text) = section.split_once("`\n").unwrap();
        let text = text.split("\n##").next().unwrap();
        assert!(text.contains("**Means**") && text.contains("**You**"), "{reason}");
    }
}

#[test]
fn every_condition_has_its_heading_and_no_heading_is_of_a_condition_that_is_gone() {
    assert_eq!(conditions(), headings(&page(), "Condition"));
}

#[test]
fn every_word_of_the_table_is_explained() {
    let tables = [
        ("/phase", "Phases"),
        ("/members/items/properties/health", "Health of a member"),
        ("/members/items/properties/lag", "Lag"),
        ("/members/items/properties/role", "Roles"),
        ("/operation/properties/type", "Operations"),
    ];
    for (field, heading) in tables {
        assert_eq!(values(field), rows(&page(), heading), "{heading}");
    }
}

#[test]
fn every_event_is_explained() {
    let text = std::fs::read_to_string(root().join("operator/src/controller/events.rs")).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let text = text.replace("action: Some(", "");
    let words =
        ["Note::normal(", "Note::warning(", "Some("].iter().flat_map(|before| literals(&text, before));
    let mut found: BTreeSet<String> = words.filter(is_a_word).map(str::to_owned).collect();
    assert!(found.len() > 12, "the code is read wrongly: {found:?}");
    found.extend(["Begun".to_owned(), "Ended".to_owned()]);
    assert_eq!(found, rows(&page(), "Events"));
}

#[test]
fn every_link_within_the_page_leads_somewhere() {
    let page = page();
    let anchors: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            title.chars().filter(|letter| letter.is_alphanumeric() || *letter == '-').collect()
        })
        .collect();
    let links: Vec<&str> =
        page.split("](#").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect();
    assert!(links.len() >= 15, "{links:?}");
    for link in links {
        assert!(anchors.contains(link), "#{link} is no heading");
    }
}
