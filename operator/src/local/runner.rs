//! The loop of a local run: look, decide, do, show; and answer whoever asks meanwhile.
//!
//! One task owns everything that changes. It passes often while something is in flight and once a second otherwise, and is
//! woken when a process dies. Ends with every member stopped, however it ends.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::certificates::LocalCertificates;
use super::control::{Asked, ControlServer, Request, Response};
use super::dns::Zone;
use super::errors::LocalError;
use super::follow;
use super::log::log_to;
use super::loopback::PEER_PORT;
use super::manifest::{Manifest, Watch};
use super::member::Supervised;
use super::record::Record;
pub use super::setup::Options;
use super::setup::{self, Ground};
use super::stopped;
use super::view::View;
use super::volumes::Marks;
use crate::admin_client::{AdminClients, Deadlines};
use crate::cluster::ids::Ordinal;
use crate::cluster::plan::{Decision, Wait};
use crate::crd::{Health, RaftClusterStatus};
use crate::members::{Stuck, Unwell};
use crate::output::Screen;

/// Between two passes while something is in flight.
const BUSY: Duration = Duration::from_millis(200);
/// Between two passes otherwise.
const IDLE: Duration = Duration::from_secs(1);
/// How long the members' ports may be taken at the start, and how often they are tried.
const PORTS_WITHIN: Duration = Duration::from_secs(5);
const PORTS_ASKED_EACH: Duration = Duration::from_millis(100);
/// A silent member must not hold a pass up for long.
const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_millis(300),
    status: Duration::from_millis(500),
    change: Duration::from_secs(5),
};

/// Everything that a run has in its hands.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) options: Options,
    pub(super) manifest: Manifest,
    pub(super) ground: Ground,
    pub(super) record: Record,
    pub(super) marks: Marks,
    pub(super) zone: Arc<Zone>,
    pub(super) certificates: LocalCertificates,
    pub(super) clients: AdminClients,
    pub(super) members: BTreeMap<Ordinal, Supervised>,
    pub(super) changed: Arc<Notify>,
    pub(super) unwell: Unwell,
    pub(super) stuck: Stuck,
    pub(super) generation: i64,
    /// Why the manifest on disk is not followed, if it is not.
    pub(super) manifest_error: Option<String>,
    /// It is not on disk any more.
    pub(super) manifest_gone: bool,
    pub(super) view: Option<View>,
}

/// Why a loop ended.
enum End {
    Signal,
    Settled,
    Asked(Request, oneshot::Sender<Response>),
    TimedOut,
}

/// Runs a manifest until it is told to stop; shows what stands on `out`.
///
/// # Errors
/// It cannot be started, or `--once` did not come about.
pub async fn run(options: Options, screen: Screen<'_>) -> Result<(), LocalError> {
    let manifest = Manifest::load(&options.manifest, None)?;
    let (ground, mut record) = setup::prepare(&options, &manifest)?;
    log_to(&ground.layout)?;
    let manifest = follow::settle(&mut record, &options.manifest, manifest)?;
    let zone = Arc::new(Zone::new(&ground.service, PEER_PORT).await?);
    let _dns = if options.dns { Some(zone.serve(ground.dns_server).await?) } else { None };
    // Four askers may wait; more wait in their connections.
    let (asked, requests) = mpsc::channel(4);
    let control = ControlServer::listen(ground.layout.socket(), asked)?;
    let certificates = LocalCertificates::open(&ground, &manifest, record.content().pods)?;
    let mut runner = Runner {
        marks: Marks::read(&ground.layout, &manifest.wanted.name),
        clients: AdminClients::new(DEADLINES, certificates.ends()?),
        certificates,
        members: BTreeMap::new(),
        changed: Arc::new(Notify::new()),
        unwell: Unwell::default(),
        stuck: Stuck::default(),
        generation: 1,
        manifest_error: None,
        manifest_gone: false,
        view: None,
        options,
        manifest,
        ground,
        record,
        zone,
    };
    ports_come_free(&runner.ground, runner.record.content().pods).await?;
    runner.follow_pods();
    let end = runner.until_end(screen, requests).await;
    runner.stop_all().await;
    let concluded = end.and_then(|end| runner.conclude(end));
    // Whoever asked for the end is told of it before it comes.
    control.close().await;
    concluded
}

