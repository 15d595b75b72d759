//! Time and leadership: ticks, elections, hand-over, and the fail-over that does not wait for the election timeout.
//!
//! The election timeout is for silent machines. When a leader's *process* dies its sockets are reset at once; the driver
//! then says `LeaderGone`, the lease on that leader is dropped and a pre-vote is asked for after a short, ranked delay. No
//! read depends on the lease (`ReadOnlyOption::Safe`), so this is a question of liveness alone: a lie costs an election.
//!
//! May import: raft, `node`. Deliberately absent: clocks; time comes as ticks and as `CampaignDue`.

use std::collections::BTreeSet;

use raft::StateRole;

use super::Node;
use super::parts::Reported;
use super::peer::read_context;
use crate::effects::CampaignDelay;
use crate::types::{Index, MemberId, Term};
use crate::wire::{PeerOp, ReadWire, ReportWire};

/// A learner, or a candidate for the leadership, is caught up when so few entries behind the leader's last: with 256
/// clients each a few proposals are always under way.
const CAUGHT_UP_ENTRIES: u64 = 1024;
/// How long a draining leader serves, in election timeouts, after all voters refused to take its place.
const OFFERS_REST_TIMEOUTS: u64 = 30;
/// Campaigns without the election timeout, in a row: a member that finds no majority then waits like any other.
const MAX_TRIES: u32 = 16;

