//! `deputy doctor`: what is wrong with a configuration and its surroundings, and how to mend it.
//!
//! It changes nothing: what a first start would make is only found possible.

use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use deputy::config::{self, ConfigError, DatabaseAddress, LogAddress, Settings};
use deputy::domain::time::Timestamp;
use deputy::log::{LogError, disk::RealDisk, embedded::reader::Reader};
use deputy::storage::{Database, MIGRATIONS, Storage, StorageError};
use deputy::world::open::{log_path, probe_log};
use serde_json::Value;

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
    findings.push(issuer(settings));
    findings.extend(proxies(settings));
    findings.push(port(settings)?);
    findings.push(data_folder(&settings.data_dir));
    findings.push(wait_for(database(settings))?);
    match settings.log {
        LogAddress::Embedded => findings.extend(log(settings)),
        LogAddress::Kafka { .. } => findings.push(wait_for(brokers(settings))?),
    }
    findings.push(master_key(settings));
    findings.extend(operator_token(settings));
    findings.push(clock(settings, SystemTime::now()));
    Ok(findings)
}

fn issuer(settings: &Settings) -> Finding {
    let (issuer, listen) = (&settings.issuer, settings.listen);
    match (issuer.is_loopback(), listen.ip().is_loopback()) {
        (true, false) => Finding::wrong(
            "issuer",
            format!("others can connect to {listen}, but the issuer {issuer} leads each of them to their own machine"),
            "set issuer to the https address that clients use, or listen on 127.0.0.1",
        ),
        (true, true) if issuer.url().scheme() == "http" && issuer.url().port_or_known_default() != Some(listen.port()) => {
            Finding::wrong(
                "issuer",
                format!("clients will go to {issuer}, but the server listens at {listen}"),
                "give issuer and listen the same port",
            )
        }
        (false, _) if issuer.url().scheme() == "https" => {
            Finding::fine("issuer", format!("{issuer}, which a proxy must serve from {listen}"))
        }
        _ => Finding::fine("issuer", issuer.to_string()),
    }
}

fn proxies(settings: &Settings) -> Option<Finding> {
    let is_public = !settings.issuer.is_loopback();
    (is_public && settings.trusted_proxies.is_empty()).then(|| {
        Finding::doubtful(
            "proxies",
            "every request will seem to come from the proxy, and limits for one address will be limits for all",
            "name the proxy's address in trusted_proxies",
        )
    })
}

fn port(settings: &Settings) -> Result<Finding, Failure> {
    let listen = settings.listen;
    let Err(error) = TcpListener::bind(listen) else { return Ok(Finding::fine("port", format!("{listen} is free"))) };
    Ok(match error.kind() {
        ErrorKind::AddrInUse if wait_for(is_served(settings))? => {
            Finding::fine("port", format!("this server is running at {listen}"))
        }
        ErrorKind::AddrInUse => {
            Finding::wrong("port", format!("another program uses {listen}"), "stop it, or set listen to another port")
        }
        ErrorKind::AddrNotAvailable => Finding::wrong(
            "port",
            format!("this machine has no address {}", listen.ip()),
            "set listen to an address of this machine",
        ),
        ErrorKind::PermissionDenied => {
            Finding::wrong("port", format!("this user may not listen on port {}", listen.port()), "set listen to a port above 1023")
        }
        _ => Finding::wrong("port", format!("{listen} cannot be listened on: {error}"), "set listen to another address"),
    })
}

/// Whether the program at our port is a server with our issuer.
async fn is_served(settings: &Settings) -> Result<bool, Failure> {
    const ANSWER_MAX: Duration = Duration::from_secs(3);
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none()).build();
    let client = client.map_err(|error| Failure::because("cannot make requests", &error))?;
    let metadata =
        format!("http://{}/.well-known/oauth-authorization-server{}", reachable(settings.listen), settings.issuer.path());
    let answer = async { client.get(metadata).send().await?.json::<Value>().await };
    Ok(answer.await.is_ok_and(|metadata| metadata["issuer"] == settings.issuer.as_str()))
}

