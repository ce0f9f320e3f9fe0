//! OAuth and OpenID Connect without HTTP: one specification, one file.
//!
//! | file | specification |
//! |---|---|
//! | `parameters` | [RFC 6749 §3.1, §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.1) how requests are read |
//! | `metadata` | [RFC 8414](https://www.rfc-editor.org/rfc/rfc8414), [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html) |
//! | `registration` | [RFC 7591](https://www.rfc-editor.org/rfc/rfc7591) |
//! | `client_metadata_document` | [Client ID Metadata Documents](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/) |
//! | `client_authentication` | [RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3) |
//! | `client_assertion` | [RFC 7523 §2.2](https://www.rfc-editor.org/rfc/rfc7523#section-2.2) |
//! | `resource_indicators` | [RFC 8707](https://www.rfc-editor.org/rfc/rfc8707) |
//! | `pkce` | [RFC 7636](https://www.rfc-editor.org/rfc/rfc7636) |
//! | `authorize` | [OAuth 2.1 §4.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1), [RFC 9207](https://www.rfc-editor.org/rfc/rfc9207) |
//! | `token` | [OAuth 2.1 §3.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-3.2), a file for each grant |
//! | `introspection` | [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662) |
//! | `revocation` | [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009) |
//! | `userinfo` | [OpenID Connect Core §5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo) |
//! | `tracking_api` | [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) at our own tracking API |
//! | `refusals` | ours: refusals on record |
//! | `remarks` | ours: what is remarked of those who come |
//! | `people` | [NIST SP 800-63B-4](https://pages.nist.gov/800-63-4/sp800-63b.html), [OpenID Connect Core §3.1.2.3](https://openid.net/specs/openid-connect-core-1_0.html#Authenticates): the person's side |
//! | `administration` | ours: what operators do through `/admin/v1` |
//!
//! Every function reads in this order: authenticate, check, open the transaction, load, decide, write, commit.

pub mod parameters;
pub mod metadata;
pub mod registration;
pub mod client_metadata_document;
pub mod client_authentication;
pub mod client_assertion;
pub mod resource_indicators;
pub mod pkce;
pub mod authorize;
pub mod token;
pub mod introspection;
pub mod revocation;
pub mod userinfo;
pub mod tracking_api;
pub mod people;
pub mod administration;
pub mod refusals;
mod remarks;
mod trouble;
mod witness;

/// The token of an `Authorization: Bearer` header ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
pub fn bearer(authorization: &[u8]) -> Option<String> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    let token = std::str::from_utf8(token.trim_ascii()).ok()?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then(|| token.to_owned())
}
