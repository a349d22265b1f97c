"use strict";
// The card of several servers on one store. Everything is asked of the server that the page is from,
// which asks the others. What it takes of shop.js is there when anything is called.

const NODES = "/api/v1/nodes";
/// By number: what a node answered last, and how soon it had the new name.
const answered = new Map(), soon = new Map();

async function askNodes(path, method) {
  const response = await fetch(NODES + path, { method: method || "GET" });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

const sayOfNodes = (text) => { $("nodes-said").textContent = text; };

function bus(it) {
  const [word, className] = it.bus.way === "whole"
    ? (it.bus.trusted ? ["heard", "HIT"] : ["not heard yet", "MISS"])
    : it.bus.trusted ? [it.bus.way + ", not noticed yet", "bad"] : [it.bus.way + ": checks first", "MISS"];
  return element("span", word, "pill " + className);
}

function nodeRow(it) {
  const row = element("tr"), head = element("th"), link = element("a", String(it.node));
  link.href = it.address + "/";
  head.append(link);
  head.scope = "row";
  const answer = answered.get(it.node), from = element("td");
  from.append(answer
    ? element("span", answer.from, "pill " + (answer.from === "database" ? "MISS" : "HIT")) : "–");
  const state = element("td");
  state.append(bus(it));
  row.append(head, element("td", answer ? answer.name === null ? "nobody" : answer.name : "–"), from,
    element("td", soon.get(it.node) || "–"), state,
    ...[it.bus.received, it.bus.gaps, it.bus.checks, it.bus.waiting]
      .map((n) => element("td", number.format(n))));
  return row;
}

function showNodes(all) {
  $("each-node").replaceChildren(...all.nodes.map(nodeRow));
  const at = $("node-at");
  if (!at.children.length) at.append(...all.nodes.map((it) => element("option", String(it.node))));
}

async function askEach() {
  const told = await askNodes("/users/" + encodeURIComponent($("node-user").value));
  for (const it of told.answers) answered.set(it.node, it);
  showNodes(await askNodes(""));
}

const toNodes = {
  async ask() {
    await askEach();
    sayOfNodes("A node that had the customer in its own memory asked nobody.");
  },
  async rename(node) {
    soon.clear();
    const path = `/${node}/users/${encodeURIComponent($("node-user").value)}`;
    const told = await askNodes(path, "POST");
    for (const it of told.seen) soon.set(it.node, it.ms === null ? "not in 10 s" : time(it.ms));
    await askEach();
    const late = told.seen.filter((it) => it.ms === null).length;
    const last = Math.max(...told.seen.map((it) => it.ms));
    sayOfNodes(`Customer ${told.user} was changed at node ${told.node} in ${time(told.writtenMs)}; ` +
      (late ? `${late} of ${told.seen.length} nodes did not show it within 10 s.`
        : `every node showed it ${time(last)} after that.`));
  },
};
for (const [way, text] of [
  ["broken", "knows that it hears nothing: it holds what it has against the store before it answers. What it changes itself it tells when the bus is back."],
  ["silent", "hears nothing and tells nothing, and nobody has said so. It finds out as it does not hear itself."],
  ["whole", "hears again, and doubts all that it had."],
]) {
  toNodes[way] = async (node) => {
    await askNodes(`/${node}/bus/${way}`, "POST");
    sayOfNodes(`Node ${node} ${text}`);
    showNodes(await askNodes(""));
  };
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-nodes]");
  if (!button) return;
  button.disabled = true;
  try { await toNodes[button.dataset.nodes]($("node-at").value); }
  catch (error) { sayOfNodes(error.message || "The server does not answer."); }
  finally { button.disabled = false; button.focus({ preventScroll: true }); }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.id === "node-user") {
    document.querySelector("button[data-nodes=ask]").click();
  }
});

async function watchNodes() {
  if (document.hidden) return;
  try { showNodes(await askNodes("")); } catch { /* the badge says it */ }
}

/// Once it is known that there are several.
function beginWithNodes() {
  $("nodes").hidden = false;
  watchNodes();
  setInterval(watchNodes, 1000);
}
