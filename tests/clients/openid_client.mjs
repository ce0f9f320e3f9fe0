// openid-client, certified by the OpenID Foundation: OpenID Connect, with a web application that keeps a secret.

import * as client from "openid-client";
import { Person, allowOnly, refuse } from "./person.mjs";
import { check, environment, refused, run, same, step } from "./steps.mjs";

const { ISSUER, RESOURCE, LOGIN, PASSWORD, SECRET_CLIENT_ID, SECRET_CLIENT_SECRET, KEY_CLIENT_ID, KEY_CLIENT_PEM } = environment(
  "ISSUER",
  "RESOURCE",
  "LOGIN",
  "PASSWORD",
  "SECRET_CLIENT_ID",
  "SECRET_CLIENT_SECRET",
  "KEY_CLIENT_ID",
  "KEY_CLIENT_PEM",
);
const REDIRECT_URI = "https://app.example.com/callback";
const SCOPE = "openid profile email offline_access notes:read";
const options = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] };

async function authorize(person, config, parameters, answer) {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const nonce = client.randomNonce();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT_URI,
    scope: SCOPE,
    resource: RESOURCE,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    nonce,
    ...parameters,
  });
  const visit = await person.authorize(url, answer);
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  return {
    visit,
    checks,
    redeem: (more) => client.authorizationCodeGrant(config, visit.redirect, { ...checks, ...more }, { resource: RESOURCE }),
  };
}

async function lifeOfAGrant(name, config) {
  const person = new Person({ login: LOGIN, password: PASSWORD });
  const { visit, redeem } = await authorize(person, config, { max_age: "600" });
  check(visit.signedIn, "the person signed in");
  const tokens = await redeem({ maxAge: 600 });
  const claims = tokens.claims();
  same(claims.iss, ISSUER, "iss of the ID token");
  check(claims.auth_time <= Date.now() / 1000, "auth_time is in the past");
  step(`${name}: code, PKCE, state, nonce, max_age, iss and a signed ID token`);

  const user = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  same(user.preferred_username, LOGIN, "userinfo's preferred_username");
  check(user.email && user.name, "userinfo tells name and email");
  step(`${name}: userinfo of the same person`);

  const active = await client.tokenIntrospection(config, tokens.access_token);
  check(active.active, "the token is active");
  same(active.sub, claims.sub, "sub of the introspection");
  same(active.aud, RESOURCE, "aud of the introspection");
  check(active.scope.split(" ").includes("notes:read"), "the token has its scope");
  step(`${name}: introspection`);

  const fresh = await client.refreshTokenGrant(config, tokens.refresh_token, { resource: RESOURCE });
  check(fresh.access_token !== tokens.access_token, "another access token");
  check(fresh.refresh_token !== tokens.refresh_token, "another refresh token");
  step(`${name}: refresh, rotated`);

  await client.tokenRevocation(config, fresh.refresh_token, { token_type_hint: "refresh_token" });
  same((await client.tokenIntrospection(config, fresh.access_token)).active, false, "active after the revocation");
  const refusal = await refused(
    () => client.refreshTokenGrant(config, fresh.refresh_token, { resource: RESOURCE }),
    "a revoked refresh token",
  );
  same(refusal.error, "invalid_grant", "the error for a revoked refresh token");
  step(`${name}: revocation ends the grant at once`);
}

async function answersOfThePerson(config) {
  const person = new Person({ login: LOGIN, password: PASSWORD });
  const silent = await authorize(person, config, { prompt: "none" });
  const loginRequired = await refused(silent.redeem, "prompt=none without a session");
  same(loginRequired.error, "login_required", "the error for prompt=none");

  const narrowed = await authorize(person, config, { prompt: "consent" }, allowOnly("openid", "notes:read"));
  const tokens = await narrowed.redeem();
  same(tokens.scope.split(" ").sort(), ["notes:read", "openid"], "what is left of the scope");
  same(
    (await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)).email,
    undefined,
    "the e-mail that the person kept to themselves",
  );
  step("a narrowed consent narrows the scope");

  const no = await authorize(person, config, { prompt: "consent" }, refuse);
  same((await refused(no.redeem, "a person's refusal")).error, "access_denied", "the error for a refusal");
  const again = await authorize(person, config, { prompt: "login" });
  check(again.visit.signedIn, "prompt=login asks for the password again");
  await again.redeem();
  step("prompt none, consent and login");
}

async function withoutPerson(name, id, authentication) {
  const config = await client.discovery(new URL(ISSUER), id, undefined, authentication, { ...options, algorithm: "oauth2" });
  const tokens = await client.clientCredentialsGrant(config, { scope: "notes:read", resource: RESOURCE });
  same(tokens.scope, "notes:read", "scope");
  check(!tokens.refresh_token, "no refresh token without a person");
  same((await client.tokenIntrospection(config, tokens.access_token)).client_id, id, "client_id of the introspection");
  const response = await client.fetchProtectedResource(config, tokens.access_token, new URL(RESOURCE), "POST", mcpPing, mcpHeaders);
  same(response.status, 200, "the status of a call with the token");
  step(`client credentials: ${name}`);
}

const mcpHeaders = new Headers({
  "content-type": "application/json",
  accept: "application/json, text/event-stream",
  "mcp-protocol-version": "2025-11-25",
});
const mcpPing = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });

async function signingKey() {
  const der = Buffer.from(KEY_CLIENT_PEM.replace(/-----[^-]+-----/g, ""), "base64");
  return crypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
}

run(async () => {
  const registered = await client.dynamicClientRegistration(
    new URL(ISSUER),
    {
      client_name: "openid-client",
      redirect_uris: [REDIRECT_URI],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "client_secret_basic",
    },
    client.ClientSecretBasic(),
    options,
  );
  check(registered.clientMetadata().client_secret, "the registration brought a secret");
  step("OpenID Connect discovery and dynamic registration, with a secret");
  await lifeOfAGrant("registered by itself", registered);
  await answersOfThePerson(registered);

  const key = await signingKey();
  const keyed = await client.discovery(new URL(ISSUER), KEY_CLIENT_ID, undefined, client.PrivateKeyJwt(key), options);
  await lifeOfAGrant("private_key_jwt", keyed);
  await withoutPerson("client_secret_basic", SECRET_CLIENT_ID, client.ClientSecretBasic(SECRET_CLIENT_SECRET));
  await withoutPerson("private_key_jwt", KEY_CLIENT_ID, client.PrivateKeyJwt(key));
});
