//! What must hold after every move, on the healed machine.

use super::{
    course::Simulation,
    model::{Checked, Life, ensure},
    request::{Caller, Request},
};

/// Tokens that are looked at after each move.
const TOKENS_LOOKED_AT: usize = 6;

impl Simulation {
    /// Some tokens are as alive as they should be, what was ended yields nothing, and no secret was logged.
    pub async fn check_move(&mut self) -> Checked {
        for _ in 0..TOKENS_LOOKED_AT {
            // The last ones are asked about most often: the others have long expired.
            let count = self.model.tokens.len();
            let oldest = if self.random.chance(70) { count.saturating_sub(15) } else { 0 };
            let Some(token) = self.random.index(count - oldest) else { break };
            self.check_token(oldest + token).await?;
        }
        if let Some(grant) = self.random.index(self.model.grants.len()) {
            self.check_ended(grant).await?;
        }
        if self.random.chance(10) {
            for path in ["/jwks", "/.well-known/oauth-authorization-server", "/readyz"] {
                let answer = self.machine.call(&Request::get(path)).await;
                ensure(answer.status.is_success(), || format!("{path} answers {} {}", answer.status, answer.body))?;
            }
        }
        self.check_pipeline().await?;
        self.check_lines()
    }

    /// All facts come to the log, every token is among them, and all of it has had its effect.
    pub async fn check_settled(&mut self) -> Checked {
        self.machine.settle().await?;
        self.check_pipeline_settled().await?;
        self.check_records()
    }

    /// The end: a crash, and then everything is looked at.
    pub async fn check_all(&mut self) -> Checked {
        self.machine.crash().await;
        self.check_settled().await?;
        for token in 0..self.model.tokens.len() {
            self.check_token(token).await?;
        }
        for grant in 0..self.model.grants.len() {
            self.check_ended(grant).await?;
        }
        self.check_replay().await?;
        self.check_lines()
    }

    async fn check_token(&self, index: usize) -> Checked {
        let (token, now) = (&self.model.tokens[index], self.machine.now());
        let grant = &self.model.grants[token.grant];
        let resource = &self.model.resources[grant.resource];
        let caller = Caller::Confidential { id: &resource.id, secret: &resource.secret };
        let answer = self.machine.call(&Request::form("/introspect", caller, &[("token", &token.text)])).await;
        ensure(answer.status.is_success(), || format!("introspection answers {} {}", answer.status, answer.body))?;
        let (is_active, life) = (answer.json()["active"] == true, self.model.life(token, now));
        let fits = life == Life::Doubtful || is_active == (life == Life::Alive);
        ensure(fits, || format!("the token {} of {} is {life:?} and introspection says {is_active}", token.jti, grant.id))?;
        if token.scopes.contains("openid") && grant.person.is_some() {
            let request = Request::get("/userinfo").with("authorization", format!("Bearer {}", token.text));
            let answer = self.machine.call(&request).await;
            let fits = life == Life::Doubtful || answer.status.as_u16() == if life == Life::Alive { 200 } else { 401 };
            ensure(fits, || format!("the token {} is {life:?} and userinfo answers {}", token.jti, answer.status))?;
        }
        Ok(())
    }

    /// Nothing that a grant ever gave renews it once it has ended.
    async fn check_ended(&mut self, index: usize) -> Checked {
        let grant = &self.model.grants[index];
        let Some(family) = grant.family.as_ref().filter(|_| grant.has_ended) else { return Ok(()) };
        let client = &self.model.clients[grant.client];
        for token in family.tokens.values() {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
            let answer = self.machine.call(&Request::form("/token", client.caller(), &fields)).await;
            let expected = if client.standing.is_on() { (400, "invalid_grant") } else { (400, "unauthorized_client") };
            let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            ensure((answer.status.as_u16(), error.as_str()) == expected, || {
                format!("an ended grant's refresh token is answered {} {}", answer.status, answer.body)
            })?;
        }
        Ok(())
    }
}
