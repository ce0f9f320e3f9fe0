//! A server whose log is on Apache Kafka: nothing above the log can tell the difference.

use serde_json::json;

use crate::support::{Installation, kafka};

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
