//! Dedup: every event once, whatever is sent again, and wherever the power fails.

use std::{collections::BTreeMap, path::Path, sync::Arc, task::Poll, time::Duration};

use deputy::{
    config::Settings,
    domain::{
        event::{Actor, Event, Fact, received_subject},
        id::{Id, SourceKind},
        json::Json,
        time::Timestamp,
    },
    events::dedup,
    log::{Log, Record, disk::simulated::SimulatedDisk},
    outbound::{Outbound, OutboundPolicy},
    sandbox::Sandbox,
    world::{EVENTS, FACTS, Progress, RECEIVED, World, clock::SimulatedClock, entropy::SeededEntropy, open::Outside},
};
use serde_json::{Value, json};

use super::{
    ingest::{key, post},
    kills::PATIENCE,
};
use crate::support::{Answer, Installation, each_engine, kafka};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// Everything that the topic holds, in order.
async fn published(log: &dyn Log) -> Vec<Value> {
    let (mut next, end) = log.bounds(EVENTS, 0).await.expect("it has a partition");
    let mut events = Vec::new();
    while next < end {
        let batch = log.read(EVENTS, 0, next, 1 << 20).await.expect("the log is whole");
        events.extend(batch.entries.iter().map(|entry| serde_json::from_slice(&entry.payload).expect("events are JSON")));
        next = batch.next;
    }
    events
}

/// The names of the customer events that went on, and how often.
fn counted(events: &[Value]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "event.received.v1") {
        *counted.entry(event["data"]["message_id"].as_str().expect("text").to_owned()).or_default() += 1;
    }
    counted
}

fn aside<'e>(events: &'e [Value], reason: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["type"] == "event.kept_aside.v1" && event["data"]["reason"] == reason).collect()
}

async fn send(deputy: &Installation, source: &Value, message_id: &str, sent_at: &str, total: u32) {
    let track = json!({"type": "track", "userId": "u", "event": "Order", "messageId": message_id, "timestamp": "2026-11-23T00:00:00Z",
        "properties": {"total": total}});
    let batch = json!({"writeKey": key(source), "sentAt": sent_at, "batch": [track]});
    Answer::of(post(deputy, "/v1/batch", &batch)).await.ok();
}

