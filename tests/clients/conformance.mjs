// The MCP conformance suite against the authorization server: every scenario passes, and nothing is even a warning.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Person } from "./person.mjs";
import { check, environment, run, same, step } from "./steps.mjs";

const { ISSUER, RESOURCE, LOGIN, PASSWORD, PUBLIC_CLIENT_ID, CALLBACK_PORT } = environment(
  "ISSUER",
  "RESOURCE",
  "LOGIN",
  "PASSWORD",
  "PUBLIC_CLIENT_ID",
  "CALLBACK_PORT",
);
const PROGRAM = fileURLToPath(new URL("node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url));
const SCENARIOS = ["authorization-code-grant", "authorization-server-metadata-endpoint"];

async function conform(results) {
  const person = new Person({ login: LOGIN, password: PASSWORD });
  const options = {
    url: ISSUER,
    "client-id": PUBLIC_CLIENT_ID,
    resource: RESOURCE,
    port: CALLBACK_PORT,
    "spec-version": "2026-07-28",
    "output-dir": results,
  };
  const child = spawn(process.execPath, [
    PROGRAM,
    "authorization",
    ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
  ]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const said = [];
  let answered = Promise.resolve();
  const read = (line) => {
    said.push(line);
    if (line.startsWith(`${ISSUER}/authorize?`))
      answered = person
        .authorize(line)
        .then(({ redirect }) => fetch(redirect))
        .catch((error) => (child.kill(), said.push(String(error))));
  };
  createInterface({ input: child.stdout }).on("line", read);
  createInterface({ input: child.stderr }).on("line", read);
  const code = await ended;
  await answered;
  check(code === 0, `the suite is content; it ended with ${code}:\n${said.join("\n")}`);
}

async function judge(results) {
  const folders = await readdir(results);
  same(folders.length, SCENARIOS.length, "how many scenarios ran");
  for (const scenario of SCENARIOS) {
    const folder = folders.find((name) => name.includes(scenario));
    check(folder, `${scenario} ran: ${folders}`);
    const checks = JSON.parse(await readFile(join(results, folder, "checks.json"), "utf8"));
    check(checks.length > 0, `${scenario} checked something`);
    for (const { id, name, status, errorMessage, details } of checks) {
      const calm = status === "SUCCESS" || status === "INFO";
      check(calm, `${scenario}: ${id ?? name} is ${status}: ${errorMessage ?? JSON.stringify(details)}`);
      step(`${scenario}: ${id ?? name} ${status}`);
    }
  }
}

run(async () => {
  const results = await mkdtemp(join(tmpdir(), "mcp-conformance-"));
  try {
    await conform(results);
    await judge(results);
  } finally {
    await rm(results, { recursive: true, force: true });
  }
});
