//! Who may ask the [Profile API](https://segment.com/docs/unify/profile-api/): whoever holds a token that an operator made for it.

use crate::{
    domain::{
        id::{Id, OperatorKind},
        refusal::{OAuthError, PROFILE_NOT_FOUND, PROFILE_RATE, PROFILE_TOKEN},
        time::Timestamp,
    },
    events::ingest::authority::{self, Caller},
    keys::secrets::Purpose,
    storage::profile_tokens,
    world::{ORGANIZATION, World},
};

/// Questions that one space answers in a second.
const REQUESTS_PER_SECOND_MAX: u32 = 100;

/// The operator in whose name the token of this header asks, where the space is ours and is not asked too often.
pub async fn authorize(
    world: &World,
    authorization: Option<&[u8]>,
    space: &str,
    now: Timestamp,
) -> Result<Id<OperatorKind>, OAuthError> {
    // The token stands where a user name would, as write keys do.
    let token = match authorization.map(authority::basic) {
        Some(Ok(Caller::WriteKey(token))) => token,
        _ => return Err(PROFILE_TOKEN),
    };
    let digest = world.secrets.digest(Purpose::ProfileToken, &token);
    let find = world.storage.read(move |tx| Box::pin(async move { profile_tokens::find_by_digest(tx, &digest).await }));
    let operator = find.await?.ok_or(PROFILE_TOKEN)?;
    if space != ORGANIZATION {
        return Err(PROFILE_NOT_FOUND);
    }
    if !world.memory.profile_requests.admit(REQUESTS_PER_SECOND_MAX, now) {
        return Err(PROFILE_RATE);
    }
    Ok(operator)
}
