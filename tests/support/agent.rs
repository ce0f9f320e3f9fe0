//! Software that asks for tokens: registers, sends its person to /authorize, redeems, refreshes.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use serde_json::Value;

use super::{Answer, CALLBACK, Installation, RESOURCE, person::Person};

/// A PKCE verifier of the unreserved alphabet; tests need no secret one.
pub const VERIFIER: &str = "a.verifier~of-the_unreserved.alphabet~0123456789";

#[derive(Clone)]
pub struct Agent<'i> {
    pub client_id: String,
    pub client_secret: Option<String>,
    installation: &'i Installation,
}

/// What a token response gave.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: Option<String>,
    pub answer: Answer,
}

impl<'i> Agent<'i> {
    /// Registers itself; `redirect_uris` is `CALLBACK` unless it is given.
    pub async fn register(installation: &'i Installation, mut metadata: Value) -> Agent<'i> {
        if metadata.get("redirect_uris").is_none() {
            metadata["redirect_uris"] = vec![CALLBACK].into();
        }
        let request = installation.http.post(format!("{}/register", installation.issuer)).json(&metadata);
        Agent::of(installation, &Answer::of(request).await.ok())
    }

    /// Is made by an operator.
    pub async fn made_by_operator(installation: &'i Installation, metadata: Value) -> Agent<'i> {
        Agent::of(installation, &installation.operate("POST", "/clients", metadata).await.ok())
    }

    /// Is known already.
    pub fn with_secret(installation: &'i Installation, client_id: &str, client_secret: &str) -> Agent<'i> {
        Agent { client_id: client_id.to_owned(), client_secret: Some(client_secret.to_owned()), installation }
    }

    /// A public client that is registered already.
    pub fn known(installation: &'i Installation, client_id: &str) -> Agent<'i> {
        Agent { client_id: client_id.to_owned(), client_secret: None, installation }
    }

    fn of(installation: &'i Installation, answer: &Answer) -> Agent<'i> {
        let client_secret = answer.json()["client_secret"].as_str().map(str::to_owned);
        Agent { client_id: answer.text("client_id"), client_secret, installation }
    }

    /// The parameters of a good authorization request.
    pub fn authorization_request(&self, scope: &str) -> Vec<(&'static str, String)> {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
        vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.client_id.clone()),
            ("redirect_uri", CALLBACK.to_owned()),
            ("scope", scope.to_owned()),
            ("resource", RESOURCE.to_owned()),
            ("state", "the state".to_owned()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ]
    }

    /// The address of an authorization request, with these parameters changed or added; an empty value leaves one out.
    pub fn authorization_url(&self, scope: &str, changes: &[(&'static str, &str)]) -> String {
        let mut parameters = self.authorization_request(scope);
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                parameters.push((name, (*value).to_owned()));
            }
        }
        Url::parse_with_params(&format!("{}/authorize", self.installation.issuer), parameters).expect("a URL").to_string()
    }

    /// Sends the person to /authorize and takes the code from where they arrive.
    pub async fn code(&self, person: &Person<'_>, scope: &str) -> String {
        let url = person.authorize(&self.authorization_url(scope, &[])).await;
        let code = url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        code.unwrap_or_else(|| panic!("no code in {url}"))
    }

    /// Redeems a code, with these parameters changed or added; an empty value leaves one out.
    pub async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("resource", RESOURCE),
        ];
        self.token(&form, changes).await
    }

    /// Everything from /authorize to tokens.
    pub async fn authorize(&self, person: &Person<'_>, scope: &str) -> Tokens {
        let code = self.code(person, scope).await;
        Tokens::of(self.redeem(&code, &[]).await)
    }

    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("resource", RESOURCE)], &[]).await
    }

    pub async fn client_credentials(&self, changes: &[(&str, &str)]) -> Answer {
        self.token(&[("grant_type", "client_credentials"), ("resource", RESOURCE)], changes).await
    }

    /// Calls the token endpoint as this client.
    pub async fn token(&self, form: &[(&str, &str)], changes: &[(&str, &str)]) -> Answer {
        self.post("/token", form, changes).await
    }

    /// Posts a form as this client: with Basic if it has a secret, else with its identifier in the form.
    pub async fn post(&self, path: &str, form: &[(&str, &str)], changes: &[(&str, &str)]) -> Answer {
        let mut fields = form.to_vec();
        if self.client_secret.is_none() {
            fields.push(("client_id", &self.client_id));
        }
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        let request = self.installation.http.post(format!("{}{path}", self.installation.issuer)).form(&fields);
        Answer::of(match &self.client_secret {
            Some(secret) => request.basic_auth(&self.client_id, Some(secret)),
            None => request,
        })
        .await
    }
}

impl Tokens {
    #[track_caller]
    pub fn of(answer: Answer) -> Tokens {
        let answer = answer.ok();
        let refresh_token = answer.json()["refresh_token"].as_str().map(str::to_owned);
        Tokens { access_token: answer.text("access_token"), refresh_token, answer }
    }

    #[track_caller]
    pub fn refresh_token(&self) -> &str {
        self.refresh_token.as_deref().expect("a refresh token was issued")
    }

    /// The claims of the access token, unverified.
    pub fn claims(&self) -> Value {
        claims(&self.access_token)
    }
}

/// The claims of a JWT, unverified.
pub fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).expect("a JWT has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}
