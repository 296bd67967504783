//! When: the ways in which providers say how long to wait.
//!
//! Pure. Seconds, and dates of HTTP: <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>. Durations such as `6m0s` of OpenAI
//! and all that is compatible: <https://platform.openai.com/docs/guides/rate-limits>. Timestamps of Anthropic:
//! <https://docs.claude.com/en/api/rate-limits>. Seconds or milliseconds since the epoch, as some gateways send them.

use super::Millis;

/// A wait, as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    In(Millis),
    /// A moment of the wall clock, which is the host's.
    At(Millis),
}

/// Numbers from here on are moments: 2001-09-09, in seconds and in milliseconds.
const EPOCH_SECONDS: Millis = 1_000_000_000;
const EPOCH_MILLIS: Millis = 1_000_000_000_000;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

// === impl When ===

impl When {
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        if let Some(seconds) = decimal(text, 1000) {
            return Some(match seconds / 1000 {
                moment if moment >= EPOCH_MILLIS => When::At(moment),
                moment if moment >= EPOCH_SECONDS => When::At(seconds),
                _ => When::In(seconds),
            });
        }
        duration(text)
            .map(When::In)
            .or_else(|| timestamp(text).map(When::At))
            .or_else(|| http_date(text).map(When::At))
    }

    /// As `retry-after-ms` has it.
    pub fn of_millis(text: &str) -> Option<Self> {
        decimal(text.trim_ascii(), 1).map(When::In)
    }

    /// From now on; nothing where that is no time at all.
    pub fn wait(self, now: Millis) -> Option<Millis> {
        let wait = match self {
            When::In(wait) => wait,
            When::At(moment) => moment.saturating_sub(now),
        };
        (wait > 0).then_some(wait)
    }
}

/// A decimal number, times `unit`, rounded up.
fn decimal(text: &str, unit: u64) -> Option<Millis> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    // Beyond u64 it is for ever.
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX);
    let mut rest = 0;
    let mut scale = unit;
    for digit in fraction.bytes() {
        let digit = u64::from(digit.saturating_sub(b'0'));
        let share = digit.saturating_mul(scale);
        rest = u64::saturating_add(rest, share / 10);
        if scale < 10 && share % 10 > 0 {
            rest = rest.saturating_add(1);
            break;
        }
        scale /= 10;
    }
    Some(whole.saturating_mul(unit).saturating_add(rest))
}

/// `1h2m3.5s`, `20ms`.
fn duration(mut text: &str) -> Option<Millis> {
    let mut total: Millis = 0;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, rest) = text.split_at_checked(end)?;
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let (rest, unit) = units
            .iter()
            .find_map(|(name, unit)| Some((rest.strip_prefix(name)?, *unit)))?;
        total = total.saturating_add(decimal(number, unit)?);
        text = rest;
    }
    Some(total)
}

/// RFC 3339: `2025-01-31T10:30:00Z`, `2025-01-31T10:30:00.5+01:00`.
fn timestamp(text: &str) -> Option<Millis> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    if date.next().is_some() {
        return None;
    }
    let end = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(end)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let moment = moment(number(year)?, number(month)?, number(day)?, clock)?;
    let moment = moment.saturating_add(decimal(&format!("0.{fraction}"), 1000)?);
    let (sign, offset) = zone.split_at_checked(1)?;
    if matches!(sign, "Z" | "z") {
        return offset.is_empty().then_some(moment);
    }
    let (hours, minutes) = offset.split_once(':')?;
    let offset = number(hours)?
        .saturating_mul(60)
        .saturating_add(number(minutes)?)
        .saturating_mul(60_000);
    Some(match sign {
        "+" => moment.saturating_sub(offset),
        _ => moment.saturating_add(offset),
    })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn http_date(text: &str) -> Option<Millis> {
    let (_, text) = text.split_once(", ")?;
    let mut parts = text.split(' ');
    let day = number(parts.next()?)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let month = u64::try_from(month).ok()?.saturating_add(1);
    let year = number(parts.next()?)?;
    let moment = moment(year, month, day, parts.next()?)?;
    (parts.next() == Some("GMT") && parts.next().is_none()).then_some(moment)
}

