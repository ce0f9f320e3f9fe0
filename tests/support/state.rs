//! What an installation keeps in storage, as text to compare: what must not change is the same text before and after.

use std::collections::BTreeSet;

use deputy::{
    domain::{grant::Grant, id::Id},
    storage::{Storage, StorageError, grants},
};

use super::Installation;

/// What is decided and set: each table but the outbox, which is checked by the facts, what is made of events, and what merely notes
/// when something was last seen.
const QUESTIONS: [&str; 23] = [
    "SELECT 'client ' || id || ' ' || metadata || ' disabled ' || coalesce(CAST(disabled_at AS TEXT), 'never') FROM clients ORDER BY 1",
    "SELECT 'person ' || id || ' ' || password_hash || ' locked ' || coalesce(CAST(locked_at AS TEXT), 'never') FROM people ORDER BY 1",
    "SELECT 'session ' || id || ' of ' || person || ' since ' || CAST(authenticated_at AS TEXT) FROM sessions ORDER BY 1",
    "SELECT 'resource ' || id || ' ' || canonical || ' ' || scopes FROM resources ORDER BY 1",
    "SELECT 'grant ' || id || ' ' || client || ' ' || coalesce(person, '-') || ' ' || coalesce(resource, '-') || ' ' || scopes || ' until ' || CAST(expires_at AS TEXT) || ' ended ' || coalesce(end_cause, 'never') || ' generation ' || coalesce(CAST(refresh_generation AS TEXT), '-') || ' idle ' || coalesce(CAST(refresh_expires_at AS TEXT), '-') FROM grants ORDER BY 1",
    "SELECT 'consent ' || person || ' ' || client || ' ' || resource || ' ' || scopes || ' ' || client_hash || ' doubt ' || coalesce(doubt, 'none') FROM consents ORDER BY 1",
    "SELECT 'once ' || purpose || ' ' || payload || ' until ' || CAST(expires_at AS TEXT) || ' used ' || coalesce(CAST(used_at AS TEXT), 'never') FROM one_time_values ORDER BY 1",
    "SELECT 'revocation ' || node || ' ' || CAST(issued_until AS TEXT) FROM revocations ORDER BY 1",
    "SELECT 'key ' || id || ' ' || state FROM signing_keys ORDER BY 1",
    "SELECT 'operator ' || id || ' ' || name FROM operators ORDER BY 1",
    "SELECT 'source ' || id || ' ' || name || ' ' || producer || ' of ' || coalesce(client, '-') || ' token ' || CAST(requires_token AS TEXT) || ' disabled ' || coalesce(CAST(disabled_at AS TEXT), 'never') FROM sources ORDER BY 1",
    "SELECT 'webhook ' || source || ' ' || scheme || ' ' || coalesce(header, '-') || ' ' || coalesce(id_header, '-') || ' ' || coalesce(secret, '-') FROM webhooks ORDER BY 1",
    "SELECT 'transformation ' || id || ' ' || name || ' ' || purpose || ' ' || language || ' ' || program || ' version ' || CAST(version AS TEXT) || ' disabled ' || coalesce(CAST(disabled_at AS TEXT), 'never') FROM transformations ORDER BY 1",
    "SELECT 'transformation of ' || source || ' ' || purpose || ' ' || transformation FROM transformation_sources ORDER BY 1",
    "SELECT 'plan ' || id || ' ' || name || ' ' || rules || ' ' || on_violation || ' ' || on_unplanned || ' version ' || CAST(version AS TEXT) FROM tracking_plans ORDER BY 1",
    "SELECT 'plan of ' || source || ' ' || plan FROM tracking_plan_sources ORDER BY 1",
    "SELECT 'revision ' || name || ' ' || CAST(revision AS TEXT) FROM revisions ORDER BY 1",
    "SELECT 'definition ' || id || ' ' || kind || ' ' || key || ' ' || definition FROM definitions ORDER BY 1",
    "SELECT 'identity ' || settings FROM identity_rules ORDER BY 1",
    "SELECT 'intervention ' || id || ' ' || kind || ' ' || detail || ' ' || coalesce(profile, '-') || ' ' || status || ' ' || CAST(done AS TEXT) || ' ' || coalesce(error, '-') FROM interventions ORDER BY 1",
    "SELECT 'left out from ' || CAST(since_offset AS TEXT) || ' to ' || CAST(until_offset AS TEXT) FROM left_out ORDER BY 1",
    "SELECT 'profile token ' || id || ' ' || name || ' by ' || created_by FROM profile_tokens ORDER BY 1",
    "SELECT 'risk rule ' || settings FROM risk_rules ORDER BY 1",
];
/// By what secrets are known: a new one is another digest.
const DIGESTS: [&str; 3] = [
    "SELECT write_key_digest FROM sources ORDER BY id",
    "SELECT digest FROM operators ORDER BY id",
    "SELECT digest FROM profile_tokens ORDER BY id",
];
/// What the consumers have made of the events. That a request was refused is an event too, so this changes where nothing else does.
const OF_EVENTS: [&str; 11] = [
    "SELECT 'profile ' || id || ' ' || collection || ' ' || canonical || ' ' || CAST(created_offset AS TEXT) || ' ' || CAST(created_at AS TEXT) FROM profiles",
    "SELECT 'id ' || collection || '/' || type || ':' || value || ' ' || home || ' ' || CAST(mapped_offset AS TEXT) || ' ' || CAST(mapped_at AS TEXT) || ' ' || source || ' ' || message_id FROM external_ids",
    "SELECT 'edge ' || CAST(event_offset AS TEXT) || ' ' || collection || '/' || type || ':' || value || ' ' || home || ' ' || with_type || ':' || with_value || ' ' || with_home || ' ' || source || ' ended ' || coalesce(CAST(ended_offset AS TEXT), 'never') FROM identity_edges",
    "SELECT 'bar ' || profile || ' ' || other || ' ' || CAST(since_offset AS TEXT) FROM identity_bars",
    "SELECT 'state ' || profile || ' ' || state FROM profile_states",
    "SELECT 'event ' || profile || ' ' || CAST(event_offset AS TEXT) || ' ' || CAST(part AS TEXT) FROM profile_events",
    "SELECT 'link ' || profile || ' ' || other || ' ' || CAST(first_at AS TEXT) || ' ' || CAST(last_at AS TEXT) FROM profile_links",
    "SELECT 'risk ' || agent || ' ' || state || ' ' || coalesce(CAST(signalled_at AS TEXT), 'never') FROM risk_states",
    "SELECT 'risk ' || person || ' ' || state || ' ' || coalesce(CAST(signalled_at AS TEXT), 'never') FROM risk_people",
    // An operator's word is written at once, and so may stand before what was seen earlier and read later.
    "SELECT 'actor ' || actor || ' ' || kind || ' since ' || CAST(since AS TEXT) || ' ' || state FROM actors WHERE state NOT LIKE '%operator_said%'",
    "SELECT 'next ' || name || ' ' || input || ' ' || CAST(next AS TEXT) FROM consumers",
];

