//! What was measured, as a person reads it: ours beside the limit and beside the peer, and which aims are reached.

use std::fmt;

/// Deputy's share of the limit, on the token path.
const TOKEN_SHARE_AIM: f64 = 0.7;
/// Deputy's share of the limit, on the introspection path.
const INTROSPECTION_SHARE_AIM: f64 = 0.8;
/// How many times as fast as node-oidc-provider.
const PEER_AIM: f64 = 5.0;
const HALF_LOAD_P99_AIM_MS: f64 = 10.0;
const RESIDENT_AIM_MB: f64 = 80.0;

/// One server on one path.
#[derive(Clone, Copy)]
pub struct Figures {
    /// By each second of the server's processor time.
    pub requests_per_cpu_s: f64,
    /// By each second on the wall's clock.
    pub requests_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// All servers on one path.
pub struct Contest {
    pub title: &'static str,
    /// Deputy, the limit, and the peer if it is installed.
    pub results: Vec<(String, Figures)>,
    pub half_load: HalfLoad,
}

/// Both asked half as often as Deputy bore: what the disk and the machine add to every answer is in the limit's figures too.
pub struct HalfLoad {
    pub requests_per_s: f64,
    pub ours: Figures,
    pub limit: Figures,
}

pub struct Memory {
    pub grants: u32,
    pub resident_bytes: u64,
}

pub struct Report {
    pub token: Contest,
    pub introspection: Contest,
    pub memory: Memory,
}

impl Figures {
    /// Of each figure the median.
    pub fn median(rounds: &[Figures]) -> Figures {
        let median = |figure: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Figures {
            requests_per_cpu_s: median(|figures| figures.requests_per_cpu_s),
            requests_per_s: median(|figures| figures.requests_per_s),
            p50_ms: median(|figures| figures.p50_ms),
            p99_ms: median(|figures| figures.p99_ms),
        }
    }
}

/// A figure that is aimed at.
enum Aim {
    AtLeast(f64),
    Below(f64),
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.token.write(out, TOKEN_SHARE_AIM)?;
        self.introspection.write(out, INTROSPECTION_SHARE_AIM)?;
        let Memory { grants, resident_bytes } = self.memory;
        writeln!(out, "\nMemory\n")?;
        Aim::Below(RESIDENT_AIM_MB).judge(
            out,
            &format!("MB resident after all this, over {grants} grants"),
            resident_bytes as f64 / 1e6,
        )?;
        writeln!(out, "\nRequests per second of the server's processor time hold on a busy machine; the other figures do not.")
    }
}

impl Contest {
    fn write(&self, out: &mut fmt::Formatter<'_>, share_aim: f64) -> fmt::Result {
        writeln!(out, "\n{}\n", self.title)?;
        writeln!(out, "{:27}{:>17}{:>14}{:>11}{:>11}", "", "requests/CPU-s", "requests/s", "p50 ms", "p99 ms")?;
        for (name, figures) in &self.results {
            let Figures { requests_per_cpu_s, requests_per_s, p50_ms, p99_ms } = figures;
            writeln!(out, "  {name:25}{requests_per_cpu_s:>17.0}{requests_per_s:>14.0}{p50_ms:>11.2}{p99_ms:>11.2}")?;
        }
        writeln!(out)?;
        let ours = self.results[0].1.requests_per_cpu_s;
        let aims = [Aim::AtLeast(share_aim), Aim::AtLeast(PEER_AIM)];
        for ((name, theirs), aim) in self.results[1..].iter().zip(aims) {
            aim.judge(out, &format!("times {name}"), ours / theirs.requests_per_cpu_s)?;
        }
        let HalfLoad { requests_per_s, ours, limit } = self.half_load;
        let what = format!("ms p99 at half load, {requests_per_s:.0} requests/s (the limit: {:.2})", limit.p99_ms);
        Aim::Below(HALF_LOAD_P99_AIM_MS).judge(out, &what, ours.p99_ms)
    }
}

impl Aim {
    fn judge(&self, out: &mut fmt::Formatter<'_>, what: &str, value: f64) -> fmt::Result {
        let (is_reached, aim) = match self {
            Aim::AtLeast(least) => (value >= *least, format!("at least {least}")),
            Aim::Below(bound) => (value < *bound, format!("below {bound}")),
        };
        let verdict = if is_reached { "reached" } else { "missed" };
        writeln!(out, "  {value:8.2} {what:56} aim {aim}: {verdict}")
    }
}
