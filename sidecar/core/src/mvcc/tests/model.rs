//! The key space as one would explain it: every revision's whole state in a map of its own.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::mvcc::*;

type State = BTreeMap<Bytes, KeyValue>;

/// An event: revision, key, and the pair if it was a put.
pub(super) type ModelEvent = (i64, Bytes, Option<KeyValue>);

#[derive(Clone, Debug)]
pub(super) struct Model {
    states: BTreeMap<i64, State>,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    leases: Vec<i64>,
    pub(super) events: Vec<ModelEvent>,
}

impl Default for Model {
    fn default() -> Self {
        let states = BTreeMap::from([(1, State::new())]);
        Self { states, revision: 1, compacted: -1, leases: vec![], events: vec![] }
    }
}

/// A command's own copy of the state.
struct Draft {
    state: State,
    revision: i64,
    events: Vec<ModelEvent>,
}

impl Draft {
    fn put(&mut self, put: &Put) -> OpResponse {
        let before = self.state.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: before.as_ref().map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            value: if put.ignore_value { before.clone().unwrap().value } else { put.value.clone() },
            lease: if put.ignore_lease { before.clone().unwrap().lease } else { put.lease },
        };
        self.state.insert(put.key.clone(), kv.clone());
        self.events.push((self.revision, put.key.clone(), Some(kv)));
        OpResponse::Put { prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRange) -> OpResponse {
        let gone: Vec<KeyValue> = within(&self.state, &delete.range).cloned().collect();
        for kv in &gone {
            self.state.remove(&kv.key);
            self.events.push((self.revision, kv.key.clone(), None));
        }
        let deleted = gone.len() as i64;
        OpResponse::DeleteRange { deleted, prev_kvs: if delete.prev_kv { gone } else { vec![] } }
    }
}

pub(super) fn is_within(key: &[u8], range: &KeyRange) -> bool {
    match &range.end[..] {
        b"" => key == &range.key[..],
        b"\0" => key >= &range.key[..],
        end => key >= &range.key[..] && key < end,
    }
}

fn within<'a>(state: &'a State, range: &'a KeyRange) -> impl Iterator<Item = &'a KeyValue> {
    state.values().filter(|kv| is_within(&kv.key, range))
}

impl Model {
    pub(super) fn apply(&mut self, command: &Command) -> Response {
        let result = validate(command).and_then(|()| self.run(command.op.as_ref().unwrap()));
        Response { revision: self.revision, result }
    }

    pub(super) fn range(&self, range: &Range) -> Result<RangeResponse, KvRefusal> {
        if range.revision > self.revision {
            return Err(KvRefusal::FutureRevision);
        }
        let at = if range.revision <= 0 { self.revision } else { range.revision };
        if at < self.compacted {
            return Err(KvRefusal::Compacted);
        }
        Ok(answer(&self.states[&at], range))
    }

    /// The pairs of the whole key space at a revision.
    pub(super) fn at(&self, revision: i64) -> Vec<KeyValue> {
        self.states[&revision].values().cloned().collect()
    }

    fn now(&self) -> &State {
        &self.states[&self.revision]
    }

    fn draft(&self) -> Draft {
        Draft { state: self.now().clone(), revision: self.revision + 1, events: vec![] }
    }

    fn commit(&mut self, draft: Draft) {
        if !draft.events.is_empty() {
            self.revision = draft.revision;
            self.states.insert(draft.revision, draft.state);
            self.events.extend(draft.events);
        }
    }

    fn run(&mut self, op: &KvOp) -> Result<OpResponse, KvRefusal> {
        let mut draft = self.draft();
        let answer = match op {
            KvOp::Put(put) => {
                self.check_put(put)?;
                draft.put(put)
            }
            KvOp::DeleteRange(delete) => draft.delete(delete),
            KvOp::Txn(txn) => {
                self.check_txn(txn)?;
                self.txn(txn, &mut draft)
            }
            KvOp::Compact(compact) if compact.revision <= self.compacted => return Err(KvRefusal::Compacted),
            KvOp::Compact(compact) if compact.revision > self.revision => {
                return Err(KvRefusal::FutureRevision);
            }
            KvOp::Compact(compact) => {
                self.compacted = compact.revision;
                OpResponse::Range(RangeResponse::default())
            }
            KvOp::LeaseGrant(grant) if self.leases.contains(&grant.id) => return Err(KvRefusal::LeaseExists),
            KvOp::LeaseGrant(grant) => {
                self.leases.push(grant.id);
                OpResponse::Range(RangeResponse::default())
            }
            KvOp::LeaseRevoke(revoke) if !self.leases.contains(&revoke.id) => {
                return Err(KvRefusal::LeaseNotFound);
            }
            KvOp::LeaseRevoke(revoke) => {
                self.leases.retain(|id| *id != revoke.id);
                let held: Vec<Bytes> =
                    self.now().values().filter(|kv| kv.lease == revoke.id).map(|kv| kv.key.clone()).collect();
                for key in held {
                    draft.delete(&DeleteRange { range: KeyRange { key, end: Bytes::new() }, prev_kv: false });
                }
                OpResponse::Range(RangeResponse::default())
            }
        };
        self.commit(draft);
        Ok(answer)
    }

