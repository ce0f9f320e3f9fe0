//! Identities in SQL: whatever happens between a batch and its commit, the tables end as a graph in memory does that saw the log once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;

use super::at;
use crate::domain::{
    identity::{
        external_id::ExternalId,
        graph::{Bar, Cause, Change, Graph, Mapping, Member, ProfileId},
        resolve::{Subject, Weight, resolve},
        rules::{Limit, RuleSettings, Rules, Window},
        split::{Merge, SplitError, take_away, unmerge},
    },
    profile::Collection,
    time::Timestamp,
};
use crate::storage::private_postgres::PrivateDatabase;
use crate::storage::{Database, MIGRATIONS, Storage, StorageError, Tx, consumers, identities};

const EVENTS: usize = 400;
const BATCH: usize = 17;

/// One entry of the log.
#[derive(Debug, Clone)]
enum Said {
    Event(Vec<ExternalId>),
    Unmerge(ProfileId, u64, ExternalId),
    TakeAway(ExternalId),
}

/// All that can be said of a profile and of what is one with it.
type Description = (Vec<Member>, Vec<Mapping>, Vec<(ProfileId, Bar)>);

fn rules() -> Rules {
    let limit = Limit { values_max: 3, window: Window::Ever };
    Rules::new(RuleSettings { other_limit: limit, ..RuleSettings::default() }).expect("valid")
}

fn cause(offset: u64) -> Cause {
    let at = Timestamp::from_seconds(offset.cast_signed());
    Cause { offset, at, source: "src_test".to_owned(), message_id: format!("m{offset}") }
}

fn change(rules: &Rules, graph: &Graph, merges: &[Merge], offset: u64, said: &Said) -> Result<Vec<Change>, SplitError> {
    match said {
        Said::Event(ids) => {
            let subject = Subject { ids: ids.clone(), weight: Weight::Binding };
            Ok(resolve(graph, rules, &cause(offset), 0, &subject).changes)
        }
        Said::Unmerge(_, edge_offset, id) => unmerge(graph, merges, *edge_offset, id).map(|change| vec![change]),
        Said::TakeAway(id) => take_away(graph, id).map(|change| vec![change]),
    }
}

/// A log of a small world, in which much meets, and the graph that it makes. Every tenth entry is an operator's.
fn log() -> (Vec<Said>, Graph, BTreeSet<ExternalId>) {
    let (mut log, mut graph, mut merges, mut ids) = (Vec::new(), Graph::default(), Vec::new(), BTreeSet::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let rules = rules();
    while log.len() < EVENTS {
        let types = ["user_id:u", "email:e@", "anonymous_id:a", "crm_id:c"];
        let mut external_id = || {
            let text = format!("{}{}", types[draw(types.len())], draw(40));
            ExternalId::parse(Collection::Users, &text).expect("the test writes ids")
        };
        let named = [external_id(), external_id()];
        let said = match (log.len() % 10, merges.len()) {
            (9, _) if draw(2) == 0 => Said::TakeAway(named[0].clone()),
            (9, 1..) => {
                let Merge { offset, edge } = &merges[draw(merges.len())];
                Said::Unmerge(edge.home, *offset, edge.id.clone())
            }
            _ => Said::Event(named.to_vec()),
        };
        for id in named {
            if !graph.knows(&id) {
                graph.note_unmapped(id.clone());
            }
            ids.insert(id);
        }
        let offset = log.len() as u64;
        for change in change(&rules, &graph, &merges, offset, &said).unwrap_or_default() {
            match &change {
                Change::Merged { edge, .. } => merges.push(Merge { offset, edge: edge.clone() }),
                Change::Unmerged { edge_offset, edge, .. } => {
                    merges.retain(|merge| merge.offset != *edge_offset || merge.edge.id != edge.id);
                }
                _ => {}
            }
            graph.apply(&cause(offset), std::slice::from_ref(&change));
        }
        log.push(said);
    }
    let bars = |id: &ExternalId| graph.home(id).map_or(0, |home| graph.component(home).bars.len());
    assert!(ids.iter().map(bars).max() > Some(1) && merges.len() > 10, "much is merged, and some of it taken apart");
    (log, graph, ids)
}

/// Takes the next batch of the log in; `false` at its end. As the stage of the profiles does it: cursor, load, decide, write, commit.
async fn step(storage: &Storage, log: Arc<[Said]>) -> Result<bool, StorageError> {
    storage
        .write(move |tx| {
            Box::pin(async move {
                let from = consumers::next(tx, "profiles", "events/0").await?;
                let batch = log.iter().enumerate().skip(from as usize).take(BATCH);
                let to = from + batch.len() as u64;
                if from == to {
                    return Ok(false);
                }
                if !consumers::advance(tx, "profiles", "events/0", from, to).await? {
                    return Err(StorageError::Serialization);
                }
                let (rules, mut graph, mut decided) = (rules(), Graph::default(), Vec::new());
                let named = batch.clone().flat_map(|(_, said)| match said {
                    Said::Event(ids) => ids.clone(),
                    Said::TakeAway(id) => vec![id.clone()],
                    Said::Unmerge(..) => vec![],
                });
                identities::load(tx, &mut graph, &named.collect::<Vec<_>>()).await?;
                for (offset, said) in batch {
                    let mut merges = Vec::new();
                    if let Said::Unmerge(profile, ..) = said {
                        identities::write_changes(tx, &std::mem::take(&mut decided)).await?;
                        merges = identities::load_profile(tx, &mut graph, *profile).await?.unwrap_or_default();
                    }
                    let cause = cause(offset as u64);
                    let changes = change(&rules, &graph, &merges, cause.offset, said).unwrap_or_default();
                    graph.apply(&cause, &changes);
                    decided.push((cause, changes));
                }
                identities::write_changes(tx, &decided).await?;
                Ok(true)
            })
        })
        .await
}

async fn stored(storage: &Storage, ids: BTreeSet<ExternalId>) -> Graph {
    let loaded = storage.read(move |tx: &mut Tx| {
        Box::pin(async move {
            let mut graph = Graph::default();
            identities::load(tx, &mut graph, &ids).await?;
            Ok::<_, StorageError>(graph)
        })
    });
    loaded.await.expect("it is readable")
}

fn described(graph: &Graph, ids: &BTreeSet<ExternalId>) -> BTreeMap<ExternalId, Option<Description>> {
    let described = |id| {
        let component = graph.component(graph.home(id)?).clone();
        let (mut mappings, mut bars) = (component.mappings, component.bars);
        mappings.sort();
        bars.sort();
        bars.dedup();
        Some((component.members, mappings, bars))
    };
    ids.iter().map(|id| (id.clone(), described(id))).collect()
}

async fn sqlite() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let database = Database::Sqlite { path: folder.path().join("deputy.db") };
    (folder, database)
}

