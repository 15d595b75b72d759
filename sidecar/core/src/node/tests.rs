//! A small cluster of nodes in one thread: every effect is carried out by hand, so that each test owns the order of
//! persistence, delivery and time. The large simulator lives elsewhere; these are the rules one by one.

mod divergence;
mod hostile;
mod limits;
mod safety;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::*;
use crate::applier::{Applier, ApplyTask};
use crate::event::{AdminReply, AdminRequest, Delivery};
use crate::log::{Batch, Entry, Recovered, SnapshotKind, SnapshotMark};
use crate::membership::RosterEntry;
use crate::replay::Replay;
use crate::snapshot::{SnapshotHeader, founding_header};
use crate::state_machine::{ChunkSource, Output, RestoreError, StateMachine};
use crate::types::{AdminId, Boot};
use crate::wire::Envelope;

const CLUSTER: ClusterId = ClusterId(77);

/// Remembers the commands that were applied.
#[derive(Clone, Debug, Default, PartialEq)]
struct Journal(Vec<Bytes>);

impl StateMachine for Journal {
    type View = Journal;

    fn apply(&mut self, _index: Index, command: &[u8]) -> Output {
        self.0.push(Bytes::copy_from_slice(command));
        Output::Opaque(Bytes::copy_from_slice(command))
    }

    fn view(&self) -> Journal {
        self.clone()
    }

    fn snapshot_chunks(view: &Journal) -> Box<dyn Iterator<Item = Bytes> + Send + '_> {
        Box::new(view.0.iter().cloned())
    }

    fn restore(chunks: ChunkSource<'_>) -> Result<Self, RestoreError> {
        Ok(Self(chunks.map(Result::unwrap).collect()))
    }

    fn digest(view: &Journal) -> u64 {
        view.0.len() as u64
    }
}

/// What a member's disk holds.
#[derive(Clone, Debug, Default)]
struct Disk {
    hard_state: HardState,
    entries: BTreeMap<Index, Entry>,
    mark: Option<SnapshotMark>,
    files: BTreeMap<Index, (SnapshotHeader, Journal)>,
    boots: u64,
}

impl Disk {
    fn write(&mut self, batch: &Batch) {
        if let Some(mark) = batch.mark {
            self.mark = Some(mark);
            if mark.kind == SnapshotKind::Installed {
                self.entries.clear();
            }
        }
        for entry in &batch.entries {
            self.entries.split_off(&entry.index);
            self.entries.insert(entry.index, entry.clone());
        }
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
    }

    /// The last entries rot: the log ends before them, as if they had never been written.
    fn rot(&mut self, entries: usize) {
        for _ in 0..entries {
            self.entries.pop_last().unwrap();
        }
        let last = self.entries.keys().next_back().copied().unwrap();
        self.hard_state.commit = self.hard_state.commit.min(last);
    }

    fn recovered(&self) -> Recovered {
        let snapshot = self.mark.map(|mark| mark.index).unwrap_or_default();
        let first = self.entries.keys().next().copied().unwrap_or(snapshot.next());
        let last = self.entries.keys().next_back().copied().unwrap_or(snapshot);
        let mut term_runs: Vec<(Index, Term)> = Vec::new();
        for (index, entry) in &self.entries {
            if term_runs.last().is_none_or(|(_, term)| *term != entry.term) {
                term_runs.push((*index, entry.term));
            }
        }
        let mut hard_state = self.hard_state;
        hard_state.commit = hard_state.commit.max(snapshot);
        Recovered {
            hard_state,
            snapshot: self.mark,
            first_index: first,
            last_index: last,
            term_runs,
            ..<_>::default()
        }
    }
}

/// One member: its node, its applier, its disk, and what is still to be written.
struct Member {
    node: Node,
    applier: Applier<Journal>,
    disk: Disk,
    unwritten: VecDeque<Batch>,
    replies: Vec<Reply>,
    down: bool,
    removed: bool,
    /// Why the node ended by itself.
    fatal: Option<Fatal>,
    /// What an applier that stands still was handed.
    stalled: Option<Vec<ApplyTask>>,
}

/// What a test puts around a message that it forges: as this member would to that one.
fn forged_envelope(cluster: &Cluster, from: u64, to: u64) -> Envelope {
    cluster.members[&MemberId(from)].node.envelope(MemberId(to))
}

struct Cluster {
    members: BTreeMap<MemberId, Member>,
    /// (from, to) that drop everything.
    cut: BTreeSet<(MemberId, MemberId)>,
    wires: VecDeque<(MemberId, MemberId, Bytes)>,
    sequence: u64,
}

fn route(id: u64, name: &str) -> Route {
    Route { id: MemberId(id), name: name.into(), address: format!("{name}.zone:2380"), ..Route::default() }
}

fn voters(names: &[&str]) -> Vec<RosterEntry> {
    names.iter().map(|name| RosterEntry { name: (*name).into(), learner: false }).collect()
}

