//! Transformations as operators save, try and change them. A program that does not compile is never saved.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    paging::{Page, PageRequest, Window},
    plain_text,
    sources::{check_attachments, conflict},
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, SourceKind, TransformationKind},
        json::Json,
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        time::Timestamp,
        transformation::{Language, PROGRAM_BYTES_MAX, Purpose, Transformation},
    },
    protocol::witness::Witness,
    sandbox::{Mistake, Outcome, Trial},
    storage::{leases, transformations},
    world::World,
};

/// As many as a child of the sandbox keeps compiled, with room for their next versions.
const TRANSFORMATIONS_MAX: usize = 200;

/// A transformation to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTransformation {
    /// Says in lists what it is for.
    name: String,
    /// `transform` if absent.
    purpose: Option<Purpose>,
    #[serde(default)]
    language: Language,
    program: String,
    /// The sources to whose events it is applied.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    sources: Vec<Id<SourceKind>>,
}

/// What is to become different. What is absent stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransformationChange {
    name: Option<String>,
    program: Option<String>,
    #[schema(value_type = Option<Vec<String>>)]
    sources: Option<Vec<Id<SourceKind>>>,
    /// A disabled transformation is not applied: the events of its sources go on as they are.
    disabled: Option<bool>,
}

/// A transformation as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TransformationRecord {
    #[schema(value_type = String)]
    transformation_id: Id<TransformationKind>,
    name: String,
    purpose: Purpose,
    language: Language,
    program: String,
    /// Counts the programs that it had.
    version: u32,
    #[schema(value_type = Vec<String>)]
    sources: Vec<Id<SourceKind>>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    changed_at: String,
    /// RFC 3339.
    disabled_at: Option<String>,
}

/// A program to be tried.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransformationTrial {
    /// `transform` if absent.
    purpose: Option<Purpose>,
    program: String,
    /// A message as a source would send it. If absent, the program is only compiled.
    #[schema(value_type = Option<Object>)]
    event: Option<Json>,
}

/// What came of a trial: one of these, or nothing where a program was only compiled and is sound.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct TrialRecord {
    /// What is wrong with the program. Lines and columns count from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    mistakes: Option<Vec<Mistake>>,
    /// What became of the event: as many events as the program made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    events: Option<Vec<Box<RawValue>>>,
    /// Whether the filter lets it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    passes: Option<bool>,
    /// Why the program failed; the event would be kept aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// A page of all transformations.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<TransformationRecord>, OAuthError> {
    let window = Window::read(world, "transformations".to_owned(), &request, now)?;
    let all = world.storage.read(|tx| Box::pin(async move { transformations::list(tx).await })).await?;
    let rows = all.into_iter().filter(|transformation| transformation.id.to_string() > window.after).collect();
    Ok(window.page(world, rows, |transformation: &Transformation| transformation.id.to_string(), record, now))
}

/// All that is known of a transformation.
pub async fn show(world: &World, id: Id<TransformationKind>) -> Result<TransformationRecord, OAuthError> {
    let found = world.storage.read(move |tx| Box::pin(async move { transformations::find(tx, id).await })).await?;
    found.map(record).ok_or(ADMIN_NOT_FOUND)
}

/// Compiles a program, and runs it on an event if there is one. Changes nothing.
pub async fn try_out(world: &World, trial: TransformationTrial) -> Result<TrialRecord, OAuthError> {
    let purpose = trial.purpose.unwrap_or(Purpose::Transform);
    check_length(&trial.program)?;
    let event = trial.event.as_ref().map(Json::raw);
    let failed = |failure| TrialRecord { failure: Some(failure), ..TrialRecord::default() };
    Ok(match world.sandbox.try_out(purpose, &trial.program, event).await? {
        Trial::Sound => TrialRecord::default(),
        Trial::Mistakes(mistakes) => TrialRecord { mistakes: Some(mistakes), ..TrialRecord::default() },
        Trial::Ran(Outcome::Events(events)) => TrialRecord { events: Some(events), ..TrialRecord::default() },
        Trial::Ran(Outcome::Passes(passes)) => TrialRecord { passes: Some(passes), ..TrialRecord::default() },
        Trial::Ran(Outcome::Failed(failure)) => failed(failure),
        Trial::Ran(Outcome::Stopped(stop)) => failed(stop.to_string()),
    })
}

