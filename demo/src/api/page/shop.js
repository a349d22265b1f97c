"use strict";
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const SHOWN = 30;

function element(name, text, className) {
  const it = document.createElement(name);
  if (text !== undefined) it.textContent = text;
  if (className) it.className = className;
  return it;
}

async function ask(method, path, body) {
  const start = performance.now();
  try {
    const response = await fetch(path, body === undefined ? { method } : {
      method, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    const text = await response.text();
    showLimit(response.headers.get("x-ratelimit-remaining"), response.headers.get("x-ratelimit-limit"));
    return {
      method, path, text, ms: performance.now() - start, status: response.status,
      again: response.headers.get("retry-after"),
      cache: response.headers.get("x-cache"), invalidation: response.headers.get("x-invalidation"),
    };
  } catch {
    return { method, path, text: "", ms: performance.now() - start, status: 0, cache: null };
  }
}

function showLimit(left, limit) {
  if (limit === null) return;
  $("left").hidden = false;
  $("left").className = left === "0" ? "badge warn" : "badge";
  $("left").querySelector("b").textContent = `${number.format(left)} of ${number.format(limit)}`;
}

const time = (ms) => ms < 10 ? ms.toFixed(1) + " ms" : Math.round(ms) + " ms";

function show(answer) {
  const row = element("tr", undefined, "new");
  const what = element("td", answer.method + " " + answer.path);
  what.title = what.textContent;
  const bad = answer.status === 0 || answer.status >= 400;
  const status = element("td");
  status.append(bad ? element("span", answer.status || "none", "pill bad") : String(answer.status));
  const cache = element("td");
  cache.append(answer.cache ? element("span", answer.cache, "pill " + answer.cache) : "–");
  const took = element("td", undefined, "took");
  const bar = element("span", undefined, "bar");
  bar.style.width = Math.max(2, Math.min(64, 14 * Math.log2(1 + answer.ms / 2))) + "px";
  took.append(bar, element("span", time(answer.ms)));
  row.append(what, status, cache, took);
  $("log").prepend(row);
  while ($("log").children.length > SHOWN) $("log").lastChild.remove();
}

function say(text) { $("said").textContent = text; }

function showBody(answer) {
  if (!answer.text) return;
  let text = answer.text;
  try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ }
  $("body").textContent = text;
  $("last").hidden = false;
}

async function single(method, path, body) {
  const answer = await ask(method, path, body);
  show(answer);
  showBody(answer);
  const from = { HIT: "from the cache", MISS: "from the database" }[answer.cache];
  const invalidation = answer.invalidation === "deferred"
    ? "; the cache's store is down, so this server reads the customer from the database until it is back"
    : answer.invalidation === "done" ? "; the cache has forgotten the customer and every list" : "";
  say(answer.status === 0 ? "The server does not answer."
    : answer.status === 429 ? `The limit of requests is reached; there are more in ${answer.again} s.`
    : `${answer.status} in ${time(answer.ms)}${from ? ", " + from : ""}${invalidation}.`);
}

const calls = async () => (await (await fetch("/api/v1/stats")).json()).database.calls;

async function stampede() {
  const crowd = Number($("crowd").value);
  const page = 1 + Math.floor(Math.random() * 100), limit = 10 + Math.floor(Math.random() * 91);
  // One entry of the cache, and six addresses: a browser asks for one address one request after
  // the other, so that its own cache could answer the rest.
  const parts = ["page=" + page, "limit=" + limit, "q="];
  const paths = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    .map((order) => "/api/v1/products?" + order.map((at) => parts[at]).join("&"));
  const before = await calls();
  const start = performance.now();
  const answers = await Promise.all(Array.from({ length: crowd }, (_, n) => ask("GET", paths[n % 6])));
  const took = performance.now() - start;
  const asked = await calls() - before;
  const count = (test) => number.format(answers.filter(test).length);
  const first = (word) => answers.filter((a) => a.cache === word).slice(0, 1);
  first("HIT").concat(first("MISS")).forEach(show);
  showBody(answers[0]);
  say(`${number.format(crowd)} requests for one page in ${time(took)}: ` +
    `${count((a) => a.status === 200)} answered, ` +
    (answers.some((a) => a.status === 429) ? `${count((a) => a.status === 429)} refused by the limit, ` : "") +
    `${count((a) => a.cache === "MISS")} MISS, ` +
    `${count((a) => a.cache === "HIT")} HIT, ${number.format(asked)} ${asked === 1 ? "call" : "calls"} of the database.`);
}

const todo = {
  products() {
    const query = new URLSearchParams({ page: $("page").value });
    if ($("q").value.trim()) query.set("q", $("q").value.trim());
    return single("GET", "/api/v1/products?" + query);
  },
  product: () => single("GET", "/api/v1/products/" + encodeURIComponent($("product").value)),
  user: () => single("GET", "/api/v1/users/" + encodeURIComponent($("user").value)),
  rename() {
    const names = ["Ada Lovelace", "Zoë Nakamura", "Grace Okafor", "Søren Lindqvist", "Hana Dvořák"];
    const name = names[Math.floor(Math.random() * names.length)] + " " + new Date().toLocaleTimeString("en-GB");
    return single("PUT", "/api/v1/users/" + encodeURIComponent($("user").value), { name });
  },
  users: () => single("GET", "/api/v1/users?page=1&limit=20"),
  nobody: () => single("GET", "/api/v1/users/99999999"),
  config: () => single("GET", "/api/v1/config"),
  stampede,
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-do]");
  if (!button) return;
  button.disabled = true;
  try { await todo[button.dataset.do](); }
  catch { say("The server does not answer."); }
  finally { button.disabled = false; button.focus({ preventScroll: true }); refresh(); }
});

