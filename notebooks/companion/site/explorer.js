// The first half of the page: a rule, its settings, and what they do to weights and strengths.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const METHOD_COLOUR = { aef: "#7c1fd6", uniform: "#7b8494", other: "#3a4250" };
const TITLES = {
  aef: "AEF", uniform: "averaging", "grad-norm": "static normalisation",
  "max-min": "max-min (ours)",
};
const OPEN = "Replay: the strengths are those the recorded run met. Another rule would have moved " +
  "the pattern elsewhere; it answers only in the toy game.";
const CLOSED = "Toy game: four make-believe editors A to D, each pulling the pattern its own way, " +
  "D the hardest to move. The weights move the pattern, the pattern moves the strengths. Its " +
  "numbers stand for no real editor.";

const PULLS = "Imbalance: how many times harder the last is to move than the first. Cosine: between " +
  "any two pulls; below 0 they are at odds.";

const state = {
  source: "toy", run: Object.keys(data.traces)[0], rule: "aef", values: {}, off: new Set(),
  imbalance: data.world.imbalance, cosine: data.world.cosine, step: Infinity,
};
Object.entries(RULES).forEach(([name, { settings }]) => {
  state.values[name] = {};
  Object.entries(settings).forEach(([key, s]) => { state.values[name][key] = s.value; });
});

const TRIES = [
  ["The authors' constants", "tau 0.1 on a real run: who gets the weight?",
    { source: "run", rule: "aef", values: { tau: 0.1, beta: 0.9 } }],
  ["Colder", "the same run at tau 0.002: what changes?",
    { source: "run", rule: "aef", values: { tau: 0.002, beta: 0.9 } }],
  ["Without memory", "beta 0 in the toy game: do the weights settle?",
    { source: "toy", rule: "aef", values: { tau: 0.005, beta: 0 } }],
  ["Only the weakest", "all weight on one: watch the residual",
    { source: "toy", rule: "ohem", values: { keep: 1 } }],
  ["Worst-case control", "max-min in the toy game: how near do strengths come?",
    { source: "toy", rule: "max-min", values: {} }],
];

const names = () => (state.source === "toy" ? data.world.players : data.traces[state.run].names);
const chosen = () => names().flatMap((name, k) => (state.off.has(name) ? [] : [k]));
const title = (rule) => TITLES[rule] ?? rule;
const ruleColour = () => METHOD_COLOUR[state.rule] ?? METHOD_COLOUR.other;

// A slider bound to one number; `s` is a setting of rules.js.
function slider(name, s, value, changed) {
  const row = document.createElement("label");
  row.className = "slider";
  const range = Object.assign(document.createElement("input"), { type: "range", name });
  const shown = document.createElement("output");
  const place = s.log ? (v) => (1000 * Math.log(v / s.low)) / Math.log(s.high / s.low) : (v) => v;
  const read = s.log ? (p) => Number((s.low * (s.high / s.low) ** (p / 1000)).toPrecision(2)) : Number;
  Object.assign(range, s.log ? { min: 0, max: 1000, step: 10 } : { min: s.low, max: s.high, step: s.step });
  range.value = place(value);
  const show = (v) => {
    shown.value = short(v);
    range.setAttribute("aria-valuetext", `${name} ${short(v)}`);
  };
  show(value);
  range.addEventListener("input", () => {
    show(read(Number(range.value)));
    changed(read(Number(range.value)));
  });
  const label = Object.assign(document.createElement("span"), { textContent: name.replace("_", " ") });
  row.append(label, range, shown);
  return row;
}

function drawControls() {
  document.querySelectorAll("[name=source]").forEach((r) => { r.checked = r.value === state.source; });
  $("run-row").hidden = state.source === "toy";
  $("rule").value = state.rule;
  $("about").textContent = data.rules[state.rule].line;
  $("formula").textContent = data.rules[state.rule].formula;
  const own = state.values[state.rule];
  $("settings").replaceChildren(...Object.entries(RULES[state.rule].settings).map(([key, s]) =>
    slider(key, s, own[key], (v) => { own[key] = v; update(); })));
  const toy = { imbalance: setting(0, 1, 10, 0.5), cosine: setting(0, -0.3, 0.9, 0.05) };
  const hint = Object.assign(document.createElement("p"), { className: "hint", textContent: PULLS });
  const knobs = Object.entries(toy).map(([key, s]) =>
    slider(key, s, state[key], (v) => { state[key] = v; update(); }));
  $("toy-settings").replaceChildren(...(state.source === "toy" ? [...knobs, hint] : []));
}

function drawEditors() {
  $("editors").replaceChildren(...names().map((name) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row" });
    const label = Object.assign(document.createElement("label"), { className: "tint" });
    label.style.setProperty("--c", data.colours[name]);
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name });
    box.checked = !state.off.has(name);
    box.addEventListener("change", () => {
      state.off[box.checked ? "delete" : "add"](name);
      if (!chosen().length) { state.off.delete(name); box.checked = true; } // one has to stay
      update();
    });
    label.append(box, name);
    head.append(label);
    const bar = '<span class="bar"><i></i></span><b></b>';
    row.append(head, document.createElement("td"), document.createElement("td"));
    row.lastChild.innerHTML = bar;
    return row;
  }));
}

function run(rule) {
  const weigh = RULES[rule].make(state.values[rule]);
  if (state.source === "run") return replay(data.traces[state.run], chosen(), weigh);
  // cosines below -1 / (K - 1) do not exist
  const k = chosen().length;
  const cosine = Math.max(state.cosine, k > 1 ? -0.999 / (k - 1) : 0);
  return play(data.world, k, state.imbalance, cosine, weigh);
}