/// The address by which this machine reaches a listener, which may listen on all of its addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

fn data_folder(folder: &Path) -> Finding {
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            Finding::wrong("data folder", format!("{shown} is not a folder"), "set data_dir to a folder")
        }
        Ok(_) => match tempfile_in(folder) {
            Ok(()) => Finding::fine("data folder", format!("{shown} can be written")),
            Err(error) => Finding::wrong(
                "data folder",
                format!("{shown} cannot be written: {error}"),
                format!("give it to the user who runs the server, such as `chown deputy {shown}`"),
            ),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = folder.ancestors().skip(1).find(|above| above.as_os_str().is_empty() || above.exists());
            let parent = parent.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match tempfile_in(parent) {
                Ok(()) => Finding::fine("data folder", format!("{shown} will be made at the first start")),
                Err(error) => Finding::wrong(
                    "data folder",
                    format!("{shown} does not exist and cannot be made: {error}"),
                    "make it and give it to the user who runs the server, or set data_dir to another folder",
                ),
            }
        }
        Err(error) => {
            Finding::wrong("data folder", format!("{shown} cannot be reached: {error}"), "set data_dir to another folder")
        }
    }
}

/// Writes and removes a file, as the only sure sign that files can be written.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".deputy-doctor-{}", std::process::id()));
    fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

async fn database(settings: &Settings) -> Result<Finding, Failure> {
    let shown = match settings.database {
        DatabaseAddress::Sqlite => settings.sqlite_path().display().to_string(),
        DatabaseAddress::Postgres(_) => settings.database.to_string(),
    };
    Ok(match Storage::lacks(&Database::of(settings), MIGRATIONS).await {
        Ok(0) => Finding::fine("database", format!("{shown} has the schema of this version")),
        Ok(count) if count == MIGRATIONS.len() => {
            Finding::fine("database", format!("{shown} is empty; the first start makes its tables"))
        }
        Ok(count) => Finding::fine("database", format!("{shown} lacks {count} migrations, which the next start applies")),
        Err(StorageError::NewerSchema { found, known }) => Finding::wrong(
            "database",
            format!("{shown} has schema {found}, and this version knows schemas up to {known}"),
            "start the newer version again, or restore a copy from before its first start",
        ),
        Err(error @ StorageError::EditedMigration { .. }) => Finding::wrong(
            "database",
            error.to_string(),
            "start the version that this database was made with, or a later release of it",
        ),
        Err(error) => Finding::wrong(
            "database",
            format!("{shown} cannot be used: {error}"),
            match settings.database {
                DatabaseAddress::Sqlite => "give the file to the user who runs the server, or restore it from a copy",
                DatabaseAddress::Postgres(_) => "check that PostgreSQL runs there, and the host, user and password in database",
            },
        ),
    })
}

async fn brokers(settings: &Settings) -> Result<Finding, Failure> {
    Ok(match probe_log(settings).await {
        Ok(()) => Finding::fine("log", format!("{} answers", settings.log)),
        Err(error) => Finding::wrong(
            "log",
            format!("{} cannot be used: {error}", settings.log),
            "check that Kafka's brokers run there, and the hosts and ports in log",
        ),
    })
}

/// The log, if a server has run here.
fn log(settings: &Settings) -> Option<Finding> {
    let path = log_path(settings);
    path.is_dir().then(|| match Reader::open(Arc::new(RealDisk::at(&path))) {
        Ok(_) => Finding::fine("log", format!("the facts in {} can be read", path.display())),
        Err(error @ LogError::Newer { .. }) => {
            Finding::wrong("log", error.to_string(), "start the newer version again, or restore a copy from before its first start")
        }
        Err(error @ LogError::Damaged { .. }) => Finding::wrong("log", error.to_string(), "restore the folder from a copy"),
        Err(error) => Finding::wrong(
            "log",
            format!("{} cannot be read: {error}", path.display()),
            "run this as the user who runs the server, and give that user the folder",
        ),
    })
}

