//! Dedup as a stage of nodes on Apache Kafka: killed where it writes, put to sleep in the middle, and two of them side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deputy::{
    log::Cursor,
    storage::{StorageError, consumers},
};
use futures_util::future::join_all;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    kafka::on_kafka,
    kills::{On, PATIENCE, send},
    space::Space,
};
use crate::support::{
    Installation, kafka as broker, migrated_database,
    serving::{Running, free_address, signal},
};

/// What the brokers show of dedup's work.
struct Sight {
    committed: BaseConsumer,
    written: BaseConsumer,
    prefix: String,
}

/// Where the stage stands when it is killed.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// Something has come in: it is read, and looked up in the index.
    Received,
    /// Outputs are written, and their transaction is not committed.
    Written,
    /// It is committed, and the index is told.
    Committed,
}

impl Sight {
    fn of(prefix: &str) -> Sight {
        let asking = |isolation| {
            let mut client = ClientConfig::new();
            client.set("bootstrap.servers", broker::brokers()).set("isolation.level", isolation);
            client.create().expect("a client")
        };
        Sight { committed: asking("read_committed"), written: asking("read_uncommitted"), prefix: prefix.to_owned() }
    }

    fn end(&self, asking: &BaseConsumer, topic: &str) -> i64 {
        let name = format!("{}.{topic}", self.prefix);
        asking.fetch_watermarks(&name, 0, PATIENCE).expect("the brokers answer").1
    }

    /// Looks until the stage is there, from now on.
    async fn wait_for(self: &Arc<Sight>, aim: Aim) {
        let sight = Arc::clone(self);
        let looking = tokio::task::spawn_blocking(move || {
            let (received, committed) = (sight.end(&sight.committed, "received"), sight.end(&sight.committed, "events"));
            let is_there = || match aim {
                Aim::Received => sight.end(&sight.committed, "received") > received,
                // Asked in this order, a commit in between cannot look like one that is open.
                Aim::Written => sight.end(&sight.written, "events") > sight.end(&sight.committed, "events"),
                Aim::Committed => sight.end(&sight.committed, "events") > committed,
            };
            (0..1_000_000).any(|_| is_there())
        });
        assert!(timeout(PATIENCE, looking).await.expect("it comes in time").expect("it ends"), "{aim:?} never was");
    }
}

fn ids(of: &str, count: usize) -> Vec<Vec<String>> {
    (0..count).map(|batch| (0..25).map(|event| format!("{of}-{batch}-{event}")).collect()).collect()
}

fn once(ids: &BTreeSet<String>) -> BTreeMap<String, usize> {
    ids.iter().map(|id| (id.clone(), 1)).collect()
}

#[tokio::test]
async fn killed_where_it_writes_dedup_loses_and_doubles_nothing() {
    let (folder, address, prefix) = (TempDir::new().expect("a folder"), free_address(), broker::prefix());
    let (data, on) = (folder.path().join("data"), On::Kafka { prefix: prefix.clone() });
    let mut running = on.start(&data, address);
    let sight = Arc::new(Sight::of(&prefix));
    let source = running.operate(&data, "/sources", json!({"name": "Shop"})).await;
    let write_key = source["write_key"].as_str().expect("it is told once").to_owned();
    let (mut sent, mut again) = (BTreeSet::new(), Vec::new());
    for (life, aim) in [Aim::Received, Aim::Written, Aim::Committed, Aim::Written].into_iter().enumerate() {
        // It has its share of the work, and publishes.
        let first = ids(&format!("first-{life}"), 1).remove(0);
        sent.extend(first.iter().cloned());
        let (is_sent, ()) = tokio::join!(send(&running, &write_key, &first), sight.wait_for(Aim::Committed));
        assert!(is_sent, "nothing is in the way yet");
        let batches = ids(&life.to_string(), 400);
        let pid = running.child.id();
        let sending = async {
            for batch in &batches {
                sent.extend(batch.iter().cloned());
                again.push(batch.clone());
                if !send(&running, &write_key, batch).await {
                    break;
                }
            }
        };
        let killing = async {
            sight.wait_for(aim).await;
            signal("-KILL", pid);
        };
        tokio::join!(sending, killing);
        running.kill();
        running = on.start(&data, address);
    }
    for batch in again {
        assert!(send(&running, &write_key, &batch).await, "nothing is in the way any longer");
    }
    assert_eq!(on.published(&data, sent.len()).await, once(&sent));
    running.stop();
    assert_eq!(on.published(&data, sent.len()).await, once(&sent));
}

