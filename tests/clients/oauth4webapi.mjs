// oauth4webapi, certified by the OpenID Foundation: every exchange by itself, each answer held to its specification.

import * as oauth from "oauth4webapi";
import { Person } from "./person.mjs";
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
const REDIRECT_URI = "http://127.0.0.1:49152/callback";
const http = { [oauth.allowInsecureRequests]: true };
const json = {
  "content-type": "application/json",
  accept: "application/json, text/event-stream",
  "mcp-protocol-version": "2025-11-25",
};
const call = (tool, input = {}) =>
  JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: tool, arguments: input } });

/** The challenge of an answer that oauth4webapi refuses to pass on. */
async function challenged(work, claim) {
  const refusal = await refused(work, claim);
  check(refusal instanceof oauth.WWWAuthenticateChallengeError, `${claim}: ${refusal}`);
  return { status: refusal.status, ...refusal.cause[0].parameters };
}

const callTool = (token, tool, input) =>
  oauth.protectedResourceRequest(token, "POST", new URL(RESOURCE), new Headers(json), call(tool, input), http);

async function discover() {
  const bare = await fetch(RESOURCE, { method: "POST", headers: json, body: call("read_notes") });
  same(bare.status, 401, "the status without a token");
  const announced = /resource_metadata="([^"]+)"/.exec(bare.headers.get("www-authenticate"))?.[1];
  const resource = await oauth.processResourceDiscoveryResponse(
    new URL(RESOURCE),
    await oauth.resourceDiscoveryRequest(new URL(RESOURCE), http),
  );
  same((await (await fetch(announced)).json()).resource, resource.resource, "the resource that the 401 leads to");
  same(resource.authorization_servers, [ISSUER], "authorization_servers");
  step("from a 401 to the metadata of the resource (RFC 9728)");

  const [issuer] = resource.authorization_servers.map((server) => new URL(server));
  const found = await Promise.all(
    ["oauth2", "oidc"].map(async (algorithm) =>
      oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...http })),
    ),
  );
  same(found[0], found[1], "RFC 8414 and OpenID Connect discovery");
  step("both forms of the metadata of the server");
  return found[0];
}

async function authorize(person, as, client, scope) {
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const url = new URL(as.authorization_endpoint);
  const challenge = await oauth.calculatePKCECodeChallenge(verifier);
  const parameters = {
    client_id: client.client_id,
    redirect_uri: REDIRECT_URI,
    response_type: "code",
    scope,
    resource: RESOURCE,
    state,
    nonce,
    code_challenge: challenge,
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const { redirect } = await person.authorize(url);
  const forged = new URL(redirect);
  forged.searchParams.set("iss", `${ISSUER}/`);
  await refused(async () => oauth.validateAuthResponse(as, client, forged, state), "another issuer's iss");
  const answer = oauth.validateAuthResponse(as, client, redirect, state);
  const redeem = (code, secret) =>
    oauth.authorizationCodeGrantRequest(as, client, oauth.None(), code, REDIRECT_URI, secret, {
      additionalParameters: { resource: RESOURCE },
      ...http,
    });
  const response = await redeem(answer, verifier);
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce, requireIdToken: true });
  await oauth.validateApplicationLevelSignature(as, response, http);
  return { tokens, redeemAgain: () => redeem(answer, verifier) };
}

