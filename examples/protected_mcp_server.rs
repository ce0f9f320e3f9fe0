//! An MCP server whose tools need tokens from Deputy: one layer in front, and nothing about OAuth inside.
//!
//! `cargo run --example protected_mcp_server`, beside a running Deputy that knows the resource `http://127.0.0.1:9401/mcp` with the
//! scopes `notes:read` and `notes:write`. Reading asks for the first; the first note that an agent writes makes it come back to the
//! person for the second.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that somebody starts in a terminal")]

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::request::Parts;
use clap::Parser;
use deputy::{domain::secret::Secret, resource_server::ResourceServer, resource_server::token::Token};
use rmcp::handler::server::{tool::Extension, wrapper::Parameters};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, schemars, tool, tool_handler, tool_router};
use tokio::net::TcpListener;

/// An MCP server that keeps notes for people, and lets their agents read and write them.
#[derive(Parser)]
struct Options {
    /// Where to listen; the resource identifier is http://<ADDRESS>/mcp
    #[arg(long, env = "NOTES_ADDRESS", default_value = "127.0.0.1:9401")]
    address: SocketAddr,
    /// The authorization server whose tokens are accepted
    #[arg(long, env = "NOTES_ISSUER", default_value = "http://127.0.0.1:9400")]
    issuer: String,
    /// This resource's <ID>:<SECRET> there, to ask about each token: a revoked one is refused at once, and not when it expires
    #[arg(long, env = "NOTES_CREDENTIALS", hide_env_values = true)]
    credentials: Option<String>,
}

/// The notes of each person, by subject. Knows nothing of tokens but whose they are.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<HashMap<String, Vec<String>>>>);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Note {
    /// What to remember
    text: String,
}

#[tool_router]
impl Notes {
    #[tool(description = "Read the person's notes", annotations(read_only_hint = true))]
    fn read_notes(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        let person = subject(&request)?;
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(notes.get(&person).map_or_else(|| "There are no notes yet.".to_owned(), |notes| notes.join("\n")))
    }

    #[tool(description = "Add a note to the person's notes")]
    fn write_note(&self, Extension(request): Extension<Parts>, Parameters(note): Parameters<Note>) -> Result<String, ErrorData> {
        let person = subject(&request)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(person).or_default().push(note.text);
        Ok("Noted.".to_owned())
    }
}

#[tool_handler(name = "notes", version = "1.0.0", instructions = "Keeps short notes for a person.")]
impl ServerHandler for Notes {}

/// Whose notes they are: the layer put the verified token into the request.
fn subject(request: &Parts) -> Result<String, ErrorData> {
    let token = request.extensions.get::<Token>().ok_or_else(|| ErrorData::internal_error("the server is not protected", None))?;
    Ok(token.subject.clone())
}

fn service(options: &Options) -> Result<Router, Box<dyn std::error::Error>> {
    // Without sessions each request is judged by its own token. A web page that comes by DNS rebinding is turned away.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts([options.address.to_string()])
        .with_allowed_origins([format!("http://{}", options.address)]);
    let notes = Notes::default();
    let mcp = StreamableHttpService::new(move || Ok(notes.clone()), Arc::new(NeverSessionManager::default()), config);

    let resource = ResourceServer::new(format!("http://{}/mcp", options.address), &options.issuer)
        .name("Notes")
        .scopes_supported(["notes:read", "notes:write"])
        .required_scopes(["notes:read"])
        .tool_scopes("write_note", ["notes:write"]);
    let credentials = options.credentials.as_deref().map(|text| text.split_once(':').ok_or("the credentials are <ID>:<SECRET>"));
    let protect = match credentials.transpose()? {
        Some((id, secret)) => resource.introspecting(id, Secret::new(secret.to_owned()), std::time::Duration::ZERO).layer()?,
        None => resource.layer()?,
    };
    Ok(Router::new().route_service("/mcp", mcp).layer(protect))
}

async fn serve(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let service = service(options)?;
    let listener = TcpListener::bind(options.address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => format!("{} is in use: stop what runs there, or choose another with --address", options.address),
        _ => format!("cannot listen at {}: {error}", options.address),
    })?;
    println!("Notes, an MCP server: http://{}/mcp, for tokens of {}. Stop with Ctrl-C.", options.address, options.issuer);
    tokio::select! {
        served = axum::serve(listener, service) => Ok(served?),
        stop = tokio::signal::ctrl_c() => Ok(stop?),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("protected_mcp_server: {error}");
            ExitCode::FAILURE
        }
    }
}
