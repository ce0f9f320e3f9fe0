//! `deputy doctor`: what is wrong with a configuration and its surroundings, and how to mend it.
//!
//! It changes nothing: what a first start would make is only found possible.

/// Where the server is reached, and by whom.
mod network;
/// What is kept: folder, database, log, keys.
mod stored;
/// For how long ids are remembered.
mod dedup;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use deputy::config::{self, ConfigError, LogAddress, Settings};
use deputy::domain::time::Timestamp;

use super::output;
use super::{Failure, wait_for};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print every setting with unit, default and what is allowed, as a configuration file
    #[arg(long)]
    reference: bool,
}

/// What one check found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    what: String,
    /// What to do about it; empty when there is nothing to do.
    mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// It will work, though probably not as meant.
    Doubtful,
    Wrong,
}

impl Finding {
    fn fine(subject: &'static str, what: impl Into<String>) -> Finding {
        Finding { subject, verdict: Verdict::Fine, what: what.into(), mend: String::new() }
    }

    fn doubtful(subject: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { subject, verdict: Verdict::Doubtful, what: what.into(), mend: mend.into() }
    }

    fn wrong(subject: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { subject, verdict: Verdict::Wrong, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "fine",
            Verdict::Doubtful => "doubtful",
            Verdict::Wrong => "WRONG",
        };
        writeln!(out, "{verdict:8}  {:13}  {}", self.subject, output::plain(&self.what))?;
        if self.mend.is_empty() { Ok(()) } else { writeln!(out, "{:8}  {:13}  To mend it: {}", "", "", self.mend) }
    }
}

/// Prints the reference or the findings; the exit code says whether anything is wrong.
pub(crate) fn run(
    args: &DoctorArgs,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<ExitCode, Failure> {
    if args.reference {
        output::print(&config::reference())?;
        return Ok(ExitCode::SUCCESS);
    }
    let findings = match Settings::load(file, environment) {
        Ok(settings) => examine(&settings)?,
        Err(error) => misconfigured(&error),
    };
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    let report: String = findings.iter().map(Finding::to_string).collect();
    let summary = match wrong {
        0 => "Nothing is wrong.".to_owned(),
        1 => "One thing is wrong.".to_owned(),
        count => format!("{count} things are wrong."),
    };
    output::print(&format!("{report}\n{summary}\n"))?;
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn misconfigured(error: &ConfigError) -> Vec<Finding> {
    let mend = "change it there; `deputy doctor --reference` lists every key with what is allowed";
    error.to_string().lines().map(|problem| Finding::wrong("configuration", problem, mend)).collect()
}

#[expect(clippy::disallowed_methods, reason = "there is no World yet, and the machine's clock is what is examined")]
fn examine(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![Finding::fine("configuration", "every key is known and every value allowed")];
    findings.push(network::issuer(settings));
    findings.extend(network::proxies(settings));
    findings.push(network::port(settings)?);
    findings.push(stored::data_folder(&settings.data_dir));
    findings.push(wait_for(stored::database(settings))?);
    match settings.log {
        LogAddress::Embedded => findings.extend(stored::log(settings)),
        LogAddress::Kafka { .. } => findings.extend(wait_for(stored::brokers(settings))?),
    }
    findings.extend(wait_for(stored::log_read(settings))?);
    findings.push(stored::master_key(settings));
    findings.extend(stored::operator_token(settings));
    let now = SystemTime::now();
    findings.extend(dedup::window(settings, shown(now)));
    findings.extend(dedup::index(settings));
    findings.push(clock(settings, now));
    Ok(findings)
}

/// How far files may be ahead of the clock, by the rounding of a file system.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// When this release was in the making; a clock before it is wrong.
const RELEASED: Timestamp = Timestamp::from_seconds(1_767_225_600);

fn clock(settings: &Settings, now: SystemTime) -> Finding {
    let shown = shown(now);
    let mend = "set the clock, and keep it right with NTP: every token's lifetime depends on it";
    if shown < RELEASED {
        return Finding::wrong("clock", format!("it says {}, before this release was made", shown.to_rfc3339()), mend);
    }
    let entries = fs::read_dir(&settings.data_dir).into_iter().flatten().flatten();
    let newest: Option<(SystemTime, PathBuf)> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).max();
    match newest {
        Some((written, path)) if written > now + CLOCK_SLACK => {
            Finding::wrong("clock", format!("it says {}, but {} was written later", shown.to_rfc3339(), path.display()), mend)
        }
        _ => Finding::fine("clock", shown.to_rfc3339()),
    }
}

fn shown(now: SystemTime) -> Timestamp {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn settings(text: &str, folder: &Path) -> Settings {
        Settings::parse("test", &format!("data_dir = {:?}\n{text}", folder.display().to_string())).expect("a right configuration")
    }

    pub(super) fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_clock_behind_its_own_files_is_wrong() {
        let folder = folder();
        let settings = settings("", folder.path());
        assert_eq!(clock(&settings, SystemTime::UNIX_EPOCH).verdict, Verdict::Wrong);
        let released = SystemTime::UNIX_EPOCH + Duration::from_millis(RELEASED.0.unsigned_abs());
        assert_eq!(clock(&settings, released).verdict, Verdict::Fine);
        let file = fs::File::create(folder.path().join("deputy.db")).expect("the folder is ours");
        file.set_modified(released + Duration::from_secs(3600)).expect("the file is ours");
        assert!(clock(&settings, released).what.contains("was written later"));
    }

    #[test]
    fn each_problem_of_a_configuration_is_a_finding() {
        let error = Settings::parse("deputy.toml", "isuer = 1\nlisten = 2").expect_err("both are wrong");
        let findings = misconfigured(&error);
        assert!(findings.len() == 2 && findings.iter().all(|finding| finding.verdict == Verdict::Wrong), "{findings:?}");
    }
}
