//! The command line's form, and commands against a served member.

use std::sync::Arc;

use clap::{CommandFactory, Parser};
use outrigger_core::error::Refusal;
use outrigger_core::event::{AdminReply, AdminRequest};
use outrigger_core::mvcc::{OpResponse, Response};
use outrigger_core::state_machine::Output as StateOutput;
use outrigger_core::types::{Index, MemberId};
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;
use crate::api::admin::{self, AdminDoor};
use crate::api::{ClientDoor, serve_clients, testing};
use crate::inbox::Input;
use crate::listener::Limits;
use crate::metrics::Metrics;
use crate::output::Format;
use crate::output::tests::Captured;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn what_is_written_wrong_is_bad_usage() {
    for wrong in [
        &["outrigger"][..],
        &["outrigger", "fly"],
        &["outrigger", "get"],
        &["outrigger", "get", "a", "b", "--prefix"],
        &["outrigger", "get", "a", "--prefix", "--from-key"],
        &["outrigger", "member"],
        &["outrigger", "compaction", "soon"],
        &["outrigger", "-o", "xml", "status"],
        &["outrigger", "run", "--no-such-flag"],
        &["outrigger", "run", "--found", "perhaps"],
    ] {
        let error = Cli::try_parse_from(wrong).expect_err(&format!("{wrong:?} was accepted"));
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn flags_for_every_command_may_stand_behind_it() {
    let cli = Cli::try_parse_from(["outrigger", "get", "a", "-o", "json", "--endpoint", "b:1"]).unwrap();
    assert_eq!((cli.format, cli.endpoints.endpoint.as_deref()), (Format::Json, Some("b:1")));
    let cli = Cli::try_parse_from(["outrigger", "run", "--name", "a", "--found"]).unwrap();
    let Verb::Run(args) = cli.verb else { panic!("not run") };
    assert_eq!(args.flags.get("found").map(String::as_str), Some("true"));
}

#[test]
fn a_bad_configuration_is_bad_usage_and_names_what_is_missing() {
    let cli = Cli::try_parse_from(["outrigger", "run", "--cluster-size", "0"]).unwrap();
    let Verb::Run(args) = cli.verb else { panic!("not run") };
    let error = run::run(&args).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--cluster-size \"0\""), "{error}");
}

/// Serves both ports of a scripted leader, and gives the flags that name them.
async fn served(script: impl FnMut(Input) + Send + 'static) -> Vec<String> {
    let member = testing::scripted(testing::leader_status(), script);
    let metrics = Arc::new(Metrics::new());
    let (identity, bind) = (testing::identity(), "127.0.0.1:0");
    let clients = TcpListener::bind(bind).await.unwrap();
    let admins = TcpListener::bind(bind).await.unwrap();
    let flags = vec![
        "--endpoint".to_owned(),
        clients.local_addr().unwrap().to_string(),
        "--admin-endpoint".to_owned(),
        admins.local_addr().unwrap().to_string(),
    ];
    let door = ClientDoor {
        member: member.clone(),
        identity: Arc::clone(&identity),
        metrics: Arc::clone(&metrics),
        max_request_bytes: 1024,
    };
    tokio::spawn(serve_clients(clients, Limits::default(), door, std::future::pending()));
    let (lifecycle, _) = tokio::sync::mpsc::channel(1);
    let admin = admin::service(AdminDoor { member, identity, metrics, lifecycle });
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(admins);
    tokio::spawn(tonic::transport::Server::builder().add_service(admin).serve_with_incoming(incoming));
    flags
}

async fn command(flags: &[String], words: &[&str]) -> Result<String, CliError> {
    let words = ["outrigger"].into_iter().chain(words.iter().copied()).map(ToOwned::to_owned);
    let cli = Cli::try_parse_from(words.chain(flags.iter().cloned())).unwrap();
    let captured = Captured::default();
    let mut output = captured.output(cli.format);
    let Verb::Ask(verb) = cli.verb else { panic!("not a command against a member") };
    dispatch(&Endpoints::new(&cli.endpoints)?, verb, &mut output).await?;
    Ok(captured.text())
}

fn answers(input: Input) {
    match input {
        Input::Propose { reply, .. } => {
            let response = Response { revision: 42, result: Ok(OpResponse::Put { prev_kv: None }) };
            reply.send(Ok(StateOutput::Kv(response))).unwrap();
        }
        Input::Read { reply } => reply.send(Ok(Index(100))).unwrap(),
        Input::Admin { request, reply } => {
            let answer = if let AdminRequest::Transfer { to: None } = request {
                AdminReply::Leader { id: MemberId(2) }
            } else {
                assert!(matches!(request, AdminRequest::Remove { expected: Some(Index(5)), .. }));
                AdminReply::Configuration { index: Index(9) }
            };
            reply.send(Ok(answer)).unwrap();
        }
        Input::Event(_) => {}
    }
}

#[tokio::test]
async fn commands_reach_the_port_that_answers_them() {
    let flags = served(answers).await;
    assert_eq!(command(&flags, &["put", "a", "b"]).await.unwrap(), "OK\n");
    assert_eq!(command(&flags, &["get", "a"]).await.unwrap(), "");
    let text = command(&flags, &["get", "a", "-o", "json"]).await.unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["header"]["cluster_id"], "00000000000000c1");
    assert_eq!(shown["kvs"], Value::Array(Vec::new()));
    let text = command(&flags, &["status"]).await.unwrap();
    assert!(text.contains("leader       orders-0 (0000000000000001)"), "{text}");
    assert!(text.contains("orders-1  0000000000000002  voter"), "{text}");
    let text = command(&flags, &["member", "list", "-o", "json"]).await.unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&shown["members"][0]["role"], &shown["members"][1]["lag"]), (&"leader".into(), &10.into()));
    let text = command(&flags, &["member", "remove", "orders-2"]).await.unwrap();
    assert!(text.starts_with("orders-2 is removed (configuration 9)"), "{text}");
    let text = command(&flags, &["member", "transfer"]).await.unwrap();
    assert_eq!(text, "orders-1 (0000000000000002) leads\n");
    assert!(command(&flags, &["drain"]).await.unwrap().starts_with("draining"));
}

#[tokio::test]
async fn a_refusal_is_told_with_the_endpoint_and_what_to_do() {
    let flags = served(|input| match input {
        Input::Propose { reply, .. } => reply.send(Err(Refusal::NoLeader)).unwrap(),
        Input::Read { .. } | Input::Admin { .. } | Input::Event(_) => panic!("not asked for"),
    })
    .await;
    let error = command(&flags, &["put", "a", "b"]).await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(text.contains(&flags[1]) && text.contains("etcdserver: no leader"), "{text}");
    assert!(text.contains("see `outrigger status`"), "{text}");
    // The admin port knows nothing of keys.
    let error = command(&["--endpoint".to_owned(), flags[3].clone()], &["get", "a"]).await.unwrap_err();
    assert!(error.to_string().contains("is this the right port?"), "{error}");
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_told_with_the_flag_that_names_another() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let flags = ["--endpoint".to_owned(), address.clone()];
    let error = command(&flags, &["get", "a"]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("--endpoint"), "{text}");
    assert_eq!(error.exit_code(), 1);
    let error = command(&["--timeout".to_owned(), "soon".to_owned()], &["get", "a"]).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
}
