//! What the chart starts the operator with is what the operator takes: a flag of another name would be a crash loop.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and indexes what it read"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use outrigger_operator::args::{Args, Command, LogFormat};
use serde::Deserialize as _;
use serde_yaml::Value;

/// The container that each golden file's Deployment runs, by the file's name.
fn containers() -> Vec<(String, Value)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/chart/golden");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<(String, Value)> = files
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let objects =
                serde_yaml::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap());
            let mut deployments = objects.filter(|object| object["kind"] == "Deployment");
            let container = deployments.next().unwrap()["spec"]["template"]["spec"]["containers"][0].clone();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), container)
        })
        .collect();
    assert!(found.len() >= 3, "{found:?}");
    found
}

fn texts(list: &Value) -> Vec<String> {
    list.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_operator_takes_the_flags_that_the_chart_gives() {
    for (name, container) in containers() {
        let line = std::iter::once("outrigger-operator".to_owned()).chain(texts(&container["args"]));
        let parsed = Args::try_parse_from(line).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Command::Run(how) = parsed.command else { panic!("{name} runs something else") };
        let all = name == "everything";
        let namespaces: &[&str] = if all { &["shop", "billing"] } else { &[] };
        assert_eq!(how.namespaces, namespaces, "{name}");
        assert_eq!(how.log_format, if all { LogFormat::Text } else { LogFormat::Json }, "{name}");
        assert_eq!(how.lease_name, "outrigger", "{name}: the Role names it");
        let port = container["ports"][0]["containerPort"].as_u64();
        assert_eq!(port, Some(u64::from(how.http_listen.port())), "{name}");
    }
}

#[test]
fn the_operator_reads_the_variables_that_the_chart_sets() {
    let command = Args::command();
    let run = command.find_subcommand("run").unwrap();
    let known: BTreeSet<String> = run
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .chain(["RUST_LOG".to_owned()])
        .collect();
    for (name, container) in containers() {
        for variable in container["env"].as_sequence().unwrap() {
            let variable = variable["name"].as_str().unwrap();
            assert!(known.contains(variable), "{name}: nothing reads {variable}; there are {known:?}");
        }
    }
}
