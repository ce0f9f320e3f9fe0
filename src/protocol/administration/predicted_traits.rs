//! Traits that models predict, as operators define and watch them. A model's token is told to us and never told again.

use serde::{Deserialize, Serialize};
use url::Url;

use super::definitions::{DEFINING, taken};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, PredictedTraitKind},
        predicted_trait::PredictedTrait,
        profile::Collection,
        refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        secret::Secret,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::witness::Witness,
    storage::{
        StorageError, definitions, leases,
        predictions::{self, ModelStatus},
    },
    world::World,
};

/// All models are asked at the same time, and each about every profile that changes.
const MODELS_MAX: usize = 10;
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 1..=2_048;
/// It is sealed for storage, where it stays as long as the definition.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// A trait to be predicted.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPredictedTrait {
    /// The name under which the value stands among the profile's traits.
    key: String,
    /// Of whom; `users` if absent.
    #[schema(value_type = Option<String>)]
    collection: Option<Collection>,
    /// Where the model is asked, with `POST`. `https`, at a public address or at a host of the setting `internal_hosts`, which may also
    /// be asked by `http`.
    #[schema(value_type = String)]
    url: Url,
    /// What the model knows us by: sent as `Authorization: Bearer`.
    #[schema(value_type = Option<String>)]
    token: Option<Secret<String>>,
    /// The traits that it is told; all if absent.
    inputs: Option<Vec<String>>,
    /// A profile that keeps changing is asked about only so often; 3,600 if absent.
    interval_s: Option<u32>,
    /// Profiles that are asked about in one request, up to 100; 50 if absent.
    batch_max: Option<u16>,
    /// How long the whole exchange may take, from 100 to 30,000; 5,000 if absent.
    deadline_ms: Option<u32>,
}

/// A predicted trait, without the model's token, and how the asking goes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PredictedTraitRecord {
    #[schema(value_type = String)]
    predicted_trait_id: Id<PredictedTraitKind>,
    key: String,
    #[schema(value_type = String)]
    collection: Collection,
    url: String,
    has_token: bool,
    inputs: Option<Vec<String>>,
    interval_s: u32,
    batch_max: u16,
    deadline_ms: u32,
    /// Profiles that it was asked about.
    asked: u64,
    /// Of how many of them it said something that makes sense.
    answered: u64,
    /// Profiles that it is still to be asked about, or was so lately that they would wait.
    waiting: u64,
    /// RFC 3339.
    asked_at: Option<String>,
    /// Since when it does not answer, RFC 3339; `null` if it did when it was asked last.
    failing_since: Option<String>,
    /// What was wrong then.
    failure: Option<String>,
}

/// All predicted traits.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PredictedTraits {
    items: Vec<PredictedTraitRecord>,
}

/// All predicted traits, in the order in which they were made.
pub async fn list(world: &World) -> Result<PredictedTraits, OAuthError> {
    let all = world.storage.read(|tx| {
        Box::pin(async move {
            let mut items = Vec::new();
            for definition in definitions::all(tx).await?.predicted_traits {
                let status = predictions::status(tx, definition.id).await?;
                items.push(record(definition, status));
            }
            Ok::<_, StorageError>(items)
        })
    });
    Ok(PredictedTraits { items: all.await? })
}

/// Has a trait predicted of the profiles that change from now on.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewPredictedTrait,
    now: Timestamp,
) -> Result<PredictedTraitRecord, OAuthError> {
    let id: Id<PredictedTraitKind> = world.id(now);
    world.outbound_for(&new.url).check(&new.url).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
        ADMIN_VALUE.because(format!("url may not be called{why}; internal_hosts lists hosts that may be."))
    })?;
    let is_token = |token: &String| TOKEN_CHARS.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if new.token.as_ref().is_some_and(|token| !is_token(token.reveal())) {
        return Err(ADMIN_VALUE.because("token must have 1 to 2048 characters of ASCII, and no spaces."));
    }
    let seal = |token: &Secret<String>| world.secrets.seal(Purpose::ModelToken, &id.to_string(), NEVER, token.reveal());
    let mut definition = PredictedTrait {
        id,
        key: new.key,
        collection: new.collection.unwrap_or(Collection::Users),
        url: new.url,
        inputs: new.inputs,
        interval_s: new.interval_s.unwrap_or(3_600),
        batch_max: new.batch_max.unwrap_or(50),
        deadline_ms: new.deadline_ms.unwrap_or(5_000),
        sealed_token: new.token.as_ref().map(seal),
    };
    definition.url.set_fragment(None);
    definition.check().map_err(|error| ADMIN_VALUE.because(format!("{error}.")))?;
    let told = record(definition.clone(), ModelStatus::default());
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            leases::take_turn(tx, DEFINING).await?;
            if definitions::all(tx).await?.predicted_traits.len() >= MODELS_MAX {
                return Err(ADMIN_VALUE.because(format!("There are {MODELS_MAX} of these already; delete one first.")));
            }
            if !definitions::insert_predicted_trait(tx, &definition, now).await? {
                return Err(taken(&definition.key));
            }
            predictions::begin(tx, id, now).await?;
            Ok(witness.record(tx, Fact::PredictedTraitCreated { predicted_trait: id, key: definition.key }).await?)
        })
    });
    write.await?;
    Ok(told)
}

/// Has a model asked no longer. What it said stays, as what a source said.
pub async fn delete(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<PredictedTraitKind>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !definitions::delete(tx, &id.to_string()).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            Ok::<_, OAuthError>(witness.record(tx, Fact::PredictedTraitDeleted { predicted_trait: id }).await?)
        })
    });
    write.await
}

fn record(definition: PredictedTrait, status: ModelStatus) -> PredictedTraitRecord {
    PredictedTraitRecord {
        predicted_trait_id: definition.id,
        key: definition.key,
        collection: definition.collection,
        url: definition.url.to_string(),
        has_token: definition.sealed_token.is_some(),
        inputs: definition.inputs,
        interval_s: definition.interval_s,
        batch_max: definition.batch_max,
        deadline_ms: definition.deadline_ms,
        asked: status.asked,
        answered: status.answered,
        waiting: status.waiting,
        asked_at: status.asked_at.map(Timestamp::to_rfc3339),
        failing_since: status.failing_since.map(Timestamp::to_rfc3339),
        failure: status.failure,
    }
}
