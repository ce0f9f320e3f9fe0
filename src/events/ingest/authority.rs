//! Which source a request is for, and whether it may speak for it.
//!
//! A write key names the source: it may stand in the Authorization header, in the body, or in both, and then it is one. It is no secret
//! where it stands in a page; a source may demand an access token beside it, and may be bound to one client, whose token then names it
//! without any key.

use std::sync::Arc;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, general_purpose::PAD},
};

use crate::{
    domain::{
        client::ClientId,
        refusal::{
            OAuthError, TRACKING_CLIENT, TRACKING_CREDENTIALS, TRACKING_KEY_MISSING, TRACKING_KEY_UNKNOWN, TRACKING_KEYS_DIFFER,
            TRACKING_SOURCE_DISABLED, TRACKING_TOKEN_NEEDED,
        },
        sighting::Sighting,
        source::Source,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    world::World,
};

/// Some callers pad, some do not.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Who the Authorization header says it is from.
pub enum Caller {
    /// There was none.
    Nobody,
    /// Whoever holds this write key.
    WriteKey(String),
    /// The holder of an access token that was found good for the tracking API.
    Client(ClientId),
}

/// The write key of `Authorization: Basic`: it stands where a name would, the password is empty, and some leave the colon out too.
pub fn basic(header: &[u8]) -> Result<Caller, OAuthError> {
    let encoded = match header.split_at_checked(6) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"basic ") => rest.trim_ascii(),
        _ => return Err(TRACKING_CREDENTIALS),
    };
    let decoded = BASE64.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(TRACKING_CREDENTIALS)?;
    match decoded.split_once(':').map_or(decoded.as_str(), |(key, _)| key) {
        "" => Err(TRACKING_CREDENTIALS),
        key => Ok(Caller::WriteKey(key.to_owned())),
    }
}

/// The source that the request is for. `body_key` is the write key that its body names.
pub async fn source(world: &World, caller: &Caller, body_key: Option<&str>, now: Timestamp) -> Result<Arc<Source>, OAuthError> {
    let source = match (caller, body_key) {
        (Caller::WriteKey(key), Some(other)) if key != other => return Err(TRACKING_KEYS_DIFFER),
        (Caller::WriteKey(key), _) => of_write_key(world, key, now).await?,
        (Caller::Nobody | Caller::Client(_), Some(key)) => of_write_key(world, key, now).await?,
        (Caller::Client(client), None) => {
            let sources = world.sources(now).await?;
            let mut bound = sources.of_client(client);
            // With more than one it would be a guess.
            match (bound.next(), bound.next()) {
                (Some(only), None) => Arc::clone(only),
                _ => return Err(TRACKING_KEY_MISSING),
            }
        }
        (Caller::Nobody, None) => return Err(TRACKING_KEY_MISSING),
    };
    match permit(caller, &source) {
        Ok(()) => Ok(source),
        Err(refusal) => {
            if let Some(watched) = world.memory.viewers.of(source.id) {
                watched.show(now, || Some(Sighting::refused(now, &refusal)));
            }
            Err(refusal)
        }
    }
}

fn permit(caller: &Caller, source: &Source) -> Result<(), OAuthError> {
    match (caller, &source.client) {
        _ if source.is_disabled() => Err(TRACKING_SOURCE_DISABLED),
        (Caller::Client(client), Some(bound)) if client != bound => Err(TRACKING_CLIENT),
        (Caller::Client(_), _) => Ok(()),
        (Caller::Nobody | Caller::WriteKey(_), _) if source.requires_token => Err(TRACKING_TOKEN_NEEDED),
        (Caller::Nobody | Caller::WriteKey(_), _) => Ok(()),
    }
}

/// The source of a write key as it was sent.
pub async fn of_write_key(world: &World, write_key: &str, now: Timestamp) -> Result<Arc<Source>, OAuthError> {
    let digest = world.secrets.digest(Purpose::WriteKey, write_key);
    world.source(&digest, now).await?.ok_or(TRACKING_KEY_UNKNOWN)
}
