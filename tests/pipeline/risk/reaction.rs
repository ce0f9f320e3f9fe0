//! From a signal to a refused token: by the stages' own clock; and over HTTP with every stage running by itself, as it is outside of tests.

use std::time::{Duration, Instant};

use deputy::server::stages::STAGES;
use serde_json::json;
use tokio::time::timeout;

use super::set_rule;
use crate::support::each_engine;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every stage's rest is a multiple of this.
const TICK: Duration = Duration::from_millis(10);
/// The stage that programs of customers may keep busy, for as long as they like.
const BUSY: &str = "dedup of received";
/// A signal has to have its effect within a second; what the machine takes for the work itself needs its part of that.
const RESTS_MAX: Duration = Duration::from_millis(300);

#[tokio::test]
async fn between_a_signal_and_a_refused_token_stages_rest_far_less_than_a_second_whatever_customers_do() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        set_rule(&deputy, json!({"require_approval_at": 50})).await;
        let (agent, ada) = (deputy.agent().await, deputy.person("ada@example.com").await);
        let kept = agent.authorize(&ada, "notes:read").await;
        let first = agent.authorize(&ada, "notes:read").await;
        agent.refresh(first.refresh_token()).await.ok();
        deputy.settle().await;
        deputy.later(61);
        agent.refresh(first.refresh_token()).await.refused(400, "invalid_grant");

        assert!(STAGES.iter().any(|stage| stage.name == BUSY), "it has a stage of its own");
        let mut rested = Duration::ZERO;
        while deputy.is_active(&resource, &kept.access_token).await {
            rested += TICK;
            assert!(rested <= RESTS_MAX, "the token is good after {RESTS_MAX:?}");
            let is_due = |rest: Duration| rested.as_millis().is_multiple_of(rest.as_millis());
            for stage in STAGES.iter().filter(|stage| stage.name != BUSY && is_due(stage.rest)) {
                (stage.step)(deputy.world(), deputy.world().now()).await.expect("nothing fails");
            }
        }
        assert!(rested > Duration::ZERO, "the signal itself does nothing");
    })
    .await;
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "how long it takes is a figure to read, and no bound to fail by: other tests run beside it"
)]
async fn a_signal_ends_in_a_refused_token() {
    each_engine(async |mut deputy| {
        deputy.restart_with_stages().await;
        let resource = deputy.resource().await;
        set_rule(&deputy, json!({"require_approval_at": 50})).await;
        let (agent, ada) = (deputy.agent().await, deputy.person("ada@example.com").await);
        let kept = agent.authorize(&ada, "notes:read").await;
        let first = agent.authorize(&ada, "notes:read").await;
        agent.refresh(first.refresh_token()).await.ok();
        assert!(deputy.is_active(&resource, &kept.access_token).await);
        deputy.later(61);

        agent.refresh(first.refresh_token()).await.refused(400, "invalid_grant");
        let signalled = Instant::now();
        let refused = async { while deputy.is_active(&resource, &kept.access_token).await {} };
        timeout(PATIENCE, refused).await.expect("the token is refused at last");
        let engine = if deputy.world().storage.is_exclusive() { "SQLite" } else { "PostgreSQL" };
        println!("from a signal to a refused token on {engine}: {} ms", signalled.elapsed().as_millis());
        agent.refresh(kept.refresh_token()).await.refused(400, "invalid_grant");
    })
    .await;
}
