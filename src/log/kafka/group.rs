//! Which partitions are this node's: membership in a consumer group that reads nothing.
//! [KIP-429](https://cwiki.apache.org/confluence/display/KAFKA/KIP-429%3A+Kafka+Consumer+Incremental+Rebalance+Protocol)

use super::super::LogError;
use super::cluster::Cluster;
use super::{aside, unavailable};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the group waits for a member that is silent before it gives its partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a membership looks whether it should end.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Groups {
    cluster: Arc<Cluster>,
    joined: Mutex<HashMap<(String, String), Arc<Membership>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A place in a consumer's group.
pub(super) struct Membership {
    pub consumer: BaseConsumer<Assignment>,
}

/// A partition that a group has assigned.
pub(super) struct Share {
    pub group: Arc<Membership>,
    /// Another at every assignment: what happened between two of them is not known here.
    pub turn: u64,
}

/// What the group has assigned, each with its turn.
#[derive(Default)]
pub(super) struct Assignment(Mutex<Turns>);

#[derive(Default)]
struct Turns {
    last: u64,
    assigned: BTreeMap<u16, u64>,
}

impl Groups {
    pub(super) fn new(cluster: Arc<Cluster>) -> Groups {
        Groups { cluster, joined: Mutex::default(), threads: Mutex::default() }
    }

    /// The membership of the consumer for this topic, which may not have been assigned anything yet.
    pub(super) async fn join(self: &Arc<Self>, consumer: &str, topic: &str) -> Result<Arc<Membership>, LogError> {
        let key = (consumer.to_owned(), topic.to_owned());
        if let Some(joined) = self.joined.lock().expect("no holder of this lock panics").get(&key) {
            return Ok(joined.clone());
        }
        let groups = self.clone();
        aside(move || groups.enter(key)).await
    }

    fn enter(&self, key: (String, String)) -> Result<Arc<Membership>, LogError> {
        let mut joined = self.joined.lock().expect("no holder of this lock panics");
        self.cluster.check_open()?;
        if let Some(already) = joined.get(&key) {
            return Ok(already.clone());
        }
        let (consumer, topic) = &key;
        let membership = Arc::new(Membership::new(&self.cluster, consumer, topic)?);
        let (cluster, polled) = (self.cluster.clone(), membership.clone());
        let thread = std::thread::Builder::new().name("log-group".to_owned()).spawn(move || {
            while !cluster.is_closed.load(Ordering::SeqCst) {
                // Rebalances happen in here; records never come, for all partitions are paused.
                if let Some(Err(error)) = polled.consumer.poll(LOOK_INTERVAL) {
                    tracing::debug!(%error, "a consumer group has trouble");
                }
            }
            polled.consumer.unsubscribe();
        })?;
        self.threads.lock().expect("no holder of this lock panics").push(thread);
        joined.insert(key, membership.clone());
        Ok(membership)
    }

    /// Leaves every group.
    pub(super) fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder of this lock panics"));
        for thread in threads {
            // One that has panicked is out of its group soon.
            let _ = thread.join();
        }
        self.joined.lock().expect("no holder of this lock panics").clear();
    }
}

impl Membership {
    fn new(cluster: &Cluster, consumer: &str, topic: &str) -> Result<Membership, LogError> {
        let consumer: BaseConsumer<Assignment> = cluster
            .client()
            .set("group.id", cluster.name(&format!("{consumer}.{topic}")))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .set("auto.offset.reset", "latest")
            .create_with_context(Assignment::default())
            .map_err(unavailable)?;
        consumer.subscribe(&[&cluster.name(topic)]).map_err(unavailable)?;
        Ok(Membership { consumer })
    }

    /// The partitions that are ours as of now.
    pub(super) fn assigned(&self) -> Vec<(u16, u64)> {
        if self.consumer.assignment_lost() {
            return Vec::new();
        }
        let turns = self.consumer.context().0.lock().expect("no holder of this lock panics");
        turns.assigned.iter().map(|(partition, turn)| (*partition, *turn)).collect()
    }
}

impl ClientContext for Assignment {}

impl ConsumerContext for Assignment {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Assignment>, rebalance: &Rebalance<'_>) {
        let assigned = &mut self.0.lock().expect("no holder of this lock panics").assigned;
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(partitions) => {
                for partition in numbers(partitions) {
                    assigned.remove(&partition);
                }
            }
            Rebalance::Error(_) => assigned.clear(),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Assignment>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(partitions) = rebalance else { return };
        if let Err(error) = consumer.pause(partitions) {
            tracing::debug!(%error, "a partition that nobody reads here is fetched");
        }
        let mut turns = self.0.lock().expect("no holder of this lock panics");
        turns.last += 1;
        let turn = turns.last;
        turns.assigned.extend(numbers(partitions).into_iter().map(|partition| (partition, turn)));
    }
}

fn numbers(partitions: &rdkafka::TopicPartitionList) -> Vec<u16> {
    partitions.elements().iter().filter_map(|element| u16::try_from(element.partition()).ok()).collect()
}
