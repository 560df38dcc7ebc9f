// Weighting rules, as in aef_core/weighting: what each generator reports becomes weights that sum
// to one. `make(settings)` returns a function with a memory; call it once a step with
//   { strength: [S_k], size: [mean |gradient| of S_k], output: [output MSE] }.
// Rules that need the inner products of gradients (mgda, pcgrad, cagrad, upgrad) are not here: no
// recorded run holds those. tests/test_explorer_rules.py compares each rule with its Python twin.
"use strict";

const sum = (v) => v.reduce((a, b) => a + b, 0);
const mean = (v) => sum(v) / v.length;
const uniform = (k) => Array(k).fill(1 / k);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((x) => Math.exp(x - top));
  const total = sum(powers);
  return powers.map((x) => x / total);
}

function normalise(weights) {
  const top = Math.max(...weights);
  if (!(top > 0)) return uniform(weights.length);
  const scaled = weights.map((w) => w / top);
  const total = sum(scaled);
  return scaled.map((w) => w / total);
}

// A moving average that starts at the first value, not at zero.
const average = (previous, value, memory) =>
  previous ? value.map((v, k) => memory * previous[k] + (1 - memory) * v) : value;

// The point of the simplex nearest to v (Duchi et al. 2008).
function projectSimplex(v) {
  const top = Math.max(...v);
  const shifted = v.map((x) => x - top);
  const ordered = [...shifted].sort((a, b) => b - a);
  let total = 0;
  let shift = 0;
  ordered.forEach((x, i) => {
    total += x;
    if (x > (total - 1) / (i + 1)) shift = (total - 1) / (i + 1);
  });
  return normalise(shifted.map((x) => Math.max(0, x - shift)));
}

function aef({ tau, beta }) {
  let memory = null; // E, from 0: the strengths of this step act in the next
  return ({ strength }) => {
    const now = memory ?? strength.map(() => 0);
    memory = strength.map((s, k) => beta * now[k] + (1 - beta) * s);
    return softmax(now.map((e) => -e / tau));
  };
}

function staticL1() {
  return ({ size }) => normalise(size.map((g) => (g > 0 ? 1 / Math.max(g, 2.3e-308) : 0)));
}

function focal({ target, gamma }) {
  return ({ strength }) => normalise(strength.map((s) => Math.max(0, 1 - s / target) ** gamma));
}

function kpiFocal({ gamma }) {
  return ({ strength }) => {
    const kpi = strength.map((s) => clamp(s, 1e-13, 1));
    return normalise(kpi.map((l) => -((1 - l) ** gamma) * Math.log(l)));
  };
}

function ohem({ keep }) {
  return ({ strength }) => {
    const n = Math.min(keep, strength.length);
    const last = [...strength].sort((a, b) => a - b)[n - 1];
    const below = strength.filter((s) => s < last).length;
    const ties = strength.filter((s) => s === last).length;
    return strength.map((s) => (s < last ? 1 : s === last ? (n - below) / ties : 0) / n);
  };
}

function stch({ mu }) {
  return ({ strength }) => softmax(strength.map((s) => (1 - s) / (strength.length * mu)));
}

function dwa({ temperature, epoch }) {
  let steps = 0;
  let total = null;
  let older = null;
  let newer = null;
  return ({ strength }) => {
    total ??= strength.map(() => 0);
    if (steps && steps % epoch === 0) {
      older = newer;
      newer = total.map((x) => x / epoch);
      total = strength.map(() => 0);
    }
    total = total.map((x, k) => x + strength[k]);
    steps += 1;
    if (steps <= 2 * epoch) return uniform(strength.length);
    return softmax(older.map((x, k) => (x + 1e-30) / (newer[k] + 1e-30) / temperature));
  };
}

function apgda({ beta, gamma }) {
  let w = null;
  return ({ strength }) => {
    const k = strength.length;
    w ??= uniform(k);
    w = projectSimplex(w.map((x, i) => x - (strength[i] + gamma * (x - 1 / k)) / beta));
    return w;
  };
}

function expGrad({ rate }) {
  let logits = null;
  return ({ strength }) => {
    logits = strength.map((s, k) => (logits ? logits[k] : 0) - rate * s);
    return softmax(logits);
  };
}

function dwtThreshold({ threshold_db, every }) {
  let w = null;
  let steps = 0;
  return ({ output }) => {
    w ??= uniform(output.length);
    steps += 1;
    const intact = output.findIndex((mse) => mse < 4 * 10 ** (-threshold_db / 10));
    if (steps % every === 0 && intact >= 0) {
      w = normalise(w.map((x, k) => Math.max(0, x + (k === intact ? 0.05 : -0.005))));
    }
    return w;
  };
}

function maxMin({ rate, gain, memory, share }) {
  let [mass, peak, level, integral] = [null, null, null, null];
  return ({ output, size }) => {
    const k = size.length;
    mass = average(mass, size, 0.9);
    peak = peak ? peak.map((p, i) => Math.max(p, mass[i])) : mass;
    const relative = output.map((b, i) => Math.max(b, 1e-30) / Math.max(peak[i], 1e-30));
    level = average(level, relative.map(Math.log), memory);
    const middle = mean(level);
    integral = level.map((u, i) => (integral ? integral[i] : 0) - rate * (u - middle));
    const top = Math.max(...integral);
    integral = integral.map((x) => Math.max(x - top, Math.log(share / k)));
    const pure = softmax(integral.map((x, i) => x - gain * level[i]));
    const strategy = pure.map((p) => (1 - share) * p + share / k);
    return normalise(strategy.map((p, i) => (mass[i] > 0 ? p / Math.max(mass[i], 1e-30) : 0)));
  };
}

// A setting: its default, the ends of its slider, and whether the slider is logarithmic.
const setting = (value, low, high, step) => ({ value, low, high, step, log: false });
const factor = (value, low, high) => ({ value, low, high, step: 0, log: true });

const RULES = {
  aef: { make: aef, settings: { tau: factor(0.1, 1e-4, 1), beta: setting(0.9, 0, 0.99, 0.01) } },
  uniform: { make: () => ({ strength }) => uniform(strength.length), settings: {} },
  "grad-norm": { make: staticL1, settings: {} },
  "max-min": {
    make: maxMin,
    settings: {
      rate: setting(0.1, 0, 0.5, 0.01),
      gain: setting(5, 0, 10, 0.1),
      memory: setting(0.5, 0, 0.95, 0.05),
      share: factor(0.01, 1e-3, 0.5),
    },
  },
  "exp-grad": { make: expGrad, settings: { rate: factor(1, 0.01, 100) } },
  apgda: {
    make: apgda,
    settings: { beta: factor(1, 0.1, 10), gamma: setting(0.1, 0, 0.1, 0.01) },
  },
  stch: { make: stch, settings: { mu: factor(0.01, 1e-4, 1) } },
  focal: {
    make: focal,
    settings: { target: factor(0.05, 1e-3, 0.5), gamma: setting(2, 0, 5, 0.1) },
  },
  "kpi-focal": { make: kpiFocal, settings: { gamma: setting(1, 0, 5, 0.1) } },
  ohem: { make: ohem, settings: { keep: setting(1, 1, 4, 1) } },
  dwa: { make: dwa, settings: { temperature: factor(2, 0.01, 10), epoch: setting(8, 1, 20, 1) } },
  "dwt-threshold": {
    make: dwtThreshold,
    settings: { threshold_db: setting(20, 10, 50, 1), every: setting(5, 1, 20, 1) },
  },
};