async function publicClient(as, client, name) {
  const person = new Person({ login: LOGIN, password: PASSWORD });
  const { tokens } = await authorize(person, as, client, "openid offline_access notes:read");
  step(`${name}: code, PKCE, nonce, iss, an ID token whose signature holds`);

  const request = new Request(RESOURCE, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  const claims = await oauth.validateJwtAccessToken(as, request, RESOURCE, http);
  same(claims.client_id, client.client_id, "client_id of the access token");
  same(
    (
      await oauth.processUserInfoResponse(
        as,
        client,
        claims.sub,
        await oauth.userInfoRequest(as, client, tokens.access_token, http),
      )
    ).sub,
    claims.sub,
    "sub of userinfo",
  );
  step(`${name}: an access token of RFC 9068 for the resource, and userinfo`);

  same((await callTool(tokens.access_token, "read_notes")).status, 200, "the status of a call with the token");
  const more = await challenged(() => callTool(tokens.access_token, "write_note", { text: name }), "a tool that needs more scope");
  same([more.status, more.error], [403, "insufficient_scope"], "the step-up challenge");
  const { tokens: wider } = await authorize(person, as, client, `openid offline_access ${more.scope}`);
  same((await callTool(wider.access_token, "write_note", { text: name })).status, 200, "the status after the step-up");
  step(`${name}: tool call, 403, step-up, tool call`);

  const renew = async (refreshToken) => {
    const response = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), refreshToken, {
      additionalParameters: { resource: RESOURCE },
      ...http,
    });
    return oauth.processRefreshTokenResponse(as, client, response);
  };
  const fresh = await renew(wider.refresh_token);
  same((await renew(wider.refresh_token)).refresh_token, fresh.refresh_token, "the successor of a refresh that was sent twice");
  step(`${name}: refresh; a repeated one gets the same successor`);

  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, oauth.None(), fresh.refresh_token, http));
  same(
    (await refused(() => renew(fresh.refresh_token), "a revoked refresh token")).error,
    "invalid_grant",
    "the error for a revoked refresh token",
  );
  const dead = await challenged(
    async () =>
      oauth.processUserInfoResponse(as, client, claims.sub, await oauth.userInfoRequest(as, client, fresh.access_token, http)),
    "userinfo after the revocation",
  );
  same([dead.status, dead.error], [401, "invalid_token"], "the challenge of userinfo after the revocation");
  step(`${name}: revocation`);
}

async function codeTwice(as, client) {
  const { tokens, redeemAgain } = await authorize(
    new Person({ login: LOGIN, password: PASSWORD }),
    as,
    client,
    "openid notes:read",
  );
  const refusal = await refused(
    async () => oauth.processAuthorizationCodeResponse(as, client, await redeemAgain()),
    "a code used twice",
  );
  same(refusal.error, "invalid_grant", "the error for a code used twice");
  const dead = await challenged(
    async () =>
      oauth.processUserInfoResponse(
        as,
        client,
        oauth.skipSubjectCheck,
        await oauth.userInfoRequest(as, client, tokens.access_token, http),
      ),
    "userinfo with the token of a code used twice",
  );
  same(dead.error, "invalid_token", "the challenge of userinfo");
  step("a code used twice ends what it gave");
}

async function withoutPerson(as, name, id, authentication) {
  const client = { client_id: id };
  const response = await oauth.clientCredentialsGrantRequest(
    as,
    client,
    authentication,
    { scope: "notes:read notes:write", resource: RESOURCE },
    http,
  );
  const tokens = await oauth.processClientCredentialsResponse(as, client, response);
  same((await callTool(tokens.access_token, "write_note", { text: name })).status, 200, "the status of a call with the token");
  const inspect = async () =>
    oauth.processIntrospectionResponse(
      as,
      client,
      await oauth.introspectionRequest(as, client, authentication, tokens.access_token, http),
    );
  same((await inspect()).active, true, "active");
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, tokens.access_token, http));
  same((await inspect()).active, false, "active after the revocation");
  step(`client credentials, introspection, revocation: ${name}`);
}

run(async () => {
  const as = await discover();
  const metadata = {
    client_name: "oauth4webapi",
    application_type: "native",
    redirect_uris: [REDIRECT_URI],
    token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
  };
  const register = async () =>
    oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(as, metadata, http));
  const registered = await register();
  same((await register()).client_id, registered.client_id, "the client_id of a repeated registration");
  step("dynamic registration, and the same client when it is repeated");
  await publicClient(as, registered, "registered by itself");
  await codeTwice(as, registered);
  await publicClient(as, { client_id: `${CLIENT_DOCUMENTS}/oauth4webapi.json` }, "client ID metadata document");

  const der = Buffer.from(KEY_CLIENT_PEM.replace(/-----[^-]+-----/g, ""), "base64");
  const key = await crypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  await withoutPerson(as, "client_secret_basic", SECRET_CLIENT_ID, oauth.ClientSecretBasic(SECRET_CLIENT_SECRET));
  await withoutPerson(as, "client_secret_post", SECRET_CLIENT_ID, oauth.ClientSecretPost(SECRET_CLIENT_SECRET));
  await withoutPerson(as, "private_key_jwt", KEY_CLIENT_ID, oauth.PrivateKeyJwt(key));
});
