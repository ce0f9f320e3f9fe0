//! How a place in the log is written on the command line: an offset, a moment, or how long ago.

use std::time::Duration;

use deputy::domain::time::Timestamp;

use super::facts::Place;

const DAY_S: i64 = 86_400;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    Offset(u64),
    Moment(Timestamp),
    Ago(Duration),
}

impl Beginning {
    pub(crate) fn place(self, now: Timestamp) -> Place {
        match self {
            Beginning::Offset(offset) => Place::Offset(offset),
            Beginning::Moment(moment) => Place::Time(moment),
            Beginning::Ago(duration) => Place::Time(now.minus(duration)),
        }
    }
}

/// Reads `1200`, `2026-11-23`, `2026-11-23T16:05`, `2026-11-23T16:05:00Z`, `90s`, `15m`, `2h` or `3d`.
pub(crate) fn from(text: &str) -> Result<Beginning, &'static str> {
    const EXPECTED: &str =
        "give an offset (1200), a moment in UTC (2026-11-23 or 2026-11-23T16:05), or how long ago (90s, 15m, 2h, 3d)";
    if let Ok(offset) = text.parse() {
        return Ok(Beginning::Offset(offset));
    }
    ago(text).map(Beginning::Ago).or_else(|| moment(text).map(Beginning::Moment)).ok_or(EXPECTED)
}

fn ago(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().last()?;
    let unit_s = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(text[..unit_at].parse::<u64>().ok()?.checked_mul(unit_s)?))
}

fn moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let time = numbers(time.trim_end_matches('Z'), ':')?;
    let (hour, minute, second) = match time[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let is_possible = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_possible || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let moment = Timestamp::from_seconds(days_since_epoch(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second);
    // A day that its month does not have would be one of the next month.
    moment.to_rfc3339().starts_with(date).then_some(moment)
}

fn numbers(text: &str, between: char) -> Option<Vec<i64>> {
    text.split(between).map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()).collect()
}

/// Counts whole years from March on, so that the leap day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_of_years = year * 365 + year / 4 - year / 100 + year / 400;
    days_of_years + (153 * month_from_march + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_offsets_moments_or_how_long_ago() {
        let second = |seconds| Beginning::Moment(Timestamp::from_seconds(seconds));
        let table = [
            ("0", Ok(Beginning::Offset(0))),
            ("1200", Ok(Beginning::Offset(1200))),
            ("1970-01-01", Ok(second(0))),
            ("2000-02-29", Ok(second(951_782_400))),
            ("2026-11-23T16:05", Ok(second(1_795_449_900))),
            ("2026-11-23T16:05:00Z", Ok(second(1_795_449_900))),
            ("2026-11-23 16:05:00", Ok(second(1_795_449_900))),
            ("2099-12-31T23:59:59Z", Ok(second(4_102_444_799))),
            ("15m", Ok(Beginning::Ago(Duration::from_secs(900)))),
            ("3d", Ok(Beginning::Ago(Duration::from_secs(259_200)))),
        ];
        for (text, expected) in table {
            assert_eq!(from(text), expected, "{text}");
        }
        for text in
            ["", "yesterday", "2026-02-30", "2026-13-01", "2026-11-23T25:00", "-5", "5y", "m", "2026-11", "2026-11-23T", "12:00"]
        {
            assert!(from(text).is_err(), "{text}");
        }
    }
}
