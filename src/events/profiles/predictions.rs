//! Traits that models predict: profiles that have changed are sent to the models that operators have defined, and what these say goes
//! the way of all events.
//!
//! A prediction is a fact in the log, and the profiles stage alone writes it into a profile: so there is one order, a replay comes to
//! the same profiles again, and what is said of somebody who was deleted in the meantime has no effect. Who is suppressed is never
//! sent, and while anybody waits to be forgotten nobody is.
//!
//! A model that is down, slow, or says what makes no sense changes nothing. Each is asked again after longer and longer, with other
//! profiles first; what waits is kept in a table, which has a row at most for each profile that has changed.

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, header::AUTHORIZATION};
use serde_json::{Map, Value};

use super::{forgotten::Forgotten, read};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, PredictedTraitKind},
        identity::graph::ProfileId,
        json::Json,
        predicted_trait::{PredictedTrait, Prediction, predictions},
        profile::TRAIT_BYTES_MAX,
        time::Timestamp,
    },
    events::turns,
    keys::secrets::Purpose,
    outbound::{Call, Limits},
    storage::{
        StorageError, definitions,
        interventions::{self, Place},
        predictions::{self as table, Due, Turn},
    },
    world::{FACTS, Progress, StageError, World, record},
};

/// What a request says beside its traits, and an answer beside its predictions.
const ENVELOPE_BYTES: usize = 4_096;
/// What a request says of profiles, about: those that it has no room for come with the next. One alone may be longer.
const QUESTION_BYTES_MAX: usize = 1 << 20;
/// Behind every span that has ended.
const NOW: u64 = u64::MAX;

/// Asks each model about the profiles that are due.
pub async fn step(world: &World, now: Timestamp) -> Result<Progress, StageError> {
    let ask = world.storage.read(|tx| {
        Box::pin(async move {
            let models = definitions::all(tx).await?.predicted_traits;
            let is_held = !models.is_empty() && interventions::is_any_under_way(tx).await?;
            Ok::<_, StorageError>(if is_held { Vec::new() } else { models })
        })
    });
    let models: Vec<PredictedTrait> = ask.await?;
    let turns = join_all(models.iter().map(|model| take_turn(world, model, now))).await;
    let turns: Vec<Progress> = turns.into_iter().collect::<Result<_, _>>()?;
    Ok(if turns.contains(&Progress::Advanced) { Progress::Advanced } else { Progress::Idle })
}

async fn take_turn(world: &World, model: &PredictedTrait, now: Timestamp) -> Result<Progress, StageError> {
    let (id, count_max) = (model.id, u32::from(model.batch_max));
    let due = world.storage.read(move |tx| Box::pin(async move { table::due(tx, id, now, count_max).await }));
    let due: Vec<Due> = due.await?;
    if due.is_empty() {
        return Ok(Progress::Idle);
    }
    let node = world.node.clone();
    let claim =
        world.storage.write(move |tx| Box::pin(async move { table::claim(tx, id, &node, now, now.plus(turns::CLAIM)).await }));
    let claimed: Option<(i64, u32)> = claim.await?;
    let Some((number, failures)) = claimed else { return Ok(Progress::Idle) };

    let Question { asked, told, forgotten } = question(world, model, due, now).await?;
    let turn = match ask(world, model, &asked, now).await {
        Ok(_) if asked.is_empty() => Turn::Nobody,
        Ok(said) => append(world, model, told, said, now).await?,
        Err(failure) => {
            tracing::warn!(predicted_trait = %model.id, "a model could not be asked, and is asked again later");
            metrics::counter!("deputy_predictions_total", "outcome" => "failed").increment(asked.len() as u64);
            Turn::Failed { profiles: told, failure, again_at: now.plus(turns::wait(failures)) }
        }
    };
    end(world, id, number, turn, forgotten, now).await?;
    // The due ones of this turn wait now, or are forgotten: there may be others.
    Ok(Progress::Advanced)
}

/// Makes durable what the model said, when it was asked about these.
async fn append(
    world: &World,
    model: &PredictedTrait,
    profiles: Vec<Due>,
    said: Vec<Prediction>,
    now: Timestamp,
) -> Result<Turn, StageError> {
    let answered = u32::try_from(said.len()).unwrap_or(u32::MAX);
    let event = |prediction| world.event(now, Actor::Deputy, fact(model, prediction, now));
    let records: Vec<_> = said.into_iter().map(|prediction| record(&event(prediction))).collect();
    if !records.is_empty() {
        world.log.append(FACTS, records).await?;
    }
    metrics::counter!("deputy_predictions_total", "outcome" => "asked").increment(profiles.len() as u64);
    Ok(Turn::Asked { profiles, answered, again_at: now.plus(World::seconds(model.interval_s)) })
}

