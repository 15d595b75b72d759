//! `/livez` and `/readyz`.
//!
//! Alive: the driver is there. Ready: a caught-up member of its kind that knows a leader, with hysteresis, so that
//! neither an election nor a burst empties the Service. What the hysteresis remembers is moved by a task of its own, so
//! that the answer is the same whoever asked before, or nobody did. May import: `inbox`, `member`. Deliberately absent:
//! quorum; a member without one is not restarted for it.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use outrigger_core::status::NodeStatus;
use outrigger_core::types::MemberId;
use tokio::time::MissedTickBehavior;

use super::{HttpDoor, Shared};
use crate::member::Phase;

/// An election takes a second or two; without a leader for longer, something is wrong with the cluster.
const LEADERLESS_LIMIT: Duration = Duration::from_secs(30);
/// Entries behind the commit index at which a ready member stops being ready: seconds of work for the applier.
const LAG_LIMIT: u64 = 10_000;
/// Entries behind at which one that was not ready becomes ready: less, so that it does not flap.
const LAG_CAUGHT_UP: u64 = 1_000;
/// How long a read may take that proves that a member has caught up.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often is looked whether the member is ready: less than a probe's period, and than anybody would notice.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What readiness remembers: as which member this one became ready, if it is. It became so with a linearizable read:
/// then it has caught up with everything that was acknowledged before, which its own indexes cannot tell while a leader
/// still feeds it. Once it is not ready any more, it must prove that anew.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<MemberId>>);

/// Everything that the verdict depends on, beside what is remembered.
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
}

/// What is to be done about what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is ready and stays so.
    Hold,
    /// It is not, or not any more.
    Release,
    /// Nothing but a linearizable read is missing.
    Prove,
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
    let is_held = shared.readiness.is_held_by(shared.door.member.standing().member);
    match verdict(&facts(&shared.door), is_held) {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

/// Keeps what is remembered true, for as long as the port is served.
pub(super) async fn watch(shared: Shared) -> Infallible {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        shared.readiness.look(&shared.door).await;
    }
}

fn facts(door: &HttpDoor) -> ReadyFacts {
    let standing = door.member.standing();
    let node = door.member.node().map(|node| {
        let status = node.status();
        NodeFacts {
            formed: status.formed,
            published: node.summary().is_some(),
            leaderless: Duration::from_millis(door.identity.ticks_to_ms(status.leaderless_ticks)),
            lag: status.commit.0.saturating_sub(status.applied.0),
            learner_to_promote: learner_to_promote(&status, &door.identity.name),
        }
    });
    ReadyFacts { phase: standing.phase, waiting_for: standing.waiting_for, fault: standing.fault, node }
}

impl Readiness {
    fn is_held_by(&self, member: MemberId) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == Some(member)
    }

    fn set(&self, held_by: Option<MemberId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = held_by;
    }

    /// Looks once, and proves what can be proved.
    pub(super) async fn look(&self, door: &HttpDoor) {
        let member = door.member.standing().member;
        match step(&facts(door), self.is_held_by(member)) {
            Step::Hold => {}
            Step::Release => self.set(None),
            Step::Prove => {
                let Some(node) = door.member.node() else { return };
                let read = tokio::time::timeout(BARRIER_TIMEOUT, node.read_barrier()).await;
                self.set(matches!(read, Ok(Ok(_))).then_some(member));
            }
        }
    }
}

fn learner_to_promote(status: &NodeStatus, name: &str) -> bool {
    let voter = status.conf_state.is_voter(status.member);
    let admitted_as_learner = status.roster.iter().any(|entry| entry.name == name && entry.learner);
    !voter && !admitted_as_learner
}

/// What must be done about what is remembered; `is_held`: the member is ready by that.
fn step(facts: &ReadyFacts, is_held: bool) -> Step {
    match (obstacle(facts, is_held), is_held) {
        (Ok(()), true) => Step::Hold,
        (Ok(()), false) => Step::Prove,
        (Err(_), _) => Step::Release,
    }
}