fn config(own: Route, boot: u64) -> NodeConfig {
    NodeConfig {
        cluster: CLUSTER,
        nonce: (own.id.0 << 20) + boot,
        boot,
        own,
        election_ticks: 10,
        max_pending: 100,
        max_command_bytes: 1 << 20,
        snapshot_every_bytes: 1 << 20,
        trailing_bytes: 1 << 10,
    }
}

impl Member {
    fn boot(own: Route, mut disk: Disk) -> Self {
        disk.boots += 1;
        let recovered = disk.recovered();
        let file = disk.mark.map(|mark| disk.files[&mark.index].clone());
        let mut applier = match &file {
            Some((header, journal)) => {
                Applier::restore(header, &mut journal.0.clone().into_iter().map(Ok)).unwrap()
            }
            None => Applier::empty(CLUSTER, Journal::default()),
        };
        let mut replay =
            Replay::new(config(own, disk.boots), recovered, file.map(|(header, _)| header)).unwrap();
        while !replay.wanted().is_empty() {
            let index = replay.wanted().start;
            if let ApplyTask::Entries { epoch, items } =
                replay.apply(vec![disk.entries[&index].clone()]).unwrap()
            {
                applier.apply(epoch, items);
            }
        }
        let tail = disk.entries.range(replay.tail_wanted()).map(|(_, entry)| entry.clone()).collect();
        let node = replay.into_node(tail).unwrap();
        let unwritten = VecDeque::new();
        Self {
            node,
            applier,
            disk,
            unwritten,
            replies: Vec::new(),
            down: false,
            removed: false,
            fatal: None,
            stalled: None,
        }
    }
}

impl Cluster {
    /// Members 1.. with names a, b, c, …; the first founds, nobody has joined.
    fn new(names: &[&str]) -> Self {
        let mut this =
            Self { members: BTreeMap::new(), cut: BTreeSet::new(), wires: VecDeque::new(), sequence: 0 };
        for (at, name) in names.iter().enumerate() {
            let own = route(at as u64 + 1, name);
            let mut disk = Disk::default();
            if at == 0 {
                let header = founding_header(CLUSTER, &own, &voters(names));
                let mark = SnapshotMark { kind: SnapshotKind::Taken, index: header.index, term: header.term };
                disk.mark = Some(mark);
                disk.hard_state = HardState { term: Term(1), vote: MemberId(0), commit: Index(1) };
                disk.files.insert(header.index, (header, Journal::default()));
            }
            this.members.insert(own.id, Member::boot(own, disk));
        }
        this
    }

    /// Founded, joined, promoted, formed.
    fn formed(names: &[&str]) -> Self {
        let mut this = Self::new(names);
        this.until("a leads", |c| c.leader() == Some(MemberId(1)));
        for (at, name) in names.iter().enumerate().skip(1) {
            let reply = this.admin(
                1,
                AdminRequest::Join {
                    cluster: CLUSTER,
                    route: route(at as u64 + 1, name),
                    abandoned: Vec::new(),
                },
            );
            assert!(matches!(reply, Ok(AdminReply::Joined { .. })), "{reply:?}");
        }
        let count = names.len();
        this.until("all vote", |c| {
            let status = c.members[&MemberId(1)].node.status();
            status.conf_state.voters.len() == count && !status.conf_state.is_joint()
        });
        this.until("settled", |c| c.members[&MemberId(1)].node.is_settled());
        assert_eq!(this.admin(1, AdminRequest::Form { cluster: CLUSTER }), Ok(AdminReply::Done));
        this.until("formed everywhere", |c| c.members.values().all(|m| m.node.status().formed));
        this
    }

    fn leader(&self) -> Option<MemberId> {
        let mut leaders = self.members.iter().filter(|(_, m)| !m.down && m.node.is_leader());
        leaders.next().map(|(id, _)| *id)
    }

    fn event(&mut self, id: MemberId, event: Event) {
        let member = self.members.get_mut(&id).unwrap();
        if !member.down {
            member.node.handle(event);
        }
    }

