//! For how long an answer may be kept: [RFC 9111 §4.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2), as a cache that many
//! share. What we fetch is the same for everybody, as nobody's credentials are sent along: so `private` says nothing here.

use std::time::Duration;

use http::{
    HeaderMap,
    header::{AGE, CACHE_CONTROL},
};

use super::Fetched;

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
    /// For how long this may be kept. `Expires` is not looked at: it counts for clocks that agree, where nothing better is said.
    #[must_use]
    pub fn kept_for(&self) -> KeptFor {
        let directives = directives(&self.headers);
        if directives.iter().any(|(name, _)| matches!(name.as_str(), "no-store" | "no-cache")) {
            return KeptFor::Nothing;
        }
        let lifetime = |wanted: &str| directives.iter().filter(|(name, _)| name == wanted).map(|(_, value)| seconds(value)).min();
        match lifetime("s-maxage").or_else(|| lifetime("max-age")) {
            None => KeptFor::NotSaid,
            Some(lifetime_s) => KeptFor::Time(Duration::from_secs(lifetime_s.saturating_sub(age_s(&self.headers)))),
        }
    }
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
            (&["private, x-no-store"], &[], NotSaid),
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
            let fetched = Fetched { status: StatusCode::OK, headers, body: Vec::new() };
            assert_eq!(fetched.kept_for(), expected, "{caching:?} {ages:?}");
        }
    }
}
