//! A cluster's certificates in its two Secrets, and the clients that speak under the operator's.
//!
//! Secrets are written under the version that was read, never forced: of two operators that both make a first authority, one is
//! refused. The operator's own certificate is nowhere but in memory. May import: kube, `certificates`. Deliberately absent: when
//! anything is renewed.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use outrigger_tls::{Cluster, Issued};
use tokio::time::Instant;

use super::apply::{MANAGER, Obstacle, is_ours};
use super::errors::{Doing as _, PassError};
use super::fail_point;
use crate::admin_client::{AdminClients, Deadlines};
use crate::certificates::{BUNDLE, Certificates, Files, Lifetimes, Subjects, operators_ends, renew};
use crate::cluster::build::{self, Settings};
use crate::cluster::validate::Wanted;

/// Time alone changes certificates in weeks; files are compared with each pass.
const JUDGED_AGAIN: Duration = Duration::from_secs(10);

/// What is remembered of one cluster's certificates.
#[derive(Debug, Default)]
pub(super) struct Held(Option<Good>);

#[derive(Debug)]
struct Good {
    /// The versions of both Secrets, and the pods, that were judged.
    judged: Judged,
    at: Instant,
    operator: Option<Issued>,
    bundle: Option<String>,
    clients: Arc<AdminClients>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Judged {
    versions: [Option<String>; 2],
    pods: Vec<String>,
}

/// What a pass needs to know of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) owner: &'a OwnerReference,
    pub(super) settings: &'a Settings,
    pub(super) lifetimes: Lifetimes,
    /// As many pods have certificates.
    pub(super) pods: u8,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Kept {
    /// Calls to members; `None` before the first certificates.
    pub(super) clients: Option<Arc<AdminClients>>,
    /// What stands in the way of a Secret: nothing may mount it then.
    pub(super) obstacles: Vec<Obstacle>,
}

impl Held {
    /// Keeps both Secrets as they must be, also while the cluster is paused or its spec is wrong: certificates that end would take the quorum
    /// of a cluster that is well. Only the first ones are not made while it is paused.
    pub(super) async fn keep(&mut self, client: &Client, whose: Whose<'_>) -> Result<Kept, PassError> {
        let Whose { wanted, owner, .. } = whose;
        let api: Api<Secret> = Api::namespaced(client.clone(), &wanted.namespace);
        let names = names(wanted);
        let mut live = [None, None];
        let mut foreign = Vec::new();
        for (name, live) in names.iter().zip(&mut live) {
            let named = || format!("Secret {}/{name}", wanted.namespace);
            *live = api.get_opt(name).await.doing(|| format!("reading {}", named()))?;
            if live.as_ref().is_some_and(|live| !is_ours(live, &owner.uid, &wanted.name)) {
                foreign.push(Obstacle::NameConflict(named()));
            }
        }
        if !foreign.is_empty() {
            return Ok(Kept { clients: self.clients(), obstacles: foreign });
        }
        let versions = live.each_ref().map(|live| live.as_ref().and_then(Secret::resource_version));
        let pods: Vec<String> =
            (0..whose.pods).map(|pod| wanted.name.pod(crate::cluster::ids::Ordinal(pod))).collect();
        let judged = Judged { versions, pods };
        if let Some(good) = &self.0
            && good.judged == judged
            && good.at.elapsed() < JUDGED_AGAIN
        {
            return Ok(Kept { clients: self.clients(), obstacles: Vec::new() });
        }
        self.judge(&api, whose, live, judged).await
    }

    async fn judge(
        &mut self,
        api: &Api<Secret>,
        whose: Whose<'_>,
        live: [Option<Secret>; 2],
        mut judged: Judged,
    ) -> Result<Kept, PassError> {
        let Whose { wanted, owner, settings, lifetimes, .. } = whose;
        let cluster = Cluster { namespace: wanted.namespace.clone(), name: wanted.name.0.clone() };
        let zone = build::zone(wanted, settings);
        let subjects = Subjects { cluster: &cluster, pods: &judged.pods, zone: &zone };
        let [authority, members] = live.each_ref().map(|live| live.as_ref().map(files).unwrap_or_default());
        let operator = self.0.as_ref().and_then(|good| good.operator.clone());
        let kept = Certificates { authority, members, operator };
        let made = renew(&kept, subjects, Timestamp::now().as_second(), lifetimes)?;
        let mut obstacles = Vec::new();
        if !wanted.paused || live.iter().any(Option::is_some) {
            // The authority first: a certificate whose authority was lost with this process would be of no use.
            let wanted_files = [&made.authority, &made.members];
            for (((name, live), files), version) in
                names(wanted).into_iter().zip(live).zip(wanted_files).zip(&mut judged.versions)
            {
                let secret = build::secret(wanted, owner, name, files);
                match write(api, live, secret).await {
                    Ok(written) => *version = written,
                    Err(error) => {
                        obstacles.push(Obstacle::Refused(error.refusal()?));
                        break;
                    }
                }
            }
        }
        let clients = self.speak(&made)?;
        let bundle = made.members.get(BUNDLE).cloned();
        self.0 = Some(Good {
            judged,
            at: Instant::now(),
            operator: made.operator,
            bundle,
            clients: Arc::clone(&clients),
        });
        Ok(Kept { clients: Some(clients), obstacles })
    }

    /// The present clients, unless they would speak under something else now.
    fn speak(&self, made: &Certificates) -> Result<Arc<AdminClients>, PassError> {
        let same =
            |good: &&Good| good.operator == made.operator && good.bundle.as_ref() == made.members.get(BUNDLE);
        if let Some(good) = self.0.as_ref().filter(same) {
            return Ok(Arc::clone(&good.clients));
        }
        Ok(Arc::new(AdminClients::new(Deadlines::default(), operators_ends(made)?)))
    }

    fn clients(&self) -> Option<Arc<AdminClients>> {
        self.0.as_ref().map(|good| Arc::clone(&good.clients))
    }
}

/// The authority's Secret, and the members'.
fn names(wanted: &Wanted) -> [String; 2] {
    [build::authority_name(&wanted.name), build::peer_tls_name(&wanted.name)]
}

/// What is no text is no certificate either: it is made good like any other damage.
fn files(secret: &Secret) -> Files {
    let data = secret.data.iter().flatten();
    data.map(|(file, text)| (file.clone(), String::from_utf8_lossy(&text.0).into_owned())).collect()
}

/// Writes a Secret where it differs; gives its version. A conflict is somebody else's write: the next pass looks again.
async fn write(
    api: &Api<Secret>,
    live: Option<Secret>,
    mut secret: Secret,
) -> Result<Option<String>, PassError> {
    let how = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let (name, namespace) = (secret.name_any(), secret.namespace().unwrap_or_default());
    let named = || format!("writing Secret {namespace}/{name}");
    let written = match live {
        None => api.create(&how, &secret).await.doing(named)?,
        Some(live) => {
            let labels = secret.labels().iter().all(|(key, value)| live.labels().get(key) == Some(value));
            if labels && live.data == secret.data {
                return Ok(live.resource_version());
            }
            // What others put beside ours stays.
            let (ours, mut metadata) = (secret.metadata.labels.take(), live.metadata.clone());
            metadata.labels.get_or_insert_default().extend(ours.into_iter().flatten());
            metadata.managed_fields = None;
            let changed = Secret { metadata, ..secret.clone() };
            api.replace(&name, &how, &changed).await.doing(named)?
        }
    };
    tracing::info!(secret = name, namespace, "certificates written");
    fail_point::reached("secret-written");
    Ok(written.resource_version())
}
