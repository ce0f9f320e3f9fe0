// The pages in a real browser: every one of them reached by clicking and typing, at the sizes and in the colours that people have,
// with JavaScript and without; axe-core finds nothing, nothing breaks our own policy, and nothing is fetched from elsewhere.

import { createServer } from "node:http";
import { mkdir, readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { check, environment, run, same, step } from "./steps.mjs";

const { ISSUER, RESOURCE, LOGIN, PASSWORD, PUBLIC_CLIENT_ID, INVITATION_SCRIPTED, INVITATION_UNSCRIPTED, CHROMIUM } = environment(
  "ISSUER",
  "RESOURCE",
  "LOGIN",
  "PASSWORD",
  "PUBLIC_CLIENT_ID",
  "INVITATION_SCRIPTED",
  "INVITATION_UNSCRIPTED",
  "CHROMIUM",
);
/** A folder for a picture of every page, if somebody wants to look at them. */
const { PICTURES } = process.env;

const SIZES = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 900 } };
/** How each walk sees every page; both walks together see all four. */
const LOOKS = {
  "with JavaScript": [
    ["phone", "light"],
    ["desktop", "dark"],
  ],
  "without JavaScript": [
    ["phone", "dark"],
    ["desktop", "light"],
  ],
};
// WCAG 2.2 AA and below, and axe's own advice.
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const PATIENCE_MS = 30_000;
const VERIFIER = "a.verifier~of-the_unreserved.alphabet~0123456789";
/** The `state` of a person whom the agent sends on, and the scheme of its app. */
const ONWARD = "onward";
const APP = "com.example.agent";
const OTHER_PASSWORD = "quite another long password";

const axe = await readFile(fileURLToPath(new URL("node_modules/axe-core/axe.min.js", import.meta.url)), "utf8");

/** Answers on loopback, and tells its port. */
async function listen(answer) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

/** The agent's end of the redirect: says hello to whoever is sent there, or sends them on by another origin into its own app. */
async function agent() {
  let leave;
  const left = new Promise((resolve) => (leave = resolve));
  const relay = await listen((_, response) => {
    response.writeHead(302, { location: `${APP}:/done` }).end();
    leave();
  });
  const elsewhere = `http://localhost:${relay}`;
  const port = await listen((request, response) =>
    new URL(request.url, ISSUER).searchParams.get("state") === ONWARD
      ? response.writeHead(302, { location: elsewhere }).end()
      : response.setHeader("content-type", "text/html").end("<!doctype html><title>The agent</title>Back at the agent."),
  );
  return { redirectUri: `http://127.0.0.1:${port}/callback`, elsewhere, left };
}

/** One browser window, and the walk through our pages in it. */
class Window {
  #page;
  #inspector;
  #kind;
  #agent;

  constructor(page, inspector, kind, agent) {
    this.#page = page;
    this.#inspector = inspector;
    this.#kind = kind;
    this.#agent = agent;
    page.setDefaultTimeout(PATIENCE_MS);
    const broken = (what) => (this.broken ??= `${what} at ${page.url()}`);
    page.on("pageerror", (error) => broken(`script error: ${error}`));
    // The status of a refusal is shown there too; what the page itself did wrong is what counts.
    page.on(
      "console",
      (message) =>
        message.type() === "error" &&
        !/Failed to load resource: the server responded with a status of 4/.test(message.text()) &&
        broken(message.text()),
    );
    page.on("request", (request) => {
      const allowed = [ISSUER, new URL(agent.redirectUri).origin, agent.elsewhere, `${APP}:`, "data:"];
      if (!allowed.some((origin) => request.url().startsWith(origin))) broken(`a request to ${request.url()}`);
    });
  }

  open(path) {
    return this.#page.goto(new URL(path, ISSUER).href);
  }