    /// Carries out everything until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for id in self.members.keys().copied().collect::<Vec<_>>() {
                moved |= self.run(id);
                moved |= self.write(id);
            }
            while let Some((from, to, bytes)) = self.wires.pop_front() {
                moved = true;
                if !self.cut.contains(&(from, to)) && self.members.contains_key(&to) {
                    self.event(to, Event::Peer { from, bytes });
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn write(&mut self, id: MemberId) -> bool {
        let member = self.members.get_mut(&id).unwrap();
        let Some(batch) = member.unwritten.pop_front() else { return false };
        member.disk.write(&batch);
        member.node.handle(Event::Persisted { batch: batch.number });
        true
    }

    fn carry_out(&mut self, id: MemberId, tasks: Vec<ApplyTask>) {
        let member = self.members.get_mut(&id).unwrap();
        if let Some(stalled) = &mut member.stalled {
            stalled.extend(tasks);
            return;
        }
        let mut follow = Vec::new();
        for task in tasks {
            match task {
                ApplyTask::Entries { epoch, items } => {
                    follow.push(Event::Applied(member.applier.apply(epoch, items)));
                }
                ApplyTask::Install { epoch, header } => {
                    let file = member.disk.files[&header.index].1.clone();
                    member.applier = Applier::restore(&header, &mut file.0.into_iter().map(Ok)).unwrap();
                    let index = header.index;
                    follow.push(Event::Applied(Applied { epoch, index, results: Vec::new() }));
                }
                ApplyTask::TakeSnapshot => {
                    let header = member.applier.header();
                    member.disk.files.insert(header.index, (header.clone(), member.applier.view()));
                    follow.push(Event::SnapshotTaken { header, size_bytes: 1 });
                }
            }
        }
        for event in follow {
            member.node.handle(event);
        }
    }

    fn run(&mut self, id: MemberId) -> bool {
        let member = self.members.get_mut(&id).unwrap();
        if member.down || member.removed {
            return false;
        }
        let effects = match member.node.flush() {
            Ok(effects) => effects,
            Err(fatal @ Fatal::Diverged { .. }) => {
                (member.down, member.fatal) = (true, Some(fatal));
                return true;
            }
            Err(other) => panic!("{other}"),
        };
        if effects.is_empty() {
            return false;
        }
        member.unwritten.extend(effects.persist);
        member.removed = effects.removed;
        member.replies.extend(effects.replies);
        self.carry_out(id, effects.apply);
        let member = self.members.get_mut(&id).unwrap();
        let mut follow = Vec::new();
        for fetch in effects.fetch {
            let entries = member.disk.entries.range(fetch.range).map(|(_, entry)| entry.clone()).collect();
            follow.push(Event::Fetched { fetch: fetch.id, entries });
        }
        for event in follow {
            member.node.handle(event);
        }
        let sends: Vec<_> = effects.send_snapshots;
        let files = member.disk.files.clone();
        self.wires.extend(effects.messages.into_iter().map(|message| (id, message.to, message.bytes)));
        for send in sends {
            let mut delivery = Delivery::Broken;
            if self.cut.contains(&(id, send.to)) {
                // It never arrives.
            } else if let Some(file) = files.get(&send.header.index) {
                if let Some(peer) = self.members.get_mut(&send.to).filter(|peer| !peer.down) {
                    peer.disk.files.insert(send.header.index, file.clone());
                    peer.node.handle(Event::SnapshotReceived { header: send.header });
                    peer.node.handle(Event::Peer { from: id, bytes: send.message });
                }
                delivery = Delivery::Delivered;
            } else {
                delivery = Delivery::NoFile;
            }
            self.event(id, Event::SnapshotSent { to: send.to, delivery });
        }
        true
    }

    fn tick(&mut self) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.event(id, Event::Tick);
        }
        self.settle();
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        self.settle();
        for _ in 0..400 {
            if done(self) {
                return;
            }
            self.tick();
        }
        let all: Vec<_> = self.members.values().map(|m| m.node.status()).collect();
        panic!("never: {what}; {all:#?}");
    }

    fn admin(&mut self, at: u64, request: AdminRequest) -> Result<AdminReply, Refusal> {
        self.sequence += 1;
        let id = AdminId(self.sequence);
        self.event(MemberId(at), Event::Admin { id, request, deadline_ticks: 50 });
        let answer = |c: &Self| {
            c.members[&MemberId(at)].replies.iter().find_map(|reply| match reply {
                Reply::Admin { id: of, outcome } if *of == id => Some(outcome.clone()),
                Reply::Admin { .. } | Reply::Proposal { .. } | Reply::Read { .. } => None,
            })
        };
        self.until("an answer", |c| answer(c).is_some());
        answer(self).unwrap()
    }

    fn start_put(&mut self, at: u64, text: &str) -> ProposalId {
        self.sequence += 1;
        let id = ProposalId { member: MemberId(at), boot: 1, nonce: 1, sequence: self.sequence };
        let command = Bytes::copy_from_slice(text.as_bytes());
        self.event(MemberId(at), Event::Propose { id, command, deadline_ticks: 200 });
        id
    }

    fn outcome(&self, at: u64, id: ProposalId) -> Option<Result<Output, Refusal>> {
        self.members[&MemberId(at)].replies.iter().find_map(|reply| match reply {
            Reply::Proposal { id: of, outcome } if *of == id => Some(outcome.clone()),
            Reply::Admin { .. } | Reply::Proposal { .. } | Reply::Read { .. } => None,
        })
    }

    fn put(&mut self, at: u64, text: &str) -> Result<Output, Refusal> {
        let id = self.start_put(at, text);
        self.until("a result", |c| c.outcome(at, id).is_some());
        self.outcome(at, id).unwrap()
    }

    fn read(&mut self, at: u64) -> Result<Index, Refusal> {
        self.sequence += 1;
        let id = ReadId(self.sequence);
        self.event(MemberId(at), Event::Read { id, deadline_ticks: 50 });
        let answer = |c: &Self| {
            c.members[&MemberId(at)].replies.iter().find_map(|reply| match reply {
                Reply::Read { id: of, outcome } if *of == id => Some(outcome.clone()),
                Reply::Admin { .. } | Reply::Proposal { .. } | Reply::Read { .. } => None,
            })
        };
        self.until("an answer", |c| answer(c).is_some());
        answer(self).unwrap()
    }

    fn journal(&self, id: u64) -> Vec<Bytes> {
        self.members[&MemberId(id)].applier.view().0
    }

    fn isolate(&mut self, id: u64) {
        for other in self.members.keys().copied() {
            self.cut.insert((MemberId(id), other));
            self.cut.insert((other, MemberId(id)));
        }
    }

    fn conf(&self, id: u64) -> ConfState {
        self.members[&MemberId(id)].node.status().conf_state
    }
}

