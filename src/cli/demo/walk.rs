//! The main job in ten steps, over HTTP, as a real agent and a real person go through it.

use std::time::Duration;

use deputy::config::Settings;
use deputy::domain::time::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::super::Failure;
use super::super::events::facts::{Facts, Place, Recorded};
use super::super::events::words;
use super::super::output;
use super::agent::{Agent, Attempt, Endpoints, NAME, Tokens, shortened};
use super::browser::{Browser, Page};
use super::cast::Cast;
use super::exchange::{self, Answer};
use super::story::{Party, Story};
use Party::{Agent as AGENT, Deputy as DEPUTY, Notes as NOTES, Person as PERSON};

/// Pages and redirects on the way through the authorization endpoint.
const HOPS_MAX: usize = 10;
/// How long the last fact may take from the database to the log.
const RELAY_MAX: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) struct Walk<'a> {
    story: &'a Story,
    cast: &'a Cast,
    http: reqwest::Client,
    browser: Browser,
    agent: Agent,
    at: Endpoints,
    client_id: String,
    /// How often the person was asked: what they have read before is not told again.
    consents: u32,
}

/// Goes all the way. `started_at` is when this run's first fact was recorded at the earliest.
pub(super) async fn walk(story: &Story, cast: &Cast, mcp: Url, settings: &Settings, started_at: Timestamp) -> Result<(), Failure> {
    let http = exchange::client()?;
    let agent = Agent::new(http.clone(), mcp);
    let (at, scope) = discover(story, &agent).await?;
    let client_id = register(story, &agent, &at, started_at).await?;
    let browser = Browser::new(http.clone());
    let mut walk = Walk { story, cast, http, browser, agent, at, client_id, consents: 0 };
    let (attempt, code) = walk.sign_in_and_consent(&scope).await?;
    let tokens = walk.redeem(&attempt, &code).await?;
    walk.read(&tokens).await?;
    let tokens = walk.step_up(&tokens).await?;
    let tokens = walk.refresh(&tokens).await?;
    walk.revoke(&tokens).await?;
    walk.be_refused(&tokens).await?;
    facts(story, settings, started_at, &tokens).await
}

async fn discover(story: &Story, agent: &Agent) -> Result<(Endpoints, String), Failure> {
    story.step(1, "Discover", "The agent was told one address, an MCP server's. It finds out the rest.")?;
    story.asks(AGENT, NOTES, &format!("POST {}   tools/call read_notes, without a token", agent.mcp.path()))?;
    let answer = agent.call("read_notes", json!({}), None).await?.expect(401)?;
    let challenge = answer.challenge()?;
    story.answers(NOTES, answer.status, &challenge.in_short())?;
    let metadata = challenge.parameter("resource_metadata").and_then(|url| Url::parse(url).ok());
    let metadata = metadata.ok_or_else(|| answer.lacks("resource_metadata"))?;
    story.detail("metadata", metadata.as_str())?;
    let scope = challenge.parameter("scope").ok_or_else(|| answer.lacks("the scope that is needed"))?.to_owned();

    story.asks(AGENT, NOTES, &format!("GET {}", metadata.path()))?;
    let answer = agent.get(&metadata).await?.expect(200)?;
    let resource = answer.json()?;
    let issuer = resource["authorization_servers"][0].as_str().ok_or_else(|| answer.lacks("an authorization server"))?;
    story.answers(NOTES, answer.status, &format!("tokens come from {issuer}"))?;
    if resource["resource"] != agent.mcp.as_str() {
        return Err(answer.lacks("the resource that was asked"));
    }

    let url = well_known(issuer)?;
    story.asks(AGENT, DEPUTY, &format!("GET {}", url.path()))?;
    let answer = agent.get(&url).await?.expect(200)?;
    let at: Endpoints = serde_json::from_str(&answer.body).map_err(|_| answer.lacks("the endpoints that an agent needs"))?;
    if at.issuer != issuer {
        return Err(answer.lacks("the issuer that was asked"));
    }
    let paths = [&at.registration_endpoint, &at.authorization_endpoint, &at.token_endpoint, &at.revocation_endpoint].map(Url::path);
    story.answers(DEPUTY, answer.status, &format!("endpoints {}", paths.join(" ")))?;
    Ok((at, scope))
}

