//! The MCP Rust SDK: rmcp, as an agent's author would use it.

use reqwest::Url;
use rmcp::{
    RoleClient, ServiceExt as _,
    model::CallToolRequestParams,
    service::{RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport,
        auth::{
            AuthClient, AuthorizationCallback, AuthorizationManager, AuthorizationRequest, ClientCredentialsConfig,
            JwtSigningAlgorithm, OAuthState, WWWAuthenticateParams,
        },
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::json;

use super::surroundings::Surroundings;

const REDIRECT_URI: &str = "http://127.0.0.1:33420/callback";

type Authorized = AuthClient<reqwest::Client>;

#[tokio::test]
async fn rmcp_with_a_registration() {
    let surroundings = Surroundings::start().await;
    let request = AuthorizationRequest::new(REDIRECT_URI).with_client_name("rmcp").with_initial_scope_selection();
    let request = request.with_challenge(challenge(&surroundings).await);
    let (client, asked) = authorize(&surroundings, request).await;
    assert!(parameter(&asked, "client_id").starts_with("cli_"), "{asked}");
    assert_eq!(parameter(&asked, "resource"), surroundings.resource);
    let service = connect(&surroundings, &client).await;
    call(&service, "read_notes", json!({})).await.expect("the token is good");

    step_up(&surroundings, &client, &service).await;
    call(&service, "write_note", json!({"text": "from rmcp"})).await.expect("the wider token is good");
    assert!(call(&service, "read_notes", json!({})).await.expect("it still reads").contains("from rmcp"));

    refresh(&client).await;
    assert!(call(&service, "read_notes", json!({})).await.expect("the refreshed token is good").contains("from rmcp"));
}

#[tokio::test]
async fn rmcp_with_a_metadata_document() {
    let surroundings = Surroundings::start().await;
    let document = format!("{}/rmcp.json", surroundings.documents);
    let request = AuthorizationRequest::new(REDIRECT_URI).with_client_metadata_url(&document);
    let (client, asked) = authorize(&surroundings, request).await;
    assert_eq!(parameter(&asked, "client_id"), document);
    let service = connect(&surroundings, &client).await;
    call(&service, "read_notes", json!({})).await.expect("the token is good");
}

#[tokio::test]
async fn rmcp_with_client_credentials() {
    let surroundings = Surroundings::start().await;
    let (scopes, resource) = (vec!["notes:read".to_owned(), "notes:write".to_owned()], Some(surroundings.resource.clone()));
    let secret = ClientCredentialsConfig::ClientSecret {
        client_id: surroundings.secret_client.client_id.clone(),
        client_secret: surroundings.secret_client.secret.clone(),
        scopes: scopes.clone(),
        resource: resource.clone(),
    };
    let key = ClientCredentialsConfig::PrivateKeyJwt {
        client_id: surroundings.key_client.client_id.clone(),
        signing_key: surroundings.key_client.secret.clone().into_bytes(),
        signing_algorithm: JwtSigningAlgorithm::ES256,
        token_endpoint_audience: None,
        scopes,
        resource,
    };
    for credentials in [secret, key] {
        let mut state = OAuthState::new(&surroundings.resource, None).await.expect("the resource is a URL");
        state.authenticate_client_credentials(credentials).await.expect("the client is let in");
        let client = client(state.into_authorization_manager().expect("it is authorized"));
        let service = connect(&surroundings, &client).await;
        call(&service, "write_note", json!({"text": "my own"})).await.expect("the token is good");
        assert_eq!(call(&service, "read_notes", json!({})).await.expect("the token is good"), "my own");
    }
}

/// The challenge that a client without a token meets.
async fn challenge(surroundings: &Surroundings) -> String {
    let manager = AuthorizationManager::new(&surroundings.resource).await.expect("the resource is a URL");
    let refusal = ().serve(transport(surroundings, &client(manager))).await.expect_err("there is no token");
    refusal.auth_challenge().unwrap_or_else(|| panic!("no challenge in {refusal:?}")).to_owned()
}

/// Everything from discovery to tokens; also where the person was sent first.
async fn authorize(surroundings: &Surroundings, request: AuthorizationRequest) -> (Authorized, Url) {
    let mut state = OAuthState::new(&surroundings.resource, None).await.expect("the resource is a URL");
    state.start_authorization(request).await.expect("discovery and registration work");
    let url = state.get_authorization_url().await.expect("it has begun");
    let redirect = surroundings.authorize(&url).await;
    assert!(redirect.starts_with(&format!("{REDIRECT_URI}?")), "{redirect}");
    state.handle_callback_url(&redirect).await.expect("the code, the state and the iss are good");
    (client(state.into_authorization_manager().expect("it is authorized")), Url::parse(&url).expect("it is a URL"))
}

/// The 403 of a tool that needs more, and the person's consent to it.
async fn step_up(surroundings: &Surroundings, client: &Authorized, service: &RunningService<RoleClient, ()>) {
    let refusal = call(service, "write_note", json!({"text": "from rmcp"})).await.expect_err("the token cannot write");
    let challenge = refusal.auth_challenge().unwrap_or_else(|| panic!("no challenge in {refusal:?}"));
    let resource = Url::parse(&surroundings.resource).expect("the resource is a URL");
    let challenge = WWWAuthenticateParams::parse(challenge, &resource);
    assert!(challenge.is_insufficient_scope(), "{challenge:?}");

    let manager = client.auth_manager.lock().await;
    let url = manager.request_scope_upgrade(&challenge.scope.expect("it names the scope")).await.expect("rmcp asks for more");
    let redirect = surroundings.authorize(&url).await;
    let answer = AuthorizationCallback::from_redirect_url(&redirect).expect("it has code and state");
    let issuer = answer.issuer.as_deref();
    assert_eq!(issuer, Some(surroundings.issuer.as_str()));
    let without = manager.exchange_code_for_token_with_issuer(&answer.code, &answer.csrf_token, None).await;
    without.expect_err("rmcp insists on iss, which our metadata promises");
    manager.exchange_code_for_token_with_issuer(&answer.code, &answer.csrf_token, issuer).await.expect("the code is good");
    let scopes = manager.get_current_scopes().await;
    assert!(["notes:read", "notes:write"].iter().all(|scope| scopes.iter().any(|held| held == scope)), "{scopes:?}");
}

async fn refresh(client: &Authorized) {
    let manager = client.auth_manager.lock().await;
    let before = manager.get_access_token().await.expect("there is one");
    manager.refresh_token().await.expect("the refresh token is good");
    assert_ne!(manager.get_access_token().await.expect("there is another"), before);
}

fn client(manager: AuthorizationManager) -> Authorized {
    AuthClient::new(reqwest::Client::builder().no_proxy().build().expect("a client"), manager)
}

fn transport(surroundings: &Surroundings, client: &Authorized) -> StreamableHttpClientTransport<Authorized> {
    let config = StreamableHttpClientTransportConfig::with_uri(surroundings.resource.as_str());
    StreamableHttpClientTransport::with_client(client.clone(), config)
}

async fn connect(surroundings: &Surroundings, client: &Authorized) -> RunningService<RoleClient, ()> {
    ().serve(transport(surroundings, client)).await.expect("the MCP server takes the token")
}

/// Calls a tool; what it said.
async fn call(
    service: &RunningService<RoleClient, ()>,
    tool: &'static str,
    arguments: serde_json::Value,
) -> Result<String, ServiceError> {
    let arguments = arguments.as_object().cloned().expect("arguments are an object");
    let result = service.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    assert_ne!(result.is_error, Some(true), "{result:?}");
    let words = result.content.iter().filter_map(|part| part.as_text()).map(|text| text.text.clone());
    Ok(words.collect::<Vec<_>>().join("\n"))
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}
