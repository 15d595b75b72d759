//! The phases without a node: an empty disk asks and is asked.
//!
//! May import: `seeds`, `founding`, `by_hand`, what a refusal says (`api::refusals`). Deliberately absent: founding by itself.
//! Only a command, or a person's `--found`, makes this disk a founder: a partial DNS answer shows nobody.

use std::time::Duration;

use outrigger_core::membership::Route;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_member::founding::{self, Ground};
use outrigger_proto::v1::Phase as WirePhase;
use tokio::sync::oneshot;

use super::seeds::Seed;
use super::{Commands, Lifecycle, LifecycleError, Next, by_hand, draw, seeds};
use crate::api::refusals::is_tombstoned;
use crate::discovery::DiscoveryError;
use crate::lifecycle_commands::{Founding, LifecycleCommand, LifecycleRefusal};
use crate::member::Phase;

/// Between two rounds of asking the seeds.
const ROUND: Duration = Duration::from_millis(500);

/// What a round of asking came to.
#[derive(Debug)]
enum Round {
    /// A cluster let this member in.
    Joined { cluster: ClusterId, members: Vec<Route> },
    /// The cluster let this member in and removed it again, while the answers were lost: it needs another id.
    Tombstoned,
    /// A person's `--found N`: so many empty disks answer.
    Found(Founding),
    /// Nothing yet.
    Wait { phase: Phase, waiting_for: String },
}

impl Lifecycle {
    /// Waits until this disk belongs to a cluster.
    pub(super) async fn empty(&self, commands: &mut Commands) -> Result<Next, LifecycleError> {
        let own = self.own_route()?;
        self.reclaim_removed(super::upkeep::KEPT_ASIDE).await?;
        self.stand(Phase::Empty, "asking the seeds who is there".to_string(), String::new());
        let stop = self.stop.clone();
        loop {
            let round = tokio::select! {
                () = stop.cancelled() => return Ok(Next::Stop),
                command = commands.recv() => {
                    let Some(command) = command else { return Ok(Next::Stop) };
                    if self.obey(command, &own)? {
                        return Ok(Next::Again);
                    }
                    continue;
                }
                round = look_round(self, &own) => round,
            };
            match round {
                Round::Joined { cluster, members } => {
                    self.join(cluster, &own, &members)?;
                    return Ok(Next::Again);
                }
                Round::Tombstoned => {
                    self.dir().begin_anew(MemberId(draw()))?;
                    tracing::warn!(
                        old = format!("{:016x}", own.id.0),
                        "let in and removed before this member came to know: it takes another id"
                    );
                    return Ok(Next::Again);
                }
                Round::Found(founding) => {
                    self.found(&founding, &own)?;
                    return Ok(Next::Again);
                }
                Round::Wait { phase, waiting_for } => self.stand(phase, waiting_for, String::new()),
            }
            let pause = tokio::time::sleep(ROUND);
            tokio::select! {
                () = stop.cancelled() => return Ok(Next::Stop),
                command = commands.recv() => {
                    let Some(command) = command else { return Ok(Next::Stop) };
                    if self.obey(command, &own)? {
                        return Ok(Next::Again);
                    }
                }
                () = pause => {}
            }
        }
    }

    /// Does what an empty disk can be told. `true`: it belongs to a cluster now.
    fn obey(&self, command: LifecycleCommand, own: &Route) -> Result<bool, LifecycleError> {
        match command {
            LifecycleCommand::Found { founding, reply } => {
                if let Err(refusal) = founding::check(&founding, own, &self.identity().abandoned) {
                    answer(reply, Err(refusal.into()));
                    return Ok(false);
                }
                self.found(&founding, own)?;
                answer(reply, Ok(()));
                Ok(true)
            }
            LifecycleCommand::Abandon { cluster, reply } => {
                answer(reply, self.abandon(cluster));
                Ok(false)
            }
            LifecycleCommand::Snapshot { reply } => {
                let waiting_for = self.standing.borrow().waiting_for.clone();
                answer(reply, Err(LifecycleRefusal::NoNode { waiting_for }));
                Ok(false)
            }
        }
    }

