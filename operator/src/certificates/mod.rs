//! A cluster's certificates: what there must be, from what there is and the time.
//!
//! Two sets of files, each a Secret on Kubernetes and a directory of the local runner: the authority's, which nobody but
//! the operator reads, and the members', which their sidecars do. Authorities are replaced with an overlap, so that no two
//! members ever lack one that both believe: a successor is believed first, signs after the overlap, and its predecessor is
//! forgotten one overlap after everybody was signed anew. Each pass asks for the whole answer; nothing else is remembered, and an
//! operator that was away for a year goes through the same steps in the same order.
//!
//! May import: `outrigger-tls`. Deliberately absent: the clock, where the files are kept, when this is asked.

mod authorities;

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_tls::{
    BACKDATED_SECONDS, Cluster, Ends, Identity, IssueError, Issued, Leaf, Material, Pem, Window,
};

use self::authorities::Authorities;

/// The authorities that are believed, in both sets.
pub const BUNDLE: &str = "ca.crt";
/// The operator's own certificate, by the name of its files, where a person uses it too.
pub const OPERATOR: &str = "operator";

/// Files by name.
pub type Files = BTreeMap<String, String>;

/// How long things are believed, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authority.
    pub authority: i64,
    /// A member's certificate, and the operator's.
    pub leaf: i64,
    /// How long after a change of files every member has surely taken it. A kubelet brings one within two minutes.
    pub overlap: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const DAY: i64 = 86_400;
        Self { authority: 3650 * DAY, leaf: 90 * DAY, overlap: 3600 }
    }
}

/// Both sets, and the operator's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The authority's files: `ca.crt` and `ca.key` sign; `next.*` will; `former.crt` did.
    pub authority: Files,
    /// The members' files: `ca.crt`, and `POD.crt` and `POD.key` for each.
    pub members: Files,
    /// The operator's own certificate, if it has one yet.
    pub operator: Option<Issued>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys.
        let Self { authority, members, operator } = self;
        f.debug_struct("Certificates")
            .field("authority", &authority.keys())
            .field("members", &members.keys())
            .field("operator", operator)
            .finish()
    }
}

/// For whom certificates are made.
#[derive(Clone, Copy, Debug)]
pub struct Subjects<'a> {
    /// The cluster, as certificates name it.
    pub cluster: &'a Cluster,
    /// Its pods.
    pub pods: &'a [String],
    /// The domain of their names.
    pub zone: &'a str,
}

/// What there must be at `now` (seconds since 1970). What is good stays as it is, byte for byte.
///
/// # Errors
/// [`IssueError`]: no randomness, or a name that no certificate can hold.
pub fn renew(
    kept: &Certificates,
    subjects: Subjects<'_>,
    now: i64,
    lifetimes: Lifetimes,
) -> Result<Certificates, IssueError> {
    let mut authorities = Authorities::read(kept, subjects.cluster, now);
    authorities.advance(subjects.cluster, now, lifetimes)?;
    let mut members = Files::new();
    let mut newest = None;
    for pod in subjects.pods {
        let identity = Identity::member(subjects.cluster.clone(), pod);
        let present = issued(&kept.members, pod).filter(|issued| authorities.keeps(issued, &identity, now));
        let issued = match present {
            Some(issued) => issued,
            None => {
                let dns_names = vec![format!("{pod}.{}", subjects.zone), pod.clone()];
                let window = Window { now, lifetime: lifetimes.leaf };
                authorities.signer().issue(&Leaf { identity, dns_names }, window)?
            }
        };
        newest = newest.max(Some(since(&issued).unwrap_or(now)));
        members.insert(format!("{pod}.crt"), issued.certificate);
        members.insert(format!("{pod}.key"), issued.key);
    }
    let operator = Identity::operator(subjects.cluster.clone());
    let operator = match kept.operator.clone().filter(|issued| authorities.keeps(issued, &operator, now)) {
        Some(present) => present,
        None => {
            let leaf = Leaf { identity: operator, dns_names: Vec::new() };
            authorities.signer().issue(&leaf, Window { now, lifetime: lifetimes.leaf })?
        }
    };
    authorities.forget_former(newest, now, lifetimes.overlap);
    members.insert(BUNDLE.to_owned(), authorities.bundle());
    Ok(Certificates { authority: authorities.into_files(), members, operator: Some(operator) })
}

/// Both ends of the operator's connections.
///
/// # Errors
/// The operator has none, or it is of no use.
pub fn operators_ends(certificates: &Certificates) -> Result<Ends, UnusableError> {
    let operator = certificates.operator.as_ref().ok_or(UnusableError::None)?;
    let bundle = certificates.members.get(BUNDLE).map_or("", String::as_str);
    Ok(Ends::new(Arc::new(Material::read(&pem(operator, bundle))?))?)
}

/// Why the operator's certificate is of no use.
#[derive(Debug, thiserror::Error)]
pub enum UnusableError {
    /// There is none.
    #[error("there is no certificate")]
    None,
    /// It cannot be read.
    #[error(transparent)]
    Material(#[from] outrigger_tls::MaterialError),
    /// rustls does not take it.
    #[error(transparent)]
    Tls(#[from] outrigger_tls::TlsError),
}

/// A pair of files, if both are there.
#[must_use]
pub fn issued(files: &Files, name: &str) -> Option<Issued> {
    let file = |ending: &str| files.get(&format!("{name}.{ending}")).cloned();
    Some(Issued { certificate: file("crt")?, key: file("key")? })
}

/// A certificate as one end uses it.
#[must_use]
pub fn pem(issued: &Issued, bundle: &str) -> Pem {
    Pem {
        certificate: issued.certificate.clone().into_bytes(),
        key: issued.key.clone().into_bytes(),
        authorities: bundle.as_bytes().to_vec(),
    }
}

/// When a certificate was made.
fn since(issued: &Issued) -> Option<i64> {
    let material = Material::read(&pem(issued, &issued.certificate)).ok()?;
    Some(material.validity().from + BACKDATED_SECONDS)
}

#[cfg(test)]
mod tests;
