//! `get`, `put`, `del`, `compaction`.
//!
//! May import: the etcd wire, `output`. Deliberately absent: transactions (`txn`).

use std::io::Read;

use bytes::Bytes;
use outrigger_proto::etcdserverpb as pb;
use outrigger_proto::mvccpb::KeyValue;
use serde_json::{Value, json};

use super::args::{DelArgs, GetArgs, KeyArgs, PutArgs, SortBy};
use super::connect::Endpoints;
use super::error::CliError;
use crate::output::{Format, Output, insert_bytes};

/// The last key's end: every key there is.
const NO_END: &[u8] = &[0];

/// Key and end of a range as the wire has them.
///
/// # Errors
/// `Usage` for an empty key where it would mean nothing.
pub(super) fn key_range(args: &KeyArgs) -> Result<(Bytes, Bytes), CliError> {
    let KeyArgs { key, range_end, prefix, from_key } = args;
    if key.is_empty() && !prefix && !from_key {
        return Err(CliError::Usage("the key is empty: name one, or add --prefix for every key".to_owned()));
    }
    let key = if key.is_empty() { Bytes::from_static(NO_END) } else { Bytes::from(key.clone()) };
    let end = match (prefix, from_key, range_end) {
        (true, _, _) if args.key.is_empty() => Bytes::from_static(NO_END),
        (true, _, _) => prefix_end(&key),
        (false, true, _) => Bytes::from_static(NO_END),
        (false, false, Some(end)) => Bytes::from(end.clone()),
        (false, false, None) => Bytes::new(),
    };
    Ok((key, end))
}

/// The first key behind all that begin with `prefix`: its last byte that can grow, grown.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(NO_END)
}

pub(super) async fn get(endpoints: &Endpoints, args: GetArgs, output: &mut Output) -> Result<(), CliError> {
    let (key, range_end) = key_range(&args.keys)?;
    let (order, target) = sort(&args);
    let request = pb::RangeRequest {
        key,
        range_end,
        limit: args.limit,
        revision: args.rev,
        sort_order: order.into(),
        sort_target: target.into(),
        serializable: args.serializable,
        keys_only: args.keys_only,
        count_only: args.count_only,
        ..pb::RangeRequest::default()
    };
    let mut asked = endpoints.kv().await?;
    let answer =
        asked.client.range(request).await.map_err(|status| asked.refused_read(&status))?.into_inner();
    match output.format() {
        Format::Json => output.json(&range_json(&answer))?,
        Format::Table if args.count_only => output.line(&answer.count.to_string())?,
        Format::Table => {
            for kv in &answer.kvs {
                if !args.print_value_only {
                    output.bytes(&kv.key)?;
                }
                if !args.keys_only {
                    output.bytes(&kv.value)?;
                }
            }
        }
    }
    Ok(())
}

fn sort(args: &GetArgs) -> (pb::range_request::SortOrder, pb::range_request::SortTarget) {
    use pb::range_request::{SortOrder, SortTarget};
    let target = match args.sort_by {
        SortBy::Key => SortTarget::Key,
        SortBy::Version => SortTarget::Version,
        SortBy::Create => SortTarget::Create,
        SortBy::Mod => SortTarget::Mod,
        SortBy::Value => SortTarget::Value,
    };
    (if args.descending { SortOrder::Descend } else { SortOrder::None }, target)
}

pub(super) async fn put(endpoints: &Endpoints, args: PutArgs, output: &mut Output) -> Result<(), CliError> {
    let value = match args.value {
        Some(value) => value.into_bytes(),
        None => {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value).map_err(|source| CliError::File {
                path: "standard input".into(),
                done: "read",
                source,
            })?;
            value
        }
    };
    let lease = args.lease.as_deref().map(lease_id).transpose()?.unwrap_or(0);
    let request = pb::PutRequest {
        key: Bytes::from(args.key),
        value: Bytes::from(value),
        lease,
        prev_kv: args.prev_kv,
        ..pb::PutRequest::default()
    };
    let mut asked = endpoints.kv().await?;
    let answer = asked.client.put(request).await.map_err(|status| asked.refused(&status))?.into_inner();
    match output.format() {
        Format::Json => output.json(&json!({
            "header": header_json(answer.header.as_ref()),
            "prev_kv": answer.prev_kv.as_ref().map(kv_json),
        }))?,
        Format::Table => {
            output.line("OK")?;
            if let Some(prev) = &answer.prev_kv {
                output.bytes(&prev.key)?;
                output.bytes(&prev.value)?;
            }
        }
    }
    Ok(())
}