  /** Judges the page at hand. */
  async inspect(name) {
    for (const [size, colorScheme] of LOOKS[this.#kind]) {
      await this.#page.setViewportSize(SIZES[size]);
      await this.#page.emulateMedia({ colorScheme });
      const place = `${name}, ${size}, ${colorScheme}, ${this.#kind}`;
      const { wide, titled } = await this.#page.evaluate(() => ({
        wide: document.documentElement.scrollWidth > innerWidth,
        titled: document.title.length > 8 && document.documentElement.lang === "en",
      }));
      check(!wide, `${place}: no sideways scrolling`);
      check(titled, `${place}: the page has a title and a language`);
      const found = await this.#violations();
      check(found.length === 0, `${place}: axe finds nothing; it found\n${found.join("\n")}`);
      if (PICTURES)
        await this.#page.screenshot({ path: join(PICTURES, `${place.replaceAll(/[^a-z]+/gi, "-")}.png`), fullPage: true });
    }
    check(!this.broken, `${name}, ${this.#kind}: nothing breaks; ${this.broken}`);
    step(`${this.#kind}: ${name}`);
  }

  /** What axe finds. It needs scripts to run: where they must not, they may until it is done, which wakes none of the page's own. */
  async #violations() {
    const allow = (value) => this.#inspector.send("Emulation.setScriptExecutionDisabled", { value: !value });
    await allow(true);
    await this.#page.evaluate(`globalThis.axe ?? (() => { ${axe} })()`);
    const { violations, passes } = await this.#page.evaluate(
      (rules) => axe.run({ resultTypes: ["violations"], runOnly: { type: "tag", values: rules } }),
      RULES,
    );
    check(passes.length > 5, "axe looked");
    await allow(this.#kind === "with JavaScript");
    return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id} (${help}): ${node.html}`));
  }

  async heading() {
    return (await this.#page.locator("h1").textContent()).trim();
  }

  fill(field, text) {
    return this.#page.locator(`input[name="${field}"]`).fill(text);
  }

  untick(scope) {
    return this.#page.locator(`input[name="scope"][value="${scope}"]`).uncheck();
  }

  count(selector) {
    return this.#page.locator(selector).count();
  }

  /** Presses a button, by its text, and waits for the page that comes. */
  async press(text, within = "main") {
    await Promise.all([
      this.#page.waitForEvent("framenavigated"),
      this.#page.locator(within).getByRole("button", { name: text, exact: true }).first().click(),
    ]);
    await this.#page.waitForLoadState();
  }

  /** Allows what leads the person out of this browser, into the agent's app. */
  async allowIntoTheApp() {
    const arrival = this.#page.waitForEvent("request", (request) => request.url().startsWith(`${APP}:`));
    await this.#page.locator("main").getByRole("button", { name: "Allow", exact: true }).click({ noWaitAfter: true });
    await Promise.all([this.#agent.left, arrival]);
    check(!this.broken, `the way into the app is free; ${this.broken}`);
  }

  async follow(link) {
    await Promise.all([
      this.#page.waitForEvent("framenavigated"),
      this.#page.getByRole("link", { name: link, exact: true }).click(),
    ]);
    await this.#page.waitForLoadState();
  }

  async signIn(password) {
    await this.fill("login", LOGIN);
    await this.fill("password", password);
    await this.press("Sign in");
  }

  /** The agent's question. */
  ask(scope, state = "s") {
    const challenge = createHash("sha256").update(VERIFIER).digest("base64url");
    const parameters = {
      response_type: "code",
      client_id: PUBLIC_CLIENT_ID,
      redirect_uri: this.#agent.redirectUri,
      scope,
      resource: RESOURCE,
      state,
      code_challenge: challenge,
      code_challenge_method: "S256",
    };
    return this.open(`/authorize?${new URLSearchParams(parameters)}`);
  }

  /** What the agent heard. */
  heard() {
    const url = new URL(this.#page.url());
    same(url.origin + url.pathname, this.#agent.redirectUri, "where the person arrives");
    return url.searchParams;
  }

  /** The scopes that the code gives: the agent redeems it. */
  async granted() {
    const code = this.heard().get("code");
    check(code, `the agent hears a code: ${this.heard()}`);
    const form = new URLSearchParams({
      grant_type: "authorization_code",
      client_id: PUBLIC_CLIENT_ID,
      code,
      redirect_uri: this.#agent.redirectUri,
      code_verifier: VERIFIER,
      resource: RESOURCE,
    });
    const answer = await (await fetch(`${ISSUER}/token`, { method: "POST", body: form })).json();
    check(answer.access_token, `the code is good: ${JSON.stringify(answer)}`);
    return answer.scope.split(" ").sort();
  }
}

/** Everything that a person can do here, once. */
async function journey(window, other, invitation, scripted) {
  await window.open("/");
  await window.inspect("home");
  await window.open("/authorize?client_id=nobody&response_type=code");
  await window.inspect("an error page");

  await window.ask("notes:read notes:write offline_access");
  await window.inspect("sign-in, for an agent");
  same(await window.count("button.reveal"), scripted ? 1 : 0, "how many buttons our script adds to the sign-in page");
  await window.signIn("not the password");
  await window.inspect("sign-in, after a wrong password");
  check(!(await window.count('button[value="allow"]')), "a wrong password leads nowhere");
  await window.signIn(PASSWORD);
  await window.inspect("consent");
  await window.untick("notes:write");
  await window.press("Allow");
  same(await window.granted(), ["notes:read", "offline_access"], "what a narrowed consent grants");

  await window.ask("notes:read notes:write offline_access");
  await window.inspect("consent, for more than before");
  await window.press("Refuse");
  same(window.heard().get("error"), "access_denied", "what the agent hears of a refusal");
  step("narrowed and refused by clicking");

  await window.open("/account");
  await window.inspect("connected apps");
  await window.press("End access");
  check(!(await window.count('form[action$="/apps/end"]')), "the app is gone");
  await window.inspect("connected apps, none");

  await other.open("/account");
  await other.signIn(PASSWORD);
  await window.follow("Sessions");
  await window.inspect("sessions");
  await window.press("Sign out everywhere else");
  await other.open("/account");
  same(await other.heading(), "Sign in", "what the other browser sees");
  step("the other session has ended");

  await other.ask("notes:read notes:write offline_access", ONWARD);
  await other.signIn(PASSWORD);
  await other.allowIntoTheApp();
  step("an agent that redirects on is reached");

  await window.follow("Password");
  await window.inspect("password");
  await changePassword(window, "not the password", OTHER_PASSWORD);
  await window.inspect("password, refused");
  await changePassword(window, PASSWORD, OTHER_PASSWORD);
  await window.inspect("password, changed");
  await window.press("Sign out", "header");
  await window.inspect("signed out");
  await window.follow("Sign in again");
  await window.signIn(OTHER_PASSWORD);
  await window.open("/account/password");
  await changePassword(window, OTHER_PASSWORD, PASSWORD);
  await window.press("Sign out", "header");
  step("the new password works");

  await window.open("/sign-up");
  await window.inspect("sign-up");
  await window.open(invitation);
  await window.inspect("invitation");
  await window.fill("display_name", "A Guest");
  await window.fill("password", OTHER_PASSWORD);
  await window.press("Join");
  await window.open("/account");
  check(await window.count('form[action$="/sign-out"]'), "the invited person is signed in");
  await window.open(invitation);
  await window.inspect("invitation, used up");
}

async function changePassword(window, current, next) {
  await window.fill("current_password", current);
  await window.fill("new_password", next);
  await window.press("Change password");
}

run(async () => {
  if (PICTURES) await mkdir(PICTURES, { recursive: true });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    for (const [kind, invitation] of [
      ["with JavaScript", INVITATION_SCRIPTED],
      ["without JavaScript", INVITATION_UNSCRIPTED],
    ]) {
      const open = async () => {
        const context = await browser.newContext();
        const page = await context.newPage();
        const inspector = await context.newCDPSession(page);
        await inspector.send("Emulation.setScriptExecutionDisabled", { value: kind !== "with JavaScript" });
        return new Window(page, inspector, kind, await agent());
      };
      await journey(await open(), await open(), invitation, kind === "with JavaScript");
    }
  } finally {
    await browser.close();
  }
});