#[tokio::test]
async fn rival_workers_make_one_graph() {
    let (log, graph, ids) = log();
    let log: Arc<[Said]> = log.into();
    let (_folder, sqlite) = sqlite().await;
    let private = PrivateDatabase::empty().await;
    for database in [sqlite, at(private.url())] {
        let storage = Storage::open(&database, MIGRATIONS).await.expect("it opens");
        let worker = || async {
            loop {
                match step(&storage, log.clone()).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
            }
        };
        join_all((0..3).map(|_| worker())).await;
        assert_eq!(described(&stored(&storage, ids.clone()).await, &ids), described(&graph, &ids));
        storage.close().await;
    }
}

#[tokio::test]
async fn a_crash_on_either_side_of_any_commit_makes_no_difference() {
    let (log, graph, ids) = log();
    let log: Arc<[Said]> = log.into();
    let (_folder, database) = sqlite().await;
    let mut commits = 0;
    loop {
        let storage = Storage::open(&database, MIGRATIONS).await.expect("it opens");
        let faults = storage.faults();
        commits += 1;
        if commits % 2 == 0 {
            faults.crash_before_commit(0)
        } else {
            faults.crash_after_commit(0)
        };
        let answer = step(&storage, log.clone()).await;
        storage.crash().await;
        assert!(answer.is_err(), "nobody is answered by the dead");
        if commits == 2 * EVENTS.div_ceil(BATCH) {
            break;
        }
    }
    let storage = Storage::open(&database, MIGRATIONS).await.expect("it opens");
    assert_eq!(step(&storage, log).await, Ok(false), "every second commit has counted");
    assert_eq!(described(&stored(&storage, ids.clone()).await, &ids), described(&graph, &ids));
    storage.close().await;
}

#[tokio::test]
async fn a_consumer_moves_only_from_where_it_is() {
    let (_folder, sqlite) = sqlite().await;
    let private = PrivateDatabase::empty().await;
    for database in [sqlite, at(private.url())] {
        let storage = Storage::open(&database, MIGRATIONS).await.expect("it opens");
        let done = storage.write(|tx| {
            Box::pin(async move {
                let mut moved = Vec::new();
                for (from, to) in [(5, 6), (0, 7), (0, 8), (6, 9), (7, 9)] {
                    moved.push(consumers::advance(tx, "profiles", "events/0", from, to).await?);
                }
                let next = consumers::next(tx, "profiles", "events/0").await?;
                Ok::<_, StorageError>((moved, next, consumers::next(tx, "profiles", "events/1").await?))
            })
        });
        assert_eq!(done.await, Ok((vec![false, true, false, false, true], 9, 0)));
        storage.close().await;
    }
}
