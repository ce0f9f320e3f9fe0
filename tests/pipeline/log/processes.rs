//! Processes that are killed or stopped in the middle: this test binary runs itself again as the victim.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// Tells the victim where its log is.
const VARIABLE: &str = "DEPUTY_TEST_LOG";
const VICTIM: &str = "pipeline::log::processes::killed_between_any_two_writes_it_loses_and_doubles_nothing";
const RECORDS: u64 = 400;
const KILLS: usize = 12;

/// A process that copies `TOPIC` to `OUT`, a few records in each commit, and says so after each.
struct Copier {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Copier {
    fn start(place: &Place) -> Copier {
        let place = match place {
            Place::Folder(folder) => format!("folder {}", folder.display()),
            Place::Topics { brokers, prefix } => format!("topics {brokers} {prefix}"),
        };
        let mut process = Command::new(std::env::current_exe().expect("the test binary is a file"))
            .args([VICTIM, "--exact", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, place)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Copier { process, output }
    }

    /// Waits for so many commits; says how it ended, if it has.
    fn wait(&mut self, commits: usize) -> Option<String> {
        let mut left = commits;
        let mut line = String::new();
        while left > 0 {
            line.clear();
            if self.output.read_line(&mut line).expect("it writes text") == 0 {
                return Some("silent".to_owned());
            }
            match line.trim_end() {
                "committed" => left -= 1,
                ended @ ("done" | "fenced") => return Some(ended.to_owned()),
                _ => {}
            }
        }
        None
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    fn end(mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().expect("it was ours");
    }
}

/// What the victim does.
async fn copy(place: &str) {
    let words: Vec<&str> = place.split(' ').collect();
    let place = match words[..] {
        ["folder", folder] => Place::Folder(folder.into()),
        ["topics", brokers, prefix] => Place::Topics { brokers: brokers.to_owned(), prefix: prefix.to_owned() },
        _ => panic!("no place: {place}"),
    };
    let log = place.open().await;
    let say = |word: &str| writeln!(std::io::stdout(), "{word}").expect("somebody listens");
    let claim = log.claim("copier", "facts/0").await.expect("claimed");
    let mut next = log.cursor("copier", "facts/0").await.expect("the log answers").unwrap_or(0);
    loop {
        let batch = log.read(TOPIC, 0, next, 25).await.expect("read");
        if batch.entries.is_empty() {
            return say("done");
        }
        let outputs = batch.entries.iter().map(|entry| record(&text(entry))).collect();
        match log.commit(OUT, outputs, claim.at(batch.next)).await {
            Ok(_) => say("committed"),
            Err(LogError::Fenced) => return say("fenced"),
            Err(error) => panic!("{error}"),
        }
        next = batch.next;
    }
}

async fn fill(place: &Place) {
    let log = place.open().await;
    for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
        log.append(TOPIC, numbers.iter().map(|number| record(&format!("{number:05}"))).collect()).await.expect("appended");
    }
    log.close().await.expect("closed");
}

fn expected() -> Vec<String> {
    (0..RECORDS).map(|number| format!("{number:05}")).collect()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how the victim is told that it is one")]
async fn killed_between_any_two_writes_it_loses_and_doubles_nothing() {
    if let Ok(place) = std::env::var(VARIABLE) {
        return copy(&place).await;
    }
    each_log(async |place| {
        fill(place).await;
        for kill in 0..KILLS {
            let mut copier = Copier::start(place);
            // Killed while the commit after these is somewhere on its way.
            copier.wait(kill % 4);
            copier.end();
        }
        let mut last = Copier::start(place);
        assert_eq!(last.wait(usize::MAX), Some("done".to_owned()));
        last.end();
        let log = place.open().await;
        assert_eq!(texts(&*log, OUT).await, expected());
        log.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn one_that_slept_through_its_succession_does_no_harm_when_it_wakes() {
    let place = Place::topics();
    fill(&place).await;
    let mut sleeper = Copier::start(&place);
    assert_eq!(sleeper.wait(5), None);
    sleeper.signal("-STOP");

    let log = place.open().await;
    let claim = log.claim("copier", "facts/0").await.expect("claimed");
    let mut next = log.cursor("copier", "facts/0").await.expect("the log answers").expect("it has committed");
    let batch = log.read(TOPIC, 0, next, 25).await.expect("read");
    let outputs = batch.entries.iter().map(|entry| record(&text(entry))).collect();
    log.commit(OUT, outputs, claim.at(batch.next)).await.expect("committed");
    next = batch.next;

    sleeper.signal("-CONT");
    assert_eq!(sleeper.wait(usize::MAX), Some("fenced".to_owned()));
    sleeper.end();
    let rest = log.read(TOPIC, 0, next, usize::MAX).await.expect("read");
    let outputs = rest.entries.iter().map(|entry| record(&text(entry))).collect();
    log.commit(OUT, outputs, claim.at(rest.next)).await.expect("the successor is not disturbed");
    assert_eq!(texts(&*log, OUT).await, expected());
    log.close().await.expect("closed");
}
