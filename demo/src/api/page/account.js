"use strict";
const $ = (id) => document.getElementById(id);
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });
let cart = [];

function element(name, text) {
  const it = document.createElement(name);
  if (text !== undefined) it.textContent = text;
  return it;
}

function say(text, isWrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", isWrong);
}

/** An answer's JSON, or an error that says what the server said. */
async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? { method } : {
      method, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The server does not answer.");
  }
  const answer = response.status === 204 ? null : await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.detail), { status: response.status, errors: answer.errors || [] });
}

/** Who is signed in; null where nobody is. */
async function whoever() {
  try { return await ask("GET", "/api/v1/me"); }
  catch (error) { if (error.status === 401) return null; throw error; }
}

async function show() {
  const [me, { items }] = await Promise.all([whoever(), ask("GET", "/api/v1/me/cart")]);
  $("me").textContent = me ? me.email : "";
  $("known").hidden = $("places").hidden = me === null;
  $("enter").hidden = $("nobody").hidden = me !== null;
  if (me) await Promise.all([showSessions(), showSeen()]);
  await showCart(items);
  document.body.dataset.shown = me ? me.email : "nobody";
}

async function showSeen() {
  const { lastSeenAt } = await ask("GET", "/api/v1/me/seen");
  $("seen").textContent = lastSeenAt ? "on " + when.format(new Date(lastSeenAt)) : "never";
}

async function showSessions() {
  const { items } = await ask("GET", "/api/v1/me/sessions");
  $("sessions").replaceChildren(...items.map((it) => {
    const row = element("tr");
    const from = element("td", it.seenFrom || "somewhere");
    if (it.current) from.append(" ", element("b", "(this browser)"));
    row.append(from, ...[it.createdAt, it.seenAt, it.expiresAt]
      .map((time) => element("td", when.format(new Date(time)))));
    return row;
  }));
}

async function showCart(items) {
  cart = items;
  const rows = await Promise.all(items.map(async ({ product, amount }) => {
    const { name, priceCents } = await ask("GET", "/api/v1/products/" + product);
    const row = element("tr");
    const [price, much, remove] = [element("td", (priceCents / 100).toFixed(2) + " €"), element("td"), element("td")];
    const input = Object.assign(element("input"), { type: "number", min: 1, max: 99, value: amount });
    input.setAttribute("aria-label", "Amount of " + name);
    input.addEventListener("change", () => put(cart.map((it) =>
      it.product === product ? { product, amount: Number(input.value) } : it)));
    const button = element("button", "Remove");
    button.setAttribute("aria-label", "Remove " + name);
    button.addEventListener("click", () => put(cart.filter((it) => it.product !== product)));
    much.append(input);
    remove.append(button);
    row.append(element("td", name), price, much, remove);
    row.dataset.product = product;
    return row;
  }));
  $("items").replaceChildren(...rows);
  $("cart").hidden = items.length === 0;
  $("empty").hidden = items.length > 0;
}

/** Does what a button is for, and says what came of it. */
async function act(button, done, action) {
  for (const field of document.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  if (button) button.disabled = true;
  try {
    await action();
    await show();
    say(done);
  } catch (error) {
    for (const { field } of error.errors || []) {
      const name = field.split(".").pop();
      if ($(name)) $(name).setAttribute("aria-invalid", "true");
    }
    say(error.message, true);
  } finally {
    if (button) button.disabled = false;
  }
}

const put = (items) => act(null, "The cart is changed.", () => ask("PUT", "/api/v1/me/cart", { items }));

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.submitter || $("signin");
  const body = { email: $("email").value, password: $("password").value };
  const done = button.value === "signup" ? "Welcome." : "Welcome back.";
  act(button, done, async () => {
    await ask("POST", "/api/v1/" + button.value, body);
    $("password").value = "";
  });
});

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const [product, amount] = [Number($("product").value), Number($("amount").value)];
  const others = cart.filter((it) => it.product !== product);
  const before = cart.find((it) => it.product === product);
  put([...others, { product, amount: amount + (before ? before.amount : 0) }]);
});

$("signout").addEventListener("click", (event) =>
  act(event.target, "You are signed out here.", () => ask("POST", "/api/v1/signout")));
$("everywhere").addEventListener("click", (event) =>
  act(event.target, "You are signed out everywhere.", () => ask("DELETE", "/api/v1/me/sessions")));

// Another tab or browser may have signed out meanwhile.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) show().catch((error) => say(error.message, true));
});
show().catch((error) => say(error.message, true));
