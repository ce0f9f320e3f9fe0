//! Shaping: what becomes of a source's messages between the record of what came in and the events that all others read.
//!
//! In this order: the source's filter, its transformation, its tracking plan. A row of a warehouse that has no transformation becomes
//! a message by the names of its columns. A message for which there is nothing to do goes on as the bytes that came, untouched. What
//! does not go on is either dropped because a program said so, or kept aside with the reason: a program that fails, is stopped, or
//! makes something that is no message; a filter that fails (it lets nothing pass then); a plan that blocks. Nothing is lost.
//!
//! The result depends on the messages and on the configuration of the moment, and changes nothing: whoever asks commits what came
//! of it together with having read the messages, so that each is shaped once, as far as anybody can see. The identifiers of what is
//! made here are derived from the message's, so that a second shaping gives the same.
//!
//! Programs and plans may take long. When `SHAPING_TIME` is over, the messages that are left are for the next batch: what is done goes on,
//! and whatever an operator changed meanwhile, such as a program that they disabled, holds for the rest.
//!
//! An error means that nothing can be said now; come again with the same messages.

/// What a program made, as a message again.
mod output;
/// What a plan says of a message, as a message.
mod violation;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    domain::{
        event::Fact,
        id::{Id, SourceKind},
        json::Json,
        source::Producer,
        time::Timestamp,
        tracking_plan::{CompiledPlan, Decision},
        warehouse,
    },
    log::LogError,
    sandbox::{Outcome, Program},
    world::{StageError, World, shapes::Shape, shapes::Shapes},
};

/// Violations that are told of all that was made of one message.
const VIOLATIONS_MAX: usize = 20;
/// When no further message is begun: by the machine's own time, for it is the machine that is kept busy.
const SHAPING_TIME: Duration = Duration::from_millis(250);
/// How many messages are shaped before the time is looked at. Then twice as many as long as they are quick, and half as many where not.
const SHARE_FIRST: usize = 16;
/// A share that takes less than this part of the time is a quick one, as a divisor.
const QUICK: u32 = 8;

/// A message that came in, in the form that `events::ingest` gives it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'m> {
    pub source: Id<SourceKind>,
    pub message: &'m Json,
}

impl<'m> Received<'m> {
    /// The message of a fact, if it is one that came in.
    pub fn of(fact: &'m Fact) -> Option<Received<'m>> {
        match fact {
            Fact::EventReceived { source, message, .. } => Some(Received { source: *source, message }),
            _ => None,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shaped {
    pub goes_on: GoesOn,
    /// `Violation Generated` events of the same source, to be published with it.
    pub violations: Vec<Json>,
    pub aside: Vec<KeptAside>,
}

/// What goes on in place of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum GoesOn {
    /// The message, as it came.
    #[default]
    Itself,
    /// These messages of the same source, each with a message id of its own; none if it was dropped or kept aside.
    These(Vec<Json>),
}

/// Something that does not go on and is not lost.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAside {
    pub source: Id<SourceKind>,
    pub reason: Reason,
    /// For the operator who looks into it; may quote the message, so it is for no log line.
    pub detail: String,
    /// The message as it was when it was stopped.
    pub message: Json,
}

/// Why something is kept aside. The words are the labels of a metric, and so a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    FilterFailed,
    TransformationFailed,
    /// The program was stopped at a bound of time or memory.
    TransformationStopped,
    /// What the program made is no message.
    TransformationOutput,
    /// A webhook's source has no transformation that makes messages of what comes.
    WebhookUnmapped,
    /// A row of a warehouse is no message by its columns, and the source has no transformation.
    WarehouseUnmapped,
    PlanBlocked,
    /// This version cannot read the plan that was saved.
    PlanUnreadable,
}

impl Reason {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::FilterFailed => "filter.failed",
            Reason::TransformationFailed => "transformation.failed",
            Reason::TransformationStopped => "transformation.stopped",
            Reason::TransformationOutput => "transformation.output",
            Reason::WebhookUnmapped => "webhook.unmapped",
            Reason::WarehouseUnmapped => "warehouse.unmapped",
            Reason::PlanBlocked => "plan.blocked",
            Reason::PlanUnreadable => "plan.unreadable",
        }
    }
}

