//! `deputy events consumers`, `pause`, `resume` and `replay`: who reads the log, how far they have come, and what is done to them.

use clap::Args;
use deputy::config::Settings;
use deputy::domain::time::Timestamp;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::admin::{Admin, AdminArgs};
use super::super::output::Column;
use super::place::{self, Beginning};

#[derive(Debug, Args)]
pub(crate) struct ConsumersArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OneConsumer {
    /// Its name, as `deputy events consumers` shows it
    consumer: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  deputy events replay profiles --from 2026-11-01
  What a consumer has acted on it does not act on again. Computed traits count what came before them.")]
pub(crate) struct ReplayArgs {
    /// Its name, as `deputy events consumers` shows it
    consumer: String,
    /// From here: an offset (1200), a moment in UTC (2026-11-23T16:05), or how long ago (15m, 2h, 3d)
    #[arg(long, value_name = "PLACE", value_parser = place::from)]
    from: Beginning,
    /// The partition in which an offset counts [default: the first]
    #[arg(long)]
    partition: Option<u16>,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: &[Column] = &[
    ("CONSUMER", "consumer"),
    ("TOPIC", "topic"),
    ("PARTITION", "partition"),
    ("NEXT", "next"),
    ("END", "end"),
    ("LAG", "lag"),
    ("SECONDS", "lag_s"),
    ("LOST", "trimmed_unread"),
    ("STATE", "state"),
];

pub(crate) async fn list(args: &ConsumersArgs, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    admin.table(&admin.get(&["consumers"]).await?, rows, COLUMNS)
}

pub(crate) async fn pause(args: &OneConsumer, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let answer = admin.post(&["consumers", &args.consumer, "pause"], &json!({})).await?;
    admin.done(&format!("{} stands still; what comes meanwhile waits in the log.", args.consumer), &answer)
}

pub(crate) async fn resume(args: &OneConsumer, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let answer = admin.post(&["consumers", &args.consumer, "resume"], &json!({})).await?;
    admin.done(&format!("{} goes on.", args.consumer), &answer)
}

pub(crate) async fn replay(args: &ReplayArgs, now: Timestamp, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let time = |moment: Timestamp| json!({"from_time": moment.to_iso_8601()});
    let mut from = match args.from {
        Beginning::Offset(offset) => json!({"from_offset": offset}),
        Beginning::Moment(moment) => time(moment),
        Beginning::Ago(duration) => time(now.minus(duration)),
    };
    if let Some(partition) = args.partition {
        from["partition"] = json!(partition);
    }
    let answer = admin.post(&["consumers", &args.consumer, "replay"], &from).await?;
    admin.done(&format!("{} reads again; `deputy events consumers` shows how far it is.", args.consumer), &answer)
}

/// A row for each input.
fn rows(consumers: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for consumer in consumers["items"].as_array().into_iter().flatten() {
        if consumer["reads_elsewhere"] == true {
            rows.push(json!({"consumer": consumer["consumer"], "state": "reads the log of another process: ask there"}));
        }
        for input in consumer["inputs"].as_array().into_iter().flatten() {
            let mut row = input.clone();
            row["consumer"] = consumer["consumer"].clone();
            row["state"] = state(consumer, input).into();
            rows.push(row);
        }
    }
    rows
}

fn state(consumer: &Value, input: &Value) -> String {
    if let Some(since) = consumer["paused_at"].as_str() {
        return format!("paused since {since} by {}", consumer["paused_by"].as_str().unwrap_or("nobody"));
    }
    match (input["replay"]["until"].as_u64(), input["waits_for"].as_str()) {
        (Some(until), _) => format!("reads again, to {until}"),
        (None, Some(other)) => format!("waits for {other}"),
        (None, None) => "runs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_is_a_row_with_what_its_consumer_does() {
        let input = |replay: Value| json!({"topic": "events", "partition": 0, "next": 5, "end": 9, "lag": 4, "replay": replay});
        let told = rows(&json!({"items": [
            {"consumer": "risk", "paused_at": "2026-11-23T16:05:00Z", "paused_by": "opr_1", "inputs": [input(Value::Null)]},
            {"consumer": "profiles", "inputs": [input(json!({"from": 0, "until": 7})), input(Value::Null)]},
        ]}));
        let states: Vec<_> =
            told.iter().map(|row| (row["consumer"].as_str(), row["state"].as_str(), row["lag"].as_u64())).collect();
        let expected = [
            (Some("risk"), Some("paused since 2026-11-23T16:05:00Z by opr_1"), Some(4)),
            (Some("profiles"), Some("reads again, to 7"), Some(4)),
            (Some("profiles"), Some("runs"), Some(4)),
        ];
        assert_eq!(states, expected);
    }
}
