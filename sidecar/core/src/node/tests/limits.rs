//! What is refused while space is short, who decides it, and how far an applier may fall behind.

use super::*;
use crate::mvcc::{Command, Compact, DeleteRange, KeyRange, KvOp, Put, Txn, TxnOp, TxnOperation};
use crate::node::limits::MAX_BACKLOG_BYTES;
use crate::status::Shortage;

const NONE: Shortage = Shortage { disk: false, quota: false, log: false };
const QUOTA: Shortage = Shortage { quota: true, ..NONE };
const DISK: Shortage = Shortage { disk: true, ..NONE };
const LOG: Shortage = Shortage { disk: true, log: true, ..NONE };

fn key() -> Bytes {
    Bytes::from_static(b"k")
}

fn put_op() -> Put {
    Put { key: key(), ..Put::default() }
}

fn delete_op() -> DeleteRange {
    DeleteRange { range: KeyRange { key: key(), end: Bytes::new() }, prev_kv: false }
}

fn txn_op(op: TxnOp) -> KvOp {
    let operation = TxnOperation { op: Some(op) };
    KvOp::Txn(Txn { failure: vec![operation], ..Txn::default() })
}

impl Cluster {
    fn command(&mut self, at: u64, op: KvOp) -> Result<(), Refusal> {
        self.sequence += 1;
        let id = ProposalId { member: MemberId(at), boot: 1, nonce: 1, sequence: self.sequence };
        let command = Command { op: Some(op) }.encode_to_bytes();
        self.event(MemberId(at), Event::Propose { id, command, deadline_ticks: 200 });
        self.until("a result", |c| c.outcome(at, id).is_some());
        self.outcome(at, id).unwrap().map(|_| ())
    }

    fn short(&mut self, at: u64, shortage: Shortage) {
        self.event(MemberId(at), Event::Shortage(shortage));
        // A follower tells its leader with the next tick.
        self.tick();
        self.tick();
    }
}

#[test]
fn without_space_only_what_does_not_grow_is_taken_in_wherever_it_enters() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.short(1, QUOTA);
    for at in 1..=3 {
        let nested = Txn { success: vec![TxnOperation { op: Some(TxnOp::Put(put_op())) }], ..Txn::default() };
        let refused = [KvOp::Put(put_op()), txn_op(TxnOp::Put(put_op())), txn_op(TxnOp::Txn(nested))];
        for op in refused {
            assert_eq!(cluster.command(at, op.clone()), Err(Refusal::NoSpace), "{op:?} at {at}");
        }
        let admitted = [
            KvOp::DeleteRange(delete_op()),
            KvOp::Compact(Compact { revision: 1 }),
            txn_op(TxnOp::DeleteRange(delete_op())),
        ];
        for op in admitted {
            assert_eq!(cluster.command(at, op.clone()), Ok(()), "{op:?} at {at}");
        }
        assert!(cluster.read(at).is_ok());
    }
    let set = |value: Option<&'static str>| AdminRequest::SetMetadata {
        key: "k".into(),
        value: value.map(|text| Bytes::from_static(text.as_bytes())),
    };
    assert_eq!(cluster.admin(2, set(Some("1"))), Err(Refusal::NoSpace));
    assert_eq!(cluster.admin(2, set(None)), Ok(AdminReply::Done));
    cluster.short(1, NONE);
    assert_eq!(cluster.command(3, KvOp::Put(put_op())), Ok(()));
}

#[test]
fn one_full_disk_refuses_at_its_own_door_and_a_majority_of_them_at_the_leader() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.short(3, DISK);
    assert_eq!(cluster.command(3, KvOp::Put(put_op())), Err(Refusal::NoSpace));
    assert_eq!(cluster.command(2, KvOp::Put(put_op())), Ok(()), "two of three disks have room");
    cluster.short(2, DISK);
    assert_eq!(cluster.command(1, KvOp::Put(put_op())), Err(Refusal::NoSpace), "one of three has");
    assert_eq!(cluster.command(1, KvOp::DeleteRange(delete_op())), Ok(()));
    let full = |c: &Cluster| {
        let status = c.members[&MemberId(1)].node.status();
        status.members.iter().map(|m| m.progress.unwrap().disk_full).collect::<Vec<_>>()
    };
    assert_eq!(full(&cluster), [false, true, true]);
    cluster.short(2, NONE);
    assert_eq!(full(&cluster), [false, false, true]);
    assert_eq!(cluster.command(1, KvOp::Put(put_op())), Ok(()));
    assert_eq!(cluster.members[&MemberId(3)].node.status().shortage, DISK);
}

#[test]
fn a_member_whose_log_has_no_room_takes_no_entry_in_and_catches_up_when_it_has() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.short(3, LOG);
    let last = cluster.members[&MemberId(3)].node.status().last;
    assert_eq!(cluster.command(3, KvOp::DeleteRange(delete_op())), Err(Refusal::NoSpace));
    for n in 0..5 {
        cluster.put(1, &format!("{n}")).unwrap();
    }
    let status = cluster.members[&MemberId(3)].node.status();
    assert_eq!((status.last, status.leader, status.campaigns), (last, Some(MemberId(1)), 0));
    cluster.short(3, NONE);
    cluster.until("caught up", |c| c.journal(3) == c.journal(1));
}

#[test]
fn on_a_full_disk_a_snapshot_is_taken_when_it_is_due_and_the_whole_log_below_it_released() {
    let mut cluster = Cluster::formed(&["a"]);
    for n in 0..10 {
        cluster.put(1, &format!("{n}")).unwrap();
    }
    let first = cluster.members[&MemberId(1)].node.status().first;
    assert_eq!(first, Index(2), "nothing was released yet");
    cluster.short(1, DISK);
    cluster.event(MemberId(1), Event::SnapshotDue);
    cluster.settle();
    let status = cluster.members[&MemberId(1)].node.status();
    assert_eq!(status.snapshot, status.last);
    assert_eq!(status.first, status.last.next(), "all of it went");
}

#[test]
fn a_follower_whose_applier_stands_still_takes_in_no_more_than_the_bound_and_stays_a_follower() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.members.get_mut(&MemberId(3)).unwrap().stalled = Some(Vec::new());
    let big = "x".repeat(1 << 20);
    for _ in 0..150 {
        cluster.put(1, &big).unwrap();
    }
    let behind = |c: &Cluster| {
        let held = c.members[&MemberId(3)].stalled.as_ref().unwrap();
        held.iter()
            .map(|task| match task {
                ApplyTask::Entries { items, .. } => items.len() as u64,
                ApplyTask::Install { .. } | ApplyTask::TakeSnapshot => 0,
            })
            .sum::<u64>()
    };
    let waiting = behind(&cluster) << 20;
    assert!(waiting <= MAX_BACKLOG_BYTES + (4 << 20), "{waiting} bytes wait for the applier");
    let status = cluster.members[&MemberId(3)].node.status();
    assert_eq!((status.leader, status.campaigns), (Some(MemberId(1)), 0), "it heard its leader all along");
    let held = cluster.members.get_mut(&MemberId(3)).unwrap().stalled.take().unwrap();
    cluster.carry_out(MemberId(3), held);
    cluster.until("caught up", |c| c.journal(3) == c.journal(1));
}

#[test]
fn a_leader_whose_applier_stands_still_refuses_what_is_forwarded_too() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.members.get_mut(&MemberId(1)).unwrap().stalled = Some(Vec::new());
    let big = "x".repeat(1 << 20);
    let refused = (0..150).find_map(|_| cluster.put(2, &big).err());
    assert_eq!(refused, Some(Refusal::TooManyRequests));
}
