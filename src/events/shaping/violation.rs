//! A violation of a tracking plan as an event of the source it is about: `Violation Generated`, of the user `schema-violations`.
//!
//! [Segment: forward violations](https://segment.com/docs/protocols/validate/forward-violations/)

use serde_json::{Value, json};

use crate::domain::{
    json::Json,
    tracking_plan::{CompiledPlan, Violation},
};

/// The message that tells of a violation; `place` counts those of one message.
pub(super) fn message(plan: &CompiledPlan, message: &Value, violation: &Violation, place: usize) -> Json {
    let id = message["messageId"].as_str().unwrap_or_default();
    let properties = json!({
        "eventMessageID": id,
        "eventType": message["type"],
        "eventName": message.get("event").or(message.get("name")),
        "violationField": violation.field,
        "violationType": violation.kind.as_str(),
        "violationDescription": violation.description,
        "trackingPlanID": plan.plan.id,
        "trackingPlanName": plan.plan.name,
    });
    Json::of(&json!({
        "messageId": format!("violation-{place}-{id}"),
        "type": "track",
        "userId": "schema-violations",
        "event": "Violation Generated",
        // When the event came in: the same whenever it is judged.
        "timestamp": message["receivedAt"],
        "receivedAt": message["receivedAt"],
        "properties": properties,
    }))
}
