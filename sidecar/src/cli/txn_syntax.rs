//! The text of a transaction, as `etcdctl txn` reads it too: compares, success operations, failure operations, with an
//! empty line between the sections.
//!
//! May import: the etcd wire. Deliberately absent: IO.

use bytes::Bytes;
use outrigger_proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

use super::args::KeyArgs;
use super::kv;

/// A line that is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the transaction, {text:?}: {problem}")]
pub(super) struct SyntaxError {
    line: usize,
    text: String,
    problem: String,
}

const COMPARE_FIX: &str = "write TARGET(\"KEY\") OPERATOR \"VALUE\" with a target of value, version, create, mod, lease and an operator of \
     = != < >";
const OPERATION_FIX: &str = "write put KEY VALUE, get KEY or del KEY";

/// # Errors
/// The first line that is not understood, and how it is written.
pub(super) fn parse(text: &str) -> Result<pb::TxnRequest, SyntaxError> {
    let mut request = pb::TxnRequest::default();
    let mut section = 0;
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |problem: String| SyntaxError { line: place + 1, text: line.to_owned(), problem };
        if line.is_empty() {
            section += 1;
            continue;
        }
        match section {
            0 => request.compare.push(compare(line).map_err(wrong)?),
            1 => request.success.push(operation(line).map_err(wrong)?),
            2 => request.failure.push(operation(line).map_err(wrong)?),
            _ => {
                let text =
                    "there are three sections only: compares, success, failure, one empty line between them";
                return Err(wrong(text.to_owned()));
            }
        }
    }
    Ok(request)
}

fn compare(line: &str) -> Result<pb::Compare, String> {
    let fix = |problem: &str| format!("{problem}; {COMPARE_FIX}");
    let (target, rest) = line.split_once('(').ok_or_else(|| fix("it is no compare"))?;
    let (key, rest) = word(rest.trim_start(), &[')'])?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(|| fix("the parenthesis is not closed"))?;
    let rest = rest.trim_start();
    let (result, rest) = [
        ("!=", CompareResult::NotEqual),
        ("==", CompareResult::Equal),
        ("=", CompareResult::Equal),
        ("<", CompareResult::Less),
        (">", CompareResult::Greater),
    ]
    .into_iter()
    .find_map(|(operator, result)| rest.strip_prefix(operator).map(|rest| (result, rest)))
    .ok_or_else(|| fix("there is no operator"))?;
    let (given, rest) = word(rest.trim_start(), &[])?;
    if !rest.trim().is_empty() {
        return Err(fix("there is something behind the value"));
    }
    if key.is_empty() {
        return Err(fix("the key is empty"));
    }
    let (target, union) = compare_target(target.trim(), given).map_err(|problem| fix(&problem))?;
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: Bytes::from(key),
        range_end: Bytes::new(),
        target_union: Some(union),
    })
}

fn compare_target(target: &str, given: Vec<u8>) -> Result<(CompareTarget, TargetUnion), String> {
    let number = |radix: u32| {
        let text = String::from_utf8_lossy(&given).into_owned();
        i64::from_str_radix(&text, radix).map_err(|_| format!("{text:?} is no number"))
    };
    Ok(match target {
        "value" | "val" => (CompareTarget::Value, TargetUnion::Value(Bytes::from(given))),
        "version" | "ver" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "create" | "c" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "mod" | "m" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        // A lease's id is written in hexadecimal everywhere.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        other => return Err(format!("the target {other:?} is not known")),
    })
}

/// The words of an operation: those that are not flags, and the flags.
struct Words {
    plain: Vec<Vec<u8>>,
    flags: Vec<String>,
}

fn words(line: &str) -> Result<Words, String> {
    let mut words = Words { plain: Vec::new(), flags: Vec::new() };
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        // Only what stands there unquoted is a flag: "--prefix" in quotes is a key.
        let is_flag = rest.starts_with("--");
        let (word, behind) = word(rest, &[' ', '\t'])?;
        if is_flag {
            words.flags.push(String::from_utf8_lossy(&word).into_owned());
        } else {
            words.plain.push(word);
        }
        rest = behind.trim_start();
    }
    Ok(words)
}