#[tokio::test]
async fn a_node_that_slept_through_its_succession_publishes_nothing_when_it_wakes() {
    let (folder, prefix, database) = (TempDir::new().expect("a folder"), broker::prefix(), migrated_database().await);
    let (on, sight) = (On::Kafka { prefix: prefix.clone() }, Arc::new(Sight::of(&prefix)));
    let (place, place_of_other) = (folder.path().join("one"), folder.path().join("other"));
    let (address, address_of_other) = (free_address(), free_address());
    let start = |data, at| {
        let mut command = on.serve(data, at);
        command.env("DEPUTY_ISSUER", format!("http://{address}")).env("DEPUTY_DATABASE", database.url());
        command.env("DEPUTY_MASTER_KEY", URL_SAFE_NO_PAD.encode([7; 32])).env("DEPUTY_LOG_PARTITIONS", "2");
        Running::of(command, at)
    };
    let sleeper = start(&place, address);
    let source = sleeper.operate(&place, "/sources", json!({"name": "Shop"})).await;
    let write_key = source["write_key"].as_str().expect("it is told once").to_owned();
    let all = |running| {
        let (running, write_key): (&Running, &str) = (running, &write_key);
        async move |batches: &[Vec<String>]| {
            join_all(batches.iter().map(|batch| send(running, write_key, batch))).await.into_iter().all(|is_taken| is_taken)
        }
    };
    // It had all of the work, and keeps a part of it when the other comes.
    let (first, second, third, fourth) = (ids("first", 4), ids("second", 40), ids("third", 40), ids("fourth", 4));
    let mut sent: BTreeSet<String> = first.iter().flatten().cloned().collect();
    assert!(all(&sleeper)(&first).await);
    assert_eq!(on.published(&place, sent.len()).await, once(&sent));
    let other = start(&place_of_other, address_of_other);

    sent.extend(second.iter().chain(&third).flatten().cloned());
    let asleep = async {
        sight.wait_for(Aim::Written).await;
        signal("-STOP", sleeper.child.id());
        // What it had taken in and not published, the other publishes, and all that comes now; also what comes again.
        assert!(all(&other)(&second).await && all(&other)(&third).await && all(&other)(&first).await);
        assert_eq!(on.published(&place, sent.len()).await, once(&sent));
        signal("-CONT", sleeper.child.id());
    };
    tokio::join!(all(&sleeper)(&second), asleep);

    sent.extend(fourth.iter().flatten().cloned());
    for node in [&sleeper, &other] {
        assert!(all(node)(&third).await && all(node)(&fourth).await, "both are awake");
    }
    assert_eq!(on.published(&place, sent.len()).await, once(&sent));
    sleeper.stop();
    other.stop();
    assert_eq!(on.published(&place, sent.len()).await, once(&sent));
}

const PEOPLE: usize = 12;

/// What these people do, and all that they did before under another name: in batches, each to be sent to any node.
fn calls() -> Vec<Value> {
    let at = |person: usize, place: usize| format!("2027-01-14T{person:02}:{place:02}:00.000Z");
    let person = |n: usize| {
        let visit = |place: usize, who: (&str, String)| json!({"type": "track", who.0: who.1, "event": "Visit", "messageId": format!("visit-{n}-{place}"), "timestamp": at(n, place)});
        let anonymous = (0..5).map(move |place| visit(place, ("anonymousId", format!("device {n}"))));
        let known = (10..20).map(move |place| visit(place, ("userId", format!("user-{n}"))));
        let identify = json!({"type": "identify", "anonymousId": format!("device {n}"), "userId": format!("user-{n}"),
            "messageId": format!("identify-{n}"), "timestamp": at(n, 9), "traits": {"number": n}});
        anonymous.chain([identify]).chain(known).collect::<Vec<_>>()
    };
    let all: Vec<Value> = (0..PEOPLE).flat_map(person).collect();
    // Nobody's calls come together.
    (0..15).map(|share| all.iter().skip(share).step_by(15).cloned().collect()).collect()
}

/// Waits until everything is published and part of profiles. Asking the Profile API over and over would use up what may be asked.
async fn done(deputy: &Installation) {
    let working = async {
        loop {
            let is_received = |event: &&Value| event["type"] == "event.received.v1";
            let published = deputy.topic("events").await.iter().filter(is_received).count();
            let (world, input) = (deputy.world(), Cursor::input("events", 0));
            let (_, end) = world.log.bounds("events", 0).await.expect("the log answers");
            let ask = world.storage.read(|tx| Box::pin(async move { consumers::next(tx, "profiles", &input).await }));
            let next: Result<u64, StorageError> = ask.await;
            if published == PEOPLE * 16 && next.expect("storage answers") >= end {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, working).await.expect("it is done in time");
}

/// What is told of each of them.
async fn told(space: &Space<'_>) -> Vec<Value> {
    let mut told = Vec::new();
    for n in 0..PEOPLE {
        let who = format!("user_id:user-{n}");
        let (mut ids, mut events) = (space.ids("users", &who).await, space.events("users", &who).await);
        ids.sort();
        events.sort();
        told.push(json!([space.traits("users", &who).await, ids, events]));
    }
    told
}

async fn count_visits(deputy: &Installation) {
    let visits = json!({"key": "visits", "over": {"event": "Visit"}, "function": "count"});
    deputy.operate("POST", "/computed-traits", visits).await.ok();
}

#[tokio::test]
async fn two_nodes_under_load_make_of_the_same_events_what_one_makes() {
    let expected = {
        let alone = Installation::start().await;
        count_visits(&alone).await;
        let space = Space::of(&alone).await;
        for calls in calls() {
            space.send_only(calls).await;
        }
        space.settle().await;
        told(&space).await
    };
    let mut one = Installation::start_on_postgres(&on_kafka()).await;
    count_visits(&one).await;
    let (write_key, token) = {
        let space = Space::of(&one).await;
        (space.write_key, space.token)
    };
    let mut other = one.beside().await;
    one.restart_with_stages().await;
    other.restart_with_stages().await;
    let (here, there) = (Space::known(&one, &write_key, &token), Space::known(&other, &write_key, &token));
    // Everything to both, at the same time.
    let calls = calls();
    join_all(calls.iter().flat_map(|calls| [here.send_only(calls.clone()), there.send_only(calls.clone())])).await;
    done(&one).await;
    let (of_one, of_other) = (told(&here).await, told(&there).await);
    assert_eq!(of_one, expected);
    assert_eq!(of_other, expected);
    let published = one.topic("events").await;
    let ids: Vec<_> =
        published.iter().filter(|event| event["type"] == "event.received.v1").map(|event| &event["data"]["message_id"]).collect();
    assert_eq!((ids.len(), ids.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>().len()), (PEOPLE * 16, PEOPLE * 16));
}
