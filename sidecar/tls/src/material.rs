//! One end's material: its certificate and key, and the authorities that it believes.
//!
//! May import: rustls, its PEM reading. Deliberately absent: files (`files`), sockets (`ends`).

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::identity::{Identity, IdentityError};
use crate::validity::{Validity, ValidityError};

/// Material as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The certificate, and after it those between it and the authority, if there are any.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
    /// The authorities that are believed; several are an overlap.
    pub authorities: Vec<u8>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Pem").field("certificate", &self.certificate.len()).finish_non_exhaustive()
    }
}

/// Why material is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A text is no PEM, or holds nothing of its kind.
    #[error("{what} cannot be read: {problem}")]
    Unreadable {
        /// Which.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The key is another certificate's, or of a kind that is not known.
    #[error("the key and the certificate do not fit together")]
    Mismatched(#[source] rustls::Error),
    /// The certificate names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate's times.
    #[error(transparent)]
    Validity(#[from] ValidityError),
    /// No authority of the set has signed it, or its time is over or has not come.
    #[error("the certificate does not stand: {0}")]
    Untrusted(#[source] rustls::Error),
}

/// Material, read. Its certificate may be of no use by now: see [`Material::check`].
pub struct Material {
    identity: Identity,
    validity: Validity,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, validity, certified: _, roots } = self;
        f.debug_struct("Material")
            .field("identity", identity)
            .field("validity", validity)
            .field("authorities", &roots.len())
            .finish_non_exhaustive()
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let unreadable = |problem: String| MaterialError::Unreadable { what, problem };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| unreadable(error.to_string()))?;
    if read.is_empty() { Err(unreadable("no certificate is in it".to_owned())) } else { Ok(read) }
}

impl Material {
    /// Reads PEM; nothing is judged by its time.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn read(pem: &Pem) -> Result<Self, MaterialError> {
        let chain = certificates("the certificate", &pem.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .map_err(|error| MaterialError::Unreadable { what: "the key", problem: error.to_string() })?;
        let leaf = chain.first().ok_or(ValidityError)?;
        let (identity, validity) = (Identity::of(leaf)?, Validity::of(leaf)?);
        let mut roots = RootCertStore::empty();
        for authority in certificates("the authorities' file", &pem.authorities)? {
            roots.add(authority).map_err(|error| MaterialError::Unreadable {
                what: "an authority",
                problem: error.to_string(),
            })?;
        }
        // Compares the two public keys as well.
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(MaterialError::Mismatched)?;
        Ok(Self { identity, validity, certified: Arc::new(certified), roots: Arc::new(roots) })
    }

    /// Whether whoever believes the same authorities believes this certificate at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`MaterialError::Untrusted`].
    pub fn check(&self, now: i64) -> Result<(), MaterialError> {
        let now = std::time::Duration::from_secs(u64::try_from(now).unwrap_or(0));
        let provider = provider();
        let Some((leaf, between)) = self.certified.cert.split_first() else { return Ok(()) };
        let leaf = ParsedCertificate::try_from(leaf).map_err(MaterialError::Untrusted)?;
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &self.roots,
            between,
            UnixTime::since_unix_epoch(now),
            provider.signature_verification_algorithms.all,
        )
        .map_err(MaterialError::Untrusted)
    }

    /// Whom it names.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From when to when.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// How many authorities are believed.
    #[must_use]
    pub fn authorities(&self) -> usize {
        self.roots.len()
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}