    fn check_put(&self, put: &Put) -> Result<(), KvRefusal> {
        if put.lease != 0 && !self.leases.contains(&put.lease) {
            return Err(KvRefusal::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && !self.now().contains_key(&put.key) {
            return Err(KvRefusal::KeyNotFound);
        }
        Ok(())
    }

    fn chosen<'a>(&self, txn: &'a Txn) -> (bool, &'a [TxnOperation]) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut kvs: Vec<KeyValue> = within(self.now(), &compare.range).cloned().collect();
        let is_missing = kvs.is_empty();
        if is_missing {
            kvs.push(KeyValue::default());
        }
        kvs.iter().all(|kv| {
            let order = match compare.target.as_ref().unwrap() {
                CompareTarget::Version(v) => kv.version.cmp(v),
                CompareTarget::CreateRevision(v) => kv.create_revision.cmp(v),
                CompareTarget::ModRevision(v) => kv.mod_revision.cmp(v),
                CompareTarget::Lease(v) => kv.lease.cmp(v),
                CompareTarget::Value(_) if is_missing => return false,
                CompareTarget::Value(v) => kv.value.cmp(v),
            };
            match compare.result() {
                CompareResult::Equal => order.is_eq(),
                CompareResult::Greater => order.is_gt(),
                CompareResult::Less => order.is_lt(),
                CompareResult::NotEqual => order.is_ne(),
            }
        })
    }

    fn check_txn(&self, txn: &Txn) -> Result<(), KvRefusal> {
        for operation in self.chosen(txn).1 {
            match operation.op.as_ref().unwrap() {
                TxnOp::Range(range) if range.revision > self.revision => {
                    return Err(KvRefusal::FutureRevision);
                }
                TxnOp::Range(range) if range.revision != 0 && range.revision < self.compacted => {
                    return Err(KvRefusal::Compacted);
                }
                TxnOp::Put(put) => self.check_put(put)?,
                TxnOp::Txn(nested) => self.check_txn(nested)?,
                TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
            }
        }
        Ok(())
    }

    fn txn(&self, txn: &Txn, draft: &mut Draft) -> OpResponse {
        let (succeeded, list) = self.chosen(txn);
        let run = |operation: &TxnOperation| match operation.op.as_ref().unwrap() {
            TxnOp::Range(range) if range.revision <= 0 => OpResponse::Range(answer(&draft.state, range)),
            TxnOp::Range(range) => OpResponse::Range(answer(&self.states[&range.revision], range)),
            TxnOp::Put(put) => draft.put(put),
            TxnOp::DeleteRange(delete) => draft.delete(delete),
            TxnOp::Txn(nested) => self.txn(nested, draft),
        };
        OpResponse::Txn { succeeded, responses: list.iter().map(run).collect() }
    }
}

fn answer(state: &State, range: &Range) -> RangeResponse {
    let mut kvs: Vec<KeyValue> = within(state, &range.range).cloned().collect();
    let count = kvs.len() as i64;
    if range.count_only {
        return RangeResponse { kvs: vec![], more: false, count };
    }
    kvs.retain(|kv| range.max_mod_revision == 0 || kv.mod_revision <= range.max_mod_revision);
    kvs.retain(|kv| range.min_mod_revision == 0 || kv.mod_revision >= range.min_mod_revision);
    kvs.retain(|kv| range.max_create_revision == 0 || kv.create_revision <= range.max_create_revision);
    kvs.retain(|kv| range.min_create_revision == 0 || kv.create_revision >= range.min_create_revision);
    let descending = range.order() == SortOrder::Descend;
    kvs.sort_by(|a, b| {
        let order = match range.target() {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if descending { order.reverse() } else { order }
    });
    let more = range.limit > 0 && kvs.len() as i64 > range.limit;
    if more {
        kvs.truncate(range.limit as usize);
    }
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeResponse { kvs, more, count }
}
