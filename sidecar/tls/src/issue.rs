//! Making authorities and certificates (the feature `issue`).
//!
//! May import: rcgen, the clock handed in. Deliberately absent: how long anything lives and when it is renewed; that is
//! decided where the clock is.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::identity::{Cluster, Identity};
use crate::validity::{Validity, ValidityError};

/// Clocks of two machines may differ by this much, in seconds, and a certificate is used the moment it is made.
pub const BACKDATED_SECONDS: i64 = 300;

/// From when, and for how long, both in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Since 1970.
    pub now: i64,
    /// From `now` on.
    pub lifetime: i64,
}

/// A certificate or a key could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made")]
pub struct IssueError(#[from] rcgen::Error);

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it names.
    pub identity: Identity,
    /// Its DNS names, for tools that look at those.
    pub dns_names: Vec<String>,
}

/// A cluster's authority.
pub struct Authority {
    issued: Issued,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("issued", &self.issued).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`IssueError`]: no randomness, or a time that no certificate can hold.
    pub fn mint(cluster: &Cluster, window: Window) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = authority(cluster);
        (params.not_before, params.not_after) = times(window);
        let issued = Issued { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        Ok(Self { issued, issuer: Issuer::new(params, key) })
    }

    /// One that was minted before.
    ///
    /// # Errors
    /// [`IssueError`]: the key cannot be read.
    pub fn load(cluster: &Cluster, issued: Issued) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(&issued.key)?;
        // Of the authority, a certificate repeats the name alone, and that is the cluster's.
        Ok(Self { issuer: Issuer::new(authority(cluster), key), issued })
    }

    /// From when to when it is valid.
    ///
    /// # Errors
    /// [`ValidityError`]: it was loaded from a text that is no certificate.
    pub fn validity(&self) -> Result<Validity, ValidityError> {
        Validity::of_pem(&self.issued.certificate)
    }

    /// Its certificate and key.
    #[must_use]
    pub fn issued(&self) -> &Issued {
        &self.issued
    }

    /// A certificate with a new key.
    ///
    /// # Errors
    /// [`IssueError`]: a name that no certificate can hold.
    pub fn issue(&self, leaf: &Leaf, window: Window) -> Result<Issued, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(leaf.dns_names.clone())?;
        params.subject_alt_names.push(SanType::URI(leaf.identity.to_string().try_into()?));
        // Empty, as RFC 5280 §4.1.2.6 has it where all names are alternative ones: a common name holds 64 bytes.
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every member dials and is dialled.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = times(window);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn authority(cluster: &Cluster) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Outrigger");
    // Cut, not refused: names of both kinds are longer than a common name may be, and nobody is known by this one.
    let common: String = format!("CA of {cluster}").chars().take(64).collect();
    name.push(DnType::CommonName, common);
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn times(window: Window) -> (OffsetDateTime, OffsetDateTime) {
    let at =
        |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (at(window.now.saturating_sub(BACKDATED_SECONDS)), at(window.now.saturating_add(window.lifetime)))
}
