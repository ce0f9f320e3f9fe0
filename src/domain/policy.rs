//! What a client may have: the scopes and the resource of a request, judged against everyone's limits; and what its risk costs it.
//!
//! Every grant type passes here, so that no path around a limit exists (attacks 48, 54, 59, 78, 113).

use super::{
    actor::ActorKind,
    client::Client,
    grant::Consent,
    refusal::{
        CLIENT_ROGUE, CONSENT_BOT, GRANT_APPROVAL, GRANT_CONSENT, GRANT_RESOURCE, OAuthError, RESOURCE_UNREGISTERED, SCOPE_UNKNOWN,
        SCOPE_UNREGISTERED, SCOPE_WIDENED,
    },
    resource::Resource,
    risk::{Measure, Risk, RiskRule},
    scope::{self, Scopes},
    time::Timestamp,
};

/// Whether `client` may ask for anything, being who it is.
pub fn check_kind(client: &Client) -> Result<(), OAuthError> {
    if client.kind == ActorKind::Rogue { Err(CLIENT_ROGUE) } else { Ok(()) }
}

/// Whether a person of this kind may let anybody act for them.
pub fn check_person(rule: &RiskRule, kind: ActorKind) -> Result<(), OAuthError> {
    if rule.refuse_bots && kind == ActorKind::BotPosingAsPerson { Err(CONSENT_BOT) } else { Ok(()) }
}

/// Whether people are asked about `client` each time, being who it is.
pub fn asks_each_time(rule: &RiskRule, client: &Client) -> bool {
    rule.ask_for_unknown_agents && client.kind == ActorKind::UnknownAgent
}

/// The scopes that `client` may ask a person for at `resource`. A request without `scope` asks for all that the client is
/// registered for, else for all that the resource has.
pub fn requested_scopes(client: &Client, resource: Option<&Resource>, requested: &Scopes) -> Result<Scopes, OAuthError> {
    check_resource(client, resource)?;
    let known = |word: &str| resource.map_or(scope::BUILT_IN.contains(&word), |resource| resource.knows(word));
    if requested.is_empty() {
        let registered = client.metadata.scope.clone().unwrap_or_default();
        let own = || resource.into_iter().flat_map(|resource| &resource.scopes).map(|definition| definition.name.as_str());
        let wanted = if registered.is_empty() { Scopes::of(own()) } else { registered };
        return Ok(Scopes::of(wanted.iter().filter(|word| known(word))));
    }
    if let Some(unknown) = requested.iter().find(|word| !known(word)) {
        return Err(SCOPE_UNKNOWN.because(format!("The scope {unknown} does not exist at this resource.")));
    }
    check_registered(client, resource, requested)?;
    Ok(requested.clone())
}

/// The scopes that `client` gets for itself at `resource`: only what an operator registered for it, never scopes about a person.
pub fn own_scopes(client: &Client, resource: &Resource, requested: &Scopes) -> Result<Scopes, OAuthError> {
    check_resource(client, Some(resource))?;
    let registered = client.metadata.scope.clone().unwrap_or_default();
    if requested.is_empty() {
        return Ok(Scopes::of(registered.iter().filter(|word| resource.definition(word).is_some())));
    }
    if let Some(unknown) = requested.iter().find(|word| resource.definition(word).is_none()) {
        return Err(SCOPE_UNKNOWN.because(format!("The scope {unknown} does not exist at this resource.")));
    }
    let is_registered = requested.is_subset(&registered) || requested.is_subset(&resource.closure(&registered));
    if is_registered { Ok(requested.clone()) } else { Err(SCOPE_UNREGISTERED) }
}

/// The scopes of a token that is minted for a person, by a code or at a refresh: those that were granted and that the resource still
/// has and registration and consent still allow, or fewer if the client asks for fewer
/// ([RFC 6749 §6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
pub fn minted_scopes(
    client: &Client,
    resource: Option<&Resource>,
    consent: &Consent,
    granted: &Scopes,
    requested: &Scopes,
) -> Result<Scopes, OAuthError> {
    // Only `invalid_grant` has clients begin anew.
    check_resource(client, resource).map_err(|_| GRANT_RESOURCE)?;
    let closure = |scopes: &Scopes| resource.map_or_else(|| scopes.clone(), |resource| resource.closure(scopes));
    let mut allowed = granted.intersection(&closure(&consent.scopes));
    if let Some(resource) = resource {
        allowed = Scopes::of(allowed.iter().filter(|word| resource.knows(word)));
    }
    if let Some(registered) = &client.metadata.scope {
        allowed = allowed.intersection(&closure(registered).union(&Scopes::of(scope::BUILT_IN)));
    }
    if allowed.is_empty() {
        return Err(GRANT_CONSENT);
    }
    if requested.is_empty() {
        return Ok(allowed);
    }
    if requested.is_subset(&allowed) { Ok(requested.clone()) } else { Err(SCOPE_WIDENED) }
}

