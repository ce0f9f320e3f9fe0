// Niceties only: every page does its work without this file.

// One press, one decision: a second submit of the same form is dropped while the first may still be on its way.
const PATIENCE_MS = 5000;
const sent = new WeakSet();
addEventListener("submit", (event) => {
  const form = event.target;
  if (sent.has(form)) {
    event.preventDefault();
    return;
  }
  sent.add(form);
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => {
    sent.delete(form);
    event.submitter?.removeAttribute("aria-busy");
  }, PATIENCE_MS);
});

// Lets people see the password that they type.
for (const input of document.querySelectorAll('input[type="password"]')) {
  const label = document.querySelector(`label[for="${input.id}"]`).textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "reveal";
  const show = (visible) => {
    input.type = visible ? "text" : "password";
    button.textContent = visible ? "Hide" : "Show";
    button.setAttribute("aria-label", `${button.textContent} password: ${label}`);
  };
  button.addEventListener("click", () => show(input.type === "password"));
  // Browsers offer to keep, and may remember, what a visible field held.
  input.form.addEventListener("submit", () => show(false));
  show(false);
  input.after(button);
}
