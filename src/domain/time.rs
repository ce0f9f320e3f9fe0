//! A moment, in milliseconds since the Unix epoch.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch. `now` is sampled once per request or step and passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `seconds` after the epoch; saturates instead of wrapping.
    pub const fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch: the NumericDate of [RFC 7519 §2](https://www.rfc-editor.org/rfc/rfc7519#section-2).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `duration` more.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment, `duration` earlier.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// How far the two lie apart, whichever comes first: where a clock that was set back must not make a moment last.
    pub fn apart_from(self, other: Timestamp) -> Duration {
        self.since(other).max(other.since(self))
    }

    /// `2026-11-23T16:05:00Z`, for people, logs and `<time datetime>`.
    pub fn to_rfc3339(self) -> String {
        let (days, second_of_day) = (self.seconds().div_euclid(86_400), self.seconds().rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Timestamp {
    /// `2026-11-23T16:05:00.123Z`: [ISO 8601](https://www.iso.org/standard/70907.html) as customer events have it.
    pub fn to_iso_8601(self) -> String {
        let (days, millisecond_of_day) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        let Some(century) = u8::try_from(year / 100).ok().filter(|century| *century < 100 && year >= 0) else {
            return self.to_rfc3339();
        };
        // By hand, as every message has one: `format!` takes ten times as long.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut write = |place: usize, value: i64| {
            text[place] = b'0' + (value / 10 % 10) as u8;
            text[place + 1] = b'0' + (value % 10) as u8;
        };
        let seconds = millisecond_of_day / 1000;
        let parts = [(0, i64::from(century)), (2, year % 100), (5, month), (8, day), (11, seconds / 3600), (14, seconds / 60 % 60)];
        parts
            .into_iter()
            .chain([(17, seconds % 60), (20, millisecond_of_day % 1000 / 10)])
            .for_each(|(place, value)| write(place, value));
        text[22] = b'0' + (millisecond_of_day % 10) as u8;
        String::from_utf8(text.to_vec()).expect("digits are ASCII")
    }

    /// Reads a date, or a date and a time, as software writes them: any number of digits of a second, `T` or a blank between the two,
    /// `Z` or an offset behind them. Without an offset it is UTC. `None` for what is none, or lies beyond the year 9999.
    pub fn parse_iso_8601(text: &str) -> Option<Timestamp> {
        let text = text.trim();
        let (date, time) = if text.len() > 10 { (text.get(..10)?, text.get(10..)?) } else { (text, "T00:00:00Z") };
        let (year, month, day) = (number(date, 0, 4)?, number(date, 5, 2)?, number(date, 8, 2)?);
        let is_dashed = date.len() == 10 && date.as_bytes()[4] == b'-' && date.as_bytes()[7] == b'-';
        if !is_dashed || !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
            return None;
        }
        let (clock, offset_m) = split_offset(time.strip_prefix(['T', 't', ' '])?)?;
        let milliseconds = milliseconds_of_day(clock)? - offset_m * 60_000;
        Some(Timestamp(days_from_civil(year, month, day) * 86_400_000 + milliseconds))
    }
}

/// The digits at this place, all of them.
fn number(text: &str, from: usize, digits: usize) -> Option<i64> {
    let digits = text.get(from..from + digits)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// The time of day without its offset, and the offset in minutes.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(place) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (clock, offset) = time.split_at(place);
    let (hours, minutes) = match offset.len() {
        3 => (number(offset, 1, 2)?, 0),
        5 => (number(offset, 1, 2)?, number(offset, 3, 2)?),
        6 if offset.as_bytes()[3] == b':' => (number(offset, 1, 2)?, number(offset, 4, 2)?),
        _ => return None,
    };
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    (hours < 24 && minutes < 60).then_some((clock, sign * (hours * 60 + minutes)))
}

/// `16:05`, `16:05:00` or with a fraction of whatever length; a leap second is the second before it.
fn milliseconds_of_day(clock: &str) -> Option<i64> {
    let (hour, minute) = (number(clock, 0, 2)?, number(clock, 3, 2)?);
    let (second, rest) = if clock.len() == 5 { (0, "") } else { (number(clock, 6, 2)?, clock.get(8..)?) };
    let is_separated = clock.bytes().skip(2).step_by(3).take(2).all(|byte| byte == b':');
    let fraction = rest.strip_prefix(['.', ',']).unwrap_or(rest);
    let is_fraction = rest.is_empty() || (fraction.len() < rest.len() && !fraction.is_empty());
    if !is_separated
        || !is_fraction
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let milliseconds = [100, 10, 1].iter().zip(fraction.bytes()).map(|(worth, digit)| worth * i64::from(digit - b'0')).sum::<i64>();
    Some(((hour * 60 + minute) * 60 + second.min(59)) * 1000 + milliseconds)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day counted from 1970-01-01 of a proleptic Gregorian date; the inverse of what follows.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The proleptic Gregorian date of a day counted from 1970-01-01, by 400-year eras that begin on 1 March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_the_calendar_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_449_900, "2026-11-23T16:05:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_seconds(seconds).to_rfc3339(), text);
        }
    }

    #[test]
    fn times_are_read_as_software_writes_them() {
        for (text, milliseconds) in [
            ("2026-11-23T16:05:00Z", 1_795_449_900_000),
            ("2026-11-23T16:05:00.123Z", 1_795_449_900_123),
            ("2026-11-23T16:05:00.123456789Z", 1_795_449_900_123),
            ("2026-11-23T16:05:00.1+00:00", 1_795_449_900_100),
            ("2026-11-23T18:35:00+02:30", 1_795_449_900_000),
            ("2026-11-23T08:05:00-0800", 1_795_449_900_000),
            ("2026-11-23 16:05", 1_795_449_900_000),
            ("2026-11-23", 1_795_392_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ] {
            assert_eq!(Timestamp::parse_iso_8601(text), Some(Timestamp(milliseconds)), "{text}");
        }
        for text in [
            "",
            "now",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-11-23T",
            "2026-11-23T1:05:00Z",
            "2026-11-23T16:05:00.Z",
            "2026-11-23T16-05-00Z",
            "2026-11-23T16:05:00.12x4Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T16:05:00+1",
            "2026-11-23T16:05:0",
            "20261123T160500Z",
            "é026-11-23T16:05:00",
            "2026-11-23T16:05:00é",
        ] {
            assert_eq!(Timestamp::parse_iso_8601(text), None, "{text}");
        }
        assert_eq!(Timestamp(1_795_449_900_007).to_iso_8601(), "2026-11-23T16:05:00.007Z");
        assert_eq!(Timestamp(-1).to_iso_8601(), "1969-12-31T23:59:59.999Z");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(milliseconds in -60_000_000_000_000_i64..250_000_000_000_000) {
            proptest::prop_assert_eq!(Timestamp::parse_iso_8601(&Timestamp(milliseconds).to_iso_8601()), Some(Timestamp(milliseconds)));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "[0-9TZ:+. -]{0,30}|\\PC{0,30}") {
            let _ = Timestamp::parse_iso_8601(&text);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(i64::MAX).plus(Duration::from_secs(1)), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp::from_seconds(i64::MAX), Timestamp(i64::MAX));
    }
}
