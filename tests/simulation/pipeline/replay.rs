//! The same events once more: whatever befell the consumers, their effect is that of an undisturbed run over the same log.

use deputy::{
    server::stages::STAGES,
    storage::StorageError,
    world::{Progress, World},
};

use crate::{
    simulation::{
        course::Simulation,
        model::{Checked, ensure},
    },
    support::state,
};

/// The consumers whose effect follows from the events alone.
const CONSUMERS: [&str; 3] = ["profiles", "risk", "who"];
/// Where their effects and their cursors are.
const FORGET: [&str; 12] = [
    "DELETE FROM consumers",
    "DELETE FROM profiles",
    "DELETE FROM external_ids",
    "DELETE FROM identity_edges",
    "DELETE FROM profile_states",
    "DELETE FROM profile_events",
    "DELETE FROM profile_links",
    "DELETE FROM profile_audiences",
    "DELETE FROM risk_states",
    "DELETE FROM risk_people",
    "DELETE FROM actors",
    "DELETE FROM actor_paces",
];
/// Steps that a simulation's events could need at most.
const STEPS_MAX: usize = 1000;

impl Simulation {
    /// Reads everything again, and compares. The installation is good for nothing else afterwards: facts are told again.
    pub async fn check_replay(&mut self) -> Checked {
        let lines = state::of_events(&self.machine.world().storage).await;
        let forget = self.machine.world().storage.write(|tx| {
            Box::pin(async move {
                for sql in FORGET {
                    tx.exec(sql, &[]).await?;
                }
                Ok::<_, StorageError>(())
            })
        });
        forget.await.map_err(|error| error.to_string())?;
        // What is known in memory is gone too.
        self.machine.restart().await;
        run(self.machine.world()).await?;
        let again = state::of_events(&self.machine.world().storage).await;
        let (lost, added) = (lines.difference(&again).next(), again.difference(&lines).next());
        ensure(lines == again, || format!("read again, the events come to something else: {lost:?} was there, {added:?} is now"))
    }
}

async fn run(world: &World) -> Checked {
    for stage in STAGES.iter().filter(|stage| CONSUMERS.contains(&stage.name)) {
        let mut steps = 0;
        while (stage.step)(world, world.now()).await.map_err(|error| error.to_string())? != Progress::Idle {
            steps += 1;
            ensure(steps < STEPS_MAX, || format!("the stage {} never rests", stage.name))?;
        }
    }
    Ok(())
}
