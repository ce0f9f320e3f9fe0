//! The background stages: what there is to do besides answering, each a step that one loop repeats.
//!
//! They run on threads of their own, of a lower priority than those that answer: where the processors do not suffice for both, whoever
//! asks waits less, and the stages get on more slowly but never stand still. What a stage does in one go, which may be milliseconds,
//! holds up no request.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinHandle,
};

use super::Stopping;
use crate::{
    domain::time::Timestamp,
    events::{consumers::unless_paused, dedup, ingest::warehouse, profiles, relay, risk, who},
    protocol::administration::upkeep,
    world::{FACTS, Progress, RECEIVED, StageError, World},
};

/// How long a stage rests at most when its trouble lasts: it goes on so soon after the trouble is over.
const TROUBLE_REST_MAX: Duration = Duration::from_secs(2);
/// How much the stages' threads stand back, in the kernel's measure of niceness: beside one thread that answers without a pause, one of
/// theirs still gets a quarter of a processor.
const NICENESS: i32 = 5;

/// A background stage: what it is called, its step, how long it rests when there is nothing to do, and what a stop means to it.
pub struct Stage {
    pub name: &'static str,
    pub step: for<'w> fn(&'w World, Timestamp) -> BoxFuture<'w, Result<Progress, StageError>>,
    pub rest: Duration,
    pub at_stop: AtStop,
}

/// What a stage does when the server is told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AtStop {
    /// Goes on after the last request until there is nothing left to do.
    Finishes,
    /// Ends with the step that it is in: the next start finds the rest where it is.
    Leaves,
}

/// All stages. Tests and the simulator step them by hand.
pub const STAGES: &[Stage] = &[
    Stage {
        name: "relay",
        step: |world, now| Box::pin(relay::step(world, now)),
        rest: Duration::from_millis(50),
        at_stop: AtStop::Finishes,
    },
    Stage {
        name: "warehouses",
        step: |world, now| Box::pin(warehouse::step(world, now)),
        rest: Duration::from_secs(1),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "dedup of facts",
        step: |world, now| Box::pin(unless_paused(world, dedup::CONSUMER, dedup::step(world, FACTS, now))),
        rest: Duration::from_millis(20),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "dedup of received",
        step: |world, now| Box::pin(unless_paused(world, dedup::CONSUMER, dedup::step(world, RECEIVED, now))),
        rest: Duration::from_millis(20),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "profiles",
        step: |world, now| Box::pin(unless_paused(world, profiles::CONSUMER, profiles::step(world, now))),
        rest: Duration::from_millis(20),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "risk",
        step: |world, now| Box::pin(unless_paused(world, risk::CONSUMER, risk::step(world, now))),
        rest: Duration::from_millis(20),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "who",
        step: |world, now| Box::pin(unless_paused(world, who::CONSUMER, who::step(world, now))),
        rest: Duration::from_millis(20),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "forgetting",
        step: |world, now| Box::pin(profiles::forgetting::step(world, now)),
        rest: Duration::from_millis(200),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "predictions",
        step: |world, now| Box::pin(profiles::predictions::step(world, now)),
        rest: Duration::from_secs(1),
        at_stop: AtStop::Leaves,
    },
    Stage {
        name: "upkeep",
        step: |world, now| Box::pin(upkeep::step(world, now)),
        rest: Duration::from_secs(30),
        at_stop: AtStop::Leaves,
    },
];

/// The stages that run, and their threads.
pub(super) struct Stages {
    tasks: Vec<JoinHandle<()>>,
    /// None where there are no stages. It lives as long as the server: what they opened, such as connections to the database, others
    /// use too, also after the last stage has ended.
    runtime: Option<Runtime>,
}

impl Stages {
    /// Runs these stages until the server stops.
    pub(super) fn start(
        stages: &'static [Stage],
        world: &Arc<World>,
        stopped: &watch::Receiver<Stopping>,
    ) -> Result<Stages, io::Error> {
        if stages.is_empty() {
            return Ok(Stages { tasks: Vec::new(), runtime: None });
        }
        let runtime = Builder::new_multi_thread().thread_name("stages").on_thread_start(stand_back).enable_all().build()?;
        let run = |stage| runtime.spawn(run_stage(stage, Arc::clone(world), stopped.clone()));
        Ok(Stages { tasks: stages.iter().map(run).collect(), runtime: Some(runtime) })
    }

    /// What ends when the stages have ended.
    pub(super) fn tasks(&mut self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.tasks)
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for nothing: whoever drops a server may be a task, and must not block.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of the thread that calls. One that keeps its priority works as well, only less considerately.
fn stand_back() {
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

async fn run_stage(stage: &'static Stage, world: Arc<World>, mut stop: watch::Receiver<Stopping>) {
    let last = match stage.at_stop {
        AtStop::Finishes => Stopping::Answered,
        AtStop::Leaves => Stopping::Begun,
    };
    let mut trouble = Trouble::default();
    loop {
        // Looked at before the step: whoever finishes takes one more look at what there is to do.
        let is_time = *stop.borrow() >= last;
        if is_time && stage.at_stop == AtStop::Leaves {
            return;
        }
        let (progress, rest) = match (stage.step)(&world, world.now()).await {
            Ok(progress) => {
                trouble = Trouble::default();
                (progress, stage.rest)
            }
            Err(error) => (Progress::Idle, trouble.met(stage, &error)),
        };
        if progress == Progress::Advanced {
            continue;
        }
        if is_time {
            return;
        }
        tokio::select! {
            _ = tokio::time::sleep(rest) => {}
            _ = stop.wait_for(|stopping| *stopping >= last) => {}
        }
    }
}

/// Trouble of a stage that lasts: it is said once, and tried again more seldom the longer it lasts.
#[derive(Default)]
struct Trouble {
    said: String,
    rest: Duration,
}

impl Trouble {
    /// One more failed step; how long to rest after it.
    fn met(&mut self, stage: &Stage, error: &StageError) -> Duration {
        let what = error.to_string();
        if what != self.said {
            tracing::warn!(stage = stage.name, error = what, "a background stage stands still and will try again");
            self.said = what;
        }
        self.rest = (self.rest * 2).clamp(stage.rest, TROUBLE_REST_MAX.max(stage.rest));
        self.rest
    }
}
