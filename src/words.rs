//! Numbers, durations and lists in words.

mod duration;

use jiff::SignedDuration;

pub use duration::{parse_age, parse_duration};

/// A duration as kubectl writes ages (`apimachinery/pkg/util/duration.HumanDuration`): `5s`, `3m10s`, `14m`, `5h`,
/// `12d`, `2y`.
pub fn age(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => pair(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => pair(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// `1 pod`, `3 pods`.
pub fn count(number: impl TryInto<usize>, noun: &str) -> String {
    // Nothing that is counted is below 0, though it may be written down so.
    let number = number.try_into().unwrap_or(0);
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `a`, `a and b`, `a, b and c`; after `most` names `a, b and 7 more`.
pub fn list<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let more = if names.len() > most.max(1) {
        format!("{} more", names.len() - (most.max(2) - 1))
    } else {
        String::new()
    };
    let shown = if more.is_empty() { &names[..] } else { &names[..most.max(2) - 1] };
    match (shown, more.as_str()) {
        ([], _) => String::new(),
        ([one], "") => (*one).to_owned(),
        ([head @ .., last], "") => format!("{} and {last}", head.join(", ")),
        (shown, more) => format!("{} and {more}", shown.join(", ")),
    }
}

/// Numbers in ranges, in the order given: `5-3, 1` or `0-2`.
pub fn ranges(numbers: &[i32]) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for number in numbers.iter().copied() {
        match runs.last_mut() {
            Some((first, last))
                if number.abs_diff(*last) == 1 && (first == last || (number > *last) == (*last > *first)) =>
            {
                *last = number;
            }
            _ => runs.push((number, number)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .flat_map(|(first, last)| match first.abs_diff(last) {
            0 => vec![first.to_string()],
            1 => vec![first.to_string(), last.to_string()],
            _ => vec![format!("{first}-{last}")],
        })
        .collect();
    runs.join(", ")
}

/// How many letters two names differ in (Levenshtein).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (600, "10m"),
            (840, "14m"),
            (3 * 3600, "3h"),
            (4 * 3600 + 600, "4h10m"),
            (9 * 3600, "9h"),
            (49 * 3600, "2d1h"),
            (12 * 86_400, "12d"),
            (800 * 86_400, "2y70d"),
            (9 * 365 * 86_400, "9y"),
        ] {
            assert_eq!(age(SignedDuration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn lists_end_with_and() {
        assert_eq!(list(&["a"], 3), "a");
        assert_eq!(list(&["a", "b"], 3), "a and b");
        assert_eq!(list(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d"], 3), "a, b and 2 more");
        assert_eq!(list::<&str>(&[], 3), "");
    }

    #[test]
    fn numbers_in_a_row_are_a_range() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7, 8");
        assert_eq!(ranges(&[5, 4, 3, 1, 0]), "5-3, 1, 0");
        assert_eq!(ranges(&[3, 4, 3]), "3, 4, 3");
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[i32::MIN, i32::MAX]), "-2147483648, 2147483647");
    }

    #[test]
    fn near_names_are_near() {
        assert_eq!(distance("postgers", "postgres"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
