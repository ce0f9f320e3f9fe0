//! From a signal to a refused token, with every stage running by itself: over HTTP, as it is outside of tests.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;

use super::set_rule;
use crate::support::each_engine;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

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
