//! Whether what is kept can be read and written, by us and by nobody else.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use deputy::config::{self, DatabaseAddress, Settings};
use deputy::log::{LogError, Replication, disk::RealDisk, embedded::reader::Reader};
use deputy::storage::{Database, MIGRATIONS, Storage, StorageError, event_logs};
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
/// asked: there is no such database yet.
pub(super) async fn log_read(settings: &Settings) -> Result<Option<Finding>, Failure> {
    let database = Database::of(settings);
    if !matches!(Storage::lacks(&database, MIGRATIONS).await, Ok(0)) {
        return Ok(None);
    }
    let place = Storage::look(&database, |tx| Box::pin(async move { event_logs::place(tx).await })).await;
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

/// Kafka's brokers, and how many of them have an event before it is answered.
pub(super) async fn brokers(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let kept = match probe_log(settings).await {
        Ok(kept) => kept,
        Err(error) => {
            let what = format!("{} cannot be used: {error}", settings.log);
            return Ok(vec![Finding::wrong("log", what, "check that Kafka's brokers run there, and the hosts and ports in log")]);
        }
    };
    let answers = Finding::fine("log", format!("{} answers", settings.log));
    Ok([answers].into_iter().chain(replicas(&kept)).collect())
}

/// Brokers answer when a record is in their memory.
fn replicas(kept: &[Replication]) -> Option<Finding> {
    let weak: Vec<String> = kept
        .iter()
        .filter(|topic| topic.replicas < 2 || topic.in_sync_min < 2)
        .map(|Replication { topic, replicas, in_sync_min }| {
            format!("{topic} (replicas {replicas}, min.insync.replicas {in_sync_min})")
        })
        .collect();
    (!weak.is_empty()).then(|| {
        Finding::doubtful(
            "log",
            format!(
                "one broker may be the only one that has an event when it is answered, and its loss of power may lose it: {}",
                weak.join(", ")
            ),
            "have three brokers or more with default.replication.factor=3 before the first start, or give each topic three replicas \
             (kafka-reassign-partitions.sh) and min.insync.replicas=2 (kafka-configs.sh)",
        )
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
    use std::{collections::HashMap, net::TcpListener};

    use deputy::domain::time::Timestamp;

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
    fn two_brokers_should_have_each_event() {
        let topic = |name: &str, replicas, in_sync_min| Replication { topic: name.to_owned(), replicas, in_sync_min };
        assert_eq!(replicas(&[topic("a", 3, 2), topic("b", 2, 2)]), None);
        let finding = replicas(&[topic("a", 3, 1), topic("b", 3, 2), topic("c", 1, 1)]).expect("two are weak");
        let weak = "its loss of power may lose it: a (replicas 3, min.insync.replicas 1), c (replicas 1, min.insync.replicas 1)";
        assert!(finding.verdict == Verdict::Doubtful && finding.what.ends_with(weak), "{finding}");
    }

    /// The files of a folder, and what is in them.
    fn files(folder: &Path) -> HashMap<std::path::PathBuf, Vec<u8>> {
        let entries = fs::read_dir(folder).expect("the folder is ours").map(|entry| entry.expect("it is listed").path());
        entries.map(|path| (path.clone(), fs::read(path).expect("it is a file"))).collect()
    }

    #[test]
    fn another_log_than_the_one_that_was_read_is_doubtful() {
        let folder = folder();
        let settings = settings("", folder.path());
        let examined = || {
            let finding = wait_for(log_read(&settings)).expect("it is examined").map(|finding| finding.verdict);
            assert_eq!(wait_for(database(&settings)).expect("it is examined").verdict, Verdict::Fine);
            finding
        };
        assert_eq!(examined(), None);
        for (log, place, verdict) in
            [(1, log_place(&settings), None), (2, "kafka://broker:9092/deputy".to_owned(), Some(Verdict::Doubtful))]
        {
            let offered = event_logs::Offered { log, ends: [].into(), place, is_restored: false };
            let adopt = async {
                let storage = Storage::open(&Database::of(&settings), MIGRATIONS).await.expect("a file of its own");
                let adopt = storage.write(move |tx| Box::pin(async move { event_logs::adopt(tx, &offered, Timestamp(1)).await }));
                let adopted: Result<_, StorageError> = adopt.await;
                Ok((adopted, storage))
            };
            let (adopted, storage) = wait_for(adopt).expect("it runs");
            adopted.expect("it is adopted");
            assert_eq!(examined(), verdict, "beside whoever has it open");
            wait_for(async {
                storage.close().await;
                Ok(())
            })
            .expect("it runs");
            let before = files(folder.path());
            assert_eq!(examined(), verdict);
            assert!(files(folder.path()) == before, "nothing was written");
        }
    }

    #[test]
    fn brokers_must_answer() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let settings = settings(&format!("log = \"kafka://{free}\""), folder().path());
        let findings = wait_for(brokers(&settings)).expect("it is examined");
        let what = format!("kafka://{free}/deputy cannot be used");
        assert!(matches!(&findings[..], [one] if one.verdict == Verdict::Wrong && one.what.starts_with(&what)), "{findings:?}");
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
