//! The one grammar of durations on the command line: Go's, as kubectl takes it, with days and weeks.

use std::time::Duration;

use jiff::SignedDuration;

/// Units, longer names before their prefixes, in nanoseconds.
const UNITS: [(&str, u64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// What every flag says to a text that is no duration.
const EXPECTED: &str = "expected a duration such as 90s, 1h30m, 30d or 1d12h";

/// Reads `90s`, `1h30m`, `1.5s`, `1d12h`, or a bare number of seconds, as kubectl reads `--request-timeout 30`.
///
/// # Errors
/// A sentence for the command line's error message, when the text is none of these, or longer than a duration can be.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| EXPECTED.to_owned());
    }
    parse_units(text).ok_or_else(|| EXPECTED.to_owned())
}

/// The same for an age, without a bare number: 30 seconds and 30 days are both what somebody may mean by 30.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_age(text: &str) -> Result<SignedDuration, String> {
    let duration = parse_units(text).and_then(|duration| SignedDuration::try_from(duration).ok());
    duration.ok_or_else(|| EXPECTED.to_owned())
}

fn parse_units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        total = total.checked_add(scaled(number, *nanos)?)?;
        rest = &tail[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

/// `number`, a decimal, times `nanos`; what is smaller than a nanosecond is dropped.
fn scaled(number: &str, nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Nanoseconds alone hold 584 years only.
    let (seconds, below) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut sum = Duration::from_secs(whole.checked_mul(seconds)?);
    sum = sum.checked_add(Duration::from_nanos(whole.checked_mul(below)?))?;
    let mut place = nanos;
    for digit in fraction.chars() {
        place /= 10;
        sum = sum.checked_add(Duration::from_nanos(u64::from(digit.to_digit(10)?) * place))?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn durations_read_as_go_reads_them_and_with_days() {
        for (text, nanos) in [
            ("0s", 0),
            ("0d", 0),
            ("5s", 5 * SECOND),
            ("90s", 90 * SECOND),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30 * SECOND),
            ("1.s", SECOND),
            ("1h2m3s", 3_723 * SECOND),
            ("1h30m", 5_400 * SECOND),
            ("30d", 2_592_000 * SECOND),
            ("1d12h", 129_600 * SECOND),
            ("1.5d", 129_600 * SECOND),
            ("2w", 1_209_600 * SECOND),
            ("1w1d", 691_200 * SECOND),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("7ns", 7),
            ("1m500ms", 60_500_000_000),
        ] {
            let wanted = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(text), Ok(wanted), "{text}");
            assert_eq!(parse_age(text), Ok(SignedDuration::try_from(wanted).unwrap()), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_seconds_but_never_an_age() {
        for (text, seconds) in [("0", 0), ("30", 30), ("4294967296", 4_294_967_296), ("007", 7)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(parse_age(text), Err(EXPECTED.to_owned()), "{text}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let longest = u64::MAX.to_string();
        assert_eq!(parse_duration(&longest), Ok(Duration::from_secs(u64::MAX)));
        assert_eq!(parse_duration(&format!("{longest}s")), Ok(Duration::from_secs(u64::MAX)));
        let ages = parse_age(&format!("{}s", i64::MAX));
        assert_eq!(ages, Ok(SignedDuration::from_secs(i64::MAX)));
        assert!(parse_age(&format!("{longest}s")).is_err(), "longer than an age can be");
        for text in
            [format!("{longest}s1s"), format!("{longest}m"), format!("{longest}w"), format!("{longest}0")]
        {
            assert_eq!(parse_duration(&text), Err(EXPECTED.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_one_way() {
        for text in [
            "",
            " ",
            "s",
            "d",
            "-1s",
            "-1",
            "1y",
            "1D",
            "1 s",
            "1s2",
            "1..5s",
            ".s",
            "1.5",
            "1e3s",
            "+1s",
            "1s ",
            "1d 12h",
            "99999999999999999999s",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), Err(EXPECTED.to_owned()), "{text}");
            assert_eq!(parse_age(text), Err(EXPECTED.to_owned()), "{text}");
        }
    }
}
