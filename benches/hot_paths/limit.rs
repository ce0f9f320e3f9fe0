//! The limit: axum handlers that do what no server of these answers can leave out, and nothing else.
//!
//! A token costs one signature by a key that is held ready, and one record in the log, durable before the answer, which waits for
//! the same sync as all others that wait. An introspection costs the hash of the token and a look into a map. Nobody is
//! authenticated, nothing is checked, and each answer has the bytes that Deputy's has.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use axum::{
    Form, Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt as _,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deputy::{
    domain::time::Timestamp,
    log::{
        Log, Record,
        disk::RealDisk,
        embedded::{Embedded, Settings},
    },
    world::FACTS,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::invitation::Invitation;
use super::servers::Failure;
use super::servers::process::wait_for_end;

/// What Deputy is asked and answers.
#[derive(Serialize, Deserialize)]
pub struct Answers {
    pub invitation: Invitation,
    /// To a token request.
    pub token: String,
    /// What it puts on record for one.
    pub event_bytes: usize,
    /// Of tokens, each with what introspection says of it.
    pub introspections: Vec<(String, String)>,
}

struct Limit {
    key: EcdsaKeyPair,
    random: SystemRandom,
    log: Embedded,
    event_bytes: usize,
    /// The answer to a token request up to the signature: its head, and what is signed.
    opening: &'static str,
    signed: String,
    /// What follows the signature.
    ending: String,
    introspections: HashMap<[u8; 32], Bytes>,
}

/// Serves the answers of a file until standard input ends. The log is written to the folder.
pub fn serve(folder: &Path, answers: &Path) -> Result<(), Failure> {
    let answers: Answers = serde_json::from_slice(&fs::read(answers)?)?;
    let invitation = answers.invitation.clone();
    let limit = Arc::new(Limit::new(folder, answers)?);
    let router = Router::new().route("/token", post(token)).route("/introspect", post(introspect)).with_state(limit);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let invitation = Invitation { address: listener.local_addr()?.to_string(), ..invitation };
        println!("{}", serde_json::to_string(&invitation)?);
        // A socket that waits to fill a packet is only slower.
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        let ended = async { _ = tokio::task::spawn_blocking(wait_for_end).await };
        tokio::select! {
            served = axum::serve(listener, router) => Ok(served?),
            () = ended => Ok(()),
        }
    })
}

impl Limit {
    fn new(folder: &Path, answers: Answers) -> Result<Limit, Failure> {
        const OPENING: &str = r#"{"access_token":""#;
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let answer = answers.token.strip_prefix(OPENING).and_then(|rest| rest.split_once('"'));
        let (token, ending) = answer.ok_or("the answer does not begin with an access token")?;
        let (signed, _) = token.rsplit_once('.').ok_or("the access token is no JWT")?;
        let introspections = answers.introspections.into_iter();
        Ok(Limit {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?,
            random,
            log: Embedded::open(Arc::new(RealDisk::create(folder)?), Settings::default())?,
            event_bytes: answers.event_bytes,
            opening: OPENING,
            signed: signed.to_owned(),
            ending: format!("\"{ending}"),
            introspections: introspections.map(|(token, answer)| (hash(&token), Bytes::from(answer))).collect(),
        })
    }
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
}

async fn token(State(limit): State<Arc<Limit>>, Form(request): Form<TokenRequest>) -> Result<Response, StatusCode> {
    if request.grant_type != "client_credentials" {
        return Err(StatusCode::BAD_REQUEST);
    }
    let record = Record { key_hash: 0, payload: vec![b' '; limit.event_bytes].into(), at: Timestamp(0) };
    limit.log.append(FACTS, vec![record]).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let signature = limit.key.sign(&limit.random, limit.signed.as_bytes()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let mut body = String::with_capacity(limit.signed.len() + limit.ending.len() + 128);
    body.push_str(limit.opening);
    body.push_str(&limit.signed);
    body.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut body);
    body.push_str(&limit.ending);
    Ok(json(body))
}

#[derive(Deserialize)]
struct IntrospectionRequest {
    token: String,
}

async fn introspect(State(limit): State<Arc<Limit>>, Form(request): Form<IntrospectionRequest>) -> Result<Response, StatusCode> {
    let found = limit.introspections.get(&hash(&request.token)).ok_or(StatusCode::NOT_FOUND)?;
    Ok(json(found.clone()))
}

fn json(body: impl IntoResponse) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    (headers, body).into_response()
}

fn hash(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
