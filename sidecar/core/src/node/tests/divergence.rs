//! A majority of disks lost what it had acknowledged: the member that still has it neither serves it nor loses it.

use raft::eraftpb::{Message, MessageType};

use super::*;
use crate::error::Fatal;

const THREE: MemberId = MemberId(3);

/// Members 1 and 2 restart without the last four entries while 3 is away, and write `puts` others. Then 3 comes back.
fn history_rewritten(puts: usize) -> Cluster {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for n in 0..5 {
        cluster.put(1, &format!("{n}")).unwrap();
    }
    cluster.tick();
    assert_eq!(cluster.journal(3).len(), 5);
    let whole = cluster.members[&THREE].disk.clone();
    cluster.members.get_mut(&THREE).unwrap().down = true;
    for (id, name) in [(1, "a"), (2, "b")] {
        let mut disk = cluster.members[&MemberId(id)].disk.clone();
        disk.rot(4);
        cluster.members.insert(MemberId(id), Member::boot(route(id, name), disk));
    }
    cluster.wires.clear();
    cluster.until("a leader without 3", |c| c.leader().is_some());
    for n in 0..puts {
        cluster.put(1, &format!("other {n}")).unwrap();
    }
    cluster.members.insert(THREE, Member::boot(route(3, "c"), whole));
    cluster
}

#[test]
fn a_member_that_the_leader_contradicts_for_long_ends_as_diverged() {
    // The new history ends before, at, and behind the old one's end.
    for puts in 0..8 {
        let mut cluster = history_rewritten(puts);
        let before = cluster.journal(3);
        cluster.until("the verdict", |c| c.members[&THREE].fatal.is_some());
        let leader = cluster.leader();
        let fatal = cluster.members.get_mut(&THREE).unwrap().fatal.take();
        let Some(Fatal::Diverged { leader: named, index, held, told }) = fatal else { panic!("{fatal:?}") };
        assert_eq!(Some(named), leader, "after {puts}");
        assert!(held < told && index.0 > 1, "after {puts}: {index} {held} {told}");
        assert_eq!(cluster.journal(3), before, "nothing of it is overwritten after {puts}");
        assert!(cluster.put(1, "on").is_ok(), "the others go on after {puts}");
    }
}

#[test]
fn one_contradiction_is_refused_and_forgotten_with_the_next_append_that_fits() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for round in 0..20 {
        cluster.put(1, &format!("{round}")).unwrap();
        let status = cluster.members[&THREE].node.status();
        assert!(status.term > Term(1), "there is an older term to lie about");
        let mut append = Message { from: 1, to: 3, term: status.term.0, ..Message::default() };
        append.set_msg_type(MessageType::MsgAppend);
        (append.index, append.log_term) = (status.commit.0, 1);
        let bytes = wire::encode_raft(&forged_envelope(&cluster, 1, 3), &append);
        for _ in 0..3 {
            cluster.event(THREE, Event::Peer { from: MemberId(1), bytes: bytes.clone() });
        }
        cluster.tick();
    }
    assert!(cluster.members[&THREE].fatal.is_none());
    assert_eq!(cluster.journal(3), cluster.journal(1));
}
