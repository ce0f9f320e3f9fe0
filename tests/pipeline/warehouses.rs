//! A warehouse is polled: each row once, whatever its cursor, and whatever happens on the way.

use std::time::Duration;

use deputy::{
    domain::refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE},
    events::ingest::warehouse,
    storage::{
        StorageError,
        warehouses::{self, Turn},
    },
    world::Progress,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{
    shaped::{Sender, published, topic},
    watch::Viewer,
};
use crate::support::{Answer, Installation, each_engine_with, postgres::PrivateDatabase};

const ALLOWED: &str = "internal_hosts = [\"127.0.0.1\"]\n";
const QUERY: &str = "SELECT id, user_id, event, total, updated_at FROM orders -- what was sold";

/// An organisation's own database, with a source that asks it.
struct Warehouse<'i> {
    database: PrivateDatabase,
    source: Sender<'i>,
    deputy: &'i Installation,
}

impl<'i> Warehouse<'i> {
    async fn new(deputy: &'i Installation) -> Warehouse<'i> {
        let warehouse =
            Warehouse { database: PrivateDatabase::empty().await, source: Sender::of_kind(deputy, "warehouse").await, deputy };
        warehouse
            .run("CREATE TABLE orders (id bigint PRIMARY KEY, user_id text, event text, total numeric, updated_at timestamptz)")
            .await;
        warehouse
    }

    fn path(&self) -> String {
        format!("/sources/{}/warehouse", self.source.id)
    }

    fn connection(&self) -> String {
        format!("{}?sslmode=disable", self.database.url())
    }

    /// What is asked by default, with these members changed.
    fn question(&self, changes: Value) -> Value {
        let mut question = json!({"connection": self.connection(), "query": QUERY, "cursor_column": "updated_at",
            "tie_breaker_column": "id"});
        let changes = changes.as_object().expect("an object").clone();
        question.as_object_mut().expect("an object").extend(changes);
        question
    }

    async fn set(&self, changes: Value) -> Value {
        self.deputy.operate("PUT", &self.path(), self.question(changes)).await.ok().json()
    }

    async fn show(&self) -> Value {
        self.deputy.operate("GET", &self.path(), Value::Null).await.ok().json()
    }

    async fn run(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.database.url()).await.expect("the database answers");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("the statement is right");
        connection.close().await.expect("the database is there");
    }

    /// Rows that were all changed at this moment.
    async fn sell(&self, ids: std::ops::RangeInclusive<u32>, at: &str) {
        let (first, last) = ids.into_inner();
        let values = format!("SELECT n, 'user ' || n % 7, 'Sold', n * 1.10, '{at}' FROM generate_series({first}, {last}) AS n");
        self.run(&format!("INSERT INTO orders {values}")).await;
    }

    /// The totals of what was published, in order; each total is of one row.
    async fn totals(&self) -> Vec<f64> {
        let events = published(self.deputy).await;
        let mut totals: Vec<_> =
            events.iter().filter_map(|event| event["data"]["message"]["properties"]["total"].as_f64()).collect();
        totals.sort_by(f64::total_cmp);
        totals
    }
}

fn totals_of(ids: impl IntoIterator<Item = u32>) -> Vec<f64> {
    ids.into_iter().map(|id| format!("{}", f64::from(id * 110) / 100.0).parse().expect("a number")).collect()
}

