-- The first schema: clients, people, resources, grants and their tokens, keys, and the outbox through which facts leave.
-- Times are milliseconds since the epoch. Identifiers are text. Digests are keyed SHA-256, so nothing here can be used as a secret.

CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    metadata TEXT NOT NULL,
    -- Two registrations with equal metadata are one: the hash of what a client that registers itself says, else absent.
    registration_hash TEXT,
    secret_digest BLOB,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER,
    fresh_until INTEGER NOT NULL,
    CONSTRAINT clients_registration_hash UNIQUE (registration_hash)
);

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    login TEXT NOT NULL,
    display_name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    locked_at INTEGER,
    CONSTRAINT people_login UNIQUE (login)
);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    person TEXT NOT NULL REFERENCES people (id),
    started_at INTEGER NOT NULL,
    authenticated_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    user_agent TEXT NOT NULL,
    CONSTRAINT sessions_digest UNIQUE (digest)
);
CREATE INDEX sessions_person ON sessions (person);

CREATE TABLE resources (
    id TEXT PRIMARY KEY,
    identifier TEXT NOT NULL,
    -- The spelling by which two identifiers are equal.
    canonical TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    access_token_ttl_s INTEGER,
    secret_digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT resources_canonical UNIQUE (canonical)
);

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    person TEXT,
    resource TEXT,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    authenticated_at INTEGER,
    ended_at INTEGER,
    end_cause TEXT,
    refresh_generation INTEGER,
    refresh_rotated_at INTEGER,
    refresh_expires_at INTEGER
);
CREATE INDEX grants_person ON grants (person, client);
CREATE INDEX grants_client ON grants (client);

-- What a person allowed a client at a resource ('' for none), so that it need not be asked again.
CREATE TABLE consents (
    person TEXT NOT NULL,
    client TEXT NOT NULL,
    resource TEXT NOT NULL,
    scopes TEXT NOT NULL,
    given_at INTEGER NOT NULL,
    client_hash TEXT NOT NULL,
    PRIMARY KEY (person, client, resource)
);

-- Whatever may be used once. The purpose is part of the digest, so a value made for one purpose is unknown for any other.
CREATE TABLE one_time_values (
    digest BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    payload TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
);
CREATE INDEX one_time_values_expires_at ON one_time_values (expires_at);

-- Nodes of the delegation tree (token, grant, client, person) whose tokens issued until a moment are dead.
CREATE TABLE revocations (
    node TEXT PRIMARY KEY,
    issued_until INTEGER NOT NULL,
    forget_at INTEGER NOT NULL
);
CREATE INDEX revocations_forget_at ON revocations (forget_at);

-- Failed attempts, counted where every node sees them.
CREATE TABLE attempts (
    subject TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    last_at INTEGER NOT NULL
);

CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL,
    -- Encrypted under the installation's master key.
    sealed BLOB NOT NULL,
    public_jwk TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    activated_at INTEGER,
    retired_at INTEGER
);
-- One key signs and one is next, whoever rotates at the same moment.
CREATE UNIQUE INDEX signing_keys_state ON signing_keys (state) WHERE state <> 'retiring';

CREATE TABLE operators (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT operators_digest UNIQUE (digest)
);

-- Facts on their way to a log. When a relay claims a row it notes for which log, and in which of that log's batches.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    log INTEGER,
    batch INTEGER,
    event TEXT NOT NULL
);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);
