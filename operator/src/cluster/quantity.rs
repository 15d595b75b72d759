//! Quantities as Kubernetes writes them, in bytes.
//!
//! Pure. The forms are those of `resource.Quantity` (k8s.io/apimachinery): a decimal number, then a power of 1,000 (`k` to
//! `E`, or `e3`), of 1,024 (`Ki` to `Ei`), or `m` for a thousandth. The sidecar's own flags read `G` as 1,024³, which is why a
//! manifest's texts are never handed to it as they are.

/// The bytes that `text` means; `None` unless it is a whole number of them below 2⁶⁴.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let decimals = i32::try_from(fraction.len()).ok()?;
    let (ten_to, two_to) = match suffix {
        "" => (0, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        exponent => (exponent.strip_prefix(['e', 'E'])?.parse().ok()?, 0),
    };
    let tens = i32::checked_sub(ten_to, decimals)?;
    let scale = 10_u128.checked_pow(tens.unsigned_abs())?;
    let scaled = mantissa.checked_mul(1 << two_to)?;
    let exact = if tens >= 0 {
        scaled.checked_mul(scale)?
    } else {
        Some(scaled / scale).filter(|_| scaled.is_multiple_of(scale))?
    };
    u64::try_from(exact).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_read_as_kubernetes_reads_it() {
        for (text, meant) in [
            ("0", 0),
            ("536870912", 536_870_912),
            ("512Mi", 512 << 20),
            ("2Gi", 2 << 30),
            ("2G", 2_000_000_000),
            ("1.5Gi", 3 << 29),
            ("0.5k", 500),
            ("1e9", 1_000_000_000),
            ("1E3", 1_000),
            ("1E", 1_000_000_000_000_000_000),
            ("5000m", 5),
            ("15Ei", 15 << 60),
        ] {
            assert_eq!(bytes(text), Some(meant), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_of_bytes_is_refused() {
        for text in [
            "", "Mi", "-1Gi", "1.5", "1m", "1Kib", "1 Gi", "1.2.3Gi", "16Ei", "1e99", "1e", "25e-1k", "e3",
            "٣Gi",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