/// [RFC 8414 §3](https://www.rfc-editor.org/rfc/rfc8414#section-3): between host and path.
fn well_known(issuer: &str) -> Result<Url, Failure> {
    let mut url = Url::parse(issuer).map_err(|_| Failure(format!("{issuer} is not the URL of an issuer")))?;
    let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

async fn register(story: &Story, agent: &Agent, at: &Endpoints, started_at: Timestamp) -> Result<String, Failure> {
    story.step(2, "Register", "The agent introduces itself. Anybody may, and that gives it no rights yet.")?;
    story.asks(AGENT, DEPUTY, &format!("POST {}   client_name \"{NAME}\"", at.registration_endpoint.path()))?;
    let answer = agent.register(at).await?.expect(201)?;
    let client_id = answer.text("client_id")?;
    let is_new = answer.json()?["client_id_issued_at"].as_i64().is_none_or(|issued_at| issued_at >= started_at.seconds());
    let told = if is_new { "a new client; nobody vouches for its name" } else { "the client that it was in an earlier run" };
    story.answers(DEPUTY, answer.status, told)?;
    story.detail("client_id", &client_id)?;
    Ok(client_id)
}

impl Walk<'_> {
    async fn sign_in_and_consent(&mut self, scope: &str) -> Result<(Attempt, String), Failure> {
        self.story.step(3, "Sign in and consent", "The agent sends its person to Deputy. What they say there, it never sees.")?;
        let attempt = self.agent.attempt(&self.at, &self.client_id, scope);
        let code = self.authorize(&attempt).await?;
        Ok((attempt, code))
    }

    /// The person goes through whatever pages there are, and comes back with a code.
    async fn authorize(&mut self, attempt: &Attempt) -> Result<String, Failure> {
        let mut url = attempt.url.clone();
        self.story.asks(PERSON, DEPUTY, &format!("GET {}   with what the agent asks for", url.path()))?;
        let mut answer = self.browser.open(&url).await?;
        for _ in 0..HOPS_MAX {
            if let Some(next) = answer.location(&url) {
                if next.origin() != self.at.authorization_endpoint.origin() {
                    self.story.answers(DEPUTY, answer.status, "back to the agent, with a code that works once")?;
                    let code = self.agent.code(&self.at, attempt, &next)?;
                    self.story.does(AGENT, "finds its own state in the answer, and the right iss")?;
                    return Ok(code);
                }
                url = next;
                answer = self.browser.open(&url).await?;
                continue;
            }
            let page = answer.expect(200)?;
            url = Url::parse(&self.at.issuer).map_err(|_| page.lacks("an issuer"))?;
            answer = self.fill_in(&page).await?;
        }
        Err(answer.lacks("an end: there were too many pages"))
    }

    /// Reads the page at hand and answers it.
    async fn fill_in(&mut self, answer: &Answer) -> Result<Answer, Failure> {
        let page = Page(&answer.body);
        let seal = page.field("seal").unwrap_or_default();
        if page.is_sign_in() {
            self.story.answers(DEPUTY, answer.status, "the sign-in page")?;
            let url = self.page_url("/sign-in")?;
            self.story.asks(PERSON, DEPUTY, &format!("POST {}   login {}, and the password", url.path(), self.cast.login))?;
            let form = [("seal", seal.as_str()), ("login", &self.cast.login), ("password", self.cast.password.reveal())];
            let answered = self.browser.submit(url, &form).await?;
            if answered.status == 303 {
                return Ok(answered);
            }
            let problem = Page(&answered.body).text("id=\"problem\"", "</p>").unwrap_or_else(|| answered.status.to_string());
            let (login, file) = (&self.cast.login, self.cast.person_file.display());
            let mend = format!("if the password was changed, delete {file}, and the next run makes a new person");
            return Err(Failure(format!("{login} cannot sign in with the password in {file} ({problem}); {mend}")));
        }
        if !page.is_consent() {
            let title = page.text("<h1", "</h1>").unwrap_or_else(|| "a page that is unknown here".to_owned());
            return Err(Failure(format!("the story stops here: neither sign-in nor consent, but: {title}")));
        }
        self.read_consent(answer.status, &page)?;
        let url = self.page_url("/consent")?;
        self.story.asks(PERSON, DEPUTY, &format!("POST {}   Allow", url.path()))?;
        let offers = page.offers();
        let mut form = vec![("seal", seal.as_str()), ("decision", "allow")];
        form.extend(offers.iter().map(|offer| ("scope", offer.scope.as_str())));
        self.browser.submit(url, &form).await
    }

    /// The page, as the person reads it.
    fn read_consent(&mut self, status: u16, page: &Page<'_>) -> Result<(), Failure> {
        self.story.answers(DEPUTY, status, &page.text("<h1", "</h1>").unwrap_or_default())?;
        let told = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        for (label, offer) in std::iter::once("what").chain(std::iter::repeat("")).zip(page.offers()) {
            let tag = offer.tag.map(|tag| format!(" ({tag})")).unwrap_or_default();
            self.story.detail(label, &format!("[x] {}{tag}   {}", offer.words, offer.scope))?;
        }
        self.consents += 1;
        if self.consents > 1 {
            return Ok(());
        }
        self.story.detail("where", &told(page.text("class=\"resource\"", "</li>")))?;
        self.story.detail("who asks", &told(page.text("class=\"vouch", "</p>")))?;
        self.story.detail("how long", &told(page.below("For how long")))?;
        self.story.detail("answer to", &told(page.below("Where your answer goes")))
    }

    fn page_url(&self, path: &str) -> Result<Url, Failure> {
        Url::parse(&format!("{}{path}", self.at.issuer)).map_err(|_| Failure("the issuer has no pages".to_owned()))
    }

    async fn redeem(&self, attempt: &Attempt, code: &str) -> Result<Tokens, Failure> {
        self.story.step(4, "Token", "For this person, this resource and these scopes only, and short-lived.")?;
        let path = self.at.token_endpoint.path();
        self.story.asks(AGENT, DEPUTY, &format!("POST {path}   the code, and the PKCE verifier"))?;
        let answer = self.agent.redeem(&self.at, &self.client_id, attempt, code).await?.expect(200)?;
        let tokens = Tokens::of(&answer)?;
        self.story.answers(DEPUTY, answer.status, &format!("a token for {}, good for {} s", tokens.scope, tokens.expires_in_s))?;
        self.story.detail("access", &shortened(&tokens.access_token))?;
        self.story.detail("refresh", &shortened(&tokens.refresh_token))?;
        let (header, claims) = tokens.decoded().ok_or_else(|| answer.lacks("a signed token"))?;
        self.story
            .does(AGENT, &format!("may look into its token: {}, signed with {}", said(&header["typ"]), said(&header["alg"])))?;
        for (claim, meaning) in [
            ("iss", ""),
            ("aud", "   nowhere else"),
            ("sub", "   the person"),
            ("client_id", "   the agent"),
            ("scope", ""),
            ("gid", "   its grant"),
            ("jti", ""),
        ] {
            self.story.detail(claim, &format!("{}{meaning}", said(&claims[claim])))?;
        }
        let expires_at = Timestamp::from_seconds(claims["exp"].as_i64().unwrap_or_default());
        self.story.detail("exp", &expires_at.to_rfc3339())?;
        Ok(tokens)
    }

    async fn read(&self, tokens: &Tokens) -> Result<(), Failure> {
        self.story.step(5, "Use it", "The same call as in step 1, now with the token.")?;
        self.call("read_notes", json!({}), tokens).await
    }

    /// Calls a tool that the token is good for.
    async fn call(&self, tool: &str, arguments: Value, tokens: &Tokens) -> Result<(), Failure> {
        let told = arguments["text"].as_str().map(|text| format!(" \"{text}\"")).unwrap_or_default();
        self.story.asks(AGENT, NOTES, &format!("POST {}   tools/call {tool}{told}", self.agent.mcp.path()))?;
        let answer = self.agent.call(tool, arguments, Some(&tokens.access_token)).await?.expect(200)?;
        let result = answer.json()?;
        let text = result["result"]["content"][0]["text"].as_str().ok_or_else(|| answer.lacks("the tool's result"))?;
        self.story.answers(NOTES, answer.status, &format!("“{text}”"))
    }

    async fn step_up(&mut self, tokens: &Tokens) -> Result<Tokens, Failure> {
        self.story.step(6, "More scope", "Writing needs more. The agent hears what, and the person decides again.")?;
        self.story.asks(AGENT, NOTES, &format!("POST {}   tools/call write_note", self.agent.mcp.path()))?;
        let note = json!({"text": "Milk, bread, ink"});
        let answer = self.agent.call("write_note", note.clone(), Some(&tokens.access_token)).await?.expect(403)?;
        let challenge = answer.challenge()?;
        self.story.answers(NOTES, answer.status, &challenge.in_short())?;
        let scope = challenge.parameter("scope").ok_or_else(|| answer.lacks("the scopes that are needed"))?;

        let attempt = self.agent.attempt(&self.at, &self.client_id, scope);
        let code = self.authorize(&attempt).await?;
        let path = self.at.token_endpoint.path();
        self.story.asks(AGENT, DEPUTY, &format!("POST {path}   the new code"))?;
        let answer = self.agent.redeem(&self.at, &self.client_id, &attempt, &code).await?.expect(200)?;
        let wider = Tokens::of(&answer)?;
        self.story.answers(DEPUTY, answer.status, &format!("a token for {}", wider.scope))?;
        self.hand_back(tokens, "the narrower token, needed no more").await?;
        self.call("write_note", note, &wider).await?;
        self.call("read_notes", json!({}), &wider).await?;
        Ok(wider)
    }

    async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, Failure> {
        self.story.step(7, "Refresh", "Access tokens are short-lived. The agent gets the next one by itself.")?;
        self.story.asks(AGENT, DEPUTY, &format!("POST {}   the refresh token", self.at.token_endpoint.path()))?;
        let answer = self.agent.refresh(&self.at, &self.client_id, &tokens.refresh_token).await?.expect(200)?;
        let renewed = Tokens::of(&answer)?;
        if renewed.refresh_token == tokens.refresh_token {
            return Err(answer.lacks("a new refresh token"));
        }
        self.story.answers(DEPUTY, answer.status, "both are new, and the old one is used up")?;
        self.story.detail("access", &shortened(&renewed.access_token))?;
        self.story.detail("refresh", &shortened(&renewed.refresh_token))?;
        self.call("read_notes", json!({}), &renewed).await?;
        Ok(renewed)
    }

    async fn revoke(&self, tokens: &Tokens) -> Result<(), Failure> {
        self.story.step(8, "Revoke", "The agent is done. The person could end it as well, on their account page.")?;
        self.hand_back(tokens, "the refresh token, and with it the grant").await
    }

    async fn hand_back(&self, tokens: &Tokens, what: &str) -> Result<(), Failure> {
        self.story.asks(AGENT, DEPUTY, &format!("POST {}   {what}", self.at.revocation_endpoint.path()))?;
        let answer = self.agent.revoke(&self.at, &self.client_id, &tokens.refresh_token).await?.expect(200)?;
        self.story.answers(DEPUTY, answer.status, "that grant has ended")
    }

    async fn be_refused(&self, tokens: &Tokens) -> Result<(), Failure> {
        self.story.step(9, "Refused", "Nothing of it works now: notes asks Deputy about each token that it gets.")?;
        self.story.asks(AGENT, DEPUTY, &format!("POST {}   the refresh token", self.at.token_endpoint.path()))?;
        let answer = self.agent.refresh(&self.at, &self.client_id, &tokens.refresh_token).await?.expect(400)?;
        self.story.answers(DEPUTY, answer.status, &format!("{}: {}", answer.text("error")?, answer.text("error_description")?))?;

        let endpoint = &self.at.introspection_endpoint;
        self.story.asks(NOTES, DEPUTY, &format!("POST {}   is this access token good?", endpoint.path()))?;
        let request = self.http.post(endpoint.clone()).form(&[("token", &tokens.access_token)]);
        let request = request.basic_auth(&self.cast.resource_id, Some(self.cast.resource_secret.reveal()));
        let answer = Answer::to(request).await?.expect(200)?;
        if answer.json()?["active"] != false {
            return Err(answer.lacks("the end of the token"));
        }
        self.story.answers(DEPUTY, answer.status, &answer.body)?;

        self.story.asks(AGENT, NOTES, &format!("POST {}   tools/call read_notes", self.agent.mcp.path()))?;
        let answer = self.agent.call("read_notes", json!({}), Some(&tokens.access_token)).await?.expect(401)?;
        self.story.answers(NOTES, answer.status, &answer.challenge()?.in_short())
    }
}

