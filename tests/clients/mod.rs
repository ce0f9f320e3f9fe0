//! Foreign clients: software that others wrote, unmodified and at exact versions, against the server as it is shipped.
//!
//! Each test starts `deputy serve` and the example MCP server as processes, sets them up with the command line as an operator would,
//! and runs one script beside this file. A script prints a line for each step and ends with 0 if all of them worked. It finds in its
//! environment:
//!
//! - `ISSUER`, `RESOURCE`: the server, and the MCP server whose tools need its tokens;
//! - `LOGIN`, `PASSWORD`: a person with an account;
//! - `CLIENT_DOCUMENTS`: where client ID metadata documents are served, over TLS that the server trusts;
//! - `SECRET_CLIENT_ID`, `SECRET_CLIENT_SECRET`, `KEY_CLIENT_ID`, `KEY_CLIENT_PEM`, `PUBLIC_CLIENT_ID`: clients that an operator made:
//!   with a secret, with a key, with neither;
//! - `CALLBACK_PORT`: a port that is free, for those that must be told one; `CHROMIUM`: the browser;
//! - `INVITATION_SCRIPTED`, `INVITATION_UNSCRIPTED`: links for new people; `RESET_SCRIPTED`, `RESET_UNSCRIPTED`: for such as lost their
//!   password; `OPERATOR_TOKEN`: what operators have.

/// Processes, and what they need of this machine.
pub mod processes;
/// The server as it is shipped, with everything around it that a client meets.
mod surroundings;
/// Segment's SDKs, which send customer events.
mod tracking;
/// rmcp, which speaks Rust.
mod rmcp;

use self::surroundings::Surroundings;

#[tokio::test]
async fn mcp_typescript_sdk() {
    Surroundings::start().await.run("mcp_typescript.mjs").await;
}

#[tokio::test]
async fn mcp_python_sdk() {
    Surroundings::start().await.run("mcp_python.py").await;
}

#[tokio::test]
async fn mcp_remote() {
    Surroundings::start().await.run("mcp_remote.mjs").await;
}

#[tokio::test]
async fn mcp_conformance_suite() {
    Surroundings::start().await.run("conformance.mjs").await;
}

#[tokio::test]
async fn openid_client() {
    Surroundings::signing_with("EdDSA").await.run("openid_client.mjs").await;
}

#[tokio::test]
async fn oauth4webapi() {
    Surroundings::start().await.run("oauth4webapi.mjs").await;
}

#[tokio::test]
async fn authlib() {
    Surroundings::signing_with("RS256").await.run("authlib_client.py").await;
}

#[tokio::test]
async fn authlib_with_eddsa() {
    Surroundings::signing_with("EdDSA").await.run("authlib_client.py").await;
}

#[tokio::test]
async fn pages_in_chromium() {
    Surroundings::start().await.run("pages.mjs").await;
}

#[tokio::test]
async fn consents_in_chromium() {
    Surroundings::start().await.run("consents.mjs").await;
}