#[tokio::test]
async fn each_row_becomes_one_event_also_where_many_have_one_cursor() {
    each_engine_with(ALLOWED, async |deputy| {
        let orders = Warehouse::new(&deputy).await;
        // More rows of one cursor than a page holds, between others.
        orders.sell(1..=400, "2026-11-20 10:00:00+00").await;
        orders.sell(401..=2_700, "2026-11-20 10:00:00.000001+00").await;
        orders.sell(2_701..=2_702, "2026-11-20 10:00:01+00").await;
        let set = orders.set(json!({})).await;
        assert_eq!((&set["rows_read"], &set["read_up_to"]), (&json!(0), &Value::Null));
        let sample = json!({"type": "track", "userId": "user 1", "event": "Sold",
            "properties": {"id": 1, "total": 1.10, "updated_at": "2026-11-20T10:00:00+00:00"}});
        assert_eq!((set["rows"].as_array().map(Vec::len), &set["rows"][0]["events"][0]), (Some(5), &sample));
        let totals = orders.totals().await;
        assert!(totals == totals_of(1..=2_702), "{} of 2,702 rows", totals.len());
        let shown = orders.show().await;
        assert_eq!((&shown["rows_read"], &shown["failure"]), (&json!(2_702), &Value::Null));
        assert_eq!(shown["read_up_to"], "2026-11-20 10:00:01+00");

        // Nothing is read before its time, and then only what is new: also another row of the last cursor.
        orders.sell(2_703..=2_703, "2026-11-20 10:00:01+00").await;
        assert_eq!(orders.totals().await.len(), 2_702);
        deputy.later(60);
        assert!(orders.totals().await == totals_of(1..=2_703), "with the row that came late");
        orders.run("UPDATE orders SET total = 9999, updated_at = '2026-11-20 11:00:00+00' WHERE id = 3").await;
        deputy.later(60);
        assert_eq!((orders.totals().await.len(), orders.totals().await.last().copied()), (2_704, Some(9999.0)));
        let first = &published(&deputy).await[0]["data"]["message"];
        assert_eq!(first["timestamp"], "2026-11-20T10:00:00.000Z", "it happened when its cursor says");
        let stored = topic(&deputy, "received").await.concat() + &topic(&deputy, "facts").await.concat();
        assert!(
            !stored.contains("sslmode") && !orders.show().await.to_string().contains("postgres://"),
            "the connection is a secret"
        );
    })
    .await;
}

#[tokio::test]
async fn rows_that_are_read_again_after_a_crash_are_the_same_events() {
    for on_postgres in [false, true] {
        let mut deputy = match on_postgres {
            true => Installation::start_on_postgres(ALLOWED).await,
            false => Installation::start_with(ALLOWED).await,
        };
        let database = {
            let orders = Warehouse::new(&deputy).await;
            orders.sell(1..=1_500, "2026-11-20 10:00:00+00").await;
            orders.set(json!({})).await;
            // The rows are durable; the position behind them never is. The first commit is the claim of the turn.
            deputy.world().storage.faults().crash_before_commit(1);
            let world = deputy.world();
            let step = warehouse::step(world, world.now()).await;
            assert!(step.is_err(), "the process is dead: {step:?}");
            assert_eq!(orders.source.received().await.len(), 1_000, "a page came in");
            orders.database
        };
        deputy.crash().await;
        deputy.later(61);
        assert_eq!(topic(&deputy, "received").await.len(), 1_000);
        let events = published(&deputy).await;
        assert_eq!(topic(&deputy, "received").await.len(), 2_500, "the page was read again");
        assert_eq!(events.len(), 1_500, "and is the same events");
        drop(database);
    }
}

#[tokio::test]
async fn a_warehouse_that_is_away_is_told_and_asked_again_and_keeps_no_other_waiting() {
    each_engine_with(ALLOWED, async |deputy| {
        let (away, here) = (Warehouse::new(&deputy).await, Warehouse::new(&deputy).await);
        away.sell(1..=2, "2026-11-20 10:00:00+00").await;
        away.set(json!({"interval_s": 300})).await;
        here.sell(11..=12, "2026-11-20 10:00:00+00").await;
        here.set(json!({"interval_s": 300})).await;
        away.database.go_away().await;
        assert_eq!(here.totals().await, totals_of(11..=12));
        let shown = away.show().await;
        let told = shown["failure"].as_str().unwrap_or_default();
        assert!(told.contains("does not exist") && shown["failing_since"].is_string(), "{shown}");
        assert!(!shown.to_string().contains(&away.connection()), "{shown}");
        // Later and later.
        deputy.later(4);
        deputy.settle().await;
        assert_eq!(away.show().await["polled_at"], shown["polled_at"]);
        deputy.later(1);
        deputy.settle().await;
        let again = away.show().await;
        assert_ne!(again["polled_at"], shown["polled_at"]);
        assert_eq!((&again["failing_since"], &again["rows_read"]), (&shown["failing_since"], &json!(0)));
        away.database.come_back().await;
        deputy.later(9);
        assert_eq!(away.totals().await.len(), 2, "it waits for twice as long");
        deputy.later(1);
        assert_eq!(away.totals().await, totals_of([1, 2, 11, 12]));
        assert_eq!((&away.show().await["failure"], &away.show().await["failing_since"]), (&Value::Null, &Value::Null));
    })
    .await;
}

