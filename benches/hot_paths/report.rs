//! What was measured, as a person reads it: ours beside the limit and beside the peer, and which aims are reached.

use std::fmt;

/// Deputy's share of the limit, on the token path.
const TOKEN_SHARE_AIM: f64 = 0.7;
/// Deputy's share of the limit, on the introspection path.
const INTROSPECTION_SHARE_AIM: f64 = 0.8;
/// How many times as fast as node-oidc-provider.
const PEER_AIM: f64 = 5.0;
const HALF_LOAD_P99_AIM_MS: f64 = 10.0;
const RESIDENT_AIM_BYTES: u64 = 80_000_000;

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
    /// Deputy, asked half as often as it bore.
    pub half_load: Figures,
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

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.token.write(out, TOKEN_SHARE_AIM)?;
        self.introspection.write(out, INTROSPECTION_SHARE_AIM)?;
        let Memory { grants, resident_bytes } = self.memory;
        let value = format!("{:.1} MB", resident_bytes as f64 / 1e6);
        let aim = format!("under {} MB", RESIDENT_AIM_BYTES / 1_000_000);
        line(out, &format!("resident, {grants} live grants, after all of it"), &value, &aim, resident_bytes < RESIDENT_AIM_BYTES)?;
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
        for (place, (name, other)) in self.results.iter().enumerate().skip(1) {
            let ratio = ours / other.requests_per_cpu_s;
            let aim = if place == 1 { share_aim } else { PEER_AIM };
            line(out, &format!("of {name}"), &format!("{ratio:.2}"), &format!("{aim}"), ratio >= aim)?;
        }
        let Figures { requests_per_s, p99_ms, .. } = self.half_load;
        let aim = format!("under {HALF_LOAD_P99_AIM_MS} ms");
        line(
            out,
            &format!("p99 at half load, {requests_per_s:.0}/s"),
            &format!("{p99_ms:.2} ms"),
            &aim,
            p99_ms < HALF_LOAD_P99_AIM_MS,
        )
    }
}

fn line(out: &mut fmt::Formatter<'_>, what: &str, value: &str, aim: &str, is_reached: bool) -> fmt::Result {
    let verdict = if is_reached { "reached" } else { "missed" };
    writeln!(out, "  {what:50}{value:>10}   aim {aim}: {verdict}")
}