/// Waits for the members' ports: those of a runner that was killed stop by themselves, but not within the same moment.
async fn ports_come_free(ground: &Ground, pods: u8) -> Result<(), LocalError> {
    let deadline = Instant::now() + PORTS_WITHIN;
    loop {
        match (0..pods).try_for_each(|ordinal| ground.check_ports(Ordinal(ordinal))) {
            Err(_) if Instant::now() < deadline => sleep(PORTS_ASKED_EACH).await,
            outcome => return outcome,
        }
    }
}

impl Runner {
    async fn until_end(
        &mut self,
        mut screen: Screen<'_>,
        mut requests: mpsc::Receiver<Asked>,
    ) -> Result<End, LocalError> {
        let mut interrupt = watch_signal(SignalKind::interrupt())?;
        let mut terminate = watch_signal(SignalKind::terminate())?;
        let mut watch = Watch::new(self.options.manifest.clone());
        let mut looked_at_manifest = Instant::now();
        let deadline =
            self.options.once_within_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        loop {
            let decision = tokio::select! {
                decision = self.pass() => decision,
                _ = interrupt.recv() => return Ok(End::Signal),
                _ = terminate.recv() => return Ok(End::Signal),
            };
            if let Some(view) = &self.view {
                // Nobody reads: the run goes on, `local status` still works.
                screen.show(view).or_else(ignore_closed).map_err(|source| LocalError::File {
                    what: "print to",
                    path: "standard output".into(),
                    source,
                })?;
            }
            if deadline.is_some() && matches!(decision, Decision::Settled) {
                return Ok(End::Settled);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(End::TimedOut);
            }
            tokio::select! {
                () = sleep(pause(&decision)) => {}
                () = self.changed.notified() => {}
                _ = interrupt.recv() => return Ok(End::Signal),
                _ = terminate.recv() => return Ok(End::Signal),
                Some((request, answer)) = requests.recv() => {
                    if let Some(end) = self.answer(request, answer).await {
                        return Ok(end);
                    }
                }
            }
            if looked_at_manifest.elapsed() >= IDLE {
                looked_at_manifest = Instant::now();
                self.look_at_manifest(watch.look());
            }
        }
    }

    /// Answers one request; gives an end when it is one.
    async fn answer(&mut self, request: Request, answer: oneshot::Sender<Response>) -> Option<End> {
        let response = match request {
            Request::Scale { replicas } => self.scale(replicas),
            Request::Status => match &self.view {
                Some(view) => Response::Status { view: Box::new(view.clone()) },
                None => Response::refused("nothing was seen yet: ask again"),
            },
            Request::Wipe { ordinal, force } => self.wipe(Ordinal(ordinal), force).await,
            request @ (Request::Stop | Request::Delete) => return Some(End::Asked(request, answer)),
        };
        // An asker that went away does not want it any more.
        answer.send(response).ok();
        None
    }

    async fn wipe(&mut self, ordinal: Ordinal, force: bool) -> Response {
        let pod = self.manifest.wanted.name.pod(ordinal);
        if let (false, Some(last)) = (self.members.contains_key(&ordinal), self.members.keys().next_back()) {
            return Response::misasked(format!("there is no {pod}: the members are 0 to {}", last.0));
        }
        if let (false, Some(status)) = (force, self.view.as_ref().map(|view| &view.status))
            && takes_the_quorum(status, &pod)
        {
            return Response::refused(format!(
                "{pod} is one of {} members in step, and a quorum needs {}: without its data nothing would be written any \
                 more; repair the others first, or wipe it with --force",
                status.ready_replicas, status.quorum
            ));
        }
        let volume = self.ground.layout.volume(&pod);
        match self.replace_volume(ordinal).await {
            Ok(aside) => Response::Done {
                text: format!(
                    "{pod} starts on an empty volume; the old one is in {aside} (of use only until {pod} is a member again, under \
                     a new id: `outrigger-operator local stop {name}`, `rm -r {volume} && mv {aside} {volume}`, start)",
                    aside = aside.display(),
                    name = self.manifest.wanted.name,
                    volume = volume.display(),
                ),
            },
            Err(error) => Response::refused(error),
        }
    }

    /// Keeps the certificates of the pods that are asked for.
    ///
    /// # Errors
    /// They cannot be made or written; the present ones stay.
    pub(super) fn keep_certificates(&mut self) -> Result<(), LocalError> {
        let pods = self.record.content().pods;
        if self.certificates.keep(&self.ground, &self.manifest, pods)? {
            self.clients = AdminClients::new(DEADLINES, self.certificates.ends()?);
        }
        Ok(())
    }

