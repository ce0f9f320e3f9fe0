// Plays the person for a client that is not a script: takes an authorization URL, prints where the person is sent.

import { Person } from "./person.mjs";
import { environment } from "./steps.mjs";

const { LOGIN, PASSWORD } = environment("LOGIN", "PASSWORD");
const { redirect } = await new Person({ login: LOGIN, password: PASSWORD }).authorize(process.argv[2]);
console.log(redirect.href);
