//! `deputy events watch`: what a source sends and what becomes of it, as it happens.
//! [Server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html)

use std::time::Duration;

use clap::Args;
use deputy::config::Settings;
use serde_json::Value;

use super::super::Failure;
use super::super::admin::{Admin, AdminArgs};
use super::super::output::{self, Reader, plain};
use super::super::terminal::{Terminal, Tone};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Its source_id, as `deputy sources list` shows it
    source: String,
    /// Begin with so many of its last events
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=100))]
    last: u16,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The server says something every 15 seconds; silence for longer is a broken line.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The longest event: a message, and what it was made into.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// The columns before the words: the moment, and the stage.
const STAGE_WIDTH: usize = 10;
const WORDS_AT: usize = 8 + 2 + STAGE_WIDTH + 2;

pub(crate) async fn run(args: &WatchArgs, settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let mut response = admin.open_stream(&["sources", &args.source, "watch"], &[("last", &args.last.to_string())]).await?;
    let (reader, terminal) = (admin.reader(), Terminal::of_stdout());
    let mut frames = Frames::default();
    loop {
        let broke_off = || Failure("the server has fallen silent; it may have stopped".to_owned());
        let chunk = tokio::time::timeout(SILENCE_MAX, response.chunk()).await.map_err(|_| broke_off())?;
        let Some(chunk) = chunk.map_err(|error| Failure::because("the view broke off", &error.without_url()))? else {
            return Err(broke_off());
        };
        for (name, data) in frames.add(&chunk)? {
            if name == "end" {
                return Err(Failure(words(&data).trim_end_matches('.').to_owned()));
            }
            let line = match reader {
                Reader::Program => format!("{}\n", serde_json::json!({"stage": name, "data": data})),
                Reader::Person => line(&name, &data, terminal),
            };
            output::print(&line)?;
        }
    }
}

/// What has come of the stream and is no whole event yet.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    /// The events that are whole with this: each one's name and data. Comments say nothing.
    fn add(&mut self, chunk: &[u8]) -> Result<Vec<(String, Value)>, Failure> {
        self.0.extend_from_slice(chunk);
        let mut events = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let frame: Vec<u8> = self.0.drain(..end + 2).collect();
            let frame = String::from_utf8_lossy(&frame);
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            if let (Some(name), Some(data)) = (field("event"), field("data")) {
                events.push((name.to_owned(), serde_json::from_str(data).unwrap_or_default()));
            }
        }
        if self.0.len() > EVENT_BYTES_MAX {
            return Err(Failure("what the server sends is no view of a source".to_owned()));
        }
        Ok(events)
    }
}

/// The line of an event for people.
fn line(name: &str, data: &Value, terminal: Terminal) -> String {
    let tone = match name {
        "accepted" | "published" => Tone::Good,
        "refused" | "kept_aside" | "lost" => Tone::Bad,
        _ => Tone::Faint,
    };
    let time = data["at"].as_str().and_then(|at| at.split('T').nth(1)).and_then(|time| time.get(..8)).unwrap_or("        ");
    let mut words = terminal.wrap(&plain(&words(data)), WORDS_AT).into_iter();
    let stage = terminal.paint(tone, &format!("{:STAGE_WIDTH$}", plain(name)));
    let mut text = format!("{}  {stage}  {}", terminal.paint(Tone::Faint, &plain(time)), words.next().unwrap_or_default());
    for rest in words {
        text += &format!("\n{:WORDS_AT$}{rest}", "");
    }
    text.trim_end().to_owned() + "\n"
}

/// What there is to say beside the stage: which message, what it is, and why.
fn words(data: &Value) -> String {
    if let Some(count) = data["count"].as_u64() {
        return format!("{count} more came too fast to be shown");
    }
    let call = |message: &Value| {
        let told = ["type", "event", "name"].into_iter().filter_map(|member| message[member].as_str());
        told.collect::<Vec<_>>().join(" ")
    };
    let made = data["published_as"].as_array().map(|made| format!("as {}", made.iter().map(call).collect::<Vec<_>>().join(", ")));
    let text = |member: &str| data[member].as_str().map(str::to_owned);
    let why = match (text("reason"), text("detail")) {
        (Some(reason), Some(detail)) => Some(format!("{reason}: {detail}")),
        (reason, detail) => reason.or(detail),
    };
    let message = data["message"].is_object().then(|| call(&data["message"]));
    [text("message_id"), message, made, why, text("why")].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_whole_however_the_stream_is_cut() {
        let stream = b": looking on\n\nevent: accepted\ndata: {\"message_id\":\"m1\"}\n\nevent: lost\ndata: {\"count\":3}\n\n";
        let expected = [("accepted".to_owned(), json!({"message_id": "m1"})), ("lost".to_owned(), json!({"count": 3}))];
        for cut in 0..stream.len() {
            let mut frames = Frames::default();
            let mut events = frames.add(&stream[..cut]).expect("it is short");
            events.extend(frames.add(&stream[cut..]).expect("it is short"));
            assert_eq!(events, expected, "cut at {cut}");
        }
    }

    #[test]
    fn each_stage_is_a_line_and_nobody_steers_the_terminal() {
        let at = "2026-11-23T16:05:00.123Z";
        let message = json!({"type": "track", "event": "Order\u{1b}[31m Completed"});
        for (name, data, expected) in [
            (
                "accepted",
                json!({"at": at, "message_id": "m1", "message": message}),
                "16:05:00  accepted    m1  track Order\u{fffd}[31m Completed\n",
            ),
            ("published", json!({"at": at, "message_id": "m1"}), "16:05:00  published   m1\n"),
            (
                "published",
                json!({"at": at, "message_id": "m1", "published_as": [{"type": "page"}]}),
                "16:05:00  published   m1  as page\n",
            ),
            (
                "refused",
                json!({"at": at, "reason": "no_identifier", "detail": "message 2 of the request"}),
                "16:05:00  refused     no_identifier: message 2 of the request\n",
            ),
            ("lost", json!({"count": 7}), "          lost        7 more came too fast to be shown\n"),
        ] {
            assert_eq!(line(name, &data, Terminal::plain(90)), expected);
        }
    }
}
