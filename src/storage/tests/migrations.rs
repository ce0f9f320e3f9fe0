//! What an earlier release wrote is read after the migrations that came since.

use super::{Database, MIGRATIONS, PrivateDatabase, Storage, StorageError, Tx, at};
use crate::domain::{
    client::ClientId,
    grant::RefreshFamily,
    id::{GrantKind, Id},
    risk::AgentRisk,
    time::Timestamp,
};
use crate::storage::{grants, risk, tx::Connection};

/// The migrations that a release had which knew risk of agents only.
const BEFORE_RISK_OF_PEOPLE: usize = 7;

#[tokio::test]
async fn consents_and_risks_of_agents_are_carried_on() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let earlier = Storage::open(&database, &MIGRATIONS[..BEFORE_RISK_OF_PEOPLE]).await.expect("an empty one opens");
        let (person, client) = (Id::from_bytes([7; 16]), ClientId::parse("an-agent").expect("a client"));
        let write = earlier.write(move |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO consents (person, client, resource, scopes, given_at, client_hash) VALUES ($1, 'an-agent', '', 'openid', 5, 'h')";
                tx.exec(sql, &[(&person.to_string()).into()]).await?;
                let state = r#"{"signals":[{"kind":"rate_jumped","event":"evt_00000000000000000000000000","at":5}],"rate":{"since_hour":1,"hour":2,"issued":3,"usual_thousandths":4}}"#;
                let sql = "INSERT INTO risk_states (agent, state, signalled_at) VALUES ('an-agent', $1, 5)";
                tx.exec(sql, &[state.into()]).await
            })
        });
        write.await.expect("it is written");
        earlier.close().await;

        let storage = Storage::open(&database, MIGRATIONS).await.expect("it is carried on");
        let read = storage.read(move |tx| {
            Box::pin(async move {
                let consent = grants::find_consent(tx, person, &client, None).await?;
                Ok::<_, StorageError>((consent, risk::list_agents(tx, "", 10).await?, risk::list_people(tx, "", 10).await?))
            })
        });
        let (consent, agents, people) = read.await.expect("it is read");
        assert!(consent.is_some_and(|consent| consent.doubt.is_none() && consent.given_at.0 == 5));
        let signals = |(_, risk): &(_, AgentRisk)| risk.signals().len();
        assert_eq!((agents.iter().map(signals).collect::<Vec<_>>(), people.len()), (vec![1], 0));
        storage.close().await;
    }
}

/// The migrations that a release had which knew the last rotation of a refresh family only.
const BEFORE_EARLIER_ROTATIONS: usize = 18;

#[tokio::test]
async fn a_refresh_family_goes_on_and_learns_its_earlier_rotation_with_the_next() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let private = PrivateDatabase::empty().await;
    for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
        let earlier = Storage::open(&database, &MIGRATIONS[..BEFORE_EARLIER_ROTATIONS]).await.expect("an empty one opens");
        let id: Id<GrantKind> = Id::from_bytes([7; 16]);
        let write = earlier.write(move |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO grants (id, client, scopes, created_at, expires_at, used_at, refresh_generation, \
                                               refresh_rotated_at, refresh_expires_at) \
                           VALUES ($1, 'an-agent', 'openid', 5, 1000, 5, 4, 50, 1000)";
                tx.exec(sql, &[(&id.to_string()).into()]).await
            })
        });
        write.await.expect("it is written");
        earlier.close().await;

        let storage = Storage::open(&database, MIGRATIONS).await.expect("it is carried on");
        let rotated = storage.write(move |tx| {
            Box::pin(async move {
                let before = grants::find(tx, id).await?.and_then(|grant| grant.refresh);
                assert!(grants::rotate(tx, id, 4, Timestamp(60), Timestamp(1000)).await?, "it is the live generation");
                Ok::<_, StorageError>((before, grants::find(tx, id).await?.and_then(|grant| grant.refresh)))
            })
        });
        let (before, after) = rotated.await.expect("it is read and rotated");
        let told = |family: RefreshFamily| (family.generation, family.rotated_at, family.rotated_before_at);
        assert_eq!(before.map(told), Some((4, Timestamp(50), None)));
        assert_eq!(after.map(told), Some((5, Timestamp(60), Some(Timestamp(50)))));
        storage.close().await;
    }
}