/// Ticks from one election timeout to just below two. The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", 2014) spreads neighbouring terms.
fn election_timeout(election_ticks: u64, seed: u64, term: u64) -> usize {
    let mut mixed = seed.wrapping_add(term.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (election_ticks + mixed % election_ticks.max(1)) as usize
}

impl Node {
    pub(super) fn tick(&mut self) {
        self.leadership.ticks += 1;
        let now = self.leadership.ticks;
        for (id, refusal) in self.proposals.tick(now) {
            self.reply_proposal(id, refusal);
        }
        let verdicts = self.reads.tick(now, u64::from(self.config.election_ticks));
        self.tell_readers(verdicts);
        self.admin_tick(now);
        if self.removed {
            return;
        }
        if self.is_leader() || (self.may_campaign() && !self.leadership.draining) {
            self.fix_election_timeout();
            self.raw.tick();
        } else {
            // The lease still runs out, so that this member votes for others; it only never asks for votes itself.
            self.raw.raft.election_elapsed += 1;
        }
        if !self.is_leader() && self.raw.raft.election_elapsed >= 2 * self.config.election_ticks as usize {
            // raft-rs forgets a silent leader by campaigning. Whoever may not, or does not vote, must not go on believing in it.
            self.raw.raft.leader_id = raft::INVALID_ID;
        }
        self.leader_may_have_changed();
        if self.is_leader() {
            self.note_caught_up();
            if self.leadership.draining && self.raw.raft.lead_transferee.is_none() {
                self.offer_leadership();
            }
            self.reconcile();
        } else {
            self.leadership.offered.clear();
            self.report();
        }
        self.announce();
    }

    /// raft-rs draws its timeout from the thread's randomness, of which core has none: this boot's nonce, drawn outside, and
    /// the term give one that differs between members, and the same in every replay.
    fn fix_election_timeout(&mut self) {
        let (nonce, id, term) = (self.config.nonce, self.config.own.id.0, self.raw.raft.term);
        let timeout = election_timeout(u64::from(self.config.election_ticks), nonce ^ id, term);
        if self.raw.raft.randomized_election_timeout() != timeout {
            self.raw.raft.set_randomized_election_timeout(timeout);
        }
    }

    /// While the sole voter has unpersisted entries it must not campaign: raft-rs makes it leader at once and panics.
    pub(super) fn may_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        // Between a snapshot's install and its durability raft-rs would look for conf changes below the log's start.
        let installing = self.durability.awaiting.iter().any(|waiting| waiting.installed.is_some());
        !installing && (log.persisted == log.last_index() || !self.raw.raft.prs().is_singleton())
    }

    /// Compares what raft-rs says of leader and term with what is known, and tells everyone who waits.
    pub(super) fn leader_may_have_changed(&mut self) {
        let leader = self.leader().unwrap_or_default();
        let term = self.newest_term();
        let now = self.leadership.ticks;
        if leader == self.leadership.leader && term == self.leadership.term {
            return;
        }
        let changed_leader = leader != self.leadership.leader;
        (self.leadership.leader, self.leadership.term) = (leader, term);
        if leader == MemberId(0) {
            self.leadership.leaderless_since.get_or_insert(now);
        } else {
            self.leadership.leaderless_since = None;
            self.leadership.changes += u64::from(changed_leader);
        }
        if self.is_leader() {
            self.leadership.leading_since = now;
            self.leadership.last_heard.clear();
            self.leadership.caught_up_since.clear();
            self.leadership.reports.clear();
            self.limits.full_peers.clear();
            self.leadership.draining_peers.clear();
            // There may be a change in the log's unapplied tail; raft-rs assumes the same.
            self.change_index = Index(self.raw.raft.raft_log.last_index());
        }
        let verdicts = self.reads.leader_changed(leader != MemberId(0));
        self.tell_readers(verdicts);
        self.admin_leader_changed();
    }

    fn note_caught_up(&mut self) {
        let last = self.raw.raft.raft_log.last_index();
        let now = self.leadership.ticks;
        for learner in self.conf_state.learners.clone() {
            let matched = self.raw.raft.prs().get(learner.0).map_or(0, |progress| progress.matched);
            if matched + CAUGHT_UP_ENTRIES >= last && matched > 0 {
                self.leadership.caught_up_since.entry(learner).or_insert(now);
            } else {
                self.leadership.caught_up_since.remove(&learner);
            }
        }
    }

    /// Learners that were caught up for a full election timeout; before the cluster serves anyone, for a tick.
    pub(super) fn caught_up(&self) -> Vec<MemberId> {
        let patience = if self.membership.formed { u64::from(self.config.election_ticks) } else { 1 };
        let now = self.leadership.ticks;
        let since = &self.leadership.caught_up_since;
        since.iter().filter(|(_, since)| now.saturating_sub(**since) >= patience).map(|(id, _)| *id).collect()
    }

    /// A majority of the voters has the newest configuration applied and its commit durable.
    pub(super) fn is_settled(&self) -> bool {
        let wanted = self.membership.configuration_index;
        let has = |id: &&MemberId| {
            if **id == self.config.own.id {
                self.durability.durable_configuration >= wanted
            } else {
                self.leadership.reports.get(*id).is_some_and(|index| *index >= wanted)
            }
        };
        let voters = &self.conf_state.voters;
        voters.iter().filter(has).count() > voters.len() / 2
    }

    /// Tells the leader which configuration is durable here: when it changed, and now and then (messages get lost).
    /// Without a leader everyone is asked, for a removed member is not told by silence.
    fn report(&mut self) {
        let last = self.leadership.last_report;
        let leader = self.leader().unwrap_or_default();
        let stale = self.leadership.ticks >= last.at + u64::from(self.config.election_ticks);
        let now = Reported {
            leader,
            configuration: self.durability.durable_configuration,
            disk_full: self.limits.shortage.disk,
            draining: self.leadership.draining,
            at: last.at,
        };
        if now == last && !stale {
            return;
        }
        self.leadership.last_report = Reported { at: self.leadership.ticks, ..now };
        if leader != MemberId(0) {
            self.report_to(leader);
        } else if stale {
            let (_, routes) = self.routes();
            for route in routes {
                self.report_to(route.id);
            }
        }
    }

    pub(super) fn report_to(&mut self, to: MemberId) {
        let durable_configuration_index = self.durability.durable_configuration.0;
        let disk_full = self.limits.shortage.disk;
        let draining = self.leadership.draining;
        self.send(to, PeerOp::Report(ReportWire { durable_configuration_index, disk_full, draining }));
    }

    pub(super) fn peer_drains(&mut self, from: MemberId, draining: bool) {
        if draining {
            self.leadership.draining_peers.insert(from);
        } else {
            self.leadership.draining_peers.remove(&from);
        }
    }

    /// This member's address is not what the log's map says: announces itself until it is.
    fn announce(&mut self) {
        let own = &self.config.own;
        let known = self.membership.routes.get(&own.id);
        let fresh = known.is_none_or(|known| known == own || known.address_version > own.address_version);
        let waited =
            self.leadership.ticks >= self.leadership.last_announce + u64::from(self.config.election_ticks);
        if fresh || !waited {
            return;
        }
        self.leadership.last_announce = self.leadership.ticks;
        let route = crate::wire::RouteWire::from(own);
        match self.leader() {
            Some(leader) if leader == own.id => self.propose_announce(route),
            Some(leader) => self.send(leader, PeerOp::Announce(route)),
            None => {}
        }
    }

    pub(super) fn pump_reads(&mut self) {
        let now = self.leadership.ticks;
        if self.is_leader() {
            // raft-rs drops reads silently before an entry of the own term is committed.
            if self.raw.raft.commit_to_current_term()
                && let Some(number) = self.reads.issue(now)
            {
                #[cfg(feature = "mutants")]
                if outrigger_mutants::is_alive(outrigger_mutants::Mutant::StaleReads) {
                    let committed = Index(self.raw.raft.raft_log.committed);
                    let verdicts = self.reads.answered(number, &Ok(committed));
                    self.tell_readers(verdicts);
                    let verdicts = self.reads.applied(self.applying.applied);
                    self.tell_readers(verdicts);
                    return;
                }
                self.raw.read_index(read_context(number));
            }
        } else if let Some(leader) = self.leader()
            && let Some(batch) = self.reads.issue(now)
        {
            self.send(leader, PeerOp::Read(ReadWire { batch }));
        }
    }

    pub(super) fn leader_gone(&mut self, term: Term) {
        let follows = self.raw.raft.state == StateRole::Follower && self.leader().is_some();
        let able = self.raw.raft.promotable() && !self.leadership.draining && self.may_campaign();
        if self.removed || term != self.term() || !follows {
            return;
        }
        // The lease is dropped also by who cannot campaign: its vote is wanted.
        self.raw.raft.election_elapsed = self.config.election_ticks as usize;
        if able {
            self.ask_to_campaign();
        }
    }

    /// After a start nobody is known to lead, and it costs a live leader nothing to ask: pre-votes are refused by whoever
    /// hears from one. So a cluster that starts together need not wait out an election timeout.
    pub(super) fn campaign_soon(&mut self) {
        if self.raw.raft.promotable() && !self.is_leader() && self.may_campaign() {
            self.ask_to_campaign();
        }
    }

    /// Asks to be called back after this voter's place among the others.
    fn ask_to_campaign(&mut self) {
        let term = self.term();
        self.leadership.gone = Some(term);
        self.leadership.tries = 0;
        let leader = self.leader().unwrap_or_default();
        let mut voters: Vec<MemberId> =
            self.conf_state.voters.iter().copied().filter(|id| *id != leader).collect();
        voters.sort_unstable();
        let place = voters.iter().position(|id| *id == self.config.own.id).unwrap_or(voters.len());
        let rank = u32::try_from(place).unwrap_or(u32::MAX);
        self.out.campaign_after = Some(CampaignDelay { term, rank });
    }

    pub(super) fn campaign_due(&mut self, term: Term) {
        let waiting = self.leadership.gone == Some(term) && self.term() == term && !self.is_leader();
        let able = self.raw.raft.promotable() && !self.leadership.draining && self.may_campaign();
        if self.removed || !waiting || !able {
            self.leadership.gone = None;
            return;
        }
        self.leadership.campaigns += 1;
        self.leadership.tries += 1;
        // Pre-vote: needs a majority that has dropped the lease too, so one bad link never deposes a live leader.
        let _campaigned = self.raw.campaign();
        self.leader_may_have_changed();
        if !self.is_leader() && self.leadership.tries < MAX_TRIES {
            let rank = 1 + u32::try_from(self.conf_state.voters.len()).unwrap_or(1);
            self.out.campaign_after = Some(CampaignDelay { term, rank });
        }
    }

    pub(super) fn drain(&mut self) {
        self.leadership.draining = true;
        if self.is_leader() {
            self.offer_leadership();
        }
    }

    /// Offers the place to one voter after the other, the furthest along first. An offer stops proposals for an election
    /// timeout, so that a leader whose voters all refuse (they drain, too) must go on serving for a good while between two
    /// rounds.
    fn offer_leadership(&mut self) {
        let now = self.leadership.ticks;
        if now < self.leadership.offers_rest_until {
            return;
        }
        match self.best_voter_but(&self.leadership.offered) {
            Some(to) => {
                self.leadership.offered.insert(to);
                self.raw.transfer_leader(to.0);
            }
            None => {
                self.leadership.offered.clear();
                self.leadership.offers_rest_until =
                    now + OFFERS_REST_TIMEOUTS * u64::from(self.config.election_ticks);
            }
        }
    }

    /// The voter that is alive and furthest along.
    pub(super) fn best_voter(&self) -> Option<MemberId> {
        self.best_voter_but(&BTreeSet::new())
    }

    fn best_voter_but(&self, not: &BTreeSet<MemberId>) -> Option<MemberId> {
        let liveness = self.liveness();
        let progress = self.raw.raft.prs();
        self.conf_state
            .voters
            .iter()
            .copied()
            .filter(|id| *id != self.config.own.id && !not.contains(id) && liveness.is_alive(*id))
            .filter(|id| !self.leadership.draining_peers.contains(id))
            .filter(|id| {
                self.membership.name_of(*id).is_some_and(|name| self.membership.roster.contains_key(name))
            })
            .max_by_key(|id| progress.get(id.0).map_or(0, |progress| progress.matched))
    }

    pub(super) fn transfer_to_best(&mut self) {
        if let Some(to) = self.best_voter() {
            self.raw.transfer_leader(to.0);
        }
    }

    pub(super) fn become_removed(&mut self) {
        self.removed = true;
        for id in self.proposals.drain() {
            self.reply_proposal(id, crate::error::Refusal::OutcomeUnknown);
        }
        let verdicts = self.reads.leader_changed(false);
        self.tell_readers(verdicts);
        self.admin_stopped();
    }
}

#[cfg(test)]
mod tests {
    use super::election_timeout;

    #[test]
    fn election_timeouts_lie_between_one_and_two_and_spread_over_terms_and_members() {
        let drawn: Vec<usize> = (0..1_000).map(|term| election_timeout(10, 7, term)).collect();
        assert!(drawn.iter().all(|timeout| (10..20).contains(timeout)));
        for timeout in 10..20 {
            let share = drawn.iter().filter(|drawn| **drawn == timeout).count();
            assert!((50..200).contains(&share), "{timeout} was drawn {share} times of 1000");
        }
        assert!((0..20).any(|term| election_timeout(10, 7, term) != election_timeout(10, 8, term)));
    }
}
