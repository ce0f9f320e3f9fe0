// The question whether an agent may act, in all its shapes: whoever asks, wherever the answer goes, whatever is asked for, and why it
// is asked again.

import { check, environment, run } from "./steps.mjs";
import { APP, bothWays, token } from "./window.mjs";

const { ISSUER, PASSWORD, CLIENT_DOCUMENTS, KEY_CLIENT_ID, OPERATOR_TOKEN } = environment(
  "ISSUER",
  "PASSWORD",
  "CLIENT_DOCUMENTS",
  "KEY_CLIENT_ID",
  "OPERATOR_TOKEN",
);
const SCOPE = "notes:read notes:write offline_access";
const WEB_CALLBACK = "https://app.example.com/callback";
/** What an operator may have done about risk; this is nothing. */
const NO_RULE = {
  suspend_at: null,
  revoke_at: null,
  require_approval_at: null,
  ask_for_unknown_agents: false,
  refuse_bots: false,
};
/** How often a page is looked at again until the background stages have caught up. */
const LOOKS_MAX = 200;

async function rule(changes) {
  const body = JSON.stringify({ ...NO_RULE, ...changes });
  const headers = { authorization: `Bearer ${OPERATOR_TOKEN}`, "content-type": "application/json" };
  const answer = await fetch(`${ISSUER}/admin/v1/risk/rule`, { method: "PUT", headers, body });
  check(answer.ok, `the rule is set: ${answer.status}`);
}

/** A client that registers itself. */
async function register(name, redirectUri, grantTypes) {
  const metadata = {
    client_name: name,
    redirect_uris: [redirectUri],
    grant_types: grantTypes,
    token_endpoint_auth_method: "none",
    application_type: "native",
  };
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${ISSUER}/register`, { method: "POST", headers, body: JSON.stringify(metadata) });
  const { client_id } = await answer.json();
  check(client_id, `the client registers itself: ${answer.status}`);
  return client_id;
}

/** Judges a question, once it says all of this. */
async function question(window, name, scope, changes, ...says) {
  let text;
  for (let look = 0; look < LOOKS_MAX; look += 1) {
    await window.ask(scope, changes);
    text = await window.text();
    if (says.every((words) => text.includes(words))) return window.inspect(name);
  }
  check(false, `${name}: the page says ${says.join(" and ")}; it says ${text}`);
}

/** An agent uses a refresh token that it had given back: somebody may have a copy. */
async function replay(window) {
  await window.ask(SCOPE);
  await window.press("Allow");
  const { refresh_token: first } = await window.redeem();
  const refresh = (refresh_token) => token({ grant_type: "refresh_token", refresh_token });
  const { refresh_token: second } = await refresh(first);
  const { refresh_token: third } = await refresh(second);
  check((await refresh(third)).access_token, "it may be renewed");
  check((await refresh(first)).error === "invalid_grant", "one of three renewals ago is a replay");
}

async function journey(kind, open) {
  const window = await open();
  await rule({});
  await window.open("/account");
  await window.signIn(PASSWORD);

  const stray = await register(`A stray app ${kind}`, "http://127.0.0.1/callback", ["authorization_code"]);
  const renewing = ["authorization_code", "refresh_token"];
  const installed = await register(`An installed app ${kind}`, `${APP}:/done`, renewing);
  const ofStray = { client_id: stray };
  const ofDocument = { client_id: `${CLIENT_DOCUMENTS}/vouched.json` };
  const ofInstalled = { client_id: installed, redirect_uri: `${APP}:/done` };
  const ofWeb = { client_id: KEY_CLIENT_ID, redirect_uri: WEB_CALLBACK };
  const registered = "Nobody vouches for its name.";
  await question(window, "consent, for one access", "notes:read", ofStray, registered, "After that, it has to ask again.");
  await question(window, "consent, for an app that a host vouches for", SCOPE, ofDocument, "The owner of localhost");
  await question(window, "consent, for an installed app", SCOPE, ofInstalled, registered, "installed on this device");
  await question(window, "consent, for a web app", SCOPE, ofWeb, "Registered by your administrator.", "app.example.com");
  await question(window, "consent, for who one is", "openid profile email", { resource: null }, "See your name");

  await rule({ ask_for_unknown_agents: true });
  await question(window, "consent, each time", SCOPE, ofInstalled, "Little is known of this app.");
  await rule({ require_approval_at: 40 });
  await replay(window);
  await question(window, "consent, after something unusual", SCOPE, {}, "something was unusual", "a second time");
}

run(() => bothWays(journey));