async fn end(
    world: &World,
    id: Id<PredictedTraitKind>,
    number: i64,
    turn: Turn,
    forgotten: Vec<Due>,
    now: Timestamp,
) -> Result<(), StageError> {
    let end = world.storage.write(move |tx| {
        Box::pin(async move {
            // Else it was over: another's has begun.
            if table::end_turn(tx, id, number, &turn, now).await? {
                table::forget(tx, id, &forgotten).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    Ok(end.await?)
}

/// What a model is asked.
#[derive(Default)]
struct Question {
    /// What it is told of each.
    asked: Vec<(ProfileId, Map<String, Value>)>,
    /// Why: these have changed.
    told: Vec<Due>,
    /// These have not, or nobody may be told of them.
    forgotten: Vec<Due>,
}

/// What the model is asked about those that have changed, are still there, and may be spoken of; as many as there is room for.
async fn question(world: &World, model: &PredictedTrait, due: Vec<Due>, now: Timestamp) -> Result<Question, StageError> {
    let (mut question, mut room) = (Question::default(), QUESTION_BYTES_MAX);
    for due in due {
        let traits = if due.is_changed { traits(world, model, due.profile, now).await? } else { None };
        let Some(traits) = traits else {
            question.forgotten.push(due);
            continue;
        };
        let bytes = bytes_of(&traits);
        if bytes > room && !question.asked.is_empty() {
            break;
        }
        room = room.saturating_sub(bytes);
        question.asked.push((due.profile, traits));
        question.told.push(due);
    }
    Ok(question)
}

/// What the model is told of a profile; nothing, if nobody may be told of it.
async fn traits(
    world: &World,
    model: &PredictedTrait,
    profile: ProfileId,
    now: Timestamp,
) -> Result<Option<Map<String, Value>>, StageError> {
    let Some(profile) = read::show(world, profile).await? else { return Ok(None) };
    let ids: Vec<_> = profile.component.mappings.iter().map(|mapping| mapping.id.clone()).collect();
    if Forgotten::of(world, ids.iter()).await?.covers(&ids, Place { offset: NOW, at: now }) {
        return Ok(None);
    }
    let traits = profile.traits(now).into_iter().filter(|told| model.takes(&told.name));
    Ok(Some(traits.map(|told| (told.name, told.value)).collect()))
}

/// As JSON, but for quotation marks and commas.
fn bytes_of(traits: &Map<String, Value>) -> usize {
    traits.iter().map(|(name, value)| name.len() + value.to_string().len()).sum()
}

async fn ask(
    world: &World,
    model: &PredictedTrait,
    asked: &[(ProfileId, Map<String, Value>)],
    now: Timestamp,
) -> Result<Vec<Prediction>, String> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let mut call = Call::post_json(&model.url, &model.question(asked));
    if let Some(sealed) = &model.sealed_token {
        let token = world.secrets.open::<String>(Purpose::ModelToken, &model.id.to_string(), now, sealed);
        let token = token.ok_or("its token was sealed under another master key; define it again")?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "its token cannot be sent")?;
        value.set_sensitive(true);
        call = call.header(AUTHORIZATION, value);
    }
    let limits = Limits {
        timeout: Duration::from_millis(model.deadline_ms.into()),
        body_bytes_max: asked.len() * 2 * TRAIT_BYTES_MAX + ENVELOPE_BYTES,
    };
    let answer = world.outbound_for(&model.url).send(call, limits).await.map_err(|error| format!("{error}"))?;
    if !answer.status.is_success() {
        return Err(format!("it answered {}", answer.status));
    }
    let ids: Vec<ProfileId> = asked.iter().map(|(profile, _)| *profile).collect();
    predictions(&answer.body, &ids)
}

fn fact(model: &PredictedTrait, prediction: Prediction, now: Timestamp) -> Fact {
    let Prediction { profile, value, confidence } = prediction;
    let (predicted_trait, key) = (model.id, model.key.clone());
    Fact::TraitPredicted { predicted_trait, profile, key, value: Json::of(&value), confidence, asked_at: now }
}