fn master_key(settings: &Settings) -> Finding {
    if settings.master_key.is_some() {
        return Finding::fine("master key", "taken from DEPUTY_MASTER_KEY");
    }
    let path = settings.master_key_path();
    let shown = path.display();
    match fs::metadata(&path) {
        Ok(found) if is_open(&found) => left_open("master key", &path, &found),
        Ok(_) => match fs::read_to_string(&path) {
            Ok(text) if config::master_key(&text).is_ok() => {
                Finding::fine("master key", format!("{shown} holds one, readable by its owner only"))
            }
            Ok(_) => Finding::wrong(
                "master key",
                format!("{shown} does not hold base64url of 32 bytes"),
                "restore it from a copy; without it the signing keys cannot be read",
            ),
            Err(error) => Finding::wrong(
                "master key",
                format!("{shown} cannot be read: {error}"),
                "run this as the user who runs the server, and give that user the file",
            ),
        },
        // The first start writes the operator's token, so from then on there are keys that only this file opens.
        Err(error) if error.kind() == ErrorKind::NotFound && settings.operator_token_path().exists() => Finding::wrong(
            "master key",
            format!("{shown} is missing, and the signing keys of {} can only be read with it", settings.data_dir.display()),
            "restore it from a copy, or set DEPUTY_MASTER_KEY",
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::fine("master key", format!("{shown} will be made at the first start"))
        }
        Err(error) => {
            Finding::wrong("master key", format!("{shown} cannot be reached: {error}"), "set master_key_file to another file")
        }
    }
}

fn operator_token(settings: &Settings) -> Option<Finding> {
    let path = settings.operator_token_path();
    let found = fs::metadata(&path).ok()?;
    Some(match is_open(&found) {
        true => left_open("operator", &path, &found),
        false => Finding::fine("operator", format!("the token in {} is readable by its owner only", path.display())),
    })
}

/// Whether anybody but the owner may do anything with the file.
fn is_open(found: &Metadata) -> bool {
    found.permissions().mode() & 0o077 != 0
}

fn left_open(subject: &'static str, path: &Path, found: &Metadata) -> Finding {
    let mode = found.permissions().mode() & 0o777;
    let what = format!("others on this machine may open {} (mode {mode:04o})", path.display());
    Finding::wrong(subject, what, format!("chmod 600 {}", path.display()))
}

/// How far files may be ahead of the clock, by the rounding of a file system.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// When this release was in the making; a clock before it is wrong.
const RELEASED: Timestamp = Timestamp::from_seconds(1_767_225_600);

