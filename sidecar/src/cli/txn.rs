//! `txn`: reads the lines, sends the transaction, prints what each operation answered.
//!
//! May import: `txn_syntax`, the etcd wire, `output`. Deliberately absent: the syntax.

use std::io::Read;

use outrigger_proto::etcdserverpb as pb;
use pb::response_op::Response;
use serde_json::{Value, json};

use super::args::TxnArgs;
use super::connect::Endpoints;
use super::error::CliError;
use super::{kv, txn_syntax};
use crate::output::{Format, Output};

pub(super) async fn run(endpoints: &Endpoints, args: TxnArgs, output: &mut Output) -> Result<(), CliError> {
    let text = if args.lines.is_empty() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|source| CliError::File {
            path: "standard input".into(),
            done: "read",
            source,
        })?;
        text
    } else {
        args.lines.join("\n")
    };
    let request = txn_syntax::parse(&text).map_err(|error| CliError::Usage(error.to_string()))?;
    let mut asked = endpoints.kv().await?;
    let answer = asked.client.txn(request).await.map_err(|status| asked.refused(&status))?.into_inner();
    match output.format() {
        Format::Json => output.json(&txn_json(&answer))?,
        Format::Table => print(&answer, output)?,
    }
    Ok(())
}

fn print(answer: &pb::TxnResponse, output: &mut Output) -> Result<(), CliError> {
    output.line(if answer.succeeded { "SUCCESS" } else { "FAILURE" })?;
    for response in answer.responses.iter().filter_map(|op| op.response.as_ref()) {
        output.line("")?;
        match response {
            Response::ResponsePut(_) => output.line("OK")?,
            Response::ResponseDeleteRange(deleted) => output.line(&deleted.deleted.to_string())?,
            Response::ResponseRange(range) => {
                for kv in &range.kvs {
                    output.bytes(&kv.key)?;
                    output.bytes(&kv.value)?;
                }
            }
            Response::ResponseTxn(nested) => print(nested, output)?,
        }
    }
    Ok(())
}

fn txn_json(answer: &pb::TxnResponse) -> Value {
    let responses =
        answer.responses.iter().filter_map(|op| op.response.as_ref()).map(|response| match response {
            Response::ResponsePut(put) => {
                json!({ "put": { "prev_kv": put.prev_kv.as_ref().map(kv::kv_json) } })
            }
            Response::ResponseDeleteRange(deleted) => json!({ "del": { "deleted": deleted.deleted } }),
            Response::ResponseRange(range) => json!({ "get": kv::range_json(range) }),
            Response::ResponseTxn(nested) => json!({ "txn": txn_json(nested) }),
        });
    json!({
        "header": kv::header_json(answer.header.as_ref()),
        "succeeded": answer.succeeded,
        "responses": responses.collect::<Vec<_>>(),
    })
}