/// A lease's id as `etcdctl` prints it.
///
/// # Errors
/// `Usage` for what is no hexadecimal number.
pub(super) fn lease_id(text: &str) -> Result<i64, CliError> {
    i64::from_str_radix(text, 16).map_err(|_| {
        CliError::Usage(format!("the lease {text:?} is no hexadecimal id: write it as it was granted"))
    })
}

pub(super) async fn del(endpoints: &Endpoints, args: DelArgs, output: &mut Output) -> Result<(), CliError> {
    let (key, range_end) = key_range(&args.keys)?;
    let request = pb::DeleteRangeRequest { key, range_end, prev_kv: args.prev_kv };
    let mut asked = endpoints.kv().await?;
    let answer =
        asked.client.delete_range(request).await.map_err(|status| asked.refused(&status))?.into_inner();
    match output.format() {
        Format::Json => output.json(&json!({
            "header": header_json(answer.header.as_ref()),
            "deleted": answer.deleted,
            "prev_kvs": answer.prev_kvs.iter().map(kv_json).collect::<Vec<_>>(),
        }))?,
        Format::Table => {
            output.line(&answer.deleted.to_string())?;
            for prev in &answer.prev_kvs {
                output.bytes(&prev.key)?;
                output.bytes(&prev.value)?;
            }
        }
    }
    Ok(())
}

pub(super) async fn compact(
    endpoints: &Endpoints,
    revision: i64,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut asked = endpoints.kv().await?;
    let request = pb::CompactionRequest { revision, physical: true };
    let answer = asked.client.compact(request).await.map_err(|status| asked.refused(&status))?.into_inner();
    match output.format() {
        Format::Json => output.json(&json!({
            "header": header_json(answer.header.as_ref()),
            "compacted_revision": revision,
        }))?,
        Format::Table => output.line(&format!("compacted revision {revision}"))?,
    }
    Ok(())
}

pub(super) fn range_json(answer: &pb::RangeResponse) -> Value {
    json!({
        "header": header_json(answer.header.as_ref()),
        "kvs": answer.kvs.iter().map(kv_json).collect::<Vec<_>>(),
        "more": answer.more,
        "count": answer.count,
    })
}

pub(super) fn header_json(header: Option<&pb::ResponseHeader>) -> Value {
    header.map_or(Value::Null, |header| {
        json!({
            "cluster_id": format!("{:016x}", header.cluster_id),
            "member_id": format!("{:016x}", header.member_id),
            "revision": header.revision,
            "raft_term": header.raft_term,
        })
    })
}

pub(super) fn kv_json(kv: &KeyValue) -> Value {
    let mut shown = serde_json::Map::new();
    insert_bytes(&mut shown, "key", &kv.key);
    insert_bytes(&mut shown, "value", &kv.value);
    for (name, number) in [
        ("create_revision", kv.create_revision),
        ("mod_revision", kv.mod_revision),
        ("version", kv.version),
        ("lease", kv.lease),
    ] {
        shown.insert(name.to_owned(), json!(number));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(key: &str, end: Option<&str>, prefix: bool, from_key: bool) -> KeyArgs {
        KeyArgs { key: key.into(), range_end: end.map(Into::into), prefix, from_key }
    }

    #[test]
    fn a_range_is_one_key_a_prefix_or_all_from_a_key_on() {
        let table: [(KeyArgs, &[u8], &[u8]); 6] = [
            (keys("a", None, false, false), b"a", b""),
            (keys("a", Some("c"), false, false), b"a", b"c"),
            (keys("ab", None, true, false), b"ab", b"ac"),
            (keys("a", None, false, true), b"a", b"\0"),
            (keys("", None, true, false), b"\0", b"\0"),
            (keys("", None, false, true), b"\0", b"\0"),
        ];
        for (args, key, end) in table {
            let got = key_range(&args).unwrap();
            assert_eq!((got.0.as_ref(), got.1.as_ref()), (key, end), "{args:?}");
        }
        assert!(matches!(key_range(&keys("", None, false, false)), Err(CliError::Usage(_))));
    }

    #[test]
    fn the_end_of_a_prefix_of_the_greatest_bytes_is_no_end() {
        assert_eq!(prefix_end(b"a\xff\xff").as_ref(), b"b");
        assert_eq!(prefix_end(b"\xff").as_ref(), NO_END);
    }
}
