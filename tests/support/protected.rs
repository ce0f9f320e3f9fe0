//! A resource server in Rust behind the layer of `deputy::resource_server`, called without a socket.

use std::time::Duration;

use deputy::{
    domain::{scope::Scopes, secret::Secret},
    outbound::{Outbound, OutboundPolicy},
    resource_server::{ResourceServer, protect::ProtectLayer},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{Answer, Installation};

/// Notes: reading needs `notes:read`, and `/write` needs `notes:write` too.
pub struct Protected(ProtectLayer);

impl Protected {
    /// Checks tokens with the published keys of the installation.
    pub fn at(deputy: &Installation, identifier: &str) -> Protected {
        Protected::of(Protected::describe(deputy, identifier))
    }

    /// Asks the installation about tokens, and believes an answer for a minute. `resource` is what registering it answered.
    pub fn asking(deputy: &Installation, resource: &Value) -> Protected {
        let text = |member: &str| resource[member].as_str().expect("the registration has it").to_owned();
        let described = Protected::describe(deputy, &text("identifier"));
        Protected::of(described.introspecting(text("resource_id"), Secret::new(text("secret")), Duration::from_secs(60)))
    }

    /// As described, with the scopes that its paths need.
    pub fn of(described: ResourceServer) -> Protected {
        let described = described
            .required_scopes(["notes:read"])
            .scope_rule(|head, _| Scopes::of(if head.uri.path() == "/write" { vec!["notes:write"] } else { vec![] }));
        Protected(described.layer().expect("identifier and issuer are canonical"))
    }

    fn describe(deputy: &Installation, identifier: &str) -> ResourceServer {
        let clock = deputy.clock.clone();
        ResourceServer::new(identifier, deputy.issuer.clone())
            .outbound(Outbound::new(OutboundPolicy::OperatorNamed))
            .clock(move || deputy::world::clock::Clock::now(&*clock))
    }

    /// Calls a path with this text as the bearer token.
    pub async fn call(&self, path: &str, token: &str) -> Answer {
        let reached = service_fn(|_: http::Request<Full<Bytes>>| {
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from("the notes")))))
        });
        let request = http::Request::post(path).header("authorization", format!("Bearer {token}"));
        let request = request.body(Full::new(Bytes::new())).expect("the token is printable");
        let response = self.0.layer(reached).oneshot(request).await.unwrap_or_else(|never| match never {});
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("it is in memory").to_bytes();
        Answer { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }
}
