//! Loading certificates, and looking at their files again: a kubelet swaps them under a running process.
//!
//! New connections use the newest good set; those that stand go on as they are. A broken set is kept out, told and counted.
//! May import: `outrigger-tls`, the clock. Deliberately absent: who renews (the operator, or the local runner).

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use outrigger_tls::{Ends, FilesError, Identity, Material, MaterialError, Pem, Source};

use crate::metrics::Metrics;
use crate::transport::dial::chain;

/// Between two looks at the files. A kubelet takes up to a minute or two to bring a change.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why a set of certificates is not used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Its files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// What is in them.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// rustls does not take them.
    #[error("no connection can be made with them")]
    Unusable(#[from] rustls::Error),
    /// It names somebody else.
    #[error(
        "the certificate is {seen}'s, and this member is {own}: give each member its own (--peer-tls-name)"
    )]
    NotOurs {
        /// Whom it names.
        seen: Box<Identity>,
        /// This member.
        own: String,
    },
    /// It is of another cluster than the present one.
    #[error("the certificate is of the cluster {seen}, and the present one of {own}")]
    OtherCluster {
        /// The new one's.
        seen: String,
        /// The present one's.
        own: String,
    },
}

impl TlsError {
    /// Whether a file is not there (yet).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        let Self::Files(FilesError::Unreadable { source, .. }) = self else { return false };
        source.kind() == io::ErrorKind::NotFound
    }
}

/// The certificates of this process.
#[derive(Debug)]
pub struct PeerTls {
    source: Source,
    own: Identity,
    ends: ArcSwap<Ends>,
    metrics: Arc<Metrics>,
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl PeerTls {
    /// Loads the set that is there at the start. One whose time is over is told and used: nobody will believe it, and the
    /// renewed one is taken when it comes.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(source: Source, name: &str, metrics: Arc<Metrics>) -> Result<(Arc<Self>, Pem), TlsError> {
        let pem = source.read()?;
        let material = Material::read(&pem)?;
        if material.identity().member_name() != Some(name) {
            let seen = Box::new(material.identity().clone());
            return Err(TlsError::NotOurs { seen, own: name.to_owned() });
        }
        if let Err(error) = material.check(now()) {
            tracing::error!(
                directory = %source.directory.display(), error = chain(&error),
                "peers will not believe this member's certificate until a good one is there"
            );
        }
        let own = material.identity().clone();
        tracing::info!(identity = %own, authorities = material.authorities(), "peers and the admin service speak mutual TLS");
        metrics.tls_expiry(material.validity().until);
        let ends = ArcSwap::from_pointee(Ends::new(Arc::new(material))?);
        Ok((Arc::new(Self { source, own, ends, metrics }), pem))
    }

    /// A set for one dial, whomever it names: what a command shows.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn ends_of(source: &Source) -> Result<Ends, TlsError> {
        Ok(Ends::new(Arc::new(Material::read(&source.read()?)?))?)
    }

    /// This member, as its certificate names it.
    #[must_use]
    pub fn own(&self) -> &Identity {
        &self.own
    }

    /// The newest good set.
    #[must_use]
    pub fn ends(&self) -> Arc<Ends> {
        self.ends.load_full()
    }

    /// Where refusals are counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Looks at the files again and again, for ever. `known` is what was loaded.
    pub async fn watch(self: Arc<Self>, mut known: Pem, interval: Duration) {
        let mut last_problem = None;
        loop {
            tokio::time::sleep(interval).await;
            let source = self.source.clone();
            // A task that was cancelled: the runtime ends.
            let Ok(read) = tokio::task::spawn_blocking(move || source.read()).await else { return };
            let outcome = match read {
                Ok(pem) if pem == known => continue,
                Ok(pem) => {
                    let outcome = self.take(&pem);
                    // A broken set is judged once; the next one is another.
                    known = pem;
                    outcome
                }
                Err(error) => Err(error.into()),
            };
            let problem = outcome.err().map(|error| chain(&error));
            if let Some(problem) = &problem
                && last_problem.as_ref() != Some(problem)
            {
                self.metrics.tls_reload_failed();
                tracing::error!(
                    directory = %self.source.directory.display(), error = problem,
                    "new certificates cannot be used; the present ones stay"
                );
            }
            last_problem = problem;
        }
    }

    /// Uses a new set from the next connection on.
    fn take(&self, pem: &Pem) -> Result<(), TlsError> {
        let material = Material::read(pem)?;
        if material.identity().cluster != self.own.cluster {
            return Err(TlsError::OtherCluster {
                seen: material.identity().cluster.to_string(),
                own: self.own.cluster.to_string(),
            });
        }
        if *material.identity() != self.own {
            let seen = Box::new(material.identity().clone());
            return Err(TlsError::NotOurs { seen, own: self.own.to_string() });
        }
        material.check(now())?;
        let (until, authorities) = (material.validity().until, material.authorities());
        self.ends.store(Arc::new(Ends::new(Arc::new(material))?));
        self.metrics.tls_reloaded(until);
        tracing::info!(authorities, expires_unix_seconds = until, "new certificates are used from now on");
        Ok(())
    }
}
