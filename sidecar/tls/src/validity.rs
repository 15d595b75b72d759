//! From when to when a certificate is valid.
//!
//! webpki checks the times and does not tell them. May import: x509-cert. Deliberately absent: any judgement; a certificate that
//! webpki would refuse may well be read here.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

/// Seconds since 1970, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub until: i64,
}

/// The bytes are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its validity cannot be read: it is no certificate")]
pub struct ValidityError;

impl Validity {
    /// Reads a certificate's.
    ///
    /// # Errors
    /// The bytes are no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, ValidityError> {
        let read = Certificate::from_der(certificate).map_err(|_| ValidityError)?;
        let validity = read.tbs_certificate().validity();
        let seconds =
            |time: &Time| i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| ValidityError);
        Ok(Self { from: seconds(&validity.not_before)?, until: seconds(&validity.not_after)? })
    }

    /// Reads that of the first certificate in PEM.
    ///
    /// # Errors
    /// The text holds none.
    pub fn of_pem(text: &str) -> Result<Self, ValidityError> {
        Self::of(&CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| ValidityError)?)
    }

    /// The moment when two thirds of it are over: time to renew.
    #[must_use]
    pub fn two_thirds(&self) -> i64 {
        self.from + (self.until - self.from) / 3 * 2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Validity::of(&CertificateDer::from(bytes)), Err(ValidityError));
        }
    }
}