async fn facts(story: &Story, settings: &Settings, started_at: Timestamp, tokens: &Tokens) -> Result<(), Failure> {
    story.step(10, "On record", "Each decision left a fact behind. From the log on disk:")?;
    let (_, claims) = tokens.decoded().unwrap_or_default();
    let mut facts = tokio::time::timeout(RELAY_MAX, until_ended(settings, started_at, &claims["gid"]))
        .await
        .map_err(|_| Failure(format!("the end of the grant is not in the log after {} s", RELAY_MAX.as_secs())))??;
    facts.sort_by_key(|fact| fact.at);
    facts.iter().try_for_each(|fact| output::print(&words::line(fact, 2, story.terminal)))?;
    let [person, client] = ["sub", "client_id"].map(|claim| words::short(&said(&claims[claim])));
    output::print("\n")?;
    story.paragraph(2, &format!("{person} is the person, {client} the agent, opr_… the operator, who made them known."))
}

/// This run's facts, once the end of the grant is among them. They leave the database in the order of their commits, so those before
/// it are there too.
async fn until_ended(settings: &Settings, started_at: Timestamp, grant: &Value) -> Result<Vec<Recorded>, Failure> {
    let mut log = Facts::open(settings, Place::Time(started_at)).await?;
    let mut facts: Vec<Recorded> = Vec::new();
    let is_last = |fact: &Recorded| {
        let event: Value = serde_json::from_slice(&fact.payload).unwrap_or_default();
        event["type"] == "grant.ended.v1" && event["data"]["grant"] == *grant
    };
    loop {
        let read = log.read().await?;
        if read.is_empty() {
            if facts.iter().any(is_last) {
                return Ok(facts);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        facts.extend(read);
    }
}

/// A JSON value as text.
fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
