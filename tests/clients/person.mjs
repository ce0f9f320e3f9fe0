// The person at the browser, without a browser: follows the authorization URL, signs in, answers the consent page.

const STEPS_MAX = 8;

/** Leaves every box ticked and allows. */
export const allow = (offered) => ({ decision: "allow", scopes: offered });
/** Allows these scopes only. */
export const allowOnly =
  (...scopes) =>
  (offered) => ({ decision: "allow", scopes: offered.filter((scope) => scopes.includes(scope)) });
/** Refuses. */
export const refuse = () => ({ decision: "refuse", scopes: [] });

/** One person in one browser: the cookies stay from one authorization to the next. */
export class Person {
  #cookies = new Map();
  #login;
  #password;

  constructor({ login, password }) {
    this.#login = login;
    this.#password = password;
  }

  /**
   * Opens an authorization URL and answers what the pages ask.
   * @returns where the browser is sent, whether a password was asked for, and the scopes that the consent page offered, if it came.
   */
  async authorize(url, answer = allow) {
    const { origin } = new URL(url);
    const seen = { redirect: null, signedIn: false, offered: null };
    let request = { url: new URL(url) };
    for (let steps = 0; steps < STEPS_MAX; steps += 1) {
      const response = await this.#send(request);
      const location = response.headers.get("location");
      if (location) {
        const next = new URL(location, request.url);
        if (next.origin !== origin) return { ...seen, redirect: next };
        request = { url: next };
        continue;
      }
      const page = await response.text();
      const at = `${response.status} at ${request.url.pathname}`;
      if (response.status !== 200) throw new Error(`the person sees an error page, ${at}: ${words(page)}`);
      const form = forms(page).find((form) => form.has("password") || form.has("decision"));
      if (!form) throw new Error(`the person sees no form to fill in, ${at}: ${words(page)}`);
      if (form.has("password")) {
        if (seen.signedIn) throw new Error(`the person has to sign in twice, ${at}: ${words(page)}`);
        seen.signedIn = true;
        request = form.submit(request.url, [
          ["login", this.#login],
          ["password", this.#password],
        ]);
      } else {
        seen.offered = form.values("scope");
        const { decision, scopes } = answer(seen.offered);
        request = form.submit(request.url, [...scopes.map((scope) => ["scope", scope]), ["decision", decision]]);
      }
    }
    throw new Error(`the person is still being sent around after ${STEPS_MAX} pages`);
  }

  async #send({ url, form }) {
    const headers = { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; "), accept: "text/html" };
    if (form) headers.origin = url.origin;
    const response = await fetch(url, { method: form ? "POST" : "GET", body: form, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === "" || /;\s*max-age=0/i.test(line)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    return response;
  }
}

// Our pages are simple enough to be read without a parser: no attribute holds a ">".
function forms(page) {
  return [...page.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)].map(([, head, body]) => {
    const inputs = [...body.matchAll(/<(?:input|button)\b[^>]*>/g)].map(([tag]) => ({
      name: attribute(tag, "name"),
      value: attribute(tag, "value") ?? "",
      type: attribute(tag, "type"),
    }));
    return {
      has: (name) => inputs.some((input) => input.name === name),
      values: (name) => inputs.filter((input) => input.name === name).map((input) => input.value),
      submit(base, chosen) {
        const sealed = inputs
          .filter((input) => input.type === "hidden" && input.name === "seal")
          .map(({ name, value }) => [name, value]);
        return { url: new URL(attribute(head, "action") ?? "", base), form: new URLSearchParams([...sealed, ...chosen]) };
      },
    };
  });
}

function attribute(tag, name) {
  const found = new RegExp(`\\b${name}="([^"]*)"`).exec(tag);
  return found?.[1]
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replaceAll("&quot;", '"')
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

function words(page) {
  return page
    .replace(/<head>.*<\/head>/s, "")
    .replace(/<[^>]+>/g, " ")
    .replace(/\s+/g, " ")
    .trim()
    .slice(0, 600);
}
