import init, { Products } from "./pkg/larder_browser_example.js";

const MANY = 50;
const element = (id) => document.getElementById(id);
const log = element("log");

await init();
const products = new Products();

for (const [name, action] of Object.entries({ load, many, remove })) {
  const button = element(name);
  button.addEventListener("click", () => run(button, name, action));
  button.disabled = false;
}

async function run(button, name, action) {
  const id = Number(element("product").value);
  button.disabled = true;
  button.classList.add("busy");
  const start = performance.now();
  try {
    const { text, source } = await action(id);
    report(name, id, source, text, performance.now() - start);
  } catch (error) {
    report(name, id, "error", error.message, performance.now() - start);
  } finally {
    button.classList.remove("busy");
    button.disabled = false;
    count();
  }
}

async function load(id) {
  return described(await products.get(id));
}

async function many(id) {
  const answers = await Promise.all(Array.from({ length: MANY }, () => products.get(id)));
  const asked = answers.filter((answer) => answer.fromOrigin).length;
  const { source, text } = described(answers.find((answer) => answer.fromOrigin) ?? answers[0]);
  const questions = asked === 1 ? "1 question" : `${asked} questions`;
  return { source, text: `${text}, ${MANY} answers for ${questions} to the origin` };
}

async function remove(id) {
  const found = await products.remove(id);
  return { source: "removed", text: found ? "it is forgotten" : "there was nothing to forget" };
}

function described({ name, price, fromOrigin }) {
  return {
    source: fromOrigin ? "origin" : "cache",
    text: name === undefined ? "there is no such product" : `${name}, ${price.toFixed(2)} €`,
  };
}

function report(action, id, source, text, milliseconds) {
  log.querySelector(".hint")?.remove();
  const row = document.createElement("li");
  Object.assign(row.dataset, { action, id, source, milliseconds: milliseconds.toFixed(1) });
  const part = (className, content) => {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = content;
    row.append(span);
  };
  part("source", source);
  part("text", `Product ${id}: ${text}`);
  part("time", `${milliseconds.toFixed(1)} ms`);
  row.style.setProperty("--share", Math.min(1, milliseconds / 1000));
  log.prepend(row);
}

function count() {
  const stats = products.stats();
  for (const name of ["hits", "misses", "loads", "waited"]) {
    element(name).textContent = stats[name];
  }
  stats.free();
}
