//! `/livez` and `/readyz`.
//!
//! Alive: the driver is there. Ready: a caught-up member of its kind that knows a leader, with hysteresis, so that
//! neither an election nor a burst empties the Service. May import: `inbox`, `member`. Deliberately absent: quorum;
//! a member without one is not restarted for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use outrigger_core::status::NodeStatus;
use outrigger_core::types::MemberId;

use super::{HttpDoor, Shared};
use crate::inbox::NodeHandle;
use crate::member::Phase;

/// An election takes a second or two; without a leader for longer, something is wrong with the cluster.
const LEADERLESS_LIMIT: Duration = Duration::from_secs(30);
/// Entries behind the commit index at which a ready member stops being ready: seconds of work for the applier.
const LAG_LIMIT: u64 = 10_000;
/// Entries behind at which one that was not ready becomes ready: less, so that it does not flap.
const LAG_CAUGHT_UP: u64 = 1_000;
/// A probe's timeout is one second by default; the barrier must answer within it.
const BARRIER_TIMEOUT: Duration = Duration::from_millis(800);

/// What readiness remembers from probe to probe.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    was_ready: AtomicBool,
    /// The member id under which a linearizable read has gone through since start: it has caught up then with
    /// everything that was acknowledged before, which its own indexes cannot tell while a leader still feeds it.
    caught_up: Mutex<Option<MemberId>>,
}

/// Everything that the verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReadyFacts {
    phase: Phase,
    waiting_for: String,
    fault: String,
    /// `None` without a node.
    node: Option<NodeFacts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeFacts {
    formed: bool,
    published: bool,
    leaderless: Duration,
    lag: u64,
    /// A learner that is to become a voter.
    learner_to_promote: bool,
    caught_up: bool,
}

