//! What operators have computed of profiles: computed traits, audiences, and the rules by which profiles are told apart.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    domain::{
        audience::Audience,
        computed_trait::ComputedTrait,
        event::{Actor, Fact},
        id::{AudienceKind, ComputedTraitKind, Id, OperatorKind},
        identity::rules::{RuleSettings, Rules},
        intervention::Intervention,
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        time::Timestamp,
    },
    protocol::witness::Witness,
    storage::{
        audience_walk, definitions,
        interventions::{self, Asked},
        leases,
    },
    world::World,
};

/// Every event is held against all definitions that there are.
const DEFINITIONS_MAX: usize = 500;
/// Whose turn it is to add one, of whichever kind.
pub(super) const DEFINING: &str = "new definition";

/// A definition, as `domain` reads it; its id is ours to give.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Definition(Map<String, Value>);

/// All definitions of a kind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Definitions {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
}

/// All computed traits.
pub async fn computed_traits(world: &World) -> Result<Definitions, OAuthError> {
    let all = world.storage.read(|tx| Box::pin(async move { definitions::all(tx).await })).await?;
    Ok(Definitions { items: all.computed_traits.iter().map(record).collect() })
}

/// All audiences.
pub async fn audiences(world: &World) -> Result<Definitions, OAuthError> {
    let all = world.storage.read(|tx| Box::pin(async move { definitions::all(tx).await })).await?;
    Ok(Definitions { items: all.audiences.iter().map(record).collect() })
}

/// Has a trait computed of the events that come from now on.
pub async fn create_computed_trait(
    world: &World,
    operator: Id<OperatorKind>,
    definition: Definition,
    now: Timestamp,
) -> Result<Value, OAuthError> {
    let id: Id<ComputedTraitKind> = world.id(now);
    let new: ComputedTrait = read(definition, id.to_string())?;
    new.check().map_err(|error| ADMIN_VALUE.because(format!("{error}.")))?;
    let told = record(&new);
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            leases::take_turn(tx, DEFINING).await?;
            check_count(definitions::all(tx).await?.computed_traits.len())?;
            if !definitions::insert_computed_trait(tx, &new, now).await? {
                return Err(taken(&new.key));
            }
            Ok(witness.record(tx, Fact::ComputedTraitCreated { computed_trait: id, key: new.key }).await?)
        })
    });
    write.await?;
    Ok(told)
}

/// Makes an audience. Whoever belongs to it enters it soon: all profiles are looked at.
pub async fn create_audience(
    world: &World,
    operator: Id<OperatorKind>,
    definition: Definition,
    now: Timestamp,
) -> Result<Value, OAuthError> {
    let id: Id<AudienceKind> = world.id(now);
    let new: Audience = read(definition, id.to_string())?;
    new.check().map_err(|error| ADMIN_VALUE.because(format!("{error}.")))?;
    let told = record(&new);
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            leases::take_turn(tx, DEFINING).await?;
            check_count(definitions::all(tx).await?.audiences.len())?;
            if !definitions::insert_audience(tx, &new, now).await? {
                return Err(taken(&new.key));
            }
            audience_walk::begin(tx).await?;
            Ok(witness.record(tx, Fact::AudienceCreated { audience: id, key: new.key }).await?)
        })
    });
    write.await?;
    Ok(told)
}

/// Takes a computed trait away: it is not shown any longer, and who was in an audience by it leaves soon.
pub async fn delete_computed_trait(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<ComputedTraitKind>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    delete(world, operator, id.to_string(), Fact::ComputedTraitDeleted { computed_trait: id }, now).await
}

/// Takes an audience away. Nobody is told to have left it.
pub async fn delete_audience(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<AudienceKind>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    delete(world, operator, id.to_string(), Fact::AudienceDeleted { audience: id }, now).await
}

/// The rules of identity, as they were last set.
pub async fn rules(world: &World) -> Result<RuleSettings, OAuthError> {
    Ok(world.storage.read(|tx| Box::pin(async move { definitions::rules_as_set(tx).await })).await?)
}

/// Has rules come in force for what comes from now on: from the place in the log at which this is told. What is left out is as in the
/// default.
pub async fn set_rules(
    world: &World,
    operator: Id<OperatorKind>,
    Definition(settings): Definition,
    now: Timestamp,
) -> Result<RuleSettings, OAuthError> {
    let settings: RuleSettings = serde_json::from_value(Value::Object(settings)).map_err(|error| wrong(&error))?;
    let rules = Rules::new(settings).map_err(|error| ADMIN_VALUE.because(format!("{error}.")))?;
    let told = rules.settings().clone();
    let asked = Asked::new(world.id(now), Intervention::SetRules(told.clone()), None, now);
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            definitions::set_rules(tx, &rules).await?;
            interventions::insert(tx, &asked).await?;
            witness.record(tx, Fact::IdentityRulesChanged { intervention: Some(asked.id) }).await
        })
    });
    write.await?;
    Ok(told)
}

async fn delete(world: &World, operator: Id<OperatorKind>, id: String, fact: Fact, now: Timestamp) -> Result<(), OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !definitions::delete(tx, &id).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            if matches!(fact, Fact::ComputedTraitDeleted { .. }) {
                audience_walk::begin(tx).await?;
            }
            Ok(witness.record(tx, fact).await?)
        })
    });
    write.await
}

/// Reads a definition. A member that nothing looks at is a mistake that would otherwise look like a success.
fn read<T: DeserializeOwned + Serialize>(Definition(mut sent): Definition, id: String) -> Result<T, OAuthError> {
    if sent.insert("id".to_owned(), id.into()).is_some() {
        return Err(ADMIN_VALUE.because("The request body is not right: the id is given by the server."));
    }
    let read: T = serde_json::from_value(Value::Object(sent.clone())).map_err(|error| wrong(&error))?;
    let known = record(&read);
    match sent.keys().find(|name| known.get(name.as_str()).is_none()) {
        Some(name) => Err(ADMIN_VALUE.because(format!("The request body is not right: unknown field `{name}`."))),
        None => Ok(read),
    }
}

fn wrong(error: &serde_json::Error) -> OAuthError {
    ADMIN_VALUE.because(format!("The request body is not right: {error}."))
}

fn record<T: Serialize>(definition: &T) -> Value {
    serde_json::to_value(definition).expect("our own types serialise to JSON")
}

fn check_count(count: usize) -> Result<(), OAuthError> {
    if count < DEFINITIONS_MAX {
        return Ok(());
    }
    Err(ADMIN_VALUE.because(format!("There are {DEFINITIONS_MAX} of these already; delete one first.")))
}

/// Computed and predicted traits and audiences stand beside each other among the traits of a profile.
pub(super) fn taken(key: &str) -> OAuthError {
    ADMIN_CONFLICT.because(format!("The key {key} is taken by another trait or audience."))
}
