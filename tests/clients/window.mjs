// One browser window that walks through our pages and judges each of them: at the sizes and in the colours that people have, with
// JavaScript and without; axe-core finds nothing, nothing breaks our own policy, and nothing is fetched from elsewhere.

import { createServer } from "node:http";
import { mkdir, readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { check, environment, same, step } from "./steps.mjs";

const { ISSUER, RESOURCE, LOGIN, PUBLIC_CLIENT_ID, CHROMIUM } = environment(
  "ISSUER",
  "RESOURCE",
  "LOGIN",
  "PUBLIC_CLIENT_ID",
  "CHROMIUM",
);
/** A folder for a picture of every page, if somebody wants to look at them. */
const { PICTURES } = process.env;

const SIZES = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 900 } };
/** The walk in which our scripts run. */
export const SCRIPTED = "with JavaScript";
/** How each walk sees every page; both walks together see all four. */
const LOOKS = {
  [SCRIPTED]: [
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
export const ONWARD = "onward";
export const APP = "com.example.agent";

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
export class Window {
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
    await allow(this.#kind === SCRIPTED);
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

  /** Where the agent of this window waits for answers. */
  get redirectUri() {
    return this.#agent.redirectUri;
  }

  /** What the person reads. */
  text() {
    return this.#page.locator("main").innerText();
  }

  /** What stands in a field. */
  value(field) {
    return this.#page.locator(`input#${field}`).inputValue();
  }

  /** The agent's question, or that of another one: with these changes, `null` for what it does not say. */
  ask(scope, changes = {}) {
    const challenge = createHash("sha256").update(VERIFIER).digest("base64url");
    const asked = {
      response_type: "code",
      client_id: PUBLIC_CLIENT_ID,
      redirect_uri: this.#agent.redirectUri,
      scope,
      resource: RESOURCE,
      state: "s",
      code_challenge: challenge,
      code_challenge_method: "S256",
      ...changes,
    };
    const said = Object.entries(asked).filter(([, value]) => value !== null);
    return this.open(`/authorize?${new URLSearchParams(said)}`);
  }

  /** What the agent heard. */
  heard() {
    const url = new URL(this.#page.url());
    same(url.origin + url.pathname, this.#agent.redirectUri, "where the person arrives");
    return url.searchParams;
  }

  /** What the agent gets for the code that it heard. */
  async redeem() {
    const code = this.heard().get("code");
    check(code, `the agent hears a code: ${this.heard()}`);
    const form = { grant_type: "authorization_code", code, redirect_uri: this.redirectUri, code_verifier: VERIFIER };
    const answer = await token(form);
    check(answer.access_token, `the code is good: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** The scopes that the code gives. */
  async granted() {
    return (await this.redeem()).scope.split(" ").sort();
  }
}

/** What the token endpoint answers the agent. */
export async function token(form) {
  const body = new URLSearchParams({ client_id: PUBLIC_CLIENT_ID, resource: RESOURCE, ...form });
  return (await fetch(`${ISSUER}/token`, { method: "POST", body })).json();
}

/** Has a journey made with JavaScript, and then without: it gets the kind, and a way to open windows. */
export async function bothWays(journey) {
  if (PICTURES) await mkdir(PICTURES, { recursive: true });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    for (const kind of Object.keys(LOOKS)) {
      await journey(kind, async () => {
        const context = await browser.newContext();
        const page = await context.newPage();
        const inspector = await context.newCDPSession(page);
        await inspector.send("Emulation.setScriptExecutionDisabled", { value: kind !== SCRIPTED });
        return new Window(page, inspector, kind, await agent());
      });
    }
  } finally {
    await browser.close();
  }
}