fn clock(settings: &Settings, now: SystemTime) -> Finding {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let shown = Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str, folder: &Path) -> Settings {
        Settings::parse("test", &format!("data_dir = {:?}\n{text}", folder.display().to_string())).expect("a right configuration")
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).expect("the folder is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
    }

    #[test]
    fn the_issuer_must_fit_where_the_server_listens() {
        let folder = folder();
        let table = [
            ("", Verdict::Fine, "http://127.0.0.1:9400"),
            ("listen = \"0.0.0.0:9400\"", Verdict::Wrong, "leads each of them to their own machine"),
            ("listen = \"127.0.0.1:9500\"", Verdict::Wrong, "listens at 127.0.0.1:9500"),
            ("issuer = \"https://id.example\"", Verdict::Fine, "a proxy must serve"),
        ];
        for (text, verdict, what) in table {
            let finding = issuer(&settings(text, folder.path()));
            assert!(finding.verdict == verdict && finding.what.contains(what), "{finding}");
        }
    }

    #[test]
    fn a_public_server_without_a_named_proxy_is_doubtful() {
        let folder = folder();
        let public = "issuer = \"https://id.example\"";
        assert_eq!(proxies(&settings(public, folder.path())).map(|finding| finding.verdict), Some(Verdict::Doubtful));
        assert_eq!(proxies(&settings(&format!("{public}\ntrusted_proxies = [\"10.0.0.1\"]"), folder.path())), None);
    }

    #[test]
    fn a_used_port_is_told() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // It answers as some other program would: not at all like us.
        let address = holder.local_addr().expect("it is bound");
        let answering = std::thread::spawn(move || drop(holder.accept()));
        let finding = port(&settings(&format!("listen = \"{address}\""), folder().path())).expect("it is examined");
        answering.join().expect("it does not panic");
        assert!(finding.verdict == Verdict::Wrong && finding.what == format!("another program uses {address}"), "{finding}");
    }

    #[test]
    fn the_data_folder_must_be_a_folder_that_can_be_made() {
        let folder = folder();
        let file = folder.path().join("file");
        write(&file, "", 0o600);
        assert_eq!(data_folder(folder.path()).verdict, Verdict::Fine);
        assert_eq!(data_folder(&folder.path().join("a/b")).verdict, Verdict::Fine);
        assert_eq!(data_folder(&file).verdict, Verdict::Wrong);
        assert_eq!(data_folder(&file.join("below")).verdict, Verdict::Wrong);
        assert_eq!(fs::read_dir(folder.path()).expect("it is ours").count(), 1, "nothing was left behind");
    }

    #[test]
    fn the_database_must_answer_and_fit() {
        let folder = folder();
        let embedded = settings("", folder.path());
        let examined = |settings: &Settings| wait_for(database(settings)).expect("it is examined");
        assert!(examined(&embedded).what.ends_with("is empty; the first start makes its tables"));
        wait_for(async { Ok(Storage::migrate(&Database::of(&embedded), MIGRATIONS).await) }).expect("it runs").expect("a new file");
        assert!(examined(&embedded).what.ends_with("has the schema of this version"));
        write(&embedded.sqlite_path(), "this is no database, whatever its name says", 0o600);
        assert_eq!(examined(&embedded).verdict, Verdict::Wrong);

        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let away = settings(&format!("database = \"postgres://deputy:hunter2@127.0.0.1:{port}/deputy\""), folder.path());
        let finding = examined(&away);
        assert!(
            finding.verdict == Verdict::Wrong && finding.what.starts_with(&format!("postgres://127.0.0.1:{port}/deputy cannot")),
            "{finding}"
        );
        assert!(!finding.to_string().contains("hunter2"), "{finding}");
    }

    #[test]
    fn the_log_must_be_of_a_version_that_is_known() {
        let folder = folder();
        let settings = settings("", folder.path());
        assert_eq!(log(&settings), None);
        fs::create_dir(log_path(&settings)).expect("the folder is ours");
        assert_eq!(log(&settings).map(|finding| finding.verdict), Some(Verdict::Fine));
        let segment = [b"DLG\xff".as_slice(), &[0; 4096]].concat();
        fs::write(log_path(&settings).join("facts.00000001.segment"), segment).expect("the folder is ours");
        let finding = log(&settings).expect("there is a log");
        assert!(finding.verdict == Verdict::Wrong && finding.what.contains("written by a newer release"), "{finding}");
    }

    #[test]
    fn the_master_key_must_be_whole_and_private() {
        let folder = folder();
        let settings = settings("", folder.path());
        let path = settings.master_key_path();
        assert_eq!(master_key(&settings).what, format!("{} will be made at the first start", path.display()));
        write(&settings.operator_token_path(), "token", 0o600);
        assert!(master_key(&settings).what.contains("can only be read with it"));
        write(&path, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n", 0o640);
        assert!(master_key(&settings).what.ends_with("(mode 0640)"));
        write(&path, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n", 0o600);
        assert_eq!(master_key(&settings).verdict, Verdict::Fine);
        write(&path, "half", 0o600);
        assert!(master_key(&settings).what.contains("does not hold"));
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