#[tokio::test]
async fn a_transformation_says_what_rows_mean_and_all_types_have_a_form() {
    let deputy = Installation::start_with(ALLOWED).await;
    let things = Warehouse::new(&deputy).await;
    things
        .run(
            "CREATE TABLE things (n int, key uuid, flag boolean, exact numeric(30,2), day date, at timestamptz, doc jsonb, tags text[], \
             none text, \"Odd \"\"name\"\"\" int);
             INSERT INTO things VALUES (1, '00000000-0000-0000-0000-00000000000a', true, 12345678901234567890.10, '2026-01-02', \
             '2026-01-02 03:04:05.678+00', '{\"a\": [1, {\"b\": null}]}', '{x,y}', NULL, 7), \
             (2, '00000000-0000-0000-0000-00000000000b', NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL), \
             (NULL, '00000000-0000-0000-0000-00000000000c', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (3, '00000000-0000-0000-0000-00000000000d', NULL, NULL, NULL, NULL, NULL, NULL, repeat('x', 40000), NULL)",
        )
        .await;
    let program = "row = object!(.row)\n. = {\"type\": \"track\", \"userId\": \"u\", \"event\": \"Thing\", \"properties\": row}";
    let new = json!({"name": "Map", "program": program, "sources": [things.source.id]});
    deputy.operate("POST", "/transformations", new).await.ok();
    let question = json!({"query": "SELECT * FROM things", "cursor_column": "n", "tie_breaker_column": "key"});
    let tried = deputy.operate("POST", &format!("{}/test", things.path()), things.question(question.clone())).await.ok().json();
    assert_eq!(tried["rows"].as_array().map(Vec::len), Some(3), "{tried}");
    assert_eq!(tried["rows"][0]["events"][0]["event"], "Thing");
    assert_eq!((&tried["rows"][2]["row"], tried["rows"][2]["failure"].is_string()), (&Value::Null, true));
    things.set(question).await;
    let events = published(&deputy).await;
    let properties: Vec<_> = events.iter().map(|event| &event["data"]["message"]["properties"]).collect();
    assert_eq!(properties.len(), 2, "one has no cursor, one is too large: {events:?}");
    let expected = json!({"n": 1, "key": "00000000-0000-0000-0000-00000000000a", "flag": true, "exact": 12345678901234567890.10,
        "day": "2026-01-02", "at": "2026-01-02T03:04:05.678+00:00", "doc": {"a": [1, {"b": null}]}, "tags": ["x", "y"], "none": null,
        "Odd \"name\"": 7});
    assert_eq!(properties[0], &expected);
    assert_eq!(properties[1]["exact"], "NaN");
    assert_eq!((&things.show().await["rows_read"], &things.show().await["rows_unfit"]), (&json!(3), &json!(1)));
    things.set(json!({"query": "SELECT * FROM things", "cursor_column": "Odd \"name\"", "tie_breaker_column": "key"})).await;
}

#[tokio::test]
async fn a_viewer_sees_rows_come_in_and_which_ones_cannot() {
    let deputy = Installation::start_with(ALLOWED).await;
    let orders = Warehouse::new(&deputy).await;
    orders.sell(1..=1, "2026-11-20 10:00:00+00").await;
    orders.run("INSERT INTO orders VALUES (2, 'u', repeat('x', 40000), 1, '2026-11-20 11:00:00+00')").await;
    orders.set(json!({})).await;
    let mut viewer = Viewer::operator(&deputy, &orders.source.id, 0).await;
    deputy.settle().await;
    let (stage, refused) = viewer.next().await;
    let told = (stage.as_str(), &refused["reason"], &refused["detail"]);
    assert_eq!(told, ("refused", &json!("too_large"), &json!("the row whose updated_at is 2026-11-20 11:00:00+00")));
    let (stage, accepted) = viewer.next().await;
    assert_eq!((stage.as_str(), &accepted["message"]["row"]["total"]), ("accepted", &json!(1.10)), "{accepted}");
    let (stage, published) = viewer.next().await;
    assert_eq!((stage.as_str(), &published["published_as"][0]["event"]), ("published", &json!("Sold")), "{published}");
}

#[tokio::test]
async fn young_rows_wait_until_slow_transactions_have_come_to_their_end() {
    let deputy = Installation::start_with(ALLOWED).await;
    let orders = Warehouse::new(&deputy).await;
    orders.run("INSERT INTO orders VALUES (1, 'u', 'Sold', 1, now() - interval '1 hour'), (2, 'u', 'Sold', 2, now())").await;
    orders.set(json!({"settle_s": 600})).await;
    assert_eq!(orders.totals().await, [1.0]);
    // One that began before, and ends now.
    orders.run("INSERT INTO orders VALUES (3, 'u', 'Sold', 3, now() - interval '50 minutes')").await;
    orders.set(json!({"settle_s": 0})).await;
    assert_eq!(orders.totals().await, [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn reading_begins_where_an_operator_says_and_goes_on_where_it_was() {
    let deputy = Installation::start_with(ALLOWED).await;
    let orders = Warehouse::new(&deputy).await;
    orders.sell(1..=3, "2026-11-20 10:00:00+00").await;
    orders.sell(4..=5, "2026-11-20 11:00:00+00").await;
    let set = orders.set(json!({"start_after": "2026-11-20 10:00:00+00"})).await;
    assert_eq!((set["rows"].as_array().map(Vec::len), &set["read_up_to"]), (Some(2), &json!("2026-11-20 10:00:00+00")));
    assert_eq!(orders.totals().await, totals_of(4..=5));
    // Without a connection, the one before stays; a change loses no place.
    let mut question = orders.question(json!({"interval_s": 5}));
    question.as_object_mut().expect("an object").remove("connection");
    let changed = deputy.operate("PUT", &orders.path(), question).await.ok().json();
    assert_eq!((&changed["interval_s"], &changed["read_up_to"]), (&json!(5), &json!("2026-11-20 11:00:00+00")));
    assert_eq!(orders.totals().await.len(), 2);
    // By other columns, it begins anew, and what was an event before is one still.
    orders.set(json!({"cursor_column": "id", "tie_breaker_column": "id"})).await;
    assert_eq!(orders.totals().await.len(), 5 + 2, "a row's place is part of what it is");
    deputy.operate("PATCH", &format!("/sources/{}", orders.source.id), json!({"disabled": true})).await.ok();
    orders.sell(6..=6, "2026-11-20 11:00:00+00").await;
    deputy.later(600);
    assert_eq!(orders.totals().await.len(), 7, "a disabled source is not asked");
    let world = deputy.world();
    let step = deputy.without_storage(warehouse::step(world, world.now())).await;
    assert!(matches!(step, Ok(Progress::Idle)), "nor is anything written, again and again, because it is due: {step:?}");
    deputy.operate("DELETE", &format!("/sources/{}", orders.source.id), Value::Null).await.ok();
    deputy.settle().await;
}

#[tokio::test]
async fn two_nodes_take_turns() {
    let deputy = Installation::start_on_postgres(ALLOWED).await;
    let node = deputy.beside().await;
    let orders = Warehouse::new(&deputy).await;
    orders.sell(1..=3, "2026-11-20 10:00:00+00").await;
    orders.set(json!({})).await;
    let now = deputy.world().now();
    let (ours, theirs) = (deputy.world(), node.world());
    let (ours, theirs) = futures_util::join!(warehouse::step(ours, now), warehouse::step(theirs, now));
    assert!(ours.is_ok() && theirs.is_ok(), "{ours:?} {theirs:?}");
    let read = topic(&deputy, "received").await.len() + topic(&node, "received").await.len();
    assert_eq!(read, 3, "one of them read all");

    // One falls asleep in its turn; when it wakes up, another has gone on.
    deputy.later(60);
    let storage = &deputy.world().storage;
    let now = deputy.world().now();
    let claim = storage.write(move |tx| {
        Box::pin(async move { warehouses::claim_due(tx, "a sleeper", now, now.plus(Duration::from_secs(60)), 1).await })
    });
    let asleep: Vec<_> = claim.await.expect("storage is there");
    orders.sell(4..=6, "2026-11-20 10:00:00+00").await;
    deputy.settle().await;
    assert_eq!(orders.show().await["rows_read"], 3, "it is the sleeper's turn");
    deputy.later(60);
    deputy.settle().await;
    assert_eq!(orders.show().await["rows_read"], 6);
    let late = Turn::Read { up_to: asleep[0].read.clone(), rows: 1, rows_unfit: 0 };
    let end = storage.write(move |tx| Box::pin(async move { warehouses::end_turn(tx, &asleep[0], &late, now, now).await }));
    let is_ours: Result<bool, StorageError> = end.await;
    assert_eq!(is_ours, Ok(false));
    assert_eq!(orders.show().await["rows_read"], 6, "it changes nothing");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_when_it_is_set() {
    let deputy = Installation::start_with(ALLOWED).await;
    let orders = Warehouse::new(&deputy).await;
    let server = Sender::new(&deputy).await;
    let url = orders.database.url();
    let elsewhere = url.replace("127.0.0.1", "192.0.2.1");
    let stranger = url.replace("deputy:", "nobody:");
    let cases: Vec<(Value, &str)> = vec![
        (json!({"connection": "mysql://a:b@127.0.0.1/x"}), "connection is wrong"),
        (json!({"connection": null}), "connection is missing"),
        (json!({"connection": elsewhere}), "internal_hosts"),
        (json!({"connection": url}), "TLS"),
        (json!({"connection": format!("{stranger}?sslmode=disable")}), "nobody"),
        (json!({"query": " "}), "query must have"),
        (json!({"query": "SELECT 1 FROM nothing"}), "nothing"),
        (json!({"query": "SELECT 1; DROP TABLE orders"}), "refuses"),
        (json!({"query": "DELETE FROM orders RETURNING id, updated_at"}), "refuses"),
        (json!({"query": "SELECT * FROM orders) AS q; DROP TABLE orders; SELECT (1"}), "refuses"),
        (json!({"query": "WITH x AS (UPDATE orders SET id = 1 RETURNING *) SELECT * FROM x"}), "refuses"),
        (json!({"query": "SELECT id, updated_at, 'a secret row'::int FROM orders"}), "refuses"),
        (json!({"cursor_column": "missing"}), "missing"),
        (json!({"cursor_column": "user_id"}), "cannot be the cursor"),
        (json!({"tie_breaker_column": "total"}), "cannot say a position"),
        (json!({"cursor_column": ""}), "cursor_column must have"),
        (json!({"interval_s": 1}), "interval_s must be"),
        (json!({"settle_s": 10_000}), "settle_s at most"),
        (json!({"start_after": "yesterday morning"}), "start_after must be a value of updated_at, whose type is timestamptz."),
        (json!({"query": "SELECT id, updated_at, 1 / (id - 1) AS share FROM orders"}), "failed at a row"),
    ];
    orders.sell(1..=1, "2026-11-20 10:00:00+00").await;
    for (changes, told) in cases {
        for (method, path) in [("PUT", "/sources/{}/warehouse"), ("POST", "/sources/{}/warehouse/test")] {
            let path = path.replace("{}", &orders.source.id);
            let answer =
                deputy.operate(method, &path, orders.question(changes.clone())).await.refused(400, ADMIN_VALUE.code.as_str());
            let description = answer.text("error_description");
            assert!(description.contains(told), "{changes}: {description}");
            assert!(!description.contains("a secret row") && !description.contains(&password(&url)), "{description}");
        }
    }
    let other = format!("/sources/{}/warehouse", server.id);
    deputy.operate("PUT", &other, orders.question(json!({}))).await.refused(400, ADMIN_VALUE.code.as_str());
    deputy.operate("GET", &orders.path(), Value::Null).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
    let unknown: Answer = deputy.operate("PUT", "/sources/src_unknown/warehouse", orders.question(json!({}))).await;
    unknown.refused(404, ADMIN_NOT_FOUND.code.as_str());
    orders.set(json!({})).await;
    assert_eq!(deputy.facts_of("source.changed.v1").await, [json!({"source": orders.source.id, "change": "warehouse"})]);
}

fn password(url: &str) -> String {
    url.split(['/', ':', '@']).nth(4).expect("a URL with a password").to_owned()
}