pub(super) async fn livez(State(shared): State<Shared>) -> Response {
    // The driver publishes the status; when its end is dropped, the loop is gone though the process is still there.
    let node = shared.door.member.node();
    if node.is_some_and(|node| node.status_changes().has_changed().is_err()) {
        let text = "the driver has stopped: the process must be restarted\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    (StatusCode::OK, "alive\n").into_response()
}

pub(super) async fn readyz(State(shared): State<Shared>) -> Response {
    let readiness = &shared.readiness;
    let facts = facts(&shared.door, readiness).await;
    let was_ready = readiness.was_ready.load(Ordering::Relaxed);
    let verdict = verdict(&facts, was_ready);
    readiness.was_ready.store(verdict.is_ok(), Ordering::Relaxed);
    match verdict {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn facts(door: &HttpDoor, readiness: &Readiness) -> ReadyFacts {
    let standing = door.member.standing();
    let node = match door.member.node() {
        None => None,
        Some(node) => {
            let caught_up = readiness.caught_up(standing.member, &node).await;
            let status = node.status();
            Some(NodeFacts {
                formed: status.formed,
                published: node.summary().is_some(),
                leaderless: Duration::from_millis(door.identity.ticks_to_ms(status.leaderless_ticks)),
                lag: status.commit.0.saturating_sub(status.applied.0),
                learner_to_promote: learner_to_promote(&status, &door.identity.name),
                caught_up,
            })
        }
    };
    ReadyFacts { phase: standing.phase, waiting_for: standing.waiting_for, fault: standing.fault, node }
}

impl Readiness {
    async fn caught_up(&self, member: MemberId, node: &NodeHandle) -> bool {
        let known = *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        if known == Some(member) {
            return true;
        }
        // A cluster that is not formed yet has no reads to answer; do not burden it with probes.
        if !node.status().formed {
            return false;
        }
        let read = tokio::time::timeout(BARRIER_TIMEOUT, node.read_barrier()).await;
        let went_through = matches!(read, Ok(Ok(_)));
        if went_through {
            *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(member);
        }
        went_through
    }
}

fn learner_to_promote(status: &NodeStatus, name: &str) -> bool {
    let voter = status.conf_state.is_voter(status.member);
    let admitted_as_learner = status.roster.iter().any(|entry| entry.name == name && entry.learner);
    !voter && !admitted_as_learner
}

/// Ready, or what is waited for.
fn verdict(facts: &ReadyFacts, was_ready: bool) -> Result<(), String> {
    let waiting = |otherwise: &str| {
        let text = if facts.waiting_for.is_empty() { otherwise } else { &facts.waiting_for };
        Err(text.to_owned())
    };
    match facts.phase {
        Phase::Empty => return waiting("waiting to be founded, or to find a member to join through"),
        Phase::Joining => return waiting("waiting to be admitted"),
        Phase::Removed => return waiting("removed from the cluster; waiting to be admitted again"),
        Phase::Faulted => return Err(format!("the log is damaged, replace the volume: {}", facts.fault)),
        Phase::Member => {}
    }
    let Some(node) = &facts.node else { return waiting("the node is starting") };
    if !node.formed {
        return waiting("the cluster is not formed yet");
    }
    if !node.published {
        return Err("the key space is being loaded".to_owned());
    }
    if node.learner_to_promote {
        return Err("still a learner: catching up until the leader promotes it".to_owned());
    }
    if node.leaderless > LEADERLESS_LIMIT {
        return Err(format!("no leader for {} s", node.leaderless.as_secs()));
    }
    if !node.caught_up {
        return Err("catching up: no linearizable read has gone through since start".to_owned());
    }
    let limit = if was_ready { LAG_LIMIT } else { LAG_CAUGHT_UP };
    if node.lag > limit {
        return Err(format!("{} committed entries are not applied yet, at most {limit} may be", node.lag));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> NodeFacts {
        NodeFacts {
            formed: true,
            published: true,
            leaderless: Duration::ZERO,
            lag: 0,
            learner_to_promote: false,
            caught_up: true,
        }
    }

    fn member(node: Option<NodeFacts>) -> ReadyFacts {
        ReadyFacts { phase: Phase::Member, waiting_for: String::new(), fault: String::new(), node }
    }

    #[test]
    fn each_thing_that_is_waited_for_is_named() {
        let in_phase = |phase| ReadyFacts { phase, ..member(None) };
        let table = [
            (in_phase(Phase::Empty), "waiting to be founded, or to find a member to join through"),
            (
                ReadyFacts { waiting_for: "2 of 3 seeds answer".into(), ..in_phase(Phase::Empty) },
                "2 of 3 seeds answer",
            ),
            (in_phase(Phase::Joining), "waiting to be admitted"),
            (in_phase(Phase::Removed), "removed from the cluster; waiting to be admitted again"),
            (
                ReadyFacts { fault: "segment 3 at 4096".into(), ..in_phase(Phase::Faulted) },
                "the log is damaged, replace the volume: segment 3 at 4096",
            ),
            (member(None), "the node is starting"),
            (member(Some(NodeFacts { formed: false, ..ready() })), "the cluster is not formed yet"),
            (member(Some(NodeFacts { published: false, ..ready() })), "the key space is being loaded"),
            (
                member(Some(NodeFacts { learner_to_promote: true, ..ready() })),
                "still a learner: catching up until the leader promotes it",
            ),
            (
                member(Some(NodeFacts { leaderless: Duration::from_secs(31), ..ready() })),
                "no leader for 31 s",
            ),
            (
                member(Some(NodeFacts { caught_up: false, ..ready() })),
                "catching up: no linearizable read has gone through since start",
            ),
        ];
        for (facts, text) in table {
            assert_eq!(verdict(&facts, true), Err(text.to_owned()), "{facts:?}");
        }
        assert_eq!(verdict(&member(Some(ready())), false), Ok(()));
    }

    #[test]
    fn an_election_does_not_make_a_member_unready() {
        let facts = member(Some(NodeFacts { leaderless: LEADERLESS_LIMIT, ..ready() }));
        assert_eq!(verdict(&facts, true), Ok(()));
    }

    #[test]
    fn lag_has_hysteresis() {
        let lagging = |lag| member(Some(NodeFacts { lag, ..ready() }));
        for (lag, was_ready, ok) in [
            (LAG_LIMIT, true, true),
            (LAG_LIMIT + 1, true, false),
            (LAG_LIMIT, false, false),
            (LAG_CAUGHT_UP + 1, false, false),
            (LAG_CAUGHT_UP, false, true),
        ] {
            assert_eq!(verdict(&lagging(lag), was_ready).is_ok(), ok, "{lag} {was_ready}");
        }
    }
}
