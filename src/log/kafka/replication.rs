//! How many brokers have a record before its append is answered: what topics get when they are made, and what they have.
//!
//! Brokers answer when a record is in their memory. So it is durable when several have it, which lose their power one at a time.

use super::super::{LogError, Replication};
use super::cluster::{ANSWER_TIMEOUT, Cluster};
use super::{aside, unavailable};
use rdkafka::admin::{AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use std::sync::Arc;

/// From so many replicas on, one broker may be away although two have to have each record.
const REPLICAS_ENOUGH: u16 = 3;
/// How many have to have a record.
const IN_SYNC_MIN: u16 = 2;

/// As brokers call the two numbers.
pub(super) const IN_SYNC: &str = "min.insync.replicas";
const REPLICAS_OF_NEW: &str = "default.replication.factor";

/// How many replicas something has, and how many of them must have a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replicas {
    pub count: u16,
    pub in_sync_min: u16,
}

impl Replicas {
    /// What a new topic asks for where the brokers would give it this; none if that is well, or cannot be bettered.
    pub(super) fn bettered(self) -> Option<Replicas> {
        let is_better = self.count >= REPLICAS_ENOUGH && self.in_sync_min < IN_SYNC_MIN;
        is_better.then_some(Replicas { in_sync_min: IN_SYNC_MIN, ..self })
    }
}

impl Cluster {
    /// What the brokers give a topic that asks for nothing.
    pub(super) async fn replicas_of_new(self: &Arc<Self>) -> Result<Replicas, LogError> {
        let known = self.replicas_of_new.get_or_try_init(|| async {
            let cluster = self.clone();
            let broker = aside(move || {
                let metadata = cluster.committed.client().fetch_metadata(None, ANSWER_TIMEOUT / 2).map_err(unavailable)?;
                metadata.brokers().first().map(|broker| broker.id()).ok_or_else(|| unavailable("no broker is known"))
            });
            let broker = [ResourceSpecifier::Broker(broker.await?)];
            let told = self.admin.describe_configs(&broker, &options()).await.map_err(unavailable)?;
            let told = told.into_iter().next().ok_or_else(|| unavailable("a broker does not tell how it is set"))?;
            let told = told.map_err(unavailable)?;
            Ok(Replicas { count: number(&told, REPLICAS_OF_NEW)?, in_sync_min: number(&told, IN_SYNC)? })
        });
        known.await.copied()
    }

    /// How each of the log's topics is kept; one that is not made yet, as it will be.
    pub(super) async fn replication(self: &Arc<Self>, topics: Vec<String>) -> Result<Vec<Replication>, LogError> {
        let given = self.replicas_of_new().await?;
        let cluster = self.clone();
        let found = aside(move || {
            let metadata = cluster.committed.client().fetch_metadata(None, ANSWER_TIMEOUT / 2).map_err(unavailable)?;
            let count = |name: &str| {
                let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
                topic.partitions().iter().map(|partition| partition.replicas().len()).min()
            };
            let counted = topics.iter().map(|topic| cluster.name(topic)).map(|name| (count(&name), name));
            Ok(counted.collect::<Vec<_>>())
        });
        let found = found.await?;
        let made: Vec<_> =
            found.iter().filter(|(count, _)| count.is_some()).map(|(_, name)| ResourceSpecifier::Topic(name)).collect();
        let told = match made.is_empty() {
            true => Vec::new(),
            false => self.admin.describe_configs(&made, &options()).await.map_err(unavailable)?,
        };
        let of = |name: &str| told.iter().flatten().find(|told| told.specifier == OwnedResourceSpecifier::Topic(name.to_owned()));
        let kept = found.iter().map(|(count, name)| {
            let replicas = match (count, of(name)) {
                (Some(count), Some(told)) => {
                    Replicas { count: u16::try_from(*count).unwrap_or(u16::MAX), in_sync_min: number(told, IN_SYNC)? }
                }
                _ => given.bettered().unwrap_or(given),
            };
            Ok(Replication { topic: name.clone(), replicas: replicas.count, in_sync_min: replicas.in_sync_min })
        });
        kept.collect()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT))
}

fn number(told: &ConfigResource, name: &'static str) -> Result<u16, LogError> {
    let value = told.get(name).and_then(|entry| entry.value.as_deref());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| unavailable(format!("the brokers do not tell {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_three_replicas_two_have_to_have_a_record() {
        let table =
            [((1, 1), None), ((2, 1), None), ((3, 1), Some((3, 2))), ((5, 1), Some((5, 2))), ((3, 2), None), ((5, 3), None)];
        for ((count, in_sync_min), expected) in table {
            let bettered = Replicas { count, in_sync_min }.bettered();
            assert_eq!(bettered.map(|asked| (asked.count, asked.in_sync_min)), expected, "{count} replicas");
        }
    }
}
