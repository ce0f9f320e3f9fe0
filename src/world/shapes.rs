//! What becomes of each source's events, as the pipeline asks for it at every batch: kept in memory, ready to be applied, and read
//! again some seconds after a change at most. A node that cannot see whether something changed stands still.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::World;
use crate::{
    domain::{
        id::{Id, SourceKind},
        source::Producer,
        time::Timestamp,
        tracking_plan::{CompiledPlan, TrackingPlan},
        transformation::{Purpose, Transformation},
    },
    sandbox::Program,
    storage::{StorageError, shapes, tracking_plans, transformations},
};

/// How old what we know may be before the database is asked whether it changed.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What is applied to the messages of one source, in this order.
#[derive(Debug, Default)]
pub struct Shape {
    pub filter: Option<Program>,
    pub transform: Option<Program>,
    /// Of which kind the source is, if what comes of it is no message yet: of a webhook only a transformation makes one, of a
    /// warehouse its columns do where there is none.
    pub foreign: Option<Producer>,
    /// An error if this version cannot read the plan that an earlier one saved.
    pub plan: Option<Result<Arc<CompiledPlan>, String>>,
}

/// The sources to whose messages anything is applied.
#[derive(Debug, Default)]
pub struct Shapes {
    revision: i64,
    by_source: HashMap<Id<SourceKind>, Shape>,
}

/// What was read last, and when it was last seen to be so.
#[derive(Default)]
pub struct KnownShapes(Mutex<Option<(Timestamp, Arc<Shapes>)>>);

impl Shapes {
    /// Whether there is nothing to be done for any source.
    pub fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    /// What is applied to a source's messages, if anything is.
    pub fn of(&self, source: Id<SourceKind>) -> Option<&Shape> {
        self.by_source.get(&source)
    }

    fn new(
        revision: i64,
        foreign: Vec<(Id<SourceKind>, Producer)>,
        transformations: &[Transformation],
        plans: Vec<TrackingPlan>,
    ) -> Shapes {
        let foreign = foreign.into_iter().map(|(source, kind)| (source, Shape { foreign: Some(kind), ..Shape::default() }));
        let mut by_source: HashMap<_, _> = foreign.collect();
        for transformation in transformations.iter().filter(|transformation| transformation.disabled_at.is_none()) {
            for source in &transformation.sources {
                let shape: &mut Shape = by_source.entry(*source).or_default();
                let place = match transformation.purpose {
                    Purpose::Filter => &mut shape.filter,
                    Purpose::Transform => &mut shape.transform,
                };
                *place = Some(Program::of(transformation));
            }
        }
        // A plan that is for no source may take its memory when it is for one.
        for plan in plans.into_iter().filter(|plan| !plan.sources.is_empty()) {
            let plan = Arc::new(plan);
            let compiled = CompiledPlan::new(Arc::clone(&plan)).map(Arc::new);
            for source in &plan.sources {
                by_source.entry(*source).or_default().plan = Some(compiled.clone());
            }
        }
        Shapes { revision, by_source }
    }
}

impl World {
    /// What becomes of each source's messages now.
    pub async fn shapes(&self, now: Timestamp) -> Result<Arc<Shapes>, StorageError> {
        let known = self.memory.shapes.lock().clone();
        if let Some((seen_at, shapes)) = &known
            && *seen_at <= now
            && now.since(*seen_at) < AGE_MAX
        {
            return Ok(Arc::clone(shapes));
        }
        // The revision first: what changes while the rest is read is read again next time.
        let revision = self.storage.read(|tx| Box::pin(async move { shapes::revision(tx).await })).await?;
        let shapes = match known {
            Some((_, shapes)) if shapes.revision == revision => shapes,
            _ => {
                let read = self.storage.read(|tx| {
                    Box::pin(async move {
                        let foreign = shapes::foreign_sources(tx).await?;
                        Ok::<_, StorageError>((foreign, transformations::list(tx).await?, tracking_plans::list(tx).await?))
                    })
                });
                let (foreign, transformations, plans) = read.await?;
                Arc::new(Shapes::new(revision, foreign, &transformations, plans))
            }
        };
        *self.memory.shapes.lock() = Some((now, Arc::clone(&shapes)));
        Ok(shapes)
    }

    /// To be called when a transformation or a plan was changed: this node's next batch sees it.
    pub fn forget_shapes(&self) {
        *self.memory.shapes.lock() = None;
    }
}

impl KnownShapes {
    /// Nothing panics while it holds the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Option<(Timestamp, Arc<Shapes>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
