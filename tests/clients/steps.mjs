// What every script here shares: one line for each step, the first failure ends the run, and no run lasts for ever.

const DEADLINE_MS = 240_000;

/** Reads the environment variables that the script cannot do without. */
export function environment(...names) {
  const missing = names.filter((name) => !process.env[name]);
  if (missing.length > 0) {
    console.error(`set ${missing.join(", ")}: tests/clients/mod.rs says what they hold`);
    process.exit(2);
  }
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** Tells that something works. */
export function step(text) {
  console.log(`ok: ${text}`);
}

/** Ends the run unless the claim holds. */
export function check(holds, claim) {
  if (!holds) throw new Error(`not so: ${claim}`);
}

/** Ends the run unless both are equal, compared as JSON. */
export function same(actual, expected, what) {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: expected ${right}, got ${left}`);
}

/** Ends the run unless the work is refused; returns the refusal. */
export async function refused(work, claim) {
  let answer;
  try {
    answer = await work();
  } catch (refusal) {
    return refusal;
  }
  throw new Error(`not refused: ${claim}; the answer was ${JSON.stringify(answer)}`);
}

/** Runs the script: exit code 0 when it comes to its end, 1 at its first failure, 3 at the deadline. */
export async function run(main) {
  setTimeout(() => {
    console.error(`not finished after ${DEADLINE_MS / 1000} s`);
    process.exit(3);
  }, DEADLINE_MS).unref();
  try {
    await main();
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
