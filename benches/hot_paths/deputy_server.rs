//! Deputy as `deputy serve` runs it, on a data folder that it filled before.

use std::path::Path;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use deputy::{
    config::Settings,
    domain::{
        actor::ActorKind,
        client::{ApplicationType, AuthMethod, Client, ClientId, ClientMetadata, GrantType, Origin},
        grant::{Grant, RefreshFamily},
        id::{ClientKind, Id, PersonKind},
        resource::{Resource, ResourceIdentifier, ScopeDefinition},
        scope::Scopes,
        secret::Secret,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    server::Server,
    storage::{StorageError, clients, grants, resources},
    telemetry::Telemetry,
    world::World,
};

use super::invitation::{Invitation, Question};
use super::servers::Failure;
use super::servers::process::wait_for_end;

const RESOURCE: &str = "http://127.0.0.1:9401/mcp";
const SCOPES: [(&str, &str); 2] = [("notes:read", "Read your notes"), ("notes:write", "Write and change your notes")];
/// Grants that one transaction writes.
const BATCH: u32 = 1_000;
/// How long the grants live.
const GRANT_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Makes a data folder in which so many people have given a grant to an agent that refreshes its tokens.
pub fn fill(folder: &Path, count: u32) -> Result<(), Failure> {
    let settings = settings(folder)?;
    runtime()?.block_on(async {
        let world = World::open(settings).await?;
        let client = ClientId::from(world.id::<ClientKind>(world.now()));
        let mut missing = count;
        while missing > 0 {
            let batch: Vec<Grant> = (0..missing.min(BATCH)).map(|_| grant(&world, &client)).collect::<Result<_, _>>()?;
            missing -= missing.min(BATCH);
            let write = world.storage.write(move |tx| {
                Box::pin(async move {
                    for grant in &batch {
                        grants::insert(tx, grant).await?;
                    }
                    Ok::<_, StorageError>(())
                })
            });
            write.await?;
        }
        world.close().await;
        Ok(())
    })
}

/// Serves until standard input ends.
pub fn serve(folder: &Path) -> Result<(), Failure> {
    let settings = settings(folder)?;
    let _telemetry = Telemetry::start(&settings)?;
    runtime()?.block_on(async {
        let server = Server::start(settings).await?;
        let invitation = invite(&server).await?;
        println!("{}", serde_json::to_string(&invitation)?);
        tokio::task::spawn_blocking(wait_for_end).await??;
        server.stop().await;
        Ok(())
    })
}

fn settings(folder: &Path) -> Result<Settings, Failure> {
    let lines = format!("listen = \"127.0.0.1:0\"\ndata_dir = {folder:?}\n");
    Ok(Settings::parse("the benchmark's configuration", &lines)?)
}

/// As `deputy serve` makes it.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Registers an agent and a resource, and tells how they ask.
async fn invite(server: &Server) -> Result<Invitation, Failure> {
    let world = &server.world;
    let (agent_secret, resource_secret) = (world.secret(), world.secret());
    let (agent, resource) = (agent(world, &agent_secret), resource(world, &resource_secret)?);
    let authorization =
        |id: &str, secret: &Secret<String>| format!("Basic {}", STANDARD.encode(format!("{id}:{}", secret.reveal())));
    let token = Question {
        path: "/token".to_owned(),
        authorization: authorization(agent.id.as_str(), &agent_secret),
        body: "grant_type=client_credentials&scope=notes%3Aread+notes%3Awrite&resource=http%3A%2F%2F127.0.0.1%3A9401%2Fmcp"
            .to_owned(),
    };
    let introspection = Question {
        path: "/introspect".to_owned(),
        authorization: authorization(&resource.id.to_string(), &resource_secret),
        body: String::new(),
    };
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            clients::insert(tx, &agent, None).await?;
            resources::insert(tx, &resource).await
        })
    });
    write.await?;
    Ok(Invitation { address: server.address.to_string(), introspected_token: token.clone(), token, introspection })
}

fn agent(world: &World, secret: &Secret<String>) -> Client {
    let now = world.now();
    Client {
        id: ClientId::from(world.id::<ClientKind>(now)),
        origin: Origin::Operator,
        metadata: ClientMetadata {
            client_name: "An agent that acts for itself".to_owned(),
            redirect_uris: Vec::new(),
            grant_types: vec![GrantType::ClientCredentials],
            token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
            auth_method_chosen: true,
            application_type: ApplicationType::Web,
            client_uri: None,
            scope: Some(scopes()),
            resources: None,
            jwks: None,
            jwks_uri: None,
            software_id: None,
            software_version: None,
        },
        secret_digest: Some(world.secrets.digest(Purpose::ClientSecret, secret.reveal())),
        created_at: now,
        disabled_at: None,
        fresh_until: now,
        kind: ActorKind::UnknownAgent,
    }
}

fn resource(world: &World, secret: &Secret<String>) -> Result<Resource, Failure> {
    let now = world.now();
    let define = |(name, description): (&str, &str)| ScopeDefinition {
        name: name.to_owned(),
        description: description.to_owned(),
        implies: Vec::new(),
    };
    Ok(Resource {
        id: world.id(now),
        identifier: identifier()?,
        name: "Notes".to_owned(),
        scopes: SCOPES.map(define).into(),
        access_token_ttl_s: None,
        secret_digest: world.secrets.digest(Purpose::ResourceSecret, secret.reveal()),
        created_at: now,
    })
}

fn grant(world: &World, client: &ClientId) -> Result<Grant, Failure> {
    let now = world.now();
    let person: Id<PersonKind> = world.id(now);
    Ok(Grant {
        id: world.id(now),
        client: client.clone(),
        person: Some(person),
        resource: Some(identifier()?),
        scopes: scopes(),
        created_at: now,
        expires_at: now.plus(GRANT_TTL),
        used_at: now,
        ended: None,
        authenticated_at: Some(Timestamp::from_seconds(now.seconds())),
        refresh: Some(RefreshFamily { generation: 0, rotated_at: now, rotated_before_at: None, expires_at: now.plus(GRANT_TTL) }),
    })
}

fn scopes() -> Scopes {
    Scopes::of(SCOPES.map(|(name, _)| name))
}

fn identifier() -> Result<ResourceIdentifier, Failure> {
    ResourceIdentifier::parse(RESOURCE).map_err(|refusal| refusal.description.into())
}
