//! The agent: an MCP client that knows one address, and OAuth.
//! [MCP streamable HTTP](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports),
//! [MCP authorization](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization)

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deputy::domain::secret::{Secret, secret_text};
use deputy::keys::secrets::random;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use url::Url;

use super::super::Failure;
use super::exchange::Answer;

/// The revision of MCP that it speaks.
const REVISION: &str = "2026-07-28";
pub(super) const NAME: &str = "Demo agent";
/// Any port of this machine may stand here when it asks ([RFC 8252 §7.3](https://www.rfc-editor.org/rfc/rfc8252#section-7.3)).
const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";

/// What the agent found out about the authorization server
/// ([RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)).
#[derive(Debug, serde::Deserialize)]
pub(super) struct Endpoints {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) registration_endpoint: Url,
    pub(super) revocation_endpoint: Url,
    pub(super) introspection_endpoint: Url,
}

/// One way through the authorization endpoint.
pub(super) struct Attempt {
    pub(super) url: Url,
    verifier: Secret<String>,
    state: Secret<String>,
}

/// What the token endpoint gave.
#[derive(Clone)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) scope: String,
    pub(super) expires_in_s: u64,
}

pub(super) struct Agent {
    http: reqwest::Client,
    /// The MCP server: the one address it was told.
    pub(super) mcp: Url,
}

impl Agent {
    pub(super) fn new(http: reqwest::Client, mcp: Url) -> Agent {
        Agent { http, mcp }
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Answer, Failure> {
        Answer::to(self.http.get(url.clone())).await
    }

    /// Calls a tool. This revision needs no handshake: a request says all there is to know about it.
    pub(super) async fn call(&self, tool: &str, arguments: Value, access_token: Option<&str>) -> Result<Answer, Failure> {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": {"name": NAME, "version": env!("CARGO_PKG_VERSION")},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request: RequestBuilder = self.http.post(self.mcp.clone()).json(&request);
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("mcp-protocol-version", REVISION).header("mcp-method", "tools/call").header("mcp-name", tool);
        Answer::to(match access_token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    pub(super) async fn register(&self, at: &Endpoints) -> Result<Answer, Failure> {
        let metadata = json!({"client_name": NAME, "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "application_type": "native"});
        Answer::to(self.http.post(at.registration_endpoint.clone()).json(&metadata)).await
    }

    /// Makes an authorization request: where to send the person.
    pub(super) fn attempt(&self, at: &Endpoints, client_id: &str, scope: &str) -> Attempt {
        let (verifier, state) = (secret_text(random()), secret_text(random()));
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.reveal().as_bytes()));
        let mut url = at.authorization_endpoint.clone();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("resource", self.mcp.as_str()),
            ("state", state.reveal()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        Attempt { url, verifier, state }
    }

    /// The code in the address that the person was sent back to, if the answer is ours and from whom we asked
    /// ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
    pub(super) fn code(&self, at: &Endpoints, attempt: &Attempt, arrived: &Url) -> Result<String, Failure> {
        let parameter = |name: &str| arrived.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        if parameter("state").as_ref() != Some(attempt.state.reveal()) || parameter("iss").as_ref() != Some(&at.issuer) {
            return Err(Failure("the story stops here: the answer has another state or issuer than was asked for".to_owned()));
        }
        parameter("code").ok_or_else(|| Failure("the story stops here: the person was sent back without a code".to_owned()))
    }

    pub(super) async fn redeem(&self, at: &Endpoints, client_id: &str, attempt: &Attempt, code: &str) -> Result<Answer, Failure> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", attempt.verifier.reveal()),
            ("resource", self.mcp.as_str()),
        ];
        Answer::to(self.http.post(at.token_endpoint.clone()).form(&form)).await
    }

    pub(super) async fn refresh(&self, at: &Endpoints, client_id: &str, refresh_token: &str) -> Result<Answer, Failure> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", refresh_token),
            ("resource", self.mcp.as_str()),
        ];
        Answer::to(self.http.post(at.token_endpoint.clone()).form(&form)).await
    }

    pub(super) async fn revoke(&self, at: &Endpoints, client_id: &str, token: &str) -> Result<Answer, Failure> {
        let form = [("client_id", client_id), ("token", token)];
        Answer::to(self.http.post(at.revocation_endpoint.clone()).form(&form)).await
    }
}

impl Tokens {
    pub(super) fn of(answer: &Answer) -> Result<Tokens, Failure> {
        Ok(Tokens {
            access_token: answer.text("access_token")?,
            refresh_token: answer.text("refresh_token")?,
            scope: answer.text("scope")?,
            expires_in_s: answer.json()?["expires_in"].as_u64().ok_or_else(|| answer.lacks("expires_in"))?,
        })
    }

    /// Header and claims of the access token, as anybody who holds it can read them.
    pub(super) fn decoded(&self) -> Option<(Value, Value)> {
        let mut parts = self.access_token.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok());
        Some((parts.next()??, parts.next()??))
    }
}

/// A secret as it may be shown: that it is one, and how long.
pub(super) fn shortened(secret: &str) -> String {
    let start: String = secret.chars().take(10).collect();
    format!("{start}… ({} characters)", secret.chars().count())
}