fn ids(list: &[u64]) -> Vec<MemberId> {
    list.iter().copied().map(MemberId).collect()
}

#[test]
fn three_empty_disks_become_a_cluster_that_serves_on_every_member() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for at in 1..=3 {
        assert!(cluster.put(at, &format!("put at {at}")).is_ok());
    }
    for at in 1..=3 {
        assert!(cluster.read(at).is_ok());
        assert_eq!(cluster.journal(at).len(), 3);
    }
}

#[test]
fn nobody_is_served_before_the_cluster_is_formed() {
    let mut cluster = Cluster::new(&["a"]);
    cluster.until("a leads", |c| c.leader().is_some());
    assert_eq!(cluster.put(1, "too early"), Err(Refusal::NotFormed));
    assert_eq!(cluster.read(1), Err(Refusal::NotFormed));
    assert_eq!(cluster.admin(1, AdminRequest::Form { cluster: CLUSTER }), Ok(AdminReply::Done));
    assert!(cluster.put(1, "now").is_ok());
}

#[test]
fn a_crash_of_the_leader_loses_nothing_that_was_acknowledged_and_its_clients_are_served_again() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for n in 0..10 {
        cluster.put(1 + n % 3, &format!("{n}")).unwrap();
    }
    cluster.members.get_mut(&MemberId(1)).unwrap().down = true;
    cluster.until("another leads", |c| c.leader().is_some());
    assert!(cluster.put(2, "after").is_ok());
    let disk = cluster.members[&MemberId(1)].disk.clone();
    cluster.members.insert(MemberId(1), Member::boot(route(1, "a"), disk));
    cluster.until("caught up", |c| c.journal(1) == c.journal(2));
    assert_eq!(cluster.journal(1).len(), 11);
    assert!(cluster.put(1, "again").is_ok());
}

#[test]
fn a_proposal_that_a_dead_leader_took_along_is_proposed_again_and_applied_once() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.isolate(1);
    // The follower still takes the isolated member for the leader: its forward is lost on the way.
    let id = cluster.start_put(2, "once");
    cluster.until("a result", |c| c.outcome(2, id).is_some());
    assert!(cluster.outcome(2, id).unwrap().is_ok());
    cluster.cut.clear();
    cluster.until("healed", |c| c.journal(1) == c.journal(2));
    assert_eq!(cluster.journal(1).len(), 1);
}

#[test]
fn a_leader_alone_acknowledges_nothing_and_reads_nothing() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.isolate(1);
    let id = cluster.start_put(1, "into the void");
    cluster.sequence += 1;
    let read = ReadId(cluster.sequence);
    cluster.event(MemberId(1), Event::Read { id: read, deadline_ticks: 3 });
    for _ in 0..6 {
        cluster.tick();
    }
    assert_eq!(cluster.outcome(1, id), None);
    let refused = Reply::Read { id: read, outcome: Err(Refusal::Timeout) };
    assert!(cluster.members[&MemberId(1)].replies.contains(&refused));
}

#[test]
fn a_name_that_is_not_admitted_does_not_join() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let join =
        |id, name| AdminRequest::Join { cluster: CLUSTER, route: route(id, name), abandoned: Vec::new() };
    let refused = cluster.admin(2, join(9, "d"));
    let name = "d".to_string();
    assert_eq!(refused, Err(Refusal::Membership(crate::error::MembershipRefusal::NotAdmitted { name })));
    let refused = cluster.admin(3, join(9, "b"));
    let name = "b".to_string();
    let id = MemberId(2);
    assert_eq!(
        refused,
        Err(Refusal::Membership(crate::error::MembershipRefusal::AlreadyExists { name, id }))
    );
}