/// Whether an earlier consent, given after `given_after`, covers the whole request, so that the person need not be asked again.
pub fn is_covered(
    consent: Option<&Consent>,
    given_after: Timestamp,
    client_hash: &str,
    resource: Option<&Resource>,
    requested: &Scopes,
) -> bool {
    let holds =
        |consent: &&Consent| consent.client_hash == client_hash && consent.given_at > given_after && consent.doubt.is_none();
    let Some(consent) = consent.filter(holds) else { return false };
    let covered = resource.map_or_else(|| consent.scopes.clone(), |resource| resource.closure(&consent.scopes));
    requested.is_subset(&covered)
}

/// What a person has allowed in all, when of what was `offered` they now `allowed` this. What was not offered stays as it was,
/// unless it includes something that they just unticked.
pub fn consented_scopes(resource: Option<&Resource>, earlier: &Scopes, offered: &Scopes, allowed: &Scopes) -> Scopes {
    let unticked = offered.difference(allowed);
    let includes_unticked = |word: &&str| {
        let word = Scopes::of([*word]);
        let reached = resource.map_or_else(|| word.clone(), |resource| resource.closure(&word));
        !reached.intersection(&unticked).is_empty()
    };
    let kept = earlier.difference(offered);
    Scopes::of(kept.iter().filter(|word| !includes_unticked(word))).union(allowed)
}

/// Refuses what is granted by a consent that is in doubt.
pub fn check_doubt(consent: &Consent) -> Result<(), OAuthError> {
    if consent.doubt.is_none() { Ok(()) } else { Err(GRANT_APPROVAL) }
}

/// Whether an agent of this risk is suspended: the threshold that it has reached.
pub fn suspends(rule: &RiskRule, risk: &Risk) -> Option<u32> {
    rule.suspend_at.filter(|threshold| risk.score >= *threshold)
}

/// What becomes of what a person granted, at this risk, and the threshold that it has reached. Of two measures, the graver.
pub fn measure(rule: &RiskRule, risk: &Risk) -> Option<(Measure, u32)> {
    let measures = [(Measure::RevokeGrants, rule.revoke_at), (Measure::RequireApproval, rule.require_approval_at)];
    let mut reached = measures.into_iter().filter_map(|(measure, threshold)| Some((measure, threshold?)));
    reached.find(|(_, threshold)| risk.score >= *threshold)
}

fn check_resource(client: &Client, resource: Option<&Resource>) -> Result<(), OAuthError> {
    match (&client.metadata.resources, resource) {
        (Some(allowed), Some(resource)) if !allowed.contains(&resource.identifier) => Err(RESOURCE_UNREGISTERED),
        _ => Ok(()),
    }
}

/// The scopes about the person are asked of the person alone; no registration needs to list them.
fn check_registered(client: &Client, resource: Option<&Resource>, requested: &Scopes) -> Result<(), OAuthError> {
    let Some(registered) = &client.metadata.scope else { return Ok(()) };
    let registered = resource.map_or_else(|| registered.clone(), |resource| resource.closure(registered));
    let about_resource = requested.difference(&Scopes::of(scope::BUILT_IN));
    if about_resource.is_subset(&registered) { Ok(()) } else { Err(SCOPE_UNREGISTERED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_may_allow_nothing_where_the_rule_says_so() {
        let strict = RiskRule { refuse_bots: true, ..RiskRule::default() };
        for (rule, kind, expected) in [
            (RiskRule::default(), ActorKind::BotPosingAsPerson, Ok(())),
            (strict, ActorKind::BotPosingAsPerson, Err(CONSENT_BOT)),
            (strict, ActorKind::Person, Ok(())),
        ] {
            assert_eq!(check_person(&rule, kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_risk_costs_what_the_rule_says() {
        let rule = |suspend_at, revoke_at, require_approval_at| RiskRule {
            suspend_at,
            revoke_at,
            require_approval_at,
            ..RiskRule::default()
        };
        for (rule, score, is_suspended, expected) in [
            (RiskRule::default(), 1000, false, None),
            (rule(Some(50), None, None), 50, true, None),
            (rule(Some(51), Some(60), None), 50, false, None),
            (rule(None, Some(50), Some(20)), 50, false, Some((Measure::RevokeGrants, 50))),
            (rule(None, Some(50), Some(20)), 49, false, Some((Measure::RequireApproval, 20))),
            (rule(None, Some(20), Some(50)), 60, false, Some((Measure::RevokeGrants, 20))),
        ] {
            let risk = Risk { score, signals: Vec::new() };
            assert_eq!((suspends(&rule, &risk).is_some(), measure(&rule, &risk)), (is_suspended, expected), "{rule:?} at {score}");
        }
    }
}