    fn found(&self, founding: &Founding, own: &Route) -> Result<(), LifecycleError> {
        let mut dir = self.dir();
        dir.clear_unfounded()?;
        let path = dir.path().to_path_buf();
        let ground = self.ground(&path, founding.cluster, own);
        founding::found(ground, own, &founding.roster, &founding.seeds)
            .map_err(LifecycleError::FirstFrame)?;
        dir.set_cluster(founding.cluster)?;
        tracing::info!(cluster = format!("{:016x}", founding.cluster.0), "cluster founded on this disk");
        Ok(())
    }

    fn join(&self, cluster: ClusterId, own: &Route, members: &[Route]) -> Result<(), LifecycleError> {
        let mut dir = self.dir();
        dir.clear_unfounded()?;
        let path = dir.path().to_path_buf();
        founding::join(self.ground(&path, cluster, own), members).map_err(LifecycleError::FirstFrame)?;
        dir.set_cluster(cluster)?;
        tracing::info!(cluster = format!("{:016x}", cluster.0), "joined as a learner");
        Ok(())
    }

    fn ground<'a>(&'a self, dir: &'a std::path::Path, cluster: ClusterId, own: &Route) -> Ground<'a> {
        let segment_size_bytes = self.config.wal_segment_bytes;
        Ground { fs: &self.fs, dir, cluster, member: own.id, segment_size_bytes }
    }
}

/// Asks everyone, and a member among them to be let in.
async fn look_round(life: &Lifecycle, own: &Route) -> Round {
    let abandoned = life.identity().abandoned;
    let (seeds, asked) = match seeds::ask(&life.discovery, &life.dialer).await {
        Ok(answered) => answered,
        // Alone and told to found: there is nobody to ask.
        Err(DiscoveryError::NotConfigured) if life.config.found == Some(1) => (Vec::new(), Vec::new()),
        Err(error) => {
            let waiting_for = format!("waiting to be founded or for a seed to join through: {error}");
            return Round::Wait { phase: Phase::Empty, waiting_for };
        }
    };
    let others: Vec<&Seed> = seeds.iter().filter(|seed| seed.member != own.id).collect();
    let members: Vec<&Seed> = others
        .iter()
        .copied()
        .filter(|seed| seed.phase == WirePhase::Member && !abandoned.contains(&seed.cluster))
        .collect();
    if let Some(first) = members.first() {
        if let Some(other) = members.iter().find(|seed| seed.cluster != first.cluster) {
            let waiting_for = format!(
                "the seeds belong to different clusters ({} to {:016x}, {} to {:016x}): give each its own DNS name",
                first.name, first.cluster.0, other.name, other.cluster.0
            );
            return Round::Wait { phase: Phase::Empty, waiting_for };
        }
        return ask_to_join(life, &members, own, &abandoned).await;
    }
    let waiting_for = match life.config.found {
        Some(wanted) => match by_hand::found(
            wanted,
            own,
            &seeds,
            &by_hand::silent(&asked, &seeds, own, life.config.listen_peer),
        ) {
            Ok((roster, seeds)) => {
                let cluster = ClusterId(draw());
                return Round::Found(Founding { cluster, member: own.id, roster, seeds });
            }
            Err(reason) => format!("waiting to found: {reason}"),
        },
        None => format!(
            "waiting to be founded: {} of {} seeds answer, none is a member",
            seeds.len(),
            asked.len()
        ),
    };
    Round::Wait { phase: Phase::Empty, waiting_for }
}

/// Any member will do: it forwards to the leader. The last refusal is the one that is shown.
async fn ask_to_join(life: &Lifecycle, members: &[&Seed], own: &Route, abandoned: &[ClusterId]) -> Round {
    let mut refusal = String::new();
    for seed in members {
        match seeds::join(&life.dialer, seed, own, abandoned).await {
            Ok(members) => return Round::Joined { cluster: seed.cluster, members },
            Err(status) if is_tombstoned(&status, own.id) => return Round::Tombstoned,
            Err(status) => refusal = format!("{} says: {}", seed.name, status.message()),
        }
    }
    Round::Wait { phase: Phase::Joining, waiting_for: format!("waiting to be let in: {refusal}") }
}

/// The caller may be gone: what was done stays done.
pub(super) fn answer<T>(
    reply: oneshot::Sender<Result<T, LifecycleRefusal>>,
    outcome: Result<T, LifecycleRefusal>,
) {
    drop(reply.send(outcome));
}