#[test]
fn scale_down_drops_names_and_ids_and_the_removed_are_told() {
    let mut cluster = Cluster::formed(&["a", "b", "c", "d", "e"]);
    cluster.put(4, "x").unwrap();
    let expected = Some(cluster.members[&MemberId(1)].node.status().configuration_index);
    let roster = voters(&["a", "b", "c"]);
    let reply = cluster.admin(5, AdminRequest::Admit { cluster: CLUSTER, expected, roster: roster.clone() });
    assert!(matches!(reply, Ok(AdminReply::Configuration { .. })), "{reply:?}");
    cluster.until("three vote", |c| c.conf(1).voters == ids(&[1, 2, 3]) && !c.conf(1).is_joint());
    cluster.until("told", |c| c.members[&MemberId(4)].removed && c.members[&MemberId(5)].removed);
    let stale = cluster.admin(1, AdminRequest::Admit { cluster: CLUSTER, expected, roster: voters(&["a"]) });
    assert!(matches!(stale, Err(Refusal::Membership(_))), "{stale:?}");
    assert!(cluster.put(1, "y").is_ok());
}

#[test]
fn the_leader_can_be_scaled_away() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let request = AdminRequest::Admit { cluster: CLUSTER, expected: None, roster: voters(&["c"]) };
    assert!(cluster.admin(1, request).is_ok());
    cluster.until("one votes", |c| c.conf(3).voters == ids(&[3]) && !c.conf(3).is_joint());
    cluster.until("told", |c| c.members[&MemberId(1)].removed && c.members[&MemberId(2)].removed);
    assert!(cluster.put(3, "alone").is_ok());
}

#[test]
fn an_empty_disk_under_a_dead_members_name_replaces_it_in_one_joint_change() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for n in 0..20 {
        cluster.put(1, &format!("{n}")).unwrap();
    }
    cluster.members.get_mut(&MemberId(3)).unwrap().down = true;
    for _ in 0..12 {
        cluster.tick();
    }
    cluster.members.insert(MemberId(9), Member::boot(route(9, "c"), Disk::default()));
    let join = AdminRequest::Join { cluster: ClusterId(0), route: route(9, "c"), abandoned: Vec::new() };
    assert!(cluster.admin(1, join).is_ok());
    cluster.until("replaced", |c| c.conf(1).voters == ids(&[1, 2, 9]) && !c.conf(1).is_joint());
    cluster.until("caught up", |c| c.journal(9).len() == 20);
    assert!(cluster.members[&MemberId(1)].node.membership().tombstones.contains(&MemberId(3)));
    assert!(cluster.put(9, "new").is_ok());
}

#[test]
fn who_was_just_let_in_is_not_dropped_for_an_older_learner_that_is_gone() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.members.get_mut(&MemberId(3)).unwrap().down = true;
    // The first disk that follows it is lost before anybody has heard of it; the second takes a while to be heard, too, and has
    // the smaller id.
    for id in [9, 5] {
        for _ in 0..12 {
            cluster.tick();
        }
        let mut joiner = Member::boot(route(id, "c"), Disk::default());
        joiner.down = true;
        cluster.members.insert(MemberId(id), joiner);
        let join = AdminRequest::Join { cluster: CLUSTER, route: route(id, "c"), abandoned: Vec::new() };
        assert!(cluster.admin(1, join).is_ok());
    }
    for _ in 0..5 {
        cluster.tick();
    }
    cluster.members.get_mut(&MemberId(5)).unwrap().down = false;
    cluster.until("replaced", |c| c.conf(1).voters == ids(&[1, 2, 5]) && c.conf(1).learners.is_empty());
    assert!(cluster.members[&MemberId(1)].node.membership().tombstones.contains(&MemberId(9)));
}

#[test]
fn a_learner_does_not_believe_in_a_silent_leader_for_ever() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let mut roster = voters(&["a", "b", "c"]);
    roster.push(RosterEntry { name: "d".into(), learner: true });
    assert!(cluster.admin(1, AdminRequest::Admit { cluster: CLUSTER, expected: None, roster }).is_ok());
    cluster.members.insert(MemberId(4), Member::boot(route(4, "d"), Disk::default()));
    let join = AdminRequest::Join { cluster: CLUSTER, route: route(4, "d"), abandoned: Vec::new() };
    assert!(cluster.admin(1, join).is_ok());
    cluster.until("it follows", |c| c.members[&MemberId(4)].node.leader() == Some(MemberId(1)));
    for id in 1..=3 {
        cluster.members.get_mut(&MemberId(id)).unwrap().down = true;
    }
    cluster.until("nobody leads", |c| c.members[&MemberId(4)].node.leader().is_none());
    cluster.tick();
    assert!(cluster.members[&MemberId(4)].node.status().leaderless_ticks > 0);
}

