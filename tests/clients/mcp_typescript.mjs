// The MCP TypeScript SDK: @modelcontextprotocol/client.

import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { Person, refuse } from "./person.mjs";
import { check, environment, refused, run, same, step } from "./steps.mjs";

const {
  ISSUER,
  RESOURCE,
  LOGIN,
  PASSWORD,
  CLIENT_DOCUMENTS,
  SECRET_CLIENT_ID,
  SECRET_CLIENT_SECRET,
  KEY_CLIENT_ID,
  KEY_CLIENT_PEM,
} = environment(
  "ISSUER",
  "RESOURCE",
  "LOGIN",
  "PASSWORD",
  "CLIENT_DOCUMENTS",
  "SECRET_CLIENT_ID",
  "SECRET_CLIENT_SECRET",
  "KEY_CLIENT_ID",
  "KEY_CLIENT_PEM",
);
const REDIRECT_URI = "http://127.0.0.1:33418/callback";

/** What the SDK asks its host to remember; nothing of the flow itself. */
class Memory {
  redirectUrl = REDIRECT_URI;
  clientMetadata = {
    client_name: "TypeScript SDK",
    redirect_uris: [REDIRECT_URI],
    grant_types: ["authorization_code", "refresh_token"],
  };
  asked = null;
  saved = [];
  #client;
  #discovered;
  #verifier;
  #state;

  constructor(clientMetadataUrl) {
    this.clientMetadataUrl = clientMetadataUrl;
  }
  state() {
    return (this.#state = crypto.randomUUID());
  }
  clientInformation() {
    return this.#client;
  }
  saveClientInformation(client) {
    this.#client = client;
  }
  discoveryState() {
    return this.#discovered;
  }
  saveDiscoveryState(discovered) {
    this.#discovered = discovered;
  }
  tokens() {
    return this.saved.at(-1);
  }
  saveTokens(tokens) {
    this.saved.push(tokens);
  }
  redirectToAuthorization(url) {
    this.asked = url;
  }
  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }
  codeVerifier() {
    return this.#verifier;
  }