    /// Starts the processes that are asked for and do not run yet.
    pub(super) fn follow_pods(&mut self) {
        for ordinal in (0..self.record.content().pods).map(Ordinal) {
            self.members.entry(ordinal).or_insert_with(|| {
                let launch = self.ground.launch(&self.manifest, ordinal);
                Supervised::start(launch, Arc::clone(&self.zone), Arc::clone(&self.changed))
            });
        }
    }

    /// Stops the processes that are not asked for any more.
    pub(super) async fn stop_surplus(&mut self) {
        let pods = self.record.content().pods;
        let surplus = self.members.split_off(&Ordinal(pods));
        futures::future::join_all(surplus.into_values().map(Supervised::stop)).await;
    }

    async fn stop_all(&mut self) {
        let members = std::mem::take(&mut self.members);
        futures::future::join_all(members.into_values().map(Supervised::stop)).await;
    }

    fn conclude(&self, end: End) -> Result<(), LocalError> {
        let name = &self.manifest.wanted.name;
        match end {
            End::Signal | End::Settled => Ok(()),
            End::TimedOut => Err(LocalError::NotSettled {
                seconds: self.options.once_within_seconds.unwrap_or_default(),
                last: self.view.as_ref().map(|view| view.doing.clone()).unwrap_or_default(),
                logs: self.ground.layout.logs(),
            }),
            End::Asked(request, answer) => {
                let text = match request {
                    Request::Delete => {
                        stopped::collect(&self.ground.layout, name, self.manifest.wanted.deletion_policy)
                    }
                    Request::Stop | Request::Scale { .. } | Request::Status | Request::Wipe { .. } => Ok(
                        format!("{name} stopped; its data stays in {}", self.ground.layout.root().display()),
                    ),
                };
                let response = match &text {
                    Ok(text) => Response::Done { text: text.clone() },
                    Err(error) => Response::refused(chain(error)),
                };
                answer.send(response).ok();
                text.map(drop)
            }
        }
    }

    pub(super) fn now() -> Time {
        Time(Timestamp::now())
    }
}

/// Whether a quorum is there, and would not be without this member.
fn takes_the_quorum(status: &RaftClusterStatus, pod: &str) -> bool {
    let in_step = status
        .members
        .iter()
        .any(|member| member.name == pod && matches!(member.health, Health::Ready | Health::Draining));
    in_step && status.quorum > 0 && status.ready_replicas == status.quorum
}

fn pause(decision: &Decision) -> Duration {
    match decision {
        Decision::Settled
        | Decision::Wait(Wait::Paused | Wait::MembersUnwell { .. } | Wait::RepairLater { .. }) => IDLE,
        Decision::Act(_) | Decision::Wait(_) => BUSY,
    }
}

fn watch_signal(kind: SignalKind) -> Result<Signal, LocalError> {
    signal(kind).map_err(LocalError::Signals)
}

fn ignore_closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause's text in their own.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{Lag, MemberRole, MemberStatus};

    #[test]
    fn a_member_is_the_quorums_only_while_it_is_in_step_and_nobody_is_to_spare() {
        let member = |ordinal: usize, health| MemberStatus {
            name: format!("orders-{ordinal}"),
            id: None,
            role: MemberRole::Follower,
            health,
            lag: Lag::None,
            version: None,
            message: None,
        };
        let status = |healths: [Health; 3]| {
            let well = healths.iter().filter(|health| **health == Health::Ready).count();
            RaftClusterStatus {
                quorum: 2,
                ready_replicas: i32::try_from(well).unwrap(),
                members: healths.into_iter().enumerate().map(|(at, health)| member(at, health)).collect(),
                ..RaftClusterStatus::default()
            }
        };
        let rows = [
            ([Health::Ready, Health::Ready, Health::Ready], [false, false, false]),
            ([Health::Ready, Health::Ready, Health::Faulted], [true, true, false]),
            ([Health::Ready, Health::Silent, Health::Faulted], [false, false, false]),
        ];
        for (healths, wanted) in rows {
            let status = status(healths);
            let found = [0, 1, 2].map(|ordinal| takes_the_quorum(&status, &format!("orders-{ordinal}")));
            assert_eq!(found, wanted, "{healths:?}");
        }
        assert!(!takes_the_quorum(&RaftClusterStatus::default(), "orders-0"), "nothing was founded yet");
    }
}
