//! Which boot of each peer counts, and what is forgotten of the one before it.
//!
//! raft-rs's leader never lowers what it believes a follower to have. That belief holds for one boot: rot in a log's last
//! frame cannot be told from a torn write, so a member may restart with less than it acknowledged. With the first word of
//! a newer boot the leader therefore starts over with that peer (nothing matched, probe from the log's end), and whatever
//! an older boot said that is still on its way is dropped. Lowering is safe: a commit index never falls, and what is not
//! committed needs the peer's word anew.
//!
//! What this does not mend: an entry whose quorum counted the lost copy is on one disk fewer than promised until it is
//! sent again, and the rest of the quorum must keep it so long. A member that lacks it cannot win against a majority that
//! has it; but where only a bare majority had it, rot at one of them and the absence of another are two failures, and
//! three members bear one. A *vote* that rots away with the last frame is beyond any of this.
//!
//! May import: raft's progress, `wire`'s envelope. Deliberately absent: the boots' drawing and counting (the data
//! directory's).

use std::collections::BTreeMap;

use raft::Progress;

use super::{MAX_INFLIGHT_APPENDS, Node};
use crate::types::{Boot, MemberId};
use crate::wire::Envelope;

/// Strangers come and go; members are never forgotten.
const MAX_STRANGERS: usize = 64;

/// A peer's newest boot.
#[derive(Clone, Copy, Debug)]
struct Known {
    boot: Boot,
    /// The number of the newest forward that it sent.
    forward: u64,
}

/// The newest boot of everyone who has spoken.
#[derive(Debug, Default)]
pub(crate) struct Boots(BTreeMap<MemberId, Known>);

/// How a message's boot stands to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The same as ever, or the first one that is heard of.
    Current,
    /// The peer has restarted since it was last heard.
    Restarted,
    /// Said before a restart, or by a copy of the directory: not to be listened to.
    Stale,
}

impl Boots {
    fn note(&mut self, peer: MemberId, boot: Boot) -> Standing {
        let standing = match self.0.get(&peer) {
            Some(known) if known.boot == boot => return Standing::Current,
            Some(known) if known.boot.count >= boot.count => return Standing::Stale,
            Some(_) => Standing::Restarted,
            None => Standing::Current,
        };
        self.0.insert(peer, Known { boot, forward: 0 });
        standing
    }

    /// Whether this forward is newer than all before it: a repeat must neither be proposed nor refused, for both would
    /// answer the first one too.
    pub(super) fn is_new_forward(&mut self, peer: MemberId, number: u64) -> bool {
        // The windows are a second guard behind this one: a bug in them shows only where this one is gone too.
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::AppliedTwice)
            || outrigger_mutants::is_alive(outrigger_mutants::Mutant::WindowsNotInSnapshot)
        {
            return true;
        }
        let Some(known) = self.0.get_mut(&peer) else { return true };
        let is_new = number > known.forward;
        known.forward = known.forward.max(number);
        is_new
    }
}

impl Node {
    /// What is written around a message to `to`.
    pub(super) fn envelope(&self, to: MemberId) -> Envelope {
        let to_nonce = self.boots.0.get(&to).map_or(0, |known| known.boot.nonce);
        Envelope { from: self.own_boot(), to_nonce }
    }

    fn own_boot(&self) -> Boot {
        Boot { count: self.config.boot, nonce: self.config.nonce }
    }

    /// Takes note of the boot that speaks. `false`: what it says is not to be listened to.
    pub(super) fn note_boot(&mut self, from: MemberId, boot: Boot) -> bool {
        match self.boots.note(from, boot) {
            Standing::Current => {}
            Standing::Restarted => self.peer_restarted(from),
            Standing::Stale => return false,
        }
        while self.boots.0.len() > self.membership.routes.len() + MAX_STRANGERS {
            let stranger = self.boots.0.keys().find(|id| **id != from && !self.conf_state.contains(**id));
            match stranger.copied() {
                Some(id) => self.boots.0.remove(&id),
                None => break,
            };
        }
        true
    }

    /// Forgets what the peer's last boot said of itself and has durable.
    fn peer_restarted(&mut self, peer: MemberId) {
        self.leadership.reports.remove(&peer);
        self.leadership.draining_peers.remove(&peer);
        self.leadership.caught_up_since.remove(&peer);
        if !self.is_leader() || peer == self.config.own.id {
            return;
        }
        let next = self.raw.raft.raft_log.last_index() + 1;
        if let Some(progress) = self.raw.raft.mut_prs().get_mut(peer.0) {
            let fresh = Progress {
                commit_group_id: progress.commit_group_id,
                // It has just spoken.
                recent_active: true,
                ..Progress::new(next, MAX_INFLIGHT_APPENDS)
            };
            *progress = fresh;
        }
        // Not sent yet, but made of the old belief: a heartbeat's commit index is one.
        self.raw.raft.msgs.retain(|message| message.to != peer.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: MemberId = MemberId(2);

    fn boot(count: u64, nonce: u64) -> Boot {
        Boot { count, nonce }
    }

    #[test]
    fn only_a_higher_count_replaces_a_boot_and_nothing_brings_an_older_one_back() {
        let mut boots = Boots::default();
        let said = [
            (boot(3, 30), Standing::Current),
            (boot(3, 30), Standing::Current),
            (boot(3, 31), Standing::Stale),
            (boot(5, 50), Standing::Restarted),
            (boot(3, 30), Standing::Stale),
            // Never seen before, and older all the same.
            (boot(4, 40), Standing::Stale),
            (boot(5, 50), Standing::Current),
        ];
        for (boot, standing) in said {
            assert_eq!(boots.note(PEER, boot), standing, "{boot:?}");
        }
    }

    #[test]
    fn a_forward_counts_once_within_a_boot() {
        let mut boots = Boots::default();
        boots.note(PEER, boot(1, 1));
        let fresh: Vec<bool> = [1, 1, 3, 2, 3, 4].map(|number| boots.is_new_forward(PEER, number)).into();
        assert_eq!(fresh, [true, false, true, false, false, true]);
        boots.note(PEER, boot(2, 2));
        assert!(boots.is_new_forward(PEER, 1));
    }
}
