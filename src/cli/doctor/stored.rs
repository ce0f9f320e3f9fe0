//! Whether what is kept can be read and written, by us and by nobody else.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use deputy::config::{self, DatabaseAddress, LogAddress, Settings};
use deputy::domain::time::Timestamp;
use deputy::log::{LogError, disk::RealDisk, embedded::reader::Reader};
use deputy::storage::{Database, MIGRATIONS, Storage, StorageError, event_logs};
use deputy::world::RECEIVED;
use deputy::world::open::{log_path, log_place, probe_log};

use super::super::Failure;
use super::Finding;

pub(super) fn data_folder(folder: &Path) -> Finding {
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

pub(super) async fn database(settings: &Settings) -> Result<Finding, Failure> {
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

/// Whether the log of the configuration is the one that profiles, risk and who is who have read. Nothing is said where that cannot be
/// asked: there is no such database yet, or a server has it.
pub(super) async fn log_read(settings: &Settings) -> Result<Option<Finding>, Failure> {
    let database = Database::of(settings);
    if !matches!(Storage::lacks(&database, MIGRATIONS).await, Ok(0)) {
        return Ok(None);
    }
    let Ok(storage) = Storage::open(&database, MIGRATIONS).await else { return Ok(None) };
    let place = storage.read(|tx| Box::pin(async move { event_logs::place(tx).await })).await;
    storage.close().await;
    let (Ok::<_, StorageError>(Some(place)), set) = (place, log_place(settings)) else { return Ok(None) };
    if place == set {
        return Ok(None);
    }
    Ok(Some(Finding::doubtful(
        "log",
        format!("profiles, risk and who is who have read {place}, and {set} is set: what stands unread there is not read any more"),
        "start on the former log until `deputy events consumers` shows no lag; where processes share the database, give all one Kafka",
    )))
}

/// Kafka's brokers.
pub(super) async fn brokers(settings: &Settings) -> Result<Finding, Failure> {
    Ok(match probe_log(settings).await {
        Ok(()) => Finding::fine("log", format!("{} answers", settings.log)),
        Err(error) => Finding::wrong(
            "log",
            format!("{} cannot be used: {error}", settings.log),
            "check that Kafka's brokers run there, and the hosts and ports in log",
        ),
    })
}

/// The files of the embedded log, if a server has run here.
pub(super) fn log(settings: &Settings) -> Option<Finding> {
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

/// Whether the log holds what the index of seen ids may have to be made of anew. What brokers hold is not looked at.
pub(super) fn window(settings: &Settings, now: Timestamp) -> Option<Finding> {
    let (kept_s, window_s) = (settings.events_retention_s, settings.dedup_window_s);
    if kept_s < window_s {
        let what = format!("events_retention_s keeps {kept_s} seconds of events, and dedup_window_s is {window_s}");
        return Some(Finding::doubtful("dedup", what, "keep events as long as they are to be recognised"));
    }
    if settings.log != LogAddress::Embedded {
        return None;
    }
    let reader = Reader::open(Arc::new(RealDisk::at(&log_path(settings)))).ok()?;
    let held = (0..reader.partitions(RECEIVED)).filter_map(|partition| {
        let (start, _) = reader.bounds(RECEIVED, partition).ok().filter(|(start, _)| *start > 0)?;
        Some(now.since(reader.read(RECEIVED, partition, start, 1).ok()?.entries.first()?.at))
    });
    let held_s = held.min()?.as_secs();
    (held_s < u64::from(window_s)).then(|| {
        let what = format!("the log's size limit left {held_s} seconds of events, and dedup_window_s is {window_s}");
        Finding::doubtful("dedup", what, "raise events_retention_bytes_max, or lower dedup_window_s")
    })
}

pub(super) fn master_key(settings: &Settings) -> Finding {
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

pub(super) fn operator_token(settings: &Settings) -> Option<Finding> {
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

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::TcpListener, time::Duration};

    use deputy::log::{
        Log as _, Record, Retention, TopicSettings,
        embedded::{self, Embedded},
    };

    use super::super::super::wait_for;
    use super::super::{
        Verdict,
        tests::{folder, settings},
    };
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).expect("the folder is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
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
    fn the_log_should_hold_the_window() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let folder = folder();
        let short = settings("events_retention_s = 86400", folder.path());
        assert_eq!(window(&short, now).map(|finding| finding.verdict), Some(Verdict::Doubtful));
        let settings = settings("dedup_window_s = 3600", folder.path());
        assert_eq!(window(&settings, now), None, "nothing has run here");
        fs::create_dir(log_path(&settings)).expect("the folder is ours");
        let retention = Retention { age: None, bytes_max: Some(20_000) };
        let topics = HashMap::from([(RECEIVED.to_owned(), TopicSettings { partitions: 1, retention })]);
        let kept = embedded::Settings { topics, segment_bytes: 4096, ..embedded::Settings::default() };
        let log = Embedded::open(Arc::new(RealDisk::at(&log_path(&settings))), kept).expect("the log opens");
        wait_for(async {
            for minutes_ago in (0..50).rev() {
                let record = Record::new(b"key", vec![0; 2048], now.minus(Duration::from_secs(60 * minutes_ago)));
                log.append(RECEIVED, vec![record]).await.expect("the disk works");
            }
            assert!(log.retain(now).await.expect("the disk works") > 0);
            log.close().await.expect("the disk works");
            Ok(())
        })
        .expect("it runs");
        let finding = window(&settings, now).expect("most has been deleted");
        assert!(finding.verdict == Verdict::Doubtful && finding.what.contains("size limit left"), "{finding}");
        assert_eq!(window(&settings, now.plus(Duration::from_secs(3600))), None, "what is gone is older than the window");
    }

    #[test]
    fn another_log_than_the_one_that_was_read_is_doubtful() {
        let folder = folder();
        let settings = settings("", folder.path());
        let examined = || wait_for(log_read(&settings)).expect("it is examined").map(|finding| finding.verdict);
        assert_eq!(examined(), None);
        for (log, place, verdict) in
            [(1, log_place(&settings), None), (2, "kafka://broker:9092/deputy".to_owned(), Some(Verdict::Doubtful))]
        {
            let offered = event_logs::Offered { log, ends: [].into(), place, is_restored: false };
            let adopt = async {
                let storage = Storage::open(&Database::of(&settings), MIGRATIONS).await.expect("a file of its own");
                let adopt = storage.write(move |tx| Box::pin(async move { event_logs::adopt(tx, &offered, Timestamp(1)).await }));
                let adopted: Result<_, StorageError> = adopt.await;
                storage.close().await;
                Ok(adopted)
            };
            wait_for(adopt).expect("it runs").expect("it is adopted");
            assert_eq!(examined(), verdict);
        }
    }

    #[test]
    fn brokers_must_answer() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let settings = settings(&format!("log = \"kafka://{free}\""), folder().path());
        let finding = wait_for(brokers(&settings)).expect("it is examined");
        let what = format!("kafka://{free}/deputy cannot be used");
        assert!(finding.verdict == Verdict::Wrong && finding.what.starts_with(&what), "{finding}");
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
}