impl Installation {
    /// Everything that is decided and set, a line for each row.
    pub async fn state(&self) -> Vec<String> {
        let storage = &self.world().storage;
        let mut lines = lines(storage, &QUESTIONS).await;
        let read = storage.read(|tx| {
            Box::pin(async move {
                let mut digests = Vec::new();
                for sql in DIGESTS {
                    digests.extend(tx.rows(sql, &[], |row| row.blob(0)).await?);
                }
                Ok::<_, StorageError>(digests)
            })
        });
        let digests: Vec<Vec<u8>> = read.await.expect("storage can be read");
        lines.extend(digests.into_iter().map(|digest| format!("digest {digest:02x?}")));
        lines
    }
}

/// As if the app that got this grant had authorized so many times more; their identifiers come before its own.
pub async fn authorize_again(storage: &Storage, grant: &str, times: u16) {
    let id = grant.parse().expect("a grant's identifier");
    let write = storage.write(move |tx| {
        Box::pin(async move {
            let grant = grants::find(tx, id).await?.expect("it was made");
            for number in 1..=times {
                let id = Id::from_bytes(u128::from(number).to_be_bytes());
                grants::insert(tx, &Grant { id, ..grant.clone() }).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    write.await.expect("storage can be written");
}

/// Of how many accounts and addresses tries are counted.
pub async fn counted_attempts(storage: &Storage) -> usize {
    let read = storage.read(|tx| Box::pin(async move { tx.rows("SELECT subject FROM attempts", &[], |row| row.text(0)).await }));
    read.await.expect("storage can be read").len()
}

/// Everything that the consumers have made of the events, a line for each row.
pub async fn of_events(storage: &Storage) -> BTreeSet<String> {
    lines(storage, &OF_EVENTS).await.into_iter().collect()
}

async fn lines(storage: &Storage, questions: &'static [&'static str]) -> Vec<String> {
    let read = storage.read(move |tx| {
        Box::pin(async move {
            let mut lines = Vec::new();
            for sql in questions {
                lines.extend(tx.rows(sql, &[], |row| row.text(0)).await?);
            }
            Ok::<_, StorageError>(lines)
        })
    });
    read.await.expect("storage can be read")
}