#[test]
fn a_lost_founder_is_replaced_like_any_other() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.put(1, "x").unwrap();
    cluster.members.get_mut(&MemberId(1)).unwrap().down = true;
    cluster.until("another leads", |c| c.leader().is_some_and(|id| id != MemberId(1)));
    for _ in 0..12 {
        cluster.tick();
    }
    cluster.members.insert(MemberId(8), Member::boot(route(8, "a"), Disk::default()));
    let join = AdminRequest::Join { cluster: CLUSTER, route: route(8, "a"), abandoned: Vec::new() };
    assert!(cluster.admin(3, join).is_ok());
    cluster.until("replaced", |c| c.conf(2).voters == ids(&[2, 3, 8]) && !c.conf(2).is_joint());
    cluster.until("caught up", |c| c.journal(8).len() == 1);
}

#[test]
fn a_dead_leaders_process_is_followed_within_the_ranked_delay_not_the_timeout() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let term = cluster.members[&MemberId(1)].node.term();
    cluster.members.get_mut(&MemberId(1)).unwrap().down = true;
    for id in [2, 3] {
        cluster.event(MemberId(id), Event::LeaderGone { term });
    }
    let asked: Vec<_> = [2, 3]
        .map(|id| cluster.members.get_mut(&MemberId(id)).unwrap().node.flush().unwrap().campaign_after)
        .into_iter()
        .map(|delay| delay.map(|delay| delay.rank))
        .collect();
    assert_eq!(asked, [Some(0), Some(1)]);
    cluster.event(MemberId(2), Event::CampaignDue { term });
    cluster.settle();
    assert_eq!(cluster.leader(), Some(MemberId(2)), "without a single tick");
}

#[test]
fn a_transfer_to_a_draining_member_says_so() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.event(MemberId(3), Event::Drain);
    cluster.tick();
    let to = Some(crate::event::MemberSelector::Name("c".into()));
    let refusal = crate::error::MembershipRefusal::TransfereeDrains { name: "c".into() };
    assert_eq!(cluster.admin(2, AdminRequest::Transfer { to }), Err(refusal.into()));
    assert_eq!(cluster.leader(), Some(MemberId(1)));
    // Restarted, it takes part again.
    let disk = cluster.members[&MemberId(3)].disk.clone();
    cluster.members.insert(MemberId(3), Member::boot(route(3, "c"), disk));
    cluster.until("it follows", |c| c.members[&MemberId(3)].node.leader() == Some(MemberId(1)));
    let to = Some(crate::event::MemberSelector::Name("c".into()));
    assert_eq!(cluster.admin(2, AdminRequest::Transfer { to }), Ok(AdminReply::Leader { id: MemberId(3) }));
}

#[test]
fn one_bad_link_does_not_depose_a_live_leader() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let term = cluster.members[&MemberId(1)].node.term();
    cluster.event(MemberId(2), Event::LeaderGone { term });
    cluster.event(MemberId(2), Event::CampaignDue { term });
    cluster.settle();
    cluster.until("calm", |c| c.members.values().all(|m| m.node.leader() == Some(MemberId(1))));
    assert_eq!(cluster.members[&MemberId(1)].node.term(), term);
}

#[test]
fn a_transfer_moves_the_leadership_and_loses_no_proposal() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let to = Some(crate::event::MemberSelector::Name("c".into()));
    let id = cluster.start_put(2, "meanwhile");
    assert_eq!(cluster.admin(2, AdminRequest::Transfer { to }), Ok(AdminReply::Leader { id: MemberId(3) }));
    cluster.until("a result", |c| c.outcome(2, id).is_some());
    assert!(cluster.outcome(2, id).unwrap().is_ok());
}

#[test]
fn a_drained_member_hands_over_and_never_campaigns_again() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.event(MemberId(1), Event::Drain);
    cluster.until("handed over", |c| c.leader().is_some_and(|id| id != MemberId(1)));
    cluster.members.get_mut(&MemberId(2)).unwrap().down = true;
    cluster.members.get_mut(&MemberId(3)).unwrap().down = true;
    for _ in 0..60 {
        cluster.tick();
        assert!(!cluster.members[&MemberId(1)].node.is_leader());
    }
}

#[test]
fn a_drained_member_does_not_believe_in_a_silent_leader_for_ever() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for id in [2, 3] {
        cluster.event(MemberId(id), Event::Drain);
    }
    cluster.settle();
    cluster.members.get_mut(&MemberId(1)).unwrap().down = true;
    cluster.until("nobody leads", |c| (2..=3).all(|id| c.members[&MemberId(id)].node.leader().is_none()));
    cluster.tick();
    assert!(cluster.members[&MemberId(2)].node.status().leaderless_ticks > 0);
    assert_eq!(cluster.read(2), Err(Refusal::NoLeader), "told at once, not after the deadline");
    // It comes back, and they follow it again.
    cluster.members.get_mut(&MemberId(1)).unwrap().down = false;
    cluster.until("followed again", |c| (2..=3).all(|id| c.members[&MemberId(id)].node.leader().is_some()));
    assert!(cluster.put(2, "on").is_ok());
}