  /** Has the person answer what was asked, and hands the answer to the transport. */
  async answer(person, transport, decision) {
    const asked = this.asked;
    this.asked = null;
    const { redirect } = await person.authorize(asked, decision);
    same(redirect.origin + redirect.pathname, REDIRECT_URI, "the redirect URI");
    same(redirect.searchParams.get("state"), this.#state, "state");
    await transport.finishAuth(redirect.searchParams);
    return asked.searchParams;
  }
}

const mode = (version) => ({ versionNegotiation: { mode: version } });
const scopes = (tokens) => tokens.scope.split(" ").sort();
const said = (result) => result.content.map((part) => part.text).join("\n");

async function connect(provider, version) {
  const client = new Client({ name: "foreign", version: "1.0.0" }, mode(version));
  const transport = new StreamableHTTPClientTransport(new URL(RESOURCE), { authProvider: provider });
  await client.connect(transport);
  return { client, transport };
}

/** Connects, with the person's help when the SDK wants it. */
async function connectWith(person, provider, version) {
  const transport = new StreamableHTTPClientTransport(new URL(RESOURCE), { authProvider: provider });
  const refusal = await refused(
    () => new Client({ name: "foreign", version: "1.0.0" }, mode(version)).connect(transport),
    "a connection without a token",
  );
  check(refusal instanceof UnauthorizedError, `the SDK asks for authorization: ${refusal}`);
  const asked = await provider.answer(person, transport);
  return { asked, ...(await connect(provider, version)) };
}

async function dynamicRegistration(person) {
  const provider = new Memory();
  const { asked, client, transport } = await connectWith(person, provider, "auto");
  step("a 401 led to the metadata, a registration, the person and a token");
  check(/^cli_/.test(provider.clientInformation().client_id), "the client registered itself");
  same(provider.clientInformation().issuer, ISSUER, "the issuer of the registration");
  same(asked.get("resource"), RESOURCE, "the resource that was asked for");
  same(client.getNegotiatedProtocolVersion(), "2026-07-28", "the MCP revision");
  said(await client.callTool({ name: "read_notes", arguments: {} }));
  step("a tool call with the token");

  const before = scopes(provider.tokens());
  check(!before.includes("notes:write"), "the first token cannot write");
  await refused(
    () => client.callTool({ name: "write_note", arguments: { text: "from TypeScript" } }),
    "a tool that needs more scope",
  );
  check(provider.asked, "the 403 made the SDK ask the person again");
  const more = await provider.answer(person, transport);
  same(
    more
      .get("scope")
      .split(" ")
      .filter((scope) => !before.includes(scope)),
    ["notes:write"],
    "what the step-up adds",
  );
  same(scopes(provider.tokens()), [...before, "notes:write"].sort(), "the scope after the step-up");
  await client.callTool({ name: "write_note", arguments: { text: "from TypeScript" } });
  check(said(await client.callTool({ name: "read_notes", arguments: {} })).includes("from TypeScript"), "the note was written");
  step("a 403 led to the person and a wider token");

  const old = provider.tokens();
  provider.saved.push({ ...old, access_token: `${old.access_token.slice(0, -8)}AAAAAAAA` });
  await client.callTool({ name: "read_notes", arguments: {} });
  check(provider.asked === null, "the person was not asked");
  check(provider.tokens().refresh_token && provider.tokens().refresh_token !== old.refresh_token, "the refresh token was rotated");
  same(scopes(provider.tokens()), scopes(old), "the scope after the refresh");
  step("a token that the resource refuses was refreshed");
  await client.close();
}

async function issuerCheck(person) {
  const provider = new Memory();
  const transport = new StreamableHTTPClientTransport(new URL(RESOURCE), { authProvider: provider });
  await refused(() => new Client({ name: "foreign", version: "1.0.0" }).connect(transport), "a connection without a token");
  const { redirect } = await person.authorize(provider.asked);
  same(redirect.searchParams.get("iss"), ISSUER, "iss of the answer");
  const without = new URLSearchParams(redirect.searchParams);
  without.delete("iss");
  const refusal = await refused(() => transport.finishAuth(without), "an answer without iss, which our metadata promises");
  check(/iss/i.test(`${refusal.name} ${refusal.message}`), `the SDK missed iss: ${refusal}`);
  await transport.finishAuth(redirect.searchParams);
  step("the SDK insists on iss, and ours is right");
}

async function refusal(person) {
  const provider = new Memory();
  const transport = new StreamableHTTPClientTransport(new URL(RESOURCE), { authProvider: provider });
  await refused(() => new Client({ name: "foreign", version: "1.0.0" }).connect(transport), "a connection without a token");
  const error = await refused(() => provider.answer(person, transport, refuse), "a person's refusal");
  check(/access_denied/.test(`${error.code ?? ""} ${error.message}`), `the SDK hears access_denied: ${error}`);
  step("a person's refusal arrives as access_denied");
}

async function metadataDocument(person) {
  const provider = new Memory(`${CLIENT_DOCUMENTS}/typescript.json`);
  const { asked, client } = await connectWith(person, provider, "legacy");
  same(asked.get("client_id"), `${CLIENT_DOCUMENTS}/typescript.json`, "the client_id");
  await client.callTool({ name: "read_notes", arguments: {} });
  step("a client ID metadata document instead of a registration, over the 2025 handshake");
  await client.close();
}

async function withoutPerson(name, provider) {
  const { client } = await connect(provider, "auto");
  await client.callTool({ name: "write_note", arguments: { text: name } });
  check(
    said(await client.callTool({ name: "read_notes", arguments: {} }))
      .split("\n")
      .includes(name),
    "the client's own notes",
  );
  check(!provider.tokens().refresh_token, "no refresh token without a person");
  step(`client credentials: ${name}`);
  await client.close();
}

run(async () => {
  const person = new Person({ login: LOGIN, password: PASSWORD });
  await dynamicRegistration(person);
  await issuerCheck(person);
  await refusal(person);
  await metadataDocument(person);
  const scope = "notes:read notes:write";
  await withoutPerson(
    "client_secret_basic",
    new ClientCredentialsProvider({
      clientId: SECRET_CLIENT_ID,
      clientSecret: SECRET_CLIENT_SECRET,
      scope,
      expectedIssuer: ISSUER,
    }),
  );
  await withoutPerson(
    "private_key_jwt",
    new PrivateKeyJwtProvider({
      clientId: KEY_CLIENT_ID,
      privateKey: KEY_CLIENT_PEM,
      algorithm: "ES256",
      scope,
      expectedIssuer: ISSUER,
    }),
  );
});
