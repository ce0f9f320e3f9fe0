// @segment/analytics-node, as an organisation's server uses it: with a write key, or with access tokens beside it.

import { Analytics } from "@segment/analytics-node";
import { check, environment, run, step } from "./steps.mjs";

const { HOST, WRITE_KEY } = environment("HOST", "WRITE_KEY");
const { OAUTH_CLIENT_ID, OAUTH_KEY_ID, OAUTH_KEY_PEM } = process.env;

const FLUSH_TIMEOUT_MS = 200_000;

await run(async () => {
  const oauthSettings = OAUTH_CLIENT_ID && {
    clientId: OAUTH_CLIENT_ID,
    clientKey: OAUTH_KEY_PEM,
    keyId: OAUTH_KEY_ID,
    authServer: HOST,
  };
  const analytics = new Analytics({
    writeKey: WRITE_KEY,
    host: HOST,
    flushAt: 5,
    flushInterval: 200,
    httpRequestTimeout: 2_000,
    ...(oauthSettings ? { oauthSettings } : {}),
  });
  const errors = [];
  analytics.on("error", (error) => errors.push(error));
  const userId = "ada";
  analytics.identify({ userId, traits: { plan: "pro", joined: new Date() } });
  analytics.page({ userId, name: "Home" });
  analytics.screen({ userId, name: "Start" });
  analytics.group({ userId, groupId: "acme", traits: { employees: 12 } });
  analytics.alias({ userId, previousId: "anonymous" });
  for (let number = 0; number < 20; number += 1) {
    analytics.track({ userId, event: `Event ${number}`, properties: { number } });
  }
  await analytics.closeAndFlush({ timeout: FLUSH_TIMEOUT_MS });
  check(errors.length === 0, `the SDK reports no loss: ${JSON.stringify(errors)}`);
  step("everything is sent");
});
