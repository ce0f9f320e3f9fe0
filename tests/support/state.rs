//! What an installation keeps in storage, as text to compare: what must not change is the same text before and after.

use deputy::storage::StorageError;

use super::Installation;

/// Each table but the outbox, which is checked by the facts, and what merely notes when something was last seen.
const QUESTIONS: [&str; 9] = [
    "SELECT 'client ' || id || ' ' || metadata || ' disabled ' || coalesce(CAST(disabled_at AS TEXT), 'never') FROM clients ORDER BY 1",
    "SELECT 'person ' || id || ' ' || password_hash || ' locked ' || coalesce(CAST(locked_at AS TEXT), 'never') FROM people ORDER BY 1",
    "SELECT 'session ' || id || ' of ' || person || ' since ' || CAST(authenticated_at AS TEXT) FROM sessions ORDER BY 1",
    "SELECT 'resource ' || id || ' ' || canonical || ' ' || scopes FROM resources ORDER BY 1",
    "SELECT 'grant ' || id || ' ' || client || ' ' || coalesce(person, '-') || ' ' || coalesce(resource, '-') || ' ' || scopes || ' until ' || CAST(expires_at AS TEXT) || ' ended ' || coalesce(end_cause, 'never') || ' generation ' || coalesce(CAST(refresh_generation AS TEXT), '-') || ' idle ' || coalesce(CAST(refresh_expires_at AS TEXT), '-') FROM grants ORDER BY 1",
    "SELECT 'consent ' || person || ' ' || client || ' ' || resource || ' ' || scopes || ' ' || client_hash || ' doubt ' || coalesce(doubt, 'none') FROM consents ORDER BY 1",
    "SELECT 'once ' || purpose || ' ' || payload || ' until ' || CAST(expires_at AS TEXT) || ' used ' || coalesce(CAST(used_at AS TEXT), 'never') FROM one_time_values ORDER BY 1",
    "SELECT 'revocation ' || node || ' ' || CAST(issued_until AS TEXT) FROM revocations ORDER BY 1",
    "SELECT 'key ' || id || ' ' || state FROM signing_keys ORDER BY 1",
];

impl Installation {
    /// Everything that is kept, a line for each row.
    pub async fn state(&self) -> Vec<String> {
        let read = self.world().storage.read(|tx| {
            Box::pin(async move {
                let mut lines = Vec::new();
                for sql in QUESTIONS {
                    lines.extend(tx.rows(sql, &[], |row| row.text(0)).await?);
                }
                Ok::<_, StorageError>(lines)
            })
        });
        read.await.expect("storage can be read")
    }
}
