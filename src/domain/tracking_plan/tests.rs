//! Judging messages by plans: what goes on, in which form, and what is told of it.

use serde_json::json;

use super::*;

fn plan(rules: Vec<Rule>, on_violation: OnViolation, on_unplanned: OnUnplanned) -> Result<CompiledPlan, String> {
    CompiledPlan::new(Arc::new(TrackingPlan {
        id: Id::from_bytes([1; 16]),
        name: "Shop".to_owned(),
        rules,
        on_violation,
        on_unplanned,
        sources: Vec::new(),
        version: 1,
        created_at: Timestamp(0),
        changed_at: Timestamp(0),
    }))
}

fn rule(call: Call, name: Option<&str>, schema: Value) -> Rule {
    Rule { call, name: name.map(str::to_owned), schema }
}

/// An order has a total that is a number, items with prices, and nothing else.
fn shop(on_violation: OnViolation, on_unplanned: OnUnplanned) -> CompiledPlan {
    let item = json!({"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}}});
    let properties = json!({"type": "object", "required": ["total"], "additionalProperties": false,
        "properties": {"total": {"type": "number"}, "coupon": {"type": "string", "pattern": "^[A-Z]+$"},
            "items": {"type": "array", "items": item}}});
    let order = rule(Call::Track, Some("Order Completed"), json!({"properties": {"properties": properties}}));
    plan(vec![order], on_violation, on_unplanned).expect("the plan is sound")
}

fn order(properties: Value) -> Value {
    json!({"type": "track", "userId": "u", "event": "Order Completed", "properties": properties})
}

fn told(judgement: &Judgement) -> Vec<(&str, &str)> {
    judgement.violations.iter().map(|violation| (violation.field.as_str(), violation.kind.as_str())).collect()
}

#[test]
fn what_is_as_planned_goes_on_as_it_is() {
    for on_violation in [OnViolation::Allow, OnViolation::Block, OnViolation::Omit] {
        let judgement = shop(on_violation, OnUnplanned::Block).judge(&order(json!({"total": 9.5, "items": [{"price": 1}]})));
        assert_eq!(judgement, Judgement { decision: Decision::Allowed, violations: Vec::new() });
    }
}

#[test]
fn violations_are_told_by_place_and_kind_and_never_quote_what_was_sent() {
    let message = order(json!({"total": "secret", "items": [{"price": 1}, {}], "card": "secret", "coupon": "secret"}));
    let judgement = shop(OnViolation::Allow, OnUnplanned::Block).judge(&message);
    assert_eq!(judgement.decision, Decision::Allowed);
    let mut told = told(&judgement);
    told.sort_unstable();
    let expected = [
        ("properties.card", "Unplanned Property"),
        ("properties.coupon", "Invalid Value"),
        ("properties.items.1.price", "Required Property Missing"),
        ("properties.total", "Invalid Type"),
    ];
    assert_eq!(told, expected);
    assert!(judgement.violations.iter().all(|violation| !violation.description.contains("secret")), "{judgement:?}");
}

#[test]
fn what_violates_is_omitted_where_that_mends_the_message() {
    let judge = |properties| shop(OnViolation::Omit, OnUnplanned::Allow).judge(&order(properties)).decision;
    // Taking out a price leaves an item without one; then the item goes too.
    let message = json!({"total": 1, "card": "4", "coupon": "x", "items": [{"price": "?"}, {"price": 2}, {}, {"price": "?"}]});
    assert_eq!(judge(message), Decision::Mended(order(json!({"total": 1, "items": [{"price": 2}]}))));
    // What is missing cannot be omitted, nor what a message stands on.
    assert_eq!(judge(json!({"coupon": "OK"})), Decision::Blocked);
    assert_eq!(judge(json!({"total": "x"})), Decision::Blocked);
    let needs_user = rule(Call::Track, None, json!({"properties": {"userId": {"pattern": "^u-"}}}));
    let judged = plan(vec![needs_user], OnViolation::Omit, OnUnplanned::Allow).expect("sound").judge(&order(json!({})));
    assert_eq!((judged.decision.clone(), told(&judged)), (Decision::Blocked, vec![("userId", "Invalid Value")]));
}

#[test]
fn a_violation_may_block() {
    let judgement = shop(OnViolation::Block, OnUnplanned::Allow).judge(&order(json!({})));
    assert_eq!(
        (judgement.decision.clone(), told(&judgement)),
        (Decision::Blocked, vec![("properties.total", "Required Property Missing")])
    );
}

#[test]
fn an_event_without_a_rule_is_unplanned_and_other_calls_without_one_are_free() {
    let unplanned = json!({"type": "track", "userId": "u", "event": "Order Complete"});
    for (on_unplanned, decision) in [(OnUnplanned::Allow, Decision::Allowed), (OnUnplanned::Block, Decision::Blocked)] {
        let plan = shop(OnViolation::Block, on_unplanned);
        let judgement = plan.judge(&unplanned);
        assert_eq!((judgement.decision.clone(), told(&judgement)), (decision, vec![("event", "Unplanned Event")]));
        let identify = json!({"type": "identify", "userId": "u"});
        assert_eq!(plan.judge(&identify), Judgement { decision: Decision::Allowed, violations: Vec::new() });
    }
    // A rule without a name is for all that have none of their own.
    let any = rule(Call::Track, None, json!({"required": ["context"]}));
    let own = rule(Call::Track, Some("Own"), json!({}));
    let plan = plan(vec![any, own], OnViolation::Block, OnUnplanned::Block).expect("sound");
    assert_eq!(told(&plan.judge(&unplanned)), [("context", "Required Property Missing")]);
    assert_eq!(plan.judge(&json!({"type": "track", "event": "Own"})).decision, Decision::Allowed);
}

#[test]
fn a_message_that_is_wrong_everywhere_is_told_of_briefly() {
    let many: serde_json::Map<_, _> = (0..2_000).map(|n| (format!("p{n}"), json!(n))).collect();
    let judgement = shop(OnViolation::Allow, OnUnplanned::Allow).judge(&order(Value::Object(many)));
    assert_eq!(judgement.violations.len(), VIOLATIONS_MAX);
    let bytes: usize = judgement.violations.iter().map(|violation| violation.field.len() + violation.description.len()).sum();
    assert!(bytes < VIOLATIONS_MAX * 2 * DESCRIPTION_CHARS_MAX, "{bytes}");
}

#[test]
fn a_schema_that_would_fetch_loop_or_explode_is_refused_when_it_is_saved() {
    let doubling: serde_json::Map<_, _> = (0..16)
        .map(|n| {
            (format!("d{n}"), json!({"allOf": [{"$ref": format!("#/$defs/d{}", n + 1)}, {"$ref": format!("#/$defs/d{}", n + 1)}]}))
        })
        .chain([("d16".to_owned(), json!({"type": "object"}))])
        .collect();
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({"not": deep});
    }
    for (schema, expected) in [
        (json!({"$ref": "https://schemas.example/order.json"}), "only inside the schema"),
        (json!({"$ref": "file:///etc/passwd"}), "only inside the schema"),
        (json!({"properties": {"a": {"$ref": "other.json#/a"}}}), "only inside the schema"),
        (json!({"$ref": "#/$defs/none"}), "not there"),
        (json!({"$ref": "#"}), "contains itself"),
        (json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}), "contains itself"),
        (json!({"properties": {"children": {"items": {"$ref": "#"}}}}), "contains itself"),
        (json!({"$dynamicRef": "#node"}), "not supported"),
        (json!({"properties": {"a": {"$id": "https://x.example/", "$ref": "#/b"}}}), "only at the top"),
        (json!({"$schema": "https://schemas.example/mine"}), "must be draft"),
        (json!({"$defs": doubling, "$ref": "#/$defs/d0"}), "more than 10000 parts"),
        (deep, "deeper than"),
        (json!({"properties": {"a": {"pattern": "("}}}), "regex"),
        // No look-around and no back-references: they can take exponential time.
        (json!({"properties": {"a": {"pattern": "^(a+)+\\1$"}}}), "regex"),
        (json!({"type": "strnig"}), "strnig"),
        (json!([]), "must be an object"),
    ] {
        let refused = plan(vec![rule(Call::Track, Some("E"), schema.clone())], OnViolation::Allow, OnUnplanned::Allow);
        let told = refused.err().unwrap_or_else(|| panic!("{schema} is refused"));
        assert!(told.starts_with("The rule for track 'E': ") && told.contains(expected), "{schema}: {told}");
    }
    // A pattern that other engines choke on.
    let sound = rule(Call::Track, None, json!({"properties": {"event": {"pattern": "^(a+)+$"}}}));
    let plan = plan(vec![sound], OnViolation::Block, OnUnplanned::Allow).expect("sound");
    assert_eq!(plan.judge(&json!({"type": "track", "event": "a".repeat(30_000) + "!"})).decision, Decision::Blocked);
}

#[test]
fn rules_that_contradict_or_cannot_apply_are_refused() {
    let twice = vec![rule(Call::Page, Some("Home"), json!({})), rule(Call::Page, Some("Home"), json!({}))];
    let refused = |rules| plan(rules, OnViolation::Allow, OnUnplanned::Allow).expect_err("it is refused");
    assert_eq!(refused(twice), "There is more than one rule for page 'Home'.");
    assert_eq!(
        refused(vec![rule(Call::Identify, Some("x"), json!({}))]),
        "The rule for identify 'x': calls of this kind have no names."
    );
    assert_eq!(refused(vec![rule(Call::Track, None, json!({})); RULES_MAX + 1]), "A plan has at most 500 rules.");
}