fn operation(line: &str) -> Result<pb::RequestOp, String> {
    let Words { plain, flags } = words(line)?;
    let mut plain = plain.into_iter();
    let verb = plain.next().unwrap_or_default();
    let arguments: Vec<Vec<u8>> = plain.collect();
    let request = match (verb.as_slice(), arguments.as_slice()) {
        (b"put", [key, value]) => put(key, value, &flags)?,
        (b"get", [key]) => get(key, None, &flags)?,
        (b"get", [key, end]) => get(key, Some(end), &flags)?,
        (b"del", [key]) => del(key, None, &flags)?,
        (b"del", [key, end]) => del(key, Some(end), &flags)?,
        (b"put" | b"get" | b"del", _) => {
            return Err(format!("it has {} words behind the verb; {OPERATION_FIX}", arguments.len()));
        }
        (_, _) => return Err(format!("it is no operation; {OPERATION_FIX}")),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

fn put(key: &[u8], value: &[u8], flags: &[String]) -> Result<Request, String> {
    let mut lease = 0;
    for flag in flags {
        match flag.split_once('=') {
            Some(("--lease", id)) => lease = kv::lease_id(id).map_err(|error| error.to_string())?,
            Some(_) | None => return Err(format!("put has no flag {flag}; it has --lease=ID")),
        }
    }
    Ok(Request::RequestPut(pb::PutRequest {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        lease,
        ..pb::PutRequest::default()
    }))
}

fn get(key: &[u8], end: Option<&[u8]>, flags: &[String]) -> Result<Request, String> {
    let (key, range_end) = range("get", key, end, flags)?;
    let keys_only = flags.iter().any(|flag| flag == "--keys-only");
    Ok(Request::RequestRange(pb::RangeRequest { key, range_end, keys_only, ..pb::RangeRequest::default() }))
}

fn del(key: &[u8], end: Option<&[u8]>, flags: &[String]) -> Result<Request, String> {
    if flags.iter().any(|flag| flag == "--keys-only") {
        return Err("del has no flag --keys-only".to_owned());
    }
    let (key, range_end) = range("del", key, end, flags)?;
    Ok(Request::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv: false }))
}

fn range(verb: &str, key: &[u8], end: Option<&[u8]>, flags: &[String]) -> Result<(Bytes, Bytes), String> {
    let known = ["--prefix", "--from-key", "--keys-only"];
    if let Some(unknown) = flags.iter().find(|flag| !known.contains(&flag.as_str())) {
        return Err(format!("{verb} has no flag {unknown}; it has --prefix and --from-key"));
    }
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let (prefix, from_key) = (has("--prefix"), has("--from-key"));
    if usize::from(prefix) + usize::from(from_key) + usize::from(end.is_some()) > 1 {
        return Err("an end, --prefix and --from-key exclude each other".to_owned());
    }
    if let Some(end) = end {
        return Ok((Bytes::copy_from_slice(key), Bytes::copy_from_slice(end)));
    }
    // The flags' meaning is the one of the commands; only there keys are texts.
    let text = String::from_utf8(key.to_vec());
    match text {
        Ok(key) => kv::key_range(&KeyArgs { key, range_end: None, prefix, from_key })
            .map_err(|error| error.to_string()),
        Err(_) if prefix || from_key => Err("--prefix and --from-key want a key that is text".to_owned()),
        Err(_) => Ok((Bytes::copy_from_slice(key), Bytes::new())),
    }
}

/// One word, quoted or up to one of `stops`, and what is behind it.
fn word<'a>(text: &'a str, stops: &[char]) -> Result<(Vec<u8>, &'a str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquote(quoted);
    }
    let end = if stops.is_empty() { text.len() } else { text.find(stops).unwrap_or(text.len()) };
    let (word, behind) = text.split_at(end);
    Ok((word.trim_end().as_bytes().to_vec(), behind))
}

