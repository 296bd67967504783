//! Sizes and durations as people write them. Strict: one spelling per unit, so that `4MB` is asked about, not guessed at.

use std::time::Duration;

/// Bytes, such as `512KiB` or `4MiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit): (_, u64) = if let Some(digits) = text.strip_suffix("KiB") {
        (digits, 1 << 10)
    } else {
        (text.strip_suffix("MiB")?, 1 << 20)
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn show_size(bytes: u32) -> String {
    const MIB: u32 = 1 << 20;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{}MiB", bytes / MIB)
    } else {
        bytes.to_string()
    }
}

/// Such as `800ms`, `1.5s`, `10m`; in whole milliseconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, millis) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1e3)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60e3)
    } else {
        (text.strip_suffix('h')?, 3600e3)
    };
    // f64 also parses "inf" and "1e9", which nobody writes in a configuration.
    let plain = number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit());
    if !plain || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let millis = (number.parse::<f64>().ok()? * millis).round();
    // A float beyond u64 saturates: too long either way.
    Some(Duration::from_millis(millis as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expected| assert_eq!(parse_size(text), expected, "{text}");
        check("512KiB", Some(524_288));
        check("4MiB", Some(4_194_304));
        check("0MiB", Some(0));
        for text in [
            "",
            "KiB",
            "4",
            "4MB",
            "4 MiB",
            "-1KiB",
            "+1KiB",
            "1.5MiB",
            "4mib",
            "99999999999999999999MiB",
            "18446744073709551615KiB",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(
                parse_duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        };
        check("800ms", Some(800));
        check("2s", Some(2_000));
        check("1.5s", Some(1_500));
        check("10m", Some(600_000));
        check("1h", Some(3_600_000));
        check(&format!("{}h", "9".repeat(400)), Some(u64::MAX));
        for text in [
            "", "s", "ms", "10", ".5s", "5.s", "1.2.3s", "-1s", "1e3s", "infs", "NaNms", "1 s",
            "1S", "1d",
        ] {
            check(text, None);
        }
    }
}
