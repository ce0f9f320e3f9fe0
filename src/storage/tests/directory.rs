//! What is kept in memory, and what is read each time.

use super::{Database, MIGRATIONS, Storage};
use crate::{
    domain::client::ClientId,
    storage::{StorageError, Tx},
};

/// Behind the memory's back, as nobody does but this test.
async fn disable_all(tx: &mut Tx) -> Result<u64, StorageError> {
    tx.exec("UPDATE clients SET disabled_at = 2", &[]).await
}

#[tokio::test]
async fn a_client_that_came_by_itself_and_says_much_is_read_each_time() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let database = Database::Sqlite { path: folder.path().join("deputy.db") };
    let storage = Storage::open(&database, MIGRATIONS).await.expect("a new file opens");
    let said = |text: &str| {
        format!(
            r#"{{"client_name":"{text}","redirect_uris":[],"grant_types":[],"token_endpoint_auth_method":"none",
            "auth_method_chosen":true,"application_type":"web"}}"#
        )
    };
    let (little, much) = (said("Little"), said(&"x".repeat(4 * 1024)));
    let insert = storage.write(move |tx| {
        Box::pin(async move {
            for (id, origin, metadata) in
                [("little", "dynamic", &little), ("much", "dynamic", &much), ("chosen", "operator", &much)]
            {
                let sql = "INSERT INTO clients (id, origin, metadata, created_at, fresh_until) VALUES ($1, $2, $3, 1, 1)";
                tx.exec(sql, &[id.into(), origin.into(), metadata.into()]).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    insert.await.expect("they are written");
    let ids = ["little", "much", "chosen"].map(|id| ClientId::parse(id).expect("a client"));
    for id in &ids {
        storage.client(id).await.expect("it can be read").expect("it is there");
    }
    storage.write(|tx| Box::pin(disable_all(tx))).await.expect("it is written");
    let mut read_again = Vec::new();
    for id in &ids {
        read_again.push(storage.client(id).await.expect("it can be read").expect("it is there").is_disabled());
    }
    assert_eq!(read_again, [false, true, false]);
    storage.close().await;
}