/// What stands before the closing quote, its escapes resolved.
fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((place, char)) = chars.next() {
        match char {
            '"' => return Ok((bytes, text.get(place + 1..).unwrap_or_default())),
            '\\' => match chars.next() {
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, 't')) => bytes.push(b'\t'),
                Some((_, 'r')) => bytes.push(b'\r'),
                Some((_, '0')) => bytes.push(0),
                Some((_, escaped @ ('"' | '\\' | '\''))) => bytes.push(escaped as u8),
                Some((place, 'x')) => {
                    let digits = text.get(place + 1..place + 3).unwrap_or_default();
                    let byte = u8::from_str_radix(digits, 16)
                        .map_err(|_| format!("\\x{digits} is no byte; write two hexadecimal digits"))?;
                    bytes.push(byte);
                    chars.nth(1);
                }
                Some((_, other)) => return Err(format!("the escape \\{other} is not known")),
                None => break,
            },
            char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err("a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static [u8]) -> Bytes {
        Bytes::from_static(text)
    }

    fn equal(target: CompareTarget, union: TargetUnion) -> pb::Compare {
        pb::Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key: bytes(b"k"),
            range_end: Bytes::new(),
            target_union: Some(union),
        }
    }

    #[test]
    fn compares_are_read_with_every_target_and_operator() {
        let value = |text: &'static [u8]| TargetUnion::Value(bytes(text));
        let with =
            |result: CompareResult, compare: pb::Compare| pb::Compare { result: result.into(), ..compare };
        let table = [
            ("value(\"k\") = \"v w\"", equal(CompareTarget::Value, value(b"v w"))),
            ("val(k)=v", equal(CompareTarget::Value, value(b"v"))),
            ("value(\"k\") = \"\\x00\\n\\\"\"", equal(CompareTarget::Value, value(b"\0\n\""))),
            ("version(\"k\") == \"3\"", equal(CompareTarget::Version, TargetUnion::Version(3))),
            ("create(\"k\") = 4", equal(CompareTarget::Create, TargetUnion::CreateRevision(4))),
            (
                "mod(\"k\") > \"0\"",
                with(CompareResult::Greater, equal(CompareTarget::Mod, TargetUnion::ModRevision(0))),
            ),
            ("m( k ) < 9", with(CompareResult::Less, equal(CompareTarget::Mod, TargetUnion::ModRevision(9)))),
            (
                "lease(\"k\") != 1f",
                with(CompareResult::NotEqual, equal(CompareTarget::Lease, TargetUnion::Lease(0x1f))),
            ),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).map(|txn| txn.compare), Ok(vec![expected]), "{line}");
        }
    }

    #[test]
    fn operations_are_read_with_their_flags_and_quotes() {
        let put = |key, value, lease| {
            Request::RequestPut(pb::PutRequest { key, value, lease, ..pb::PutRequest::default() })
        };
        let get = |key, range_end, keys_only| {
            Request::RequestRange(pb::RangeRequest {
                key,
                range_end,
                keys_only,
                ..pb::RangeRequest::default()
            })
        };
        let del = |key, range_end| {
            Request::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv: false })
        };
        let table = [
            ("put a b", put(bytes(b"a"), bytes(b"b"), 0)),
            ("put \"a b\" \"c \\\"d\\\"\" --lease=1f", put(bytes(b"a b"), bytes(b"c \"d\""), 0x1f)),
            ("put a \"--prefix\"", put(bytes(b"a"), bytes(b"--prefix"), 0)),
            ("put a \"\"", put(bytes(b"a"), Bytes::new(), 0)),
            ("get a", get(bytes(b"a"), Bytes::new(), false)),
            ("get a c", get(bytes(b"a"), bytes(b"c"), false)),
            ("get a --prefix --keys-only", get(bytes(b"a"), bytes(b"b"), true)),
            ("del a", del(bytes(b"a"), Bytes::new())),
            ("del \"\\xff\"", del(bytes(b"\xff"), Bytes::new())),
            ("del a --from-key", del(bytes(b"a"), bytes(b"\0"))),
        ];
        for (line, expected) in table {
            let parsed = parse(&format!("\n{line}")).unwrap();
            assert_eq!(parsed.success, [pb::RequestOp { request: Some(expected) }], "{line}");
        }
    }

    #[test]
    fn empty_lines_part_the_sections() {
        let parsed = parse("mod(k) > 0\nvalue(k) = v\n\nput k w\nget k\n\ndel k\n").unwrap();
        assert_eq!((parsed.compare.len(), parsed.success.len(), parsed.failure.len()), (2, 2, 1));
        let parsed = parse("\n\nget k").unwrap();
        assert_eq!((parsed.compare.len(), parsed.success.len(), parsed.failure.len()), (0, 0, 1));
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line_and_the_way_to_write_it() {
        for (text, line, part) in [
            ("mod k > 0", 1, "it is no compare"),
            ("mod(k > 0", 1, "the parenthesis is not closed"),
            ("mod(k) ~ 0", 1, "there is no operator"),
            ("mod(k) > many", 1, "\"many\" is no number"),
            ("size(k) > 1", 1, "the target \"size\" is not known"),
            ("value(\"k) = v", 1, "a quote is not closed"),
            ("value(\"k\") = \"v\" w", 1, "there is something behind the value"),
            ("value(\"\") = v", 1, "the key is empty"),
            ("value(\"\\q\") = v", 1, "the escape \\q is not known"),
            ("value(\"\\xg0\") = v", 1, "is no byte"),
            ("\nput a", 2, "it has 1 words behind the verb"),
            ("\nset a b", 2, "it is no operation"),
            ("\nget a --size", 2, "get has no flag --size"),
            ("\nput a b --lease=zz", 2, "no hexadecimal id"),
            ("\ndel a b --prefix", 2, "exclude each other"),
            ("\ndel a --keys-only", 2, "del has no flag --keys-only"),
            ("\n\n\nput a b", 4, "three sections only"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(part), "{text:?}: {error}");
        }
    }
}