/// `clock`: `08:49:37`. Days of the Gregorian calendar, after <https://howardhinnant.github.io/date_algorithms.html>, for years
/// from 1970 to 9999.
fn moment(year: u64, month: u64, day: u64, clock: &str) -> Option<Millis> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut clock = clock.split(':');
    let mut next = |most: u64| number(clock.next()?).filter(|part| *part <= most);
    // A leap second is allowed.
    let (hour, minute, second) = (next(23)?, next(59)?, next(60)?);
    if clock.next().is_some() {
        return None;
    }
    // The year begins in March, so that a leap day is its last.
    let (year, month) = match month {
        1 | 2 => (year.saturating_sub(1), month.saturating_add(9)),
        _ => (year, month.saturating_sub(3)),
    };
    let leaps = (year / 4)
        .saturating_sub(year / 100)
        .saturating_add(year / 400);
    let of_year = (month.saturating_mul(153).saturating_add(2) / 5).saturating_add(day);
    // Days from 0000-03-01 to 1970-01-01, and one since days count from 1.
    let days = year
        .saturating_mul(365)
        .saturating_add(leaps)
        .saturating_add(of_year)
        .checked_sub(719_469)?;
    let minutes = days
        .saturating_mul(24)
        .saturating_add(hour)
        .saturating_mul(60)
        .saturating_add(minute);
    let seconds = minutes.saturating_mul(60).saturating_add(second);
    Some(seconds.saturating_mul(1000))
}

/// Up to four digits.
fn number(text: &str) -> Option<u64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::When::{At, In};
    use super::*;

    #[test]
    fn waits_and_moments() {
        let second = 1_738_319_400_000;
        for (text, expected) in [
            ("2", Some(In(2000))),
            (" 0 ", Some(In(0))),
            ("7.66", Some(In(7660))),
            ("0.0001", Some(In(1))),
            ("20ms", Some(In(20))),
            ("8.64s", Some(In(8640))),
            ("6m0s", Some(In(360_000))),
            ("1h2m3.5s", Some(In(3_723_500))),
            ("2m59.56s", Some(In(179_560))),
            ("99999999999999999999999", Some(At(u64::MAX / 1000))),
            ("1738319400", Some(At(second))),
            ("1738319400000", Some(At(second))),
            ("2025-01-31T10:30:00Z", Some(At(second))),
            ("2025-01-31t11:30:00.25+01:00", Some(At(second + 250))),
            ("2025-01-31T09:00:00-01:30", Some(At(second))),
            ("Fri, 31 Jan 2025 10:30:00 GMT", Some(At(second))),
            ("1970-01-01T00:00:00Z", Some(At(0))),
            ("2000-02-29T23:59:60Z", Some(At(951_868_800_000))),
            ("9999-12-31T23:59:59Z", Some(At(253_402_300_799_000))),
            ("", None),
            ("-1", None),
            ("1e9", None),
            (".5", None),
            ("5.", None),
            ("s", None),
            ("1s2", None),
            ("1d", None),
            ("soon", None),
            ("2025-01-31", None),
            ("2025-01-31T10:30:00", None),
            ("2025-13-31T10:30:00Z", None),
            ("2025-01-31T24:30:00Z", None),
            ("2025-01-31T10:30:00Zx", None),
            ("1969-12-31T10:30:00Z", None),
            ("99999-12-31T10:30:00Z", None),
            ("Fri, 31 Jan 2025 10:30:00 CET", None),
            ("Friday, 31-Jan-25 10:30:00 GMT", None),
        ] {
            assert_eq!(When::read(text), expected, "{text:?}");
        }
        assert_eq!(When::of_millis("1500"), Some(In(1500)));
        assert_eq!(When::of_millis("0.5"), Some(In(1)));
        for (when, expected) in [
            (In(5), Some(5)),
            (In(0), None),
            (At(9), None),
            (At(15), Some(5)),
        ] {
            assert_eq!(when.wait(10), expected, "{when:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in any::<String>(), digits in "[0-9.:TZ+ hmsGMT,-]{0,40}") {
            let _ = When::read(&text);
            let _ = When::read(&digits);
            let _ = When::of_millis(&digits);
        }
    }
}