/// Each step that was ever the last one, with a row in each of its tables: all of them are there after the steps that came since, and
/// say what they said. A migration that moves something says so here.
#[tokio::test]
async fn whatever_an_earlier_release_wrote_is_carried_on() {
    for step in 1..MIGRATIONS.len() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let private = PrivateDatabase::empty().await;
        for database in [Database::Sqlite { path: folder.path().join("deputy.db") }, at(private.url())] {
            let earlier = Storage::open(&database, &MIGRATIONS[..step]).await.expect("an empty one opens");
            let write = earlier.write(move |tx| {
                Box::pin(async move {
                    let mut tables = Vec::new();
                    for name in tables_of(step) {
                        let table = Table::of(tx, name).await?;
                        tx.exec(table.insert(), &[]).await?;
                        let rows = tx.rows(table.read(), &[], |row| row.text(0)).await?;
                        assert!(!rows.is_empty(), "{name} has a row");
                        tables.push((table, rows));
                    }
                    Ok::<_, StorageError>(tables)
                })
            });
            let tables = write.await.unwrap_or_else(|error| panic!("step {step}: {error}"));
            assert!(tables.len() > 10, "tables are found");
            earlier.close().await;

            let storage = Storage::open(&database, MIGRATIONS).await.expect("it is carried on");
            let read = storage.read(move |tx| {
                Box::pin(async move {
                    for (table, rows) in tables {
                        assert_eq!(tx.rows(table.read(), &[], |row| row.text(0)).await?, rows, "{} from step {step}", table.name);
                    }
                    Ok::<_, StorageError>(())
                })
            });
            read.await.unwrap_or_else(|error| panic!("step {step}: {error}"));
            storage.close().await;
        }
    }
}

/// The tables of the first steps, each after those that it refers to.
fn tables_of(step: usize) -> Vec<&'static str> {
    let texts = MIGRATIONS[..step].iter().flat_map(|migration| migration.sql.split("CREATE TABLE ").skip(1));
    texts.map(|text| text.split([' ', '(']).next().expect("a table has a name")).collect()
}

/// A table as a release knew it: its columns with their types.
struct Table {
    name: &'static str,
    columns: Vec<(String, String)>,
}

impl Table {
    async fn of(tx: &mut Tx, name: &'static str) -> Result<Table, StorageError> {
        let sql = if matches!(tx.connection, Connection::PostgresWrite(_)) {
            "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
        } else {
            "SELECT name, type FROM pragma_table_info($1)"
        };
        let columns = tx.rows(sql, &[name.into()], |row| Ok((row.text(0)?, row.text(1)?.to_lowercase()))).await?;
        assert!(!columns.is_empty(), "{name} has columns");
        Ok(Table { name, columns })
    }

    /// A row whose every column is filled: all texts are the same, so that what refers to a row finds it.
    fn insert(&self) -> &'static str {
        let values = self.columns.iter().map(|(name, kind)| match kind.as_str() {
            "text" => "'k'",
            "integer" | "bigint" => "7",
            "blob" => "x'6b'",
            "bytea" => "'k'::bytea",
            "real" | "double precision" => "0.5",
            _ => panic!("{}.{name} is of a type that this test does not know: {kind}", self.name),
        });
        let names = self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        leak(format!("INSERT INTO {} ({names}) VALUES ({})", self.name, values.collect::<Vec<_>>().join(", ")))
    }

    /// Every row as one text, of these columns only.
    fn read(&self) -> &'static str {
        let texts = self.columns.iter().map(|(name, kind)| match kind.as_str() {
            "blob" => format!("coalesce(hex({name}), '')"),
            "bytea" => format!("coalesce(encode({name}, 'hex'), '')"),
            _ => format!("coalesce(CAST({name} AS TEXT), '')"),
        });
        leak(format!("SELECT {} FROM {} ORDER BY 1", texts.collect::<Vec<_>>().join(" || '|' || "), self.name))
    }
}

/// Storage takes texts that live as long as the program; these few do.
fn leak(sql: String) -> &'static str {
    Box::leak(sql.into_boxed_str())
}