/// Shapes the messages of a batch that there is time for, at least one. The answers are in the order of the messages: where there are
/// fewer answers, the other messages are untouched.
pub async fn apply(world: &World, batch: &[Received<'_>], now: Timestamp) -> Result<Vec<Shaped>, StageError> {
    let shapes = world.shapes(now).await?;
    if batch.iter().all(|received| shapes.of(received.source).is_none()) {
        return Ok(vec![Shaped::default(); batch.len()]);
    }
    let begun = Instant::now();
    let (mut shaped, mut share) = (Vec::with_capacity(batch.len()), SHARE_FIRST);
    while shaped.len() < batch.len() && (shaped.is_empty() || begun.elapsed() < SHAPING_TIME) {
        let (share_begun, rest) = (Instant::now(), &batch[shaped.len()..]);
        shaped.extend(apply_to_all(world, &shapes, &rest[..share.min(rest.len())], now).await?);
        share = if share_begun.elapsed() * QUICK < SHAPING_TIME { share * 2 } else { (share / 2).max(1) };
    }
    shaped.iter().for_each(count);
    Ok(shaped)
}

async fn apply_to_all(world: &World, shapes: &Shapes, batch: &[Received<'_>], now: Timestamp) -> Result<Vec<Shaped>, StageError> {
    let mut shaped = vec![Shaped::default(); batch.len()];
    filter(world, shapes, batch, &mut shaped, now).await?;
    transform(world, shapes, batch, &mut shaped, now).await?;
    judge(shapes, batch, &mut shaped).await?;
    Ok(shaped)
}

async fn filter(
    world: &World,
    shapes: &Shapes,
    batch: &[Received<'_>],
    shaped: &mut [Shaped],
    now: Timestamp,
) -> Result<(), StageError> {
    for (place, outcome) in run(world, shapes, batch, shaped, |shape| shape.filter.as_ref(), now).await? {
        match outcome {
            Outcome::Passes(true) => {}
            Outcome::Passes(false) => shaped[place].goes_on = GoesOn::These(Vec::new()),
            Outcome::Failed(detail) => shaped[place].keep_aside(batch[place], Reason::FilterFailed, detail),
            Outcome::Stopped(stop) => shaped[place].keep_aside(batch[place], Reason::FilterFailed, stop.to_string()),
            Outcome::Events(_) => shaped[place].keep_aside(batch[place], Reason::FilterFailed, "it made events".to_owned()),
        }
    }
    Ok(())
}

async fn transform(
    world: &World,
    shapes: &Shapes,
    batch: &[Received<'_>],
    shaped: &mut [Shaped],
    now: Timestamp,
) -> Result<(), StageError> {
    for (place, received) in batch.iter().enumerate() {
        let unmapped = shapes.of(received.source).filter(|shape| shape.transform.is_none()).and_then(|shape| shape.foreign);
        if let Some(kind) = unmapped.filter(|_| shaped[place].goes_on == GoesOn::Itself) {
            map(kind, *received, &mut shaped[place]);
        }
    }
    for (place, outcome) in run(world, shapes, batch, shaped, |shape| shape.transform.as_ref(), now).await? {
        let (shaped, received) = (&mut shaped[place], batch[place]);
        match outcome {
            Outcome::Events(events) => match output::messages(received.message, &events) {
                Ok(messages) => shaped.goes_on = GoesOn::These(messages),
                Err(wrong) => shaped.keep_aside(received, Reason::TransformationOutput, wrong),
            },
            Outcome::Failed(detail) => shaped.keep_aside(received, Reason::TransformationFailed, detail),
            Outcome::Stopped(stop) => shaped.keep_aside(received, Reason::TransformationStopped, stop.to_string()),
            Outcome::Passes(_) => shaped.keep_aside(received, Reason::TransformationFailed, "it is a filter".to_owned()),
        }
    }
    Ok(())
}

/// Makes a message of what is none yet, without a program.
fn map(kind: Producer, received: Received<'_>, shaped: &mut Shaped) {
    if kind == Producer::Webhook {
        let detail = "the source has no transformation that makes events of it".to_owned();
        return shaped.keep_aside(received, Reason::WebhookUnmapped, detail);
    }
    let messages =
        warehouse::mapped(received.message).and_then(|made| output::messages(received.message, &[made.raw().to_owned()]));
    match messages {
        Ok(messages) => shaped.goes_on = GoesOn::These(messages),
        Err(wrong) => shaped.keep_aside(received, Reason::WarehouseUnmapped, wrong),
    }
}

/// Runs a program of each message's source that has one, if the message still goes on. With the places in the batch.
async fn run(
    world: &World,
    shapes: &Shapes,
    batch: &[Received<'_>],
    shaped: &[Shaped],
    program: impl Fn(&Shape) -> Option<&Program>,
    now: Timestamp,
) -> Result<Vec<(usize, Outcome)>, StageError> {
    let mut places = Vec::new();
    let mut jobs = Vec::new();
    for (place, received) in batch.iter().enumerate() {
        let program = shapes.of(received.source).and_then(&program).filter(|_| shaped[place].goes_on == GoesOn::Itself);
        if let Some(program) = program {
            places.push(place);
            jobs.push((program, received.message.raw()));
        }
    }
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let outcomes = world.sandbox.run(&jobs, now).await?;
    Ok(places.into_iter().zip(outcomes).collect())
}

/// Has the plans judge what goes on. Some schemas take long on some messages: not on a thread that serves requests.
async fn judge(shapes: &Shapes, batch: &[Received<'_>], shaped: &mut [Shaped]) -> Result<(), StageError> {
    let mut planned = Vec::new();
    for (place, (received, shaped)) in batch.iter().zip(&mut *shaped).enumerate() {
        match shapes.of(received.source).and_then(|shape| shape.plan.as_ref()) {
            Some(Ok(plan)) => {
                planned.push((place, Arc::clone(plan), received.source, received.message.clone(), mem::take(shaped)));
            }
            Some(Err(wrong)) => shaped.keep_all_aside(*received, Reason::PlanUnreadable, wrong),
            None => {}
        }
    }
    if planned.is_empty() {
        return Ok(());
    }
    let judging = tokio::task::spawn_blocking(move || {
        for (_, plan, source, message, shaped) in &mut planned {
            follow(plan, Received { source: *source, message }, shaped);
        }
        planned
    });
    for (place, .., judged) in judging.await.map_err(|error| LogError::Unavailable(error.to_string()))? {
        shaped[place] = judged;
    }
    Ok(())
}

/// Judges what goes on by the plan.
fn follow(plan: &CompiledPlan, received: Received<'_>, shaped: &mut Shaped) {
    let is_itself = shaped.goes_on == GoesOn::Itself;
    let messages = match mem::take(&mut shaped.goes_on) {
        GoesOn::Itself => vec![received.message.clone()],
        GoesOn::These(messages) => messages,
    };
    let (mut going_on, mut is_untouched) = (Vec::with_capacity(messages.len()), is_itself);
    for message in messages {
        // What came in was read as JSON before; should a number in it be too large for this reader, the plan cannot be followed.
        let value = match serde_json::from_str(message.as_str()) {
            Ok(value) => value,
            Err(error) => {
                is_untouched = false;
                shaped.aside.push(aside(received.source, Reason::PlanBlocked, error.to_string(), message));
                continue;
            }
        };
        let judgement = plan.judge(&value);
        let room = VIOLATIONS_MAX.saturating_sub(shaped.violations.len());
        let told = judgement.violations.iter().enumerate().take(room);
        shaped.violations.extend(told.map(|(place, violation)| violation::message(plan, &value, violation, place)));
        match judgement.decision {
            Decision::Allowed => going_on.push(message),
            Decision::Mended(mended) => {
                is_untouched = false;
                going_on.push(Json::of(&mended));
            }
            Decision::Blocked => {
                is_untouched = false;
                let fields = judgement.violations.iter().map(|violation| violation.field.as_str());
                let detail = fields.collect::<Vec<_>>().join(", ");
                shaped.aside.push(aside(received.source, Reason::PlanBlocked, detail, message));
            }
        }
    }
    shaped.goes_on = if is_untouched { GoesOn::Itself } else { GoesOn::These(going_on) };
}

impl Shaped {
    /// The message does not go on; it is kept as it came.
    fn keep_aside(&mut self, received: Received<'_>, reason: Reason, detail: String) {
        self.goes_on = GoesOn::These(Vec::new());
        self.aside.push(aside(received.source, reason, detail, received.message.clone()));
    }

    /// Nothing that came of the message goes on.
    fn keep_all_aside(&mut self, received: Received<'_>, reason: Reason, detail: &str) {
        match mem::take(&mut self.goes_on) {
            GoesOn::Itself => self.keep_aside(received, reason, detail.to_owned()),
            GoesOn::These(messages) => {
                self.goes_on = GoesOn::These(Vec::new());
                let kept = messages.into_iter().map(|message| aside(received.source, reason, detail.to_owned(), message));
                self.aside.extend(kept);
            }
        }
    }
}

fn aside(source: Id<SourceKind>, reason: Reason, detail: String, message: Json) -> KeptAside {
    KeptAside { source, reason, detail, message }
}

fn count(shaped: &Shaped) {
    for kept in &shaped.aside {
        metrics::counter!("deputy_events_kept_aside_total", "reason" => kept.reason.as_str()).increment(1);
    }
    if shaped.aside.is_empty() && shaped.goes_on == GoesOn::These(Vec::new()) {
        metrics::counter!("deputy_events_dropped_total").increment(1);
    }
    if !shaped.violations.is_empty() {
        let violations = u64::try_from(shaped.violations.len()).unwrap_or(u64::MAX);
        metrics::counter!("deputy_plan_violations_total").increment(violations);
    }
}
