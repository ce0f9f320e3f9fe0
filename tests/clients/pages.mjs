// The pages in a real browser, every one of them reached by clicking and typing; `consents.mjs` has the other shapes of the question.

import { check, environment, run, same, step } from "./steps.mjs";
import { ONWARD, SCRIPTED, bothWays } from "./window.mjs";

const { LOGIN, PASSWORD, INVITATION_SCRIPTED, INVITATION_UNSCRIPTED, RESET_SCRIPTED, RESET_UNSCRIPTED } = environment(
  "LOGIN",
  "PASSWORD",
  "INVITATION_SCRIPTED",
  "INVITATION_UNSCRIPTED",
  "RESET_SCRIPTED",
  "RESET_UNSCRIPTED",
);
/** Each link is good once. */
const LINKS = {
  scripted: { invitation: INVITATION_SCRIPTED, reset: RESET_SCRIPTED },
  unscripted: { invitation: INVITATION_UNSCRIPTED, reset: RESET_UNSCRIPTED },
};
const OTHER_PASSWORD = "quite another long password";
/** Long enough for the browser, and no password for whoever is called so. */
const WEAK = "hopper@navy.example";

/** Everything that a person can do here, once. */
async function journey(kind, open) {
  const [window, other, scripted] = [await open(), await open(), kind === SCRIPTED];
  const { invitation, reset } = scripted ? LINKS.scripted : LINKS.unscripted;
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

  await other.ask("notes:read notes:write offline_access", { state: ONWARD });
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
  await signUp(window, LOGIN, OTHER_PASSWORD);
  await window.inspect("sign-up, with a name that is taken");
  await signUp(window, WEAK, WEAK);
  await window.inspect("sign-up, with a weak password");
  await window.open(invitation);
  await window.inspect("invitation");
  await window.fill("display_name", "A Guest");
  await window.fill("password", OTHER_PASSWORD);
  await window.press("Join");
  await window.open("/account");
  check(await window.count('form[action$="/sign-out"]'), "the invited person is signed in");
  await window.open(invitation);
  await window.inspect("invitation, used up");

  await window.open(reset);
  await window.inspect("password reset");
  await window.fill("password", await window.value("login"));
  await window.press("Change password");
  await window.inspect("password reset, refused");
  await window.fill("password", OTHER_PASSWORD);
  await window.press("Change password");
  same(await window.heading(), "Connected apps", "where a new password leads");
  await window.open(reset);
  await window.inspect("password reset, used up");
}

async function signUp(window, login, password) {
  await window.fill("login", login);
  await window.fill("display_name", "A Guest");
  await window.fill("password", password);
  await window.press("Make the account");
  check(await window.count("#problems"), `nobody gets an account as ${login}`);
}

async function changePassword(window, current, next) {
  await window.fill("current_password", current);
  await window.fill("new_password", next);
  await window.press("Change password");
}

run(() => bothWays(journey));