function fill(history, residual, step) {
  [...$("editors").rows].forEach((row, k) => {
    const i = chosen().indexOf(k);
    const w = i < 0 ? NaN : history.weight[step][i];
    row.className = i < 0 ? "off" : "";
    row.cells[1].textContent = i < 0 ? "" : short(history.strength[step][i]);
    row.cells[2].querySelector("b").textContent = i < 0 ? "" : w.toFixed(2);
    row.cells[2].querySelector("i").style.width = `${100 * (w || 0)}%`;
    row.querySelector("i").style.setProperty("--c", data.colours[names()[k]]);
  });
  $("residual-shown").textContent = short(residual[step]);
  $("step-named").textContent = $("step-shown").value = step;
}

function say(history, residual, reference) {
  const [s, w] = [late(history.strength), late(history.weight)];
  const who = chosen().map((k) => names()[k]);
  const weakest = who[s.indexOf(Math.min(...s))];
  const heaviest = who.filter((_, k) => w[k] > Math.max(...w) - 0.01);
  const even = Math.max(...w) - Math.min(...w) < 0.05;
  const own = Object.entries(state.values[state.rule]).map(([k, v]) => `${k.replace("_", " ")} ${short(v)}`);
  const ending = who.length === 1 ? "It is alone." : even
    ? `The weights end almost equal (${Math.min(...w).toFixed(2)} to ${Math.max(...w).toFixed(2)}).`
    : `${heaviest.join(" and ")} end${heaviest.length > 1 ? "" : "s"} with the largest weight ` +
      `(${Math.max(...w).toFixed(2)}).`;
  const compared = state.rule === "uniform" ? "" : ` (averaging: ${short(late(reference))})`;
  $("said").textContent = `${title(state.rule)}${own.length ? ` (${own.join(", ")})` : ""}: ` +
    `${weakest} is thrown off least. ${ending} Residual over the last quarter of the steps: ` +
    `${short(late(residual))}${compared}.`;
  const missing = Object.keys(data.rules).filter((name) => !(name in RULES)).join(", ");
  $("loop").textContent = (state.source === "run" ? OPEN : CLOSED) + ` Not offered: ${missing}; ` +
    "they need the inner products of the editors' gradients, which no recorded run holds.";
}

let charts = [];
function update() {
  const history = run(state.rule);
  const residual = residuals(history);
  const reference = residuals(run("uniform"));
  const last = history.strength.length - 1;
  const step = Math.min(state.step, last);
  Object.assign($("step"), { max: last, value: step });
  const series = (rows) => chosen().map((k, i) => (
    { name: names()[k], colour: data.colours[names()[k]], values: rows.map((row) => row[i]) }));
  const lines = [{ name: title(state.rule).replace(" (ours)", ""), colour: ruleColour(), values: residual, kind: "rule" }];
  if (state.rule !== "uniform") {
    lines.unshift({ name: "averaging", colour: METHOD_COLOUR.uniform, values: reference, kind: "dashed" });
  }
  charts = [
    lineChart($("strengths"), series(history.strength), step, { log: true }),
    areaChart($("weights"), series(history.weight), step),
    lineChart($("residual"), lines, step),
  ];
  fill(history, residual, step);
  say(history, residual, reference);
}

function show(changes) {
  const { values = {}, ...rest } = changes;
  if (changes.source && changes.source !== state.source) state.step = Infinity;
  Object.assign(state, rest);
  Object.assign(state.values[state.rule], values);
  drawControls();
  drawEditors();
  update();
}

function begin() {
  const option = (value, text) => Object.assign(document.createElement("option"), { value, text });
  $("rule").append(...Object.keys(RULES).map((name) => option(name, title(name))));
  $("run").append(...Object.keys(data.traces).map((label) => option(label, label)));
  $("rule").addEventListener("change", () => show({ rule: $("rule").value }));
  $("run").addEventListener("change", () => show({ run: $("run").value }));
  document.querySelectorAll("[name=source]").forEach((radio) =>
    radio.addEventListener("change", () => show({ source: radio.value })));
  $("step").addEventListener("input", () => { state.step = Number($("step").value); update(); });
  ["strengths", "weights", "residual"].forEach((id, i) => {
    $(id).addEventListener("pointermove", (event) => {
      const { left, right } = charts[i];
      const share = (event.clientX - $(id).getBoundingClientRect().left - left) / (right - left);
      state.step = Math.round(clamp(share, 0, 1) * Number($("step").max));
      update();
    });
  });
  $("tries").append(...TRIES.map(([name, hint, changes]) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.innerHTML = `<b>${name}</b><span>${hint}</span>`;
    button.addEventListener("click", () => show({ ...changes, off: new Set() }));
    return button;
  }));
  const dark = (on) => {
    document.documentElement.dataset.theme = on ? "dark" : "light";
    $("theme").textContent = on ? "light" : "dark";
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  dark(system.matches);
  system.addEventListener("change", () => dark(system.matches));
  $("theme").addEventListener("click", () => dark(document.documentElement.dataset.theme !== "dark"));
  addEventListener("message", ({ data: said }) => said?.theme && dark(said.theme === "dark"));
  if (parent !== window) document.documentElement.classList.add("inside");
  new ResizeObserver(() => {
    update();
    const height = Math.ceil(document.body.getBoundingClientRect().height) + 4;
    parent.postMessage({ explorer: height }, "*");
  }).observe(document.body);
  show({});
}

begin();
