//! Webhooks: other services that call us when something happens there, each in its own words and with its own signature.

use serde::{Deserialize, Serialize};

use super::id::{Id, SourceKind};

/// How a caller proves that it is the service: by an HMAC-SHA256 with a secret that both know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `Stripe-Signature: t=…,v1=…`, of the time and the body
    /// ([Stripe](https://docs.stripe.com/webhooks#verify-manually)).
    Stripe,
    /// `X-Hub-Signature-256: sha256=…`, of the body
    /// ([GitHub](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries)).
    Github,
    /// Any header that holds it, of the body, in hexadecimal (also behind `sha256=`) or base64.
    HmacSha256,
    /// Nothing is proved: whoever knows the address can send. Only where something else keeps strangers away.
    None,
}

impl Scheme {
    const ALL: [Scheme; 4] = [Scheme::Stripe, Scheme::Github, Scheme::HmacSha256, Scheme::None];

    /// The word in storage and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Stripe => "stripe",
            Scheme::Github => "github",
            Scheme::HmacSha256 => "hmac_sha256",
            Scheme::None => "none",
        }
    }

    /// The scheme of this word.
    pub fn parse(word: &str) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// The header of the signature, where the scheme says it.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Scheme::Stripe => Some("stripe-signature"),
            Scheme::Github => Some("x-hub-signature-256"),
            Scheme::HmacSha256 | Scheme::None => None,
        }
    }

    /// The header that names a delivery, so that one that comes again is the same event, where the scheme says it.
    pub fn id_header(self) -> Option<&'static str> {
        match self {
            Scheme::Github => Some("x-github-delivery"),
            Scheme::Stripe | Scheme::HmacSha256 | Scheme::None => None,
        }
    }
}

/// How one source's calls are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub source: Id<SourceKind>,
    pub scheme: Scheme,
    /// In lower case; of `HmacSha256` only.
    pub header: Option<String>,
    /// In lower case. Where there is none, and none in the call, each call is an event of its own.
    pub id_header: Option<String>,
    /// Sealed under the installation's master key; none for `None`.
    pub sealed_secret: Option<String>,
}
