//! What an operator lets be done about a risk and about who somebody is, and what stays of it where policy reads it.

use serde::{Deserialize, Serialize};

use super::SignalKind;
use crate::domain::time::Timestamp;

/// What is done about a risk, and from which score on. The default is to do nothing: to record it, and to show it. Each is `null`
/// for never. A replayed refresh token is worth 50 when it happens, a sudden change of rate 20, a new network 10, an unusual hour 5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskRule {
    /// An agent is suspended for everybody. Decided by what it did for itself and for people, but the two that weigh the most.
    #[serde(default)]
    pub suspend_at: Option<u32>,
    /// What a person granted an agent ends, with their consent. Decided by what that agent did for that person; and for all that
    /// they granted, by what happened with their account.
    #[serde(default)]
    pub revoke_at: Option<u32>,
    /// As `revoke_at`, but the grants only rest until the person consents again.
    #[serde(default)]
    pub require_approval_at: Option<u32>,
    /// People are asked each time that an unknown agent wants to act for them, whatever they allowed it before. Decided by its kind,
    /// whatever its score; `false` if absent.
    #[serde(default, skip_serializing_if = "is_off")]
    pub ask_for_unknown_agents: bool,
    /// Who is taken for a bot that poses as a person can let nobody act for them, until an operator says that they are a person.
    /// Decided by the kind of their account, whatever its score; `false` if absent.
    #[serde(default, skip_serializing_if = "is_off")]
    pub refuse_bots: bool,
}

fn is_off(switch: &bool) -> bool {
    !switch
}

/// The highest score that a rule may name.
pub const THRESHOLD_MAX: u32 = 1000;

impl RiskRule {
    /// Whether every threshold can be reached, and none always is.
    pub fn is_sound(&self) -> bool {
        let thresholds = [self.suspend_at, self.revoke_at, self.require_approval_at];
        thresholds.into_iter().flatten().all(|threshold| (1..=THRESHOLD_MAX).contains(&threshold))
    }
}

/// What is done to what a person granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    RequireApproval,
    RevokeGrants,
}

impl Measure {
    /// The word in facts and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Measure::RequireApproval => "require_approval",
            Measure::RevokeGrants => "revoke_grants",
        }
    }
}

/// Why a person has to consent again: it stands at their consent until they do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    pub since: Timestamp,
    pub score: u32,
    pub signals: Vec<SignalKind>,
}