#[tokio::test]
async fn an_event_that_is_sent_again_counts_once_within_its_source() {
    each_engine(async |deputy| {
        let (shop, app) = (deputy.source(json!({})).await, deputy.source(json!({})).await);
        send(&deputy, &shop, "m1", "2026-11-23T00:00:01Z", 1).await;
        send(&deputy, &shop, "m1", "2026-11-23T00:00:09Z", 1).await;
        deputy.settle().await;
        send(&deputy, &shop, "m1", "2026-11-23T00:01:00Z", 1).await;
        // Another source may well use the same id: nobody can burn somebody else's.
        send(&deputy, &app, "m1", "2026-11-23T00:00:01Z", 1).await;
        deputy.settle().await;
        let events = published(&*deputy.world().log).await;
        assert_eq!(counted(&events), BTreeMap::from([("m1".to_owned(), 2)]));
        assert!(aside(&events, "conflict").is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_id_that_comes_again_with_another_payload_is_kept_aside() {
    each_engine(async |deputy| {
        let shop = deputy.source(json!({})).await;
        send(&deputy, &shop, "m1", "2026-11-23T00:00:01Z", 1).await;
        send(&deputy, &shop, "m1", "2026-11-23T00:00:01Z", 2).await;
        deputy.settle().await;
        send(&deputy, &shop, "m1", "2026-11-23T00:00:02Z", 3).await;
        send(&deputy, &shop, "m1", "2026-11-23T00:00:03Z", 2).await;
        deputy.settle().await;
        let events = published(&*deputy.world().log).await;
        let kept: Vec<_> = aside(&events, "conflict").into_iter().map(|event| &event["data"]).collect();
        assert_eq!(counted(&events), BTreeMap::from([("m1".to_owned(), 1)]));
        assert_eq!(
            kept.iter().map(|kept| kept["message"]["properties"]["total"].as_u64()).collect::<Vec<_>>(),
            [2, 3, 2].map(Some)
        );
        // Each with what tells it from the first.
        let [first, [two, three, again]] = ["first_print", "print"].map(|print| [0, 1, 2].map(|place| kept[place][print].as_str()));
        assert_eq!(first, [first[0]; 3]);
        assert!(first[0].is_some_and(|print| print.len() == 16) && two.is_some() && two == again, "{kept:?}");
        assert!(two != three && ![two, three].contains(&first[0]), "{kept:?}");
    })
    .await;
}

#[tokio::test]
async fn what_was_seen_is_known_after_a_crash_and_without_the_index() {
    let mut deputy = Installation::start().await;
    let shop = deputy.source(json!({})).await;
    send(&deputy, &shop, "m1", "2026-11-23T00:00:01Z", 1).await;
    deputy.settle().await;
    deputy.crash().await;
    send(&deputy, &shop, "m1", "2026-11-23T00:00:02Z", 1).await;
    send(&deputy, &shop, "m2", "2026-11-23T00:00:02Z", 1).await;
    deputy.settle().await;
    // The index is only a cache: the log makes it anew.
    let world = Arc::clone(deputy.world());
    tokio::task::spawn_blocking(move || world.seen.forget_all()).await.expect("it ends").expect("the folder is there");
    send(&deputy, &shop, "m1", "2026-11-23T00:00:03Z", 1).await;
    send(&deputy, &shop, "m3", "2026-11-23T00:00:03Z", 1).await;
    deputy.settle().await;
    let once = ["m1", "m2", "m3"].map(|id| (id.to_owned(), 1));
    assert_eq!(counted(&published(&*deputy.world().log).await), BTreeMap::from(once));
}

/// A machine that loses its power at any write: its disks forget what was not synced.
struct Machine {
    disk: SimulatedDisk,
    seen_disk: SimulatedDisk,
    settings: Settings,
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(seed: u64) -> Machine {
        Machine::with("", seed)
    }

    /// With these lines of `deputy.toml`.
    fn with(lines: &str, seed: u64) -> Machine {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = configuration(folder.path(), lines);
        Machine { disk: SimulatedDisk::new(seed), seen_disk: SimulatedDisk::new(!seed), settings, folder }
    }

    async fn start(&self) -> Option<Arc<World>> {
        self.disk.restart();
        self.seen_disk.restart();
        let outside = Outside {
            clock: Arc::new(SimulatedClock::at(NOW)),
            entropy: Arc::new(SeededEntropy::new(7)),
            disk: Arc::new(self.disk.clone()),
            seen_disk: Arc::new(self.seen_disk.clone()),
            outbound: Outbound::simulated(OutboundPolicy::PublicOnly).0,
            sandbox: Sandbox::new(env!("CARGO_BIN_EXE_deputy").into()),
        };
        World::open_with(self.settings.clone(), outside).await.ok()
    }

    async fn lose_power(&self, world: Arc<World>) {
        world.storage.crash().await;
        self.disk.power_off();
        self.seen_disk.power_off();
        drop(world);
    }
}

fn configuration(folder: &Path, lines: &str) -> Settings {
    let lines = format!("data_dir = {:?}\n{lines}", folder.display().to_string());
    Settings::parse("the test's configuration", &lines).expect("the configuration is good")
}

fn record(message_id: &str) -> Record {
    record_of(message_id, "", NOW)
}

/// A message that says this, and came then.
fn record_of(message_id: &str, said: &str, at: Timestamp) -> Record {
    let source: Id<SourceKind> = Id::from_bytes([1; 16]);
    let message = json!({"type": "track", "messageId": message_id, "event": said});
    let message = Json::parse(message.to_string()).expect("it is JSON");
    let subject = received_subject(source, message_id);
    let fact = Fact::EventReceived { source, message_id: message_id.to_owned(), message };
    let event = Event { id: Id::from_bytes([2; 16]), at, actor: Actor::Source(source), fact };
    Record::new(subject.as_bytes(), serde_json::to_vec(&event).expect("events serialise"), at)
}

/// Lets dedup work until there is nothing to do; `false` if the power failed meanwhile.
async fn work_off(world: &World) -> bool {
    for _ in 0..100 {
        match dedup::step(world, RECEIVED, NOW).await {
            Ok(Progress::Idle) => return true,
            Ok(Progress::Advanced | Progress::CaughtUp) => {}
            Err(_) => return false,
        }
    }
    panic!("dedup does not come to an end")
}

/// The power fails at the n-th operation of the log's disk, or of the index's, for every n that there is.
#[tokio::test]
async fn wherever_the_power_fails_each_event_is_published_once() {
    for is_index in [false, true] {
        let mut operations = 0;
        loop {
            let machine = Machine::new(operations);
            let world = machine.start().await.expect("it starts");
            let sent = ["a", "b", "a", "c", "b", "d"].map(record).to_vec();
            world.log.append(RECEIVED, sent.clone()).await.expect("the disk works");
            let disk = if is_index { &machine.seen_disk } else { &machine.disk };
            disk.power_off_after(operations);
            let is_done = work_off(&world).await;
            machine.lose_power(world).await;

            // Whoever was not answered sends again; and the same failure may meet the recovery.
            let world = machine.start().await.expect("it starts again");
            world.log.append(RECEIVED, sent.clone()).await.expect("the disk works");
            disk.power_off_after(operations);
            work_off(&world).await;
            machine.lose_power(world).await;
            let world = machine.start().await.expect("it starts once more");
            assert!(work_off(&world).await, "nothing fails any longer");
            let once = ["a", "b", "c", "d"].map(|id| (id.to_owned(), 1));
            assert_eq!(counted(&published(&*world.log).await), BTreeMap::from(once), "operation {operations}, index {is_index}");
            world.close().await;
            assert!(machine.folder.path().exists());
            if is_done {
                break;
            }
            operations += 1;
        }
        assert!(operations > 1, "the power failed at no operation");
    }
}

/// Polls the work so often at most, and drops it where it then is: its outcome, if it came to that.
async fn stopped_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (std::pin::pin!(work), polls);
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Works until all of these are published.
async fn work_until(world: &World, ids: &BTreeMap<String, usize>) {
    let working = async {
        while counted(&published(&*world.log).await).len() < ids.len() {
            dedup::step(world, RECEIVED, NOW).await.expect("nothing fails any longer");
        }
    };
    tokio::time::timeout(PATIENCE, working).await.expect("it comes to an end");
}

/// On Kafka the stage stops wherever it waits: before, between and after probe, commit and telling the index.
#[tokio::test]
async fn wherever_a_worker_on_kafka_stops_each_event_is_published_once() {
    let log = format!("log = \"kafka://{}/{}\"", kafka::brokers(), kafka::prefix());
    let machine = Machine::with(&log, 6);
    let (mut sent, mut polls) = (BTreeMap::new(), 1);
    loop {
        let world = machine.start().await.expect("it starts");
        let new = [format!("new {polls}"), format!("newer {polls}")];
        let records = new.iter().chain(sent.keys()).chain(&new).map(|id| record(id)).collect();
        world.log.append(RECEIVED, records).await.expect("the brokers answer");
        sent.extend(new.iter().map(|id| (id.clone(), 1)));
        let claiming = async {
            while world.log.claims(dedup::CONSUMER, RECEIVED).await.expect("the brokers answer").is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, claiming).await.expect("it gets its share");
        let is_done = stopped_after(polls, dedup::step(&world, RECEIVED, NOW)).await.is_some();
        let is_published = counted(&published(&*world.log).await).contains_key(&new[0]);
        machine.lose_power(world).await;
        if is_done && is_published {
            break;
        }
        polls += 1;
    }
    assert!(polls > 5, "it hardly waited: {polls}");
    let world = machine.start().await.expect("it starts once more");
    work_until(&world, &sent).await;
    world
        .log
        .append(RECEIVED, sent.keys().map(|id| record(id)).chain([record("last")]).collect())
        .await
        .expect("the brokers answer");
    sent.insert("last".to_owned(), 1);
    work_until(&world, &sent).await;
    assert_eq!(counted(&published(&*world.log).await), sent);
    world.close().await;
}

#[tokio::test]
async fn a_damaged_index_is_made_anew_from_the_log() {
    let machine = Machine::new(3);
    let world = machine.start().await.expect("it starts");
    world.log.append(RECEIVED, vec![record("a"), record("b")]).await.expect("the disk works");
    assert!(work_off(&world).await);
    world.close().await;
    drop(world);
    let run = |name: &String| machine.seen_disk.contents(name).is_some_and(|bytes| !bytes.is_empty());
    let names = deputy::log::disk::Disk::list(&machine.seen_disk).expect("the disk works");
    for name in names.iter().filter(|name| run(name)) {
        let mut bytes = machine.seen_disk.contents(name).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        machine.seen_disk.put(name, bytes);
    }
    let world = machine.start().await.expect("it starts");
    world.log.append(RECEIVED, vec![record("a"), record("c")]).await.expect("the disk works");
    // The damage is told once, and then the index is there again.
    while !work_off(&world).await {}
    let once = ["a", "b", "c"].map(|id| (id.to_owned(), 1));
    assert_eq!(counted(&published(&*world.log).await), BTreeMap::from(once));
    world.close().await;
}

/// Lets the index be made anew from the log.
async fn forget(world: &Arc<World>) {
    let world = Arc::clone(world);
    tokio::task::spawn_blocking(move || world.seen.forget_all()).await.expect("it ends").expect("the disk works");
}

#[tokio::test]
async fn while_the_index_is_told_of_one_partition_the_others_go_on() {
    let machine = Machine::with("log_partitions = 2", 4);
    let world = machine.start().await.expect("it starts");
    let ids_of = |partition: u16| (0..).map(|n| format!("m{n}")).filter(move |id| record(id).partition(2) == partition);
    // More than one step reads.
    let much = "x".repeat(64 << 10);
    let many: Vec<String> = ids_of(0).take(100).collect();
    for ids in many.chunks(50) {
        world.log.append(RECEIVED, ids.iter().map(|id| record_of(id, &much, NOW)).collect()).await.expect("the disk works");
    }
    assert!(work_off(&world).await);
    forget(&world).await;
    let (slow, quick) = (ids_of(0).nth(100).expect("they do not end"), ids_of(1).next().expect("they do not end"));
    world.log.append(RECEIVED, vec![record(&slow), record(&quick), record_of(&many[0], &much, NOW)]).await.expect("the disk works");
    dedup::step(&world, RECEIVED, NOW).await.expect("nothing fails");
    let counted_now = counted(&published(&*world.log).await);
    assert_eq!((counted_now.get(&quick), counted_now.get(&slow)), (Some(&1), None));
    assert!(work_off(&world).await);
    let once = many.into_iter().chain([slow, quick]).map(|id| (id, 1));
    assert_eq!(counted(&published(&*world.log).await), once.collect());
    world.close().await;
}

#[tokio::test]
async fn an_index_that_is_made_anew_is_told_of_its_window_only() {
    let machine = Machine::new(5);
    let world = machine.start().await.expect("it starts");
    let days_ago = |days: u64| NOW.minus(Duration::from_hours(24 * days));
    // More than is read at once, and then so many that the latest ones tell what time it is.
    let much = "x".repeat(64 << 10);
    let old: Vec<_> = (0..40).map(|n| record_of(&format!("old{n}"), &much, days_ago(34))).collect();
    let young = (0..2).map(|n| record_of(&format!("young{n}"), "", days_ago(27)));
    let young: Vec<_> = young.chain((0..1_500).map(|n| record(&format!("new{n}")))).collect();
    for sent in [&old, &young] {
        world.log.append(RECEIVED, sent.clone()).await.expect("the disk works");
    }
    assert!(work_off(&world).await);
    forget(&world).await;
    world.log.append(RECEIVED, young).await.expect("the disk works");
    world.log.append(RECEIVED, old[..1].to_vec()).await.expect("the disk works");
    assert!(work_off(&world).await);
    let published = counted(&published(&*world.log).await);
    let twice: Vec<_> = published.iter().filter(|(_, count)| **count != 1).collect();
    assert_eq!((published.len(), twice), (1_542, vec![(&"old0".to_owned(), &2)]));
    world.close().await;
}

/// A fact of ours that names this.
fn fact(number: u8) -> Record {
    let fact = Fact::ConsumerResumed { consumer: format!("fact {number}") };
    let event = Event { id: Id::from_bytes([number; 16]), at: NOW, actor: Actor::Deputy, fact };
    Record::new(b"facts", serde_json::to_vec(&event).expect("events serialise"), NOW)
}

/// What went on, customers' and ours, and how often.
async fn counted_of_both(log: &dyn Log) -> BTreeMap<String, usize> {
    let events = published(log).await;
    let mut counted = counted(&events);
    for event in events.iter().filter(|event| event["type"] == "consumer.resumed.v1") {
        *counted.entry(event["data"]["consumer"].as_str().expect("text").to_owned()).or_default() += 1;
    }
    counted
}

/// Our own facts and customers' events are moved at the same time, while the index that both use is made anew under their hands.
async fn both_stages_publish_everything_once(machine: &Machine) {
    let world = machine.start().await.expect("it starts");
    let (mut messages, mut facts, mut once) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut rounds = 0;
    let working = async {
        while rounds < 25 || counted_of_both(&*world.log).await.len() < once.len() {
            if rounds < 25 {
                messages.push(record(&format!("m{rounds}")));
                facts.push(fact(rounds));
                once.extend([(format!("m{rounds}"), 1), (format!("fact {rounds}"), 1)]);
                rounds += 1;
            }
            // All that was sent before comes once more.
            world.log.append(RECEIVED, messages.clone()).await.expect("it is taken");
            world.log.append(FACTS, facts.clone()).await.expect("it is taken");
            let both = async { tokio::join!(dedup::step(&world, FACTS, NOW), dedup::step(&world, RECEIVED, NOW)) };
            let ((of_facts, of_received), ()) = tokio::join!(both, forget(&world));
            of_facts.expect("nothing fails");
            of_received.expect("nothing fails");
        }
        for topic in [FACTS, RECEIVED] {
            while dedup::step(&world, topic, NOW).await.expect("nothing fails") != Progress::Idle {}
        }
    };
    tokio::time::timeout(PATIENCE, working).await.expect("it comes to an end");
    assert_eq!(counted_of_both(&*world.log).await, once);
    world.close().await;
}

#[tokio::test]
async fn both_stages_publish_everything_once_whenever_the_index_is_made_anew() {
    both_stages_publish_everything_once(&Machine::with("log_partitions = 2", 7)).await;
}

#[tokio::test]
async fn both_stages_publish_everything_once_on_kafka_too() {
    let log = format!("log = \"kafka://{}/{}\"", kafka::brokers(), kafka::prefix());
    both_stages_publish_everything_once(&Machine::with(&log, 8)).await;
}

/// A log restored from an older copy: what the index knows beyond it was never published by this one.
#[tokio::test]
async fn an_index_that_is_ahead_of_the_log_is_made_anew() {
    let deputy = Installation::start().await;
    let shop = deputy.source(json!({})).await;
    send(&deputy, &shop, "m1", "2026-11-23T00:00:01Z", 1).await;
    deputy.settle().await;
    let world = deputy.world();
    let reached = world.seen.reached(1).expect("the index is readable");
    world.seen.add(&[], 1, reached, reached + 5).expect("the index is writable");
    send(&deputy, &shop, "m2", "2026-11-23T00:00:02Z", 1).await;
    send(&deputy, &shop, "m1", "2026-11-23T00:00:03Z", 1).await;
    deputy.settle().await;
    let events = published(&*deputy.world().log).await;
    assert_eq!(counted(&events), BTreeMap::from([("m1".to_owned(), 1), ("m2".to_owned(), 1)]));
    assert_eq!(world.seen.reached(1).expect("the index is readable"), reached + 2, "as far as the log");
}
