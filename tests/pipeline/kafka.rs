//! A server whose log is on Apache Kafka: nothing above the log can tell the difference.

use std::{collections::BTreeMap, process::Command};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::kills::{PATIENCE, published_on_kafka};
use crate::support::{
    Answer, Installation, kafka,
    serving::{Running, free_address, http, serve},
};

/// The lines that put an installation's log there, under names of its own.
pub fn on_kafka() -> String {
    format!("log = \"kafka://{}/{}\"\nlog_partitions = 2", kafka::brokers(), kafka::prefix())
}

#[tokio::test]
async fn facts_are_on_record_once_across_restart_and_crash() {
    for mut deputy in [Installation::start_with(&on_kafka()).await, Installation::start_on_postgres(&on_kafka()).await] {
        deputy.resource().await;
        for expected in 1..=3 {
            let service = deputy.service("notes:read").await;
            service.client_credentials(&[]).await.ok();
            assert_eq!(deputy.facts_of("token.issued.v1").await.len(), expected);
            match expected {
                1 => deputy.restart().await,
                // Without a word to the others, who wait for its lease to run out.
                _ => {
                    deputy.crash().await;
                    deputy.later(16);
                }
            }
            assert_eq!(deputy.facts_of("token.issued.v1").await.len(), expected, "after it came back");
        }
        assert_eq!(deputy.world().log.partitions(deputy::world::FACTS).await, Ok(2));
        let facts = deputy.facts().await;
        let ids: std::collections::BTreeSet<String> = facts.iter().map(|fact| fact["id"].to_string()).collect();
        assert_eq!(ids.len(), facts.len(), "no fact is there twice");
    }
}

#[tokio::test]
async fn operators_read_the_facts() {
    let deputy = Installation::start_with(&on_kafka()).await;
    deputy.resource().await;
    let count = deputy.facts().await.len();
    let mut read = 0;
    for partition in 0..2 {
        let mut from = 0;
        loop {
            let page =
                deputy.operate("GET", &format!("/events?partition={partition}&from={from}&limit=1"), json!(null)).await.ok().json();
            let (next, end) = (page["next"].as_u64().expect("a number"), page["end"].as_u64().expect("a number"));
            read += page["items"].as_array().expect("a list").len();
            if next >= end {
                break;
            }
            assert!(next > from);
            from = next;
        }
    }
    assert_eq!(read, count);
}

/// What a producer is told of a batch.
async fn send(running: &Running, write_key: &str, ids: &[String]) -> Answer {
    let tracks: Vec<_> = ids.iter().map(|id| json!({"type": "track", "userId": "u", "event": "E", "messageId": id})).collect();
    let body = json!({"writeKey": write_key, "batch": tracks}).to_string();
    Answer::of(http().post(format!("{}/v1/batch", running.issuer)).body(body)).await
}

#[tokio::test]
async fn while_the_broker_is_away_producers_come_again_and_each_event_counts_once() {
    let (mut broker, prefix) = (kafka::Broker::start(), kafka::prefix());
    let (folder, address) = (TempDir::new().expect("a folder"), free_address());
    let data = folder.path().join("data");
    let mut command = serve(&data, address);
    // What librdkafka says of a broker that is away is much, and nobody reads it here.
    command.env("DEPUTY_LOG", format!("kafka://{}/{prefix}", broker.address())).env("DEPUTY_LOG_LEVEL", "deputy=info");
    let running = Running::of(command, address);
    let source = running.operate(&data, "/sources", json!({"name": "Shop"})).await;
    let write_key = source["write_key"].as_str().expect("it is told once");
    let batches: Vec<Vec<String>> = (0..6).map(|batch| (0..10).map(|event| format!("m{batch}-{event}")).collect()).collect();
    let (early, late) = batches.split_at(3);
    for ids in early {
        send(&running, write_key, ids).await.ok();
    }

    broker.stop();
    for answer in join_all(late.iter().map(|ids| send(&running, write_key, ids))).await {
        assert_eq!((answer.status, &answer.json()["success"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)), "{answer:?}");
        let wait_s = answer.header("retry-after").and_then(|text| text.parse().ok());
        assert!(wait_s.is_some_and(|wait_s: u32| (60..=300).contains(&wait_s)), "{answer:?}");
    }

    broker.start_again();
    let taking = async {
        for ids in late {
            loop {
                let answer = send(&running, write_key, ids).await;
                if answer.status == StatusCode::OK {
                    break;
                }
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            }
        }
    };
    timeout(PATIENCE, taking).await.expect("it takes events again");
    let once: BTreeMap<String, usize> = batches.iter().flatten().map(|id| (id.clone(), 1)).collect();
    assert_eq!(published_on_kafka(broker.address(), &prefix, once.len()).await, once);
    // A stop lets every stage come to rest.
    running.stop();
    assert_eq!(published_on_kafka(broker.address(), &prefix, once.len()).await, once);
}

#[test]
fn doctor_says_where_one_broker_alone_has_the_events() {
    let folder = TempDir::new().expect("a folder");
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_deputy"));
    doctor.arg("doctor").env_clear().current_dir(folder.path()).env("DEPUTY_LISTEN", free_address().to_string());
    let prefix = kafka::prefix();
    let output = doctor.env("DEPUTY_LOG", format!("kafka://{}/{prefix}", kafka::brokers())).output().expect("the binary runs");
    let said = String::from_utf8(output.stdout).expect("it writes text");
    assert!(said.contains(&format!("fine      log            kafka://{}/{prefix} answers", kafka::brokers())), "{said}");
    let doubt = said.lines().find(|line| line.starts_with("doubtful  log ")).unwrap_or_else(|| panic!("no doubt: {said}"));
    for topic in ["cursors", "events", "facts", "received"] {
        assert!(doubt.contains(&format!("{prefix}.{topic} (replicas 1, min.insync.replicas 1)")), "{said}");
    }
    assert!(said.contains("min.insync.replicas=2 (kafka-configs.sh)"), "{said}");
}
