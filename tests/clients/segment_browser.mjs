// @segment/analytics-next in Chromium, on a page of another origin, told nothing but the write key and the host.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";
import { check, environment, run, step } from "./steps.mjs";

const { HOST, WRITE_KEY, CHROMIUM } = environment("HOST", "WRITE_KEY", "CHROMIUM");

const SDK = new URL("node_modules/@segment/analytics-next/dist/umd/index.js", import.meta.url);
const SENT_TIMEOUT_MS = 200_000;
/** One of each kind, and those that are tracked. */
const CALLS = 4 + 20;

await run(async () => {
  const sdk = await readFile(SDK);
  const site = createServer((request, response) => {
    const [type, body] =
      request.url === "/sdk.js" ? ["text/javascript", sdk] : ["text/html", '<!doctype html><title>Shop</title><script src="/sdk.js"></script>'];
    response.writeHead(200, { "content-type": type }).end(body);
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage();
  const foreign = [];
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== HOST && origin !== `http://127.0.0.1:${site.address().port}`) foreign.push(request.url());
  });
  await page.goto(`http://127.0.0.1:${site.address().port}/`);

  await page.evaluate(
    async ({ writeKey, cdnURL }) => {
      const analytics = window.AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL });
      await analytics.ready();
      await analytics.identify("ada", { plan: "pro" });
      await analytics.page("Home");
      await analytics.group("acme", { employees: 12 });
      await analytics.alias("ada", "anonymous");
      for (let number = 0; number < 20; number += 1) await analytics.track(`Event ${number}`, { number });
    },
    { writeKey: WRITE_KEY, cdnURL: HOST },
  );
  step("every call is made");

  // What fails is tried again by the SDK's own queue. Each call gets its 200 in the end, and so did the settings before them.
  await page.waitForFunction(
    ({ host, count }) => {
      const calls = performance.getEntriesByType("resource").filter(({ name }) => name.startsWith(`${host}/v1/`));
      return calls.filter(({ responseStatus }) => responseStatus === 200).length >= count;
    },
    { host: HOST, count: CALLS + 1 },
    { timeout: SENT_TIMEOUT_MS },
  );
  check(foreign.length === 0, `the SDK calls nobody else: ${foreign}`);
  await browser.close();
  site.close();
  step("everything is sent");
});
