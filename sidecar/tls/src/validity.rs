//! From when to when a certificate is valid.
//!
//! webpki checks the times and does not tell them, so the few fields before them are stepped over here (RFC 5280 §4.1:
//! version, serial number, signature, issuer, validity). May import: std. Deliberately absent: any judgement; a certificate
//! that webpki would refuse may well be read here.

use rustls_pki_types::CertificateDer;

/// Seconds since 1970, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub until: i64,
}

/// The bytes are no certificate, as far as they were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its validity cannot be read: it is no certificate")]
pub struct ValidityError;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// Reads a certificate's.
    ///
    /// # Errors
    /// The bytes are no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, ValidityError> {
        let (certificate, _) = expect(certificate, SEQUENCE)?;
        let (mut fields, _) = expect(certificate, SEQUENCE)?;
        if fields.first() == Some(&VERSION) {
            fields = expect(fields, VERSION)?.1;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            fields = expect(fields, tag)?.1;
        }
        let (times, _) = expect(fields, SEQUENCE)?;
        let (from, rest) = time(times)?;
        let (until, _) = time(rest)?;
        Ok(Self { from, until })
    }

    /// The moment when two thirds of it are over: time to renew.
    #[must_use]
    pub fn two_thirds(&self) -> i64 {
        self.from + (self.until - self.from) / 3 * 2
    }
}

/// A value of this tag: its content, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), ValidityError> {
    let (found, content, rest) = value(bytes)?;
    if found == tag { Ok((content, rest)) } else { Err(ValidityError) }
}

/// DER's tag, length and content. Lengths of more than three bytes are beyond any certificate.
fn value(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), ValidityError> {
    let [tag, first, rest @ ..] = bytes else { return Err(ValidityError) };
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f)).ok_or(ValidityError)?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        0x80 | 0x84..=0xff => return Err(ValidityError),
    };
    let (content, rest) = rest.split_at_checked(length).ok_or(ValidityError)?;
    Ok((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the two forms that RFC 5280 allows.
fn time(bytes: &[u8]) -> Result<(i64, &[u8]), ValidityError> {
    let (tag, text, rest) = value(bytes)?;
    let [digits @ .., b'Z'] = text else { return Err(ValidityError) };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ValidityError);
    }
    let pairs: Vec<i64> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
        .collect();
    let (year, rest_of_time) = match (tag, pairs.as_slice()) {
        // Two digits count from 1950 on.
        (UTC_TIME, [year, times @ ..]) => (if *year < 50 { 2000 + year } else { 1900 + year }, times),
        (GENERALIZED_TIME, [century, year, times @ ..]) => (century * 100 + year, times),
        _ => return Err(ValidityError),
    };
    let [month @ 1..=12, day @ 1..=31, hour @ 0..24, minute @ 0..60, second @ 0..=60] = *rest_of_time else {
        return Err(ValidityError);
    };
    if digits.len() % 2 != 0 {
        return Err(ValidityError);
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Ok((seconds, rest))
}

/// Days of the proleptic Gregorian calendar; years begin in March here, so that a leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    // Days to 1970-01-01 from 0000-03-01.
    const EPOCH: i64 = 719_468;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - EPOCH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "691231235959Z", -1),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "500101000000Z", -631_152_000),
            (UTC_TIME, "240229120000Z", 1_709_208_000),
            (GENERALIZED_TIME, "20240301000000Z", 1_709_251_200),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            let mut bytes = vec![tag, u8::try_from(text.len()).unwrap()];
            bytes.extend(text.bytes());
            assert_eq!(time(&bytes).map(|(seconds, _)| seconds), Ok(seconds), "{text}");
        }
        for text in
            ["", "Z", "7001010000Z", "700101000000", "701301000000Z", "70010100000-Z", "7001010000000Z"]
        {
            let mut bytes = vec![UTC_TIME, u8::try_from(text.len()).unwrap()];
            bytes.extend(text.bytes());
            assert_eq!(time(&bytes).map(|(seconds, _)| seconds), Err(ValidityError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(validity) = Validity::of(&CertificateDer::from(bytes)) {
                prop_assert!(validity.until < 253_402_300_800, "the year 9999 is the last");
            }
        }
    }
}
