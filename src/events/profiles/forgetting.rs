//! What profiles forget when the log does: which events were theirs, where retention has deleted those, and what was to be left out
//! there.
//!
//! A background stage. It walks over all profiles when the log's beginning has moved, a share at a time, and rests in between: nobody's
//! write waits long. When the beginning moves during a walk, the walk goes on, and another one follows it. Walking once more does no
//! harm, so a node remembers only in memory how far it is.

use crate::{
    domain::{identity::graph::ProfileId, time::Timestamp},
    events::topic,
    storage::{
        StorageError, interventions,
        profile_states::{self, EventPlace},
    },
    world::{Progress, StageError, World, profiles::Forgetting},
};

/// Profiles that are looked at in one transaction.
const PROFILES_MAX: i64 = 200;
/// Events that one transaction forgets, and of one profile at a time.
const EVENTS_MAX: u64 = 2_000;
const EVENTS_OF_PROFILE_MAX: i64 = 500;

/// Looks at the next share of profiles. Always rests afterwards.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let Some(events) = topic::events(world, now).await? else { return Ok(Progress::Idle) };
    let mut starts = Vec::new();
    for partition in 0..events.partitions().await? {
        let (start, _) = events.bounds(partition).await?;
        starts.push(EventPlace { offset: start, partition });
    }
    let mut walk = world.forgetting.lock().await;
    if walk.is_done && walk.starts != starts {
        // What a walk met later than its first profile, the next one meets first.
        let is_done = starts.iter().all(|start| start.offset == 0);
        *walk = Forgetting { starts: starts.clone(), after: None, is_done };
    }
    if walk.is_done {
        return Ok(Progress::Idle);
    }
    let after = walk.after;
    // Nothing that came in before is still to be published: the log had to keep it for as long.
    let ended_before = Timestamp(now.0.saturating_sub(1000 * i64::from(world.settings.events_retention_s)));
    // All profiles were looked at with these, at least.
    let first = walk.starts.iter().map(|start| start.offset).min().unwrap_or(0);
    let forget = world.storage.write(move |tx| {
        Box::pin(async move {
            let profiles = profile_states::profiles_after(tx, after, PROFILES_MAX).await?;
            let (mut last, mut forgotten) = (after, 0);
            for profile in &profiles {
                for start in &starts {
                    loop {
                        let some = profile_states::forget_events(tx, *profile, *start, EVENTS_OF_PROFILE_MAX).await?;
                        forgotten += some;
                        if forgotten >= EVENTS_MAX {
                            // The same profile once more: it may have others.
                            return Ok((last, false));
                        }
                        if some == 0 {
                            break;
                        }
                    }
                }
                last = Some(*profile);
            }
            if profiles.is_empty() {
                interventions::forget_spans(tx, first, ended_before).await?;
            }
            Ok::<(Option<ProfileId>, bool), StorageError>((last, profiles.is_empty()))
        })
    });
    (walk.after, walk.is_done) = forget.await?;
    Ok(Progress::Idle)
}
