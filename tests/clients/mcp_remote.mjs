// mcp-remote, the proxy that lets local-only MCP hosts reach protected servers. We play the host, on its standard input and output.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Person } from "./person.mjs";
import { check, environment, run, same, step } from "./steps.mjs";

const { ISSUER, RESOURCE, LOGIN, PASSWORD, CLIENT_DOCUMENTS, SECRET_CLIENT_ID, SECRET_CLIENT_SECRET, CALLBACK_PORT } = environment(
  "ISSUER",
  "RESOURCE",
  "LOGIN",
  "PASSWORD",
  "CLIENT_DOCUMENTS",
  "SECRET_CLIENT_ID",
  "SECRET_CLIENT_SECRET",
  "CALLBACK_PORT",
);
const PROGRAM = fileURLToPath(new URL("node_modules/mcp-remote/dist/proxy.js", import.meta.url));

/** One run of mcp-remote over a folder of credentials. */
class Remote {
  asked = [];
  log = [];
  #child;
  #urls = [];
  #listening = 0;
  #answers = new Map();
  #next = 1;
  #ended;

  constructor(folder, person, ...options) {
    // The stub for the browser does nothing: the person reads the URL from the log.
    const env = { ...process.env, MCP_REMOTE_CONFIG_DIR: folder, BROWSER: "true" };
    this.#child = spawn(process.execPath, [PROGRAM, RESOURCE, ...options, "--allow-http", "--auth-timeout", "60"], { env });
    this.#ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#ended.then((code) => this.#fail(new Error(`mcp-remote ended with ${code}`)));
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(JSON.parse(line)));
    createInterface({ input: this.#child.stderr }).on("line", (line) => {
      this.log.push(line);
      if (line.startsWith(`${ISSUER}/authorize?`)) this.#urls.push(line);
      if (line.includes("OAuth callback server running")) this.#listening += 1;
      this.#authorize(person).catch((error) => this.#fail(error));
    });
  }

  /** A person is slower than we are: by the time they answer, mcp-remote listens, which it may begin before or after it asks. */
  async #authorize(person) {
    const url = this.#urls[this.asked.length];
    if (!url || this.asked.length >= this.#listening) return;
    this.asked.push(new URL(url).searchParams);
    const { redirect } = await person.authorize(url);
    const response = await fetch(redirect);
    check(response.ok, `mcp-remote takes the answer: ${response.status} ${await response.text()}`);
  }

  #hear(message) {
    this.#answers.get(message.id)?.(message);
    this.#answers.delete(message.id);
  }

  #fail(error) {
    for (const answer of this.#answers.values()) answer({ error: `${error.message}\n${this.log.join("\n")}` });
    this.#answers.clear();
  }

  #send(message) {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  async request(method, params) {
    const id = this.#next++;
    const answered = new Promise((resolve) => this.#answers.set(id, resolve));
    this.#send({ id, method, params });
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${typeof error === "string" ? error : JSON.stringify(error)}`);
    return result;
  }

  async initialize() {
    await this.request("initialize", {
      protocolVersion: "2025-06-18",
      capabilities: {},
      clientInfo: { name: "foreign", version: "1.0.0" },
    });
    this.#send({ method: "notifications/initialized" });
    return this;
  }

  async call(name, input = {}) {
    const result = await this.request("tools/call", { name, arguments: input });
    check(!result.isError, `${name} works: ${JSON.stringify(result)}`);
    return result.content[0].text;
  }

  async stop() {
    this.#child.kill();
    await this.#ended;
  }
}

async function stored(folder, suffix) {
  const found = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(suffix));
  same(found.length, 1, `how many files ${suffix} mcp-remote keeps`);
  const path = join(folder, found[0]);
  return { path, value: JSON.parse(await readFile(path, "utf8")) };
}

async function lifeOfARegistration(folder, person) {
  const first = await new Remote(folder, person).initialize();
  same(first.asked.length, 1, "how often the person was asked");
  same(first.asked[0].get("resource"), RESOURCE, "the resource that was asked for");
  await first.call("read_notes");
  step("a 401 led to the metadata, a registration, the person, a token and a tool call");

  await first.call("write_note", { text: "from mcp-remote" });
  check((await first.call("read_notes")).includes("from mcp-remote"), "the note was written");
  same(first.asked.length, 2, "how often the person was asked");
  check(first.asked[1].get("scope").split(" ").includes("notes:write"), "the step-up asks for what the 403 named");
  await first.stop();
  step("a 403 led to the person and a wider token");

  const before = await stored(folder, "tokens.json");
  await writeFile(before.path, JSON.stringify({ ...before.value, expires_at: 1, expires_in: 1 }));
  const second = await new Remote(folder, person).initialize();
  check((await second.call("read_notes")).includes("from mcp-remote"), "the notes are still there");
  same(second.asked.length, 0, "how often the person was asked after a restart");
  const after = await stored(folder, "tokens.json");
  check(after.value.refresh_token !== before.value.refresh_token, "the refresh token was rotated");
  same(after.value.scope.split(" ").sort(), before.value.scope.split(" ").sort(), "the scope after the refresh");
  await second.stop();
  step("after a restart, the expired token was refreshed");
}

async function metadataDocument(folder, person) {
  const client = `${CLIENT_DOCUMENTS}/mcp-remote.json`;
  const remote = await new Remote(
    folder,
    person,
    CALLBACK_PORT,
    "--client-metadata-url",
    client,
    "--protocol",
    "auto",
  ).initialize();
  same(remote.asked[0].get("client_id"), client, "the client_id");
  await remote.call("read_notes");
  await remote.stop();
  step("a client ID metadata document instead of a registration, over MCP 2026-07-28");
}

async function withoutPerson(folder) {
  const nobody = { authorize: () => Promise.reject(new Error("nobody is here to be asked")) };
  const client = JSON.stringify({ client_id: SECRET_CLIENT_ID, client_secret: SECRET_CLIENT_SECRET });
  const remote = await new Remote(folder, nobody, "--client-credentials", "--static-oauth-client-info", client).initialize();
  await remote.call("read_notes");
  await remote.stop();
  step("client credentials");
}

run(async () => {
  const home = await mkdtemp(join(tmpdir(), "mcp-remote-"));
  try {
    const person = new Person({ login: LOGIN, password: PASSWORD });
    await lifeOfARegistration(join(home, "registration"), person);
    await metadataDocument(join(home, "document"), person);
    await withoutPerson(join(home, "credentials"));
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
