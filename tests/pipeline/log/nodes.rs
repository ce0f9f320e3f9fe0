//! What only a log has that nodes share.

use std::{collections::BTreeSet, time::Duration};

use super::*;
use deputy::log::{Claim, Replication};

/// How long a group may take to come to rest: its own timeouts, several times.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again until the shares are as expected.
async fn shares(nodes: &[&Arc<dyn Log>], is_expected: impl Fn(&[Vec<Claim>]) -> bool) -> Vec<Vec<Claim>> {
    let resting = async {
        loop {
            let mut shares = Vec::new();
            for node in nodes {
                shares.push(node.claims("profiles", WIDE).await.expect("claimed"));
            }
            if is_expected(&shares) {
                return shares;
            }
            // A look at the brokers takes its time; there is nothing better to wait for.
            nodes[0].bounds(WIDE, 0).await.expect("the brokers answer");
        }
    };
    tokio::time::timeout(PATIENCE, resting).await.expect("the group comes to rest")
}

#[tokio::test]
async fn nodes_share_partitions_and_what_one_keeps_goes_on() {
    let place = Place::topics();
    let (first, second) = (place.open().await, place.open().await);
    let all = usize::from(WIDE_PARTITIONS);
    let alone = shares(&[&first], |shares| shares[0].len() == all).await.remove(0);
    for claim in &alone {
        first.commit(OUT, vec![record(&claim.input)], claim.at(1)).await.expect("committed");
    }

    let both = shares(&[&first, &second], |shares| shares.iter().all(|share| share.len() == all / 2)).await;
    let inputs: BTreeSet<_> = both.iter().flatten().map(|claim| claim.input.clone()).collect();
    assert_eq!(inputs.len(), all, "none is left out, and none is with both");
    assert!(both[0].iter().all(|claim| alone.contains(claim)), "what stayed was not interrupted");
    for claim in both.iter().flatten() {
        let node = if both[0].contains(claim) { &first } else { &second };
        assert_eq!(node.cursor(&claim.consumer, &claim.input).await, Ok(Some(1)), "each goes on where the other was");
        node.commit(OUT, vec![record(&claim.input)], claim.at(2)).await.expect("committed");
    }
    for claim in alone.iter().filter(|claim| !both[0].contains(claim)) {
        assert_eq!(first.commit(OUT, vec![record("late")], claim.at(9)).await, Err(LogError::Fenced), "{}", claim.input);
    }

    second.close().await.expect("closed");
    let again = shares(&[&first], |shares| shares[0].len() == all).await.remove(0);
    assert!(again.iter().filter(|claim| alone.contains(claim)).count() <= all / 2, "what was away comes back under another claim");
    for claim in &again {
        assert_eq!(first.cursor(&claim.consumer, &claim.input).await, Ok(Some(2)));
    }
    assert_eq!(texts(&*first, OUT).await.len(), 2 * all);
    first.close().await.expect("closed");
}

#[tokio::test]
async fn of_two_owners_the_later_one_counts() {
    let place = Place::topics();
    let (first, second) = (place.open().await, place.open().await);
    let old = first.claim("dedup", "facts/0").await.expect("claimed");
    first.commit(OUT, vec![record("first")], old.at(1)).await.expect("committed");
    let new = second.claim("dedup", "facts/0").await.expect("claimed");
    assert_eq!(second.cursor("dedup", "facts/0").await, Ok(Some(1)));
    assert_eq!(first.commit(OUT, vec![record("late")], old.at(2)).await, Err(LogError::Fenced));
    second.commit(OUT, vec![record("second")], new.at(2)).await.expect("committed");
    assert_eq!(first.commit(OUT, vec![record("later")], old.at(3)).await, Err(LogError::Fenced));

    // It finds out where the other has come to, and goes on from there.
    let back = first.claim("dedup", "facts/0").await.expect("claimed");
    assert_eq!(first.cursor("dedup", "facts/0").await, Ok(Some(2)));
    first.commit(OUT, vec![record("third")], back.at(3)).await.expect("committed");
    assert_eq!(texts(&*second, OUT).await, ["first", "second", "third"]);
    first.close().await.expect("closed");
    second.close().await.expect("closed");
}

#[tokio::test]
async fn a_topic_is_kept_as_the_latest_start_says() {
    let (brokers, prefix) = (broker::brokers(), broker::prefix());
    let open = async |age: Option<Duration>, bytes_max: Option<u64>| {
        let topic = TopicSettings { partitions: 2, retention: Retention { age, bytes_max } };
        let topics = HashMap::from([(TOPIC.to_owned(), topic)]);
        let settings = kafka::Settings { brokers: brokers.clone(), prefix: prefix.clone(), topics, queue_bytes_max: 1 << 20 };
        Kafka::open(settings).await.expect("the log opens").close().await.expect("closed");
    };
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("a client");
    let name = format!("{prefix}.{TOPIC}");
    let kept = async || {
        let topic = [&ResourceSpecifier::Topic(&name)];
        let told = admin.describe_configs(topic, &AdminOptions::new()).await.expect("the brokers answer").remove(0);
        let told = told.expect("there is such a topic");
        let value = |key: &str| told.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
        ["retention.ms", "retention.bytes", "max.message.bytes"].map(value)
    };
    open(Some(Duration::from_secs(86_400)), None).await;
    let [age, bytes, message] = kept().await;
    assert_eq!((&*age, &*bytes), ("86400000", "-1"));
    open(None, Some(2_000_000)).await;
    assert_eq!(kept().await, ["-1".to_owned(), "1000000".to_owned(), message], "and all else is as it was");
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let folder = TempDir::new().expect("a folder");
    let place = Place::Folder(folder.path().join("log"));
    let log = place.open().await;
    assert!(matches!(place.try_open().await.err(), Some(LogError::Locked { .. })));
    log.close().await.expect("closed");
    place.open().await.close().await.expect("closed");
}

#[tokio::test]
async fn without_a_broker_it_does_not_open_and_says_so_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let probe = async |brokers: String, prefix: &str| {
        let topics = HashMap::from([(TOPIC.to_owned(), TopicSettings::default())]);
        Kafka::probe(kafka::Settings { brokers, prefix: prefix.to_owned(), topics, queue_bytes_max: 1 << 20 }).await
    };
    assert!(matches!(probe(free.to_string(), "none").await, Err(LogError::Unavailable(_))));
    let place = Place::topics();
    let Place::Topics { brokers, prefix } = &place else { unreachable!("it is on Kafka") };
    let told = |topic: &str| Replication { topic: format!("{prefix}.{topic}"), replicas: 1, in_sync_min: 1 };
    let expected = Ok(["cursors", TOPIC].map(told).to_vec());
    assert_eq!(probe(brokers.clone(), prefix).await, expected, "as it would be made");
    place.open().await.close().await.expect("closed");
    assert_eq!(probe(brokers.clone(), prefix).await, expected, "as it was made");
}