#[test]
fn a_leader_goes_on_serving_when_all_drain() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let leader = cluster.leader().unwrap();
    let others: Vec<MemberId> = cluster.members.keys().copied().filter(|id| *id != leader).collect();
    for id in others.into_iter().chain([leader]) {
        cluster.event(id, Event::Drain);
        cluster.settle();
    }
    // One election timeout for each offer that is refused.
    for _ in 0..40 {
        cluster.tick();
    }
    for round in 0..5 {
        assert!(cluster.put(leader.0, &format!("round {round}")).is_ok(), "round {round}");
    }
    assert_eq!(cluster.leader(), Some(leader));
}

#[test]
fn what_is_not_durable_is_neither_acknowledged_nor_voted() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let id = cluster.start_put(1, "slow disks");
    // Everything runs except the disks of the followers.
    for _ in 0..5 {
        for member in [1, 2, 3].map(MemberId) {
            cluster.run(member);
        }
        cluster.write(MemberId(1));
        while let Some((from, to, bytes)) = cluster.wires.pop_front() {
            cluster.event(to, Event::Peer { from, bytes });
        }
    }
    assert_eq!(cluster.outcome(1, id), None);
    cluster.settle();
    assert!(cluster.outcome(1, id).unwrap().is_ok());
}

/// Says each to member 2 under the sender that is given with it: all must be refused, counted, and change nothing.
fn refused_unread(cluster: &mut Cluster, forged: Vec<(u64, Bytes)>) {
    let before = cluster.members[&MemberId(2)].node.status();
    let count = forged.len() as u64;
    for (from, bytes) in forged {
        cluster.event(MemberId(2), Event::Peer { from: MemberId(from), bytes });
        cluster.settle();
    }
    let after = cluster.members[&MemberId(2)].node.status();
    assert_eq!(after.refused_messages - before.refused_messages, count, "each is refused, and counted");
    assert_eq!((before.term, before.commit, before.last), (after.term, after.commit, after.last));
    assert_eq!(before.leader, after.leader);
    assert!(cluster.put(2, "still serving").is_ok());
}

/// A message from 1 to 2 in this term, and what is wrong with it.
fn forge(envelope: Envelope, term: Term, edit: impl Fn(&mut raft::eraftpb::Message)) -> Bytes {
    let mut message = raft::eraftpb::Message { from: 1, to: 2, term: term.0, ..Default::default() };
    edit(&mut message);
    wire::encode_raft(&envelope, &message)
}

#[test]
fn garbage_and_forged_messages_change_nothing() {
    use raft::eraftpb::MessageType as T;
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let before = cluster.members[&MemberId(2)].node.status();
    let envelope = forged_envelope(&cluster, 1, 2);
    let forge = |edit: &dyn Fn(&mut raft::eraftpb::Message)| forge(envelope, before.term, edit);
    let forged = [
        Bytes::new(),
        Bytes::from_static(b"\x01\xff\xff\xff"),
        Bytes::from_static(b"\x02garbage"),
        Bytes::from_static(b"GET / HTTP/1.1"),
        forge(&|m| m.msg_type = 4949),
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            m.entries =
                vec![raft::eraftpb::Entry { index: 1, term: 1, entry_type: -7, ..Default::default() }];
        }),
        forge(&|m| m.set_msg_type(T::MsgPropose)),
        forge(&|m| m.set_msg_type(T::MsgReadIndex)),
        forge(&|m| m.set_msg_type(T::MsgHup)),
        forge(&|m| {
            m.set_msg_type(T::MsgSnapshot);
            m.snapshot = Some(raft::eraftpb::Snapshot::default());
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            m.entries = vec![raft::eraftpb::Entry { index: 2, term: 9, ..Default::default() }];
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgHeartbeat);
            m.to = 3;
        }),
    ];
    refused_unread(&mut cluster, forged.map(|bytes| (1, bytes)).to_vec());
}