/// Ready, or what is waited for.
fn verdict(facts: &ReadyFacts, is_held: bool) -> Result<(), String> {
    obstacle(facts, is_held)?;
    if is_held { Ok(()) } else { Err("catching up: no linearizable read has gone through yet".to_owned()) }
}

/// What stands in the way, whether or not a read has gone through. A member that is ready is given more room.
fn obstacle(facts: &ReadyFacts, is_held: bool) -> Result<(), String> {
    let waiting = |otherwise: &str| {
        let text = if facts.waiting_for.is_empty() { otherwise } else { &facts.waiting_for };
        Err(text.to_owned())
    };
    match facts.phase {
        Phase::Empty => return waiting("waiting to be founded, or to find a member to join through"),
        Phase::Joining => return waiting("waiting to be admitted"),
        Phase::Removed => return waiting("removed from the cluster; waiting to be admitted again"),
        Phase::Faulted => return Err(format!("faulted, replace the volume: {}", facts.fault)),
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
    if node.leaderless > if is_held { LEADERLESS_LIMIT } else { Duration::ZERO } {
        return Err(format!("no leader for {} s", node.leaderless.as_secs()));
    }
    let limit = if is_held { LAG_LIMIT } else { LAG_CAUGHT_UP };
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
        }
    }

    fn member(node: Option<NodeFacts>) -> ReadyFacts {
        ReadyFacts { phase: Phase::Member, waiting_for: String::new(), fault: String::new(), node }
    }

    fn leaderless(seconds: u64, millis: u64) -> ReadyFacts {
        let leaderless = Duration::from_millis(seconds * 1000 + millis);
        member(Some(NodeFacts { leaderless, ..ready() }))
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
                "faulted, replace the volume: segment 3 at 4096",
            ),
            (member(None), "the node is starting"),
            (member(Some(NodeFacts { formed: false, ..ready() })), "the cluster is not formed yet"),
            (member(Some(NodeFacts { published: false, ..ready() })), "the key space is being loaded"),
            (
                member(Some(NodeFacts { learner_to_promote: true, ..ready() })),
                "still a learner: catching up until the leader promotes it",
            ),
            (leaderless(31, 0), "no leader for 31 s"),
        ];
        for (facts, text) in table {
            for is_held in [true, false] {
                assert_eq!(verdict(&facts, is_held), Err(text.to_owned()), "{facts:?}");
                assert_eq!(step(&facts, is_held), Step::Release, "{facts:?}");
            }
        }
        assert_eq!(verdict(&member(Some(ready())), true), Ok(()));
    }

    /// What a member that was ready, and one that was not, does with each thing that happens to it.
    #[test]
    fn a_ready_member_is_given_room_and_one_that_is_not_must_prove_that_it_caught_up() {
        let lagging = |lag| member(Some(NodeFacts { lag, ..ready() }));
        let table = [
            // Facts, was ready, is ready, and what follows for the next look.
            (member(Some(ready())), true, true, Step::Hold),
            (member(Some(ready())), false, false, Step::Prove),
            // An election does not make a member unready; it does not make one ready either.
            (leaderless(0, 100), true, true, Step::Hold),
            (leaderless(30, 0), true, true, Step::Hold),
            (leaderless(30, 1), true, false, Step::Release),
            (leaderless(0, 100), false, false, Step::Release),
            (lagging(LAG_LIMIT), true, true, Step::Hold),
            (lagging(LAG_LIMIT + 1), true, false, Step::Release),
            (lagging(LAG_LIMIT), false, false, Step::Release),
            (lagging(LAG_CAUGHT_UP + 1), false, false, Step::Release),
            (lagging(LAG_CAUGHT_UP), false, false, Step::Prove),
        ];
        for (facts, is_held, is_ready, next) in table {
            assert_eq!(verdict(&facts, is_held).is_ok(), is_ready, "{is_held} {facts:?}");
            assert_eq!(step(&facts, is_held), next, "{is_held} {facts:?}");
        }
    }
}