for (const [input, action] of [["page", "products"], ["q", "products"], ["product", "product"], ["user", "user"]]) {
  $(input).addEventListener("keydown", (event) => {
    if (event.key === "Enter") document.querySelector(`button[data-do=${action}]`).click();
  });
}

function state(word, className, title) {
  $("state").className = "badge " + className;
  $("state").title = title || "";
  $("state").querySelector("b").textContent = word;
}

async function refresh() {
  try {
    const stats = await (await fetch("/api/v1/stats")).json();
    $("store").textContent = stats.store;
    if (stats.nodes && $("nodes").hidden) beginWithNodes();
    let hits = 0, reads = 0, shared = 0, errors = 0;
    const rows = Object.entries(stats.caches).map(([name, it]) => {
      hits += it.hits; reads += it.hits + it.misses; shared += it.coalesced; errors += it.storeErrors;
      const row = element("tr");
      const head = element("th", name);
      head.scope = "row";
      row.append(head, ...[it.hits, it.misses, it.loads, it.coalesced, it.storeErrors]
        .map((n) => element("td", number.format(n))));
      return row;
    });
    $("caches").replaceChildren(...rows);
    $("ratio").textContent = reads ? (100 * hits / reads).toFixed(1) + " %" : "–";
    $("calls").textContent = number.format(stats.database.calls);
    $("shared").textContent = number.format(shared);
    $("errors").textContent = number.format(errors);
  } catch { state("does not answer", "down"); }
}

async function readiness() {
  try {
    const response = await fetch("/readyz");
    const ready = await response.json();
    if (!response.ok) state("not ready", "down", ready.detail);
    else if (ready.status === "ok") state("ready", "ok");
    else state("degraded: " + ready.degraded.map((it) => it.part).join(", "), "warn",
      ready.degraded.map((it) => it.effect).join("; "));
  } catch { state("does not answer", "down"); }
}

const CURLS = [
  ["Twice: a MISS, then a HIT", (at) => `curl -i '${at}/api/v1/products?page=3&limit=5'`],
  ["Change a customer, and every cached copy goes", (at) => `curl -i -X PUT ${at}/api/v1/users/42 \\\n  -H 'content-type: application/json' -d '{"name":"Zoë"}'`],
  ["What is left of the limit: X-RateLimit-Remaining", (at) => `curl -i ${at}/api/v1/config`],
  ["Every error names the field", (at) => `curl -i '${at}/api/v1/products?limit=1000'`],
  ["What Prometheus reads", (at) => `curl ${at}/metrics`],
];
for (const [why, line] of CURLS) {
  const box = element("div", undefined, "curl");
  const pre = element("pre", line(location.origin));
  pre.tabIndex = 0;
  box.append(element("span", why, "small soft"), pre);
  $("curls").append(box);
}

refresh();
readiness();
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
setInterval(() => { if (!document.hidden) readiness(); }, 3000);