#[test]
fn messages_that_would_end_raft_or_usurp_a_term_are_refused() {
    use raft::eraftpb::MessageType as T;
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let before = cluster.members[&MemberId(2)].node.status();
    let envelope = forged_envelope(&cluster, 1, 2);
    let forge = |edit: &dyn Fn(&mut raft::eraftpb::Message)| forge(envelope, before.term, edit);
    let forged = [
        // raft-rs takes an index beyond its log to be of term 0, and would take these to fit on to it.
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            (m.index, m.commit) = (1 << 40, 1 << 40);
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            m.index = 1 << 40;
            m.entries = vec![raft::eraftpb::Entry { index: m.index + 1, term: 1, ..Default::default() }];
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            (m.index, m.log_term) = (u64::MAX, 1);
            m.entries = vec![raft::eraftpb::Entry { term: 1, ..Default::default() }];
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            (m.index, m.log_term) = (before.last.0, before.term.0 + 1);
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppend);
            m.entries = vec![raft::eraftpb::Entry { index: 1, ..Default::default() }];
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppendResponse);
            m.index = 1 << 40;
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppendResponse);
            (m.reject, m.reject_hint) = (true, u64::MAX);
        }),
        forge(&|m| {
            m.set_msg_type(T::MsgAppendResponse);
            (m.reject, m.request_snapshot) = (true, 1 << 40);
        }),
    ];
    // In a term in which 1 leads, nobody else speaks as its leader.
    let usurping = [T::MsgHeartbeat, T::MsgAppend, T::MsgTimeoutNow].map(|kind| {
        forge(&|m| {
            m.set_msg_type(kind);
            m.from = 77;
        })
    });
    let forged = forged.into_iter().map(|bytes| (1, bytes)).chain(usurping.map(|bytes| (77, bytes)));
    refused_unread(&mut cluster, forged.collect());
    // Its commit index may be of an earlier boot: the rest of it is listened to.
    let commit = cluster.members[&MemberId(2)].node.status().commit;
    let heartbeat = forge(&|m| {
        m.set_msg_type(T::MsgHeartbeat);
        m.commit = 1_000_000;
    });
    cluster.event(MemberId(2), Event::Peer { from: MemberId(1), bytes: heartbeat });
    assert_eq!(cluster.members[&MemberId(2)].node.status().commit, commit);
}

#[test]
fn an_address_change_reaches_every_members_map_without_a_conf_change() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let conf = cluster.conf(1);
    let moved = Route { address: "elsewhere:2380".into(), address_version: 1, ..route(3, "c") };
    cluster.event(MemberId(3), Event::OwnAddress(moved.clone()));
    cluster.until("known", |c| c.members.values().all(|m| m.node.membership().routes[&MemberId(3)] == moved));
    assert_eq!(cluster.conf(1), conf);
}

#[test]
fn metadata_is_replicated_bounded_and_deleted() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let set = |key: &str, value: Option<&'static str>| AdminRequest::SetMetadata {
        key: key.into(),
        value: value.map(|text| Bytes::from_static(text.as_bytes())),
    };
    assert_eq!(cluster.admin(2, set("k", Some("1"))), Ok(AdminReply::Done));
    cluster.until("everywhere", |c| c.members.values().all(|m| m.node.membership().metadata.len() == 1));
    assert!(cluster.admin(2, set("", Some("1"))).is_err());
    assert_eq!(cluster.admin(3, set("k", None)), Ok(AdminReply::Done));
    cluster.until("gone", |c| c.members.values().all(|m| m.node.membership().metadata.is_empty()));
}

#[test]
fn a_member_far_behind_is_brought_up_by_a_snapshot_and_a_late_one_from_the_log() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.isolate(3);
    let big = "x".repeat(200_000);
    for _ in 0..20 {
        cluster.put(1, &big).unwrap();
    }
    let first = cluster.members[&MemberId(1)].node.status().first;
    assert!(first > Index(10), "the log was cut: {first}");
    cluster.cut.clear();
    cluster.until("caught up", |c| c.journal(3) == c.journal(1));
    assert!(cluster.put(3, "on").is_ok());
    let disk = cluster.members[&MemberId(3)].disk.clone();
    assert_eq!(disk.mark.unwrap().kind, SnapshotKind::Installed);
    cluster.members.insert(MemberId(3), Member::boot(route(3, "c"), disk));
    cluster.until("the same after a restart", |c| c.journal(3) == c.journal(1));
}

#[test]
fn all_members_restart_together_and_go_on() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    for n in 0..5 {
        cluster.put(1, &format!("{n}")).unwrap();
    }
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let disk = cluster.members[&MemberId(id)].disk.clone();
        cluster.members.insert(MemberId(id), Member::boot(route(id, name), disk));
    }
    cluster.wires.clear();
    cluster.until("a leader", |c| c.leader().is_some());
    assert!(cluster.put(2, "after").is_ok());
    cluster.until("equal", |c| (2..=3).all(|id| c.journal(id) == c.journal(1)));
    assert_eq!(cluster.journal(1).len(), 6);
}

#[test]
fn a_forward_of_nothing_does_not_end_the_leader() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let term = cluster.members[&MemberId(1)].node.term().0;
    let forward = wire::ForwardWire { term, entries: Vec::new(), attempt: u64::MAX };
    let bytes = wire::encode_core(&forged_envelope(&cluster, 2, 1), PeerOp::Forward(forward));
    cluster.event(MemberId(1), Event::Peer { from: MemberId(2), bytes });
    assert!(cluster.put(2, "still serving").is_ok());
}
