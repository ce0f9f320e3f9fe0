//! For how long an answer may be kept: [RFC 9111 §4.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2), as a cache that many
//! share: what is `private` is kept by nobody here.

use std::time::{Duration, UNIX_EPOCH};

use http::{
    HeaderMap, HeaderName,
    header::{AGE, CACHE_CONTROL, DATE, EXPIRES},
};

use super::Fetched;
use crate::domain::time::Timestamp;

/// For how long HTTP lets an answer be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptFor {
    /// It does not say.
    NotSaid,
    /// It is to be asked for anew each time.
    Nothing,
    /// From now on; zero if it was old already when it came.
    Time(Duration),
}

impl Fetched {
    /// For how long this may be kept, having come at `now`. Of several ways to say it, the first of `s-maxage`, `max-age` and `Expires`
    /// counts.
    #[must_use]
    pub fn kept_for(&self, now: Timestamp) -> KeptFor {
        let directives = directives(&self.headers);
        if directives.iter().any(|(name, _)| matches!(name.as_str(), "no-store" | "no-cache" | "private")) {
            return KeptFor::Nothing;
        }
        let now_s = u64::try_from(now.seconds()).unwrap_or(0);
        let sent_at_s = moments_s(&self.headers, &DATE).flatten().min().unwrap_or(now_s);
        let lifetime = |wanted: &str| directives.iter().filter(|(name, _)| name == wanted).map(|(_, value)| seconds(value)).min();
        // What cannot be read, as the usual `0`, is long over.
        let expiry = || moments_s(&self.headers, &EXPIRES).map(|at_s| at_s.unwrap_or(0).saturating_sub(sent_at_s)).min();
        match lifetime("s-maxage").or_else(|| lifetime("max-age")).or_else(expiry) {
            None => KeptFor::NotSaid,
            Some(lifetime_s) => {
                let age_s = age_s(&self.headers).max(now_s.saturating_sub(sent_at_s));
                KeptFor::Time(Duration::from_secs(lifetime_s.saturating_sub(age_s)))
            }
        }
    }
}

/// The moments that the lines of a header name, in seconds since the epoch; none for a line that names none.
fn moments_s(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<u64>> {
    headers.get_all(name).iter().map(|line| {
        let moment = httpdate::parse_http_date(line.to_str().ok()?).ok()?;
        Some(moment.duration_since(UNIX_EPOCH).ok()?.as_secs())
    })
}

/// The directives of every line, each with its argument, if it has one.
fn directives(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
        })
        .collect()
}

/// How long others had it already; of several, the longest.
fn age_s(headers: &HeaderMap) -> u64 {
    headers.get_all(AGE).iter().filter_map(|line| line.to_str().ok()).map(|text| seconds(text.trim())).max().unwrap_or(0)
}

/// A number of seconds, however large. What is none counts as zero: what cannot be read is taken for stale.
fn seconds(text: &str) -> u64 {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().unwrap_or(u64::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_line_counts_and_the_strictest_of_each() {
        use KeptFor::{NotSaid, Nothing, Time};
        let time = |seconds| Time(Duration::from_secs(seconds));
        for (caching, ages, expected) in [
            (&[][..], &[][..], NotSaid),
            (&["public, must-revalidate"], &[], NotSaid),
            (&["x-private, x-no-store"], &[], NotSaid),
            (&["private"], &[], Nothing),
            (&["max-age=600, Private=\"x-user\""], &[], Nothing),
            (&["max-age=600"], &[], time(600)),
            (&["Public , MAX-AGE = \"600\""], &[], time(600)),
            (&["public", "max-age=600"], &[], time(600)),
            (&["max-age=600", "no-store"], &[], Nothing),
            (&["max-age=600, No-Cache=\"Set-Cookie\""], &[], Nothing),
            (&["max-age=600, s-maxage=60"], &[], time(60)),
            (&["s-maxage=6000", "max-age=600"], &[], time(6000)),
            (&["max-age=600, max-age=60"], &[], time(60)),
            (&["max-age=soon"], &[], time(0)),
            (&["max-age=-1"], &[], time(0)),
            (&["max-age=99999999999999999999"], &[], time(u64::MAX)),
            (&["max-age=600"], &["100"], time(500)),
            (&["max-age=600"], &["100", "590"], time(10)),
            (&["max-age=600"], &["700"], time(0)),
            (&["max-age=600"], &["long"], time(600)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, lines) in [(CACHE_CONTROL, caching), (AGE, ages)] {
                for line in lines {
                    headers.append(&name, line.parse().expect("a header value"));
                }
            }
            assert_eq!(fetched(headers).kept_for(NOW), expected, "{caching:?} {ages:?}");
        }
    }

    #[test]
    fn where_no_age_is_said_the_moment_of_expiry_counts() {
        use KeptFor::{NotSaid, Nothing, Time};
        let time = |seconds| Time(Duration::from_secs(seconds));
        let (eight, ten_past) = ("Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 08:10:00 GMT");
        let (before, seven) = ("Fri, 15 Jan 2027 07:58:00 GMT", "Fri, 15 Jan 2027 07:00:00 GMT");
        for (lines, expected) in [
            (&[(DATE, eight)][..], NotSaid),
            (&[(EXPIRES, ten_past)], time(600)),
            (&[(EXPIRES, ten_past), (DATE, eight)], time(600)),
            (&[(EXPIRES, ten_past), (DATE, "yesterday")], time(600)),
            // Two minutes on its way, or in somebody's cache.
            (&[(EXPIRES, ten_past), (DATE, before)], time(600)),
            (&[(EXPIRES, ten_past), (DATE, eight), (AGE, "200")], time(400)),
            (&[(EXPIRES, ten_past), (EXPIRES, eight)], time(0)),
            (&[(EXPIRES, seven)], time(0)),
            (&[(EXPIRES, "0")], time(0)),
            (&[(EXPIRES, ten_past), (EXPIRES, "soon")], time(0)),
            (&[(EXPIRES, seven), (CACHE_CONTROL, "max-age=60")], time(60)),
            (&[(EXPIRES, ten_past), (CACHE_CONTROL, "no-store")], Nothing),
            (&[(EXPIRES, ten_past), (CACHE_CONTROL, "private")], Nothing),
            (&[(DATE, before), (CACHE_CONTROL, "max-age=600")], time(480)),
            (&[(DATE, before), (CACHE_CONTROL, "max-age=600"), (AGE, "500")], time(100)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, line) in lines {
                headers.append(name, line.parse().expect("a header value"));
            }
            assert_eq!(fetched(headers).kept_for(NOW), expected, "{lines:?}");
        }
    }

    /// 2027-01-15T08:00:00Z.
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn fetched(headers: HeaderMap) -> Fetched {
        Fetched { status: StatusCode::OK, headers, body: Vec::new() }
    }
}