/// Makes a transformation.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewTransformation,
    now: Timestamp,
) -> Result<TransformationRecord, OAuthError> {
    let transformation = Transformation {
        id: world.id(now),
        name: plain_text("name", new.name)?,
        purpose: new.purpose.unwrap_or(Purpose::Transform),
        language: new.language,
        program: new.program.into(),
        version: 1,
        sources: new.sources,
        created_at: now,
        changed_at: now,
        disabled_at: None,
    };
    check(world, transformation.purpose, &transformation.program).await?;
    let fact = Fact::TransformationCreated { transformation: transformation.id, name: transformation.name.clone() };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), transformation.clone());
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            leases::take_turn(tx, "new transformation").await?;
            if transformations::list(tx).await?.len() >= TRANSFORMATIONS_MAX {
                return Err(ADMIN_VALUE.because(format!("There are {TRANSFORMATIONS_MAX} transformations; delete one first.")));
            }
            check_attachments(tx, &written.sources).await?;
            transformations::insert(tx, &written).await.map_err(|error| conflict(error, ALREADY))?;
            Ok::<_, OAuthError>(witness.record(tx, fact).await?)
        })
    });
    write.await?;
    world.forget_shapes();
    Ok(record(transformation))
}

/// Changes name, program or sources; disables or enables.
pub async fn change(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<TransformationKind>,
    change: TransformationChange,
    now: Timestamp,
) -> Result<TransformationRecord, OAuthError> {
    if let Some(program) = &change.program {
        let known = world.storage.read(move |tx| Box::pin(async move { transformations::find(tx, id).await })).await?;
        // Its purpose never changes.
        check(world, known.ok_or(ADMIN_NOT_FOUND)?.purpose, program).await?;
    }
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let mut transformation = transformations::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
            if let Some(name) = change.name {
                transformation.name = plain_text("name", name)?;
            }
            if let Some(program) = change.program.filter(|program| **program != *transformation.program) {
                transformation.program = program.into();
                transformation.version += 1;
            }
            transformation.sources = change.sources.unwrap_or(transformation.sources);
            transformation.disabled_at = match change.disabled {
                Some(true) => transformation.disabled_at.or(Some(now)),
                Some(false) => None,
                None => transformation.disabled_at,
            };
            transformation.changed_at = now;
            check_attachments(tx, &transformation.sources).await?;
            transformations::update(tx, &transformation).await.map_err(|error| conflict(error, ALREADY))?;
            let fact = Fact::TransformationChanged { transformation: id, version: transformation.version };
            witness.record(tx, fact).await?;
            Ok::<_, OAuthError>(transformation)
        })
    });
    let changed = write.await?;
    world.forget_shapes();
    Ok(record(changed))
}

/// Forgets a transformation: the events of its sources go on as they are.
pub async fn delete(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<TransformationKind>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !transformations::delete(tx, id).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            Ok::<_, OAuthError>(witness.record(tx, Fact::TransformationDeleted { transformation: id }).await?)
        })
    });
    write.await?;
    world.forget_shapes();
    Ok(())
}

const ALREADY: &str = "One of these sources has a transformation of this purpose already; a source has at most one of each.";

/// Refuses a program that does not compile, and says where.
async fn check(world: &World, purpose: Purpose, program: &str) -> Result<(), OAuthError> {
    check_length(program)?;
    match world.sandbox.try_out(purpose, program, None).await? {
        Trial::Mistakes(mistakes) => {
            Err(ADMIN_VALUE.because(format!("The program does not compile: {}.", Mistake::told(&mistakes))))
        }
        Trial::Ran(_) | Trial::Sound => Ok(()),
    }
}

fn check_length(program: &str) -> Result<(), OAuthError> {
    if program.trim().is_empty() || program.len() > PROGRAM_BYTES_MAX {
        return Err(ADMIN_VALUE.because(format!("program must have 1 to {PROGRAM_BYTES_MAX} bytes.")));
    }
    Ok(())
}

fn record(transformation: Transformation) -> TransformationRecord {
    TransformationRecord {
        transformation_id: transformation.id,
        name: transformation.name,
        purpose: transformation.purpose,
        language: transformation.language,
        program: transformation.program.to_string(),
        version: transformation.version,
        sources: transformation.sources,
        created_at: transformation.created_at.to_rfc3339(),
        changed_at: transformation.changed_at.to_rfc3339(),
        disabled_at: transformation.disabled_at.map(Timestamp::to_rfc3339),
    }
}
