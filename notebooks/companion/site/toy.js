// The toy game and the replay, as in companion/toy.py. `world` holds the game's constants and its
// seeded random numbers, written by the page's builder, so that both play the same game.
"use strict";

const dot = (a, b) => a.reduce((total, x, i) => total + x * b[i], 0);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Unit vectors with the same cosine between any two: a frame mixed by a Cholesky factor.
function directions(frame, cosine) {
  const k = frame.length;
  const root = frame.map(() => Array(k).fill(0));
  for (let i = 0; i < k; i++) {
    for (let j = 0; j <= i; j++) {
      const rest = (i === j ? 1 : cosine) - dot(root[i].slice(0, j), root[j].slice(0, j));
      root[i][j] = i === j ? Math.sqrt(rest) : rest / root[j][j];
    }
  }
  return root.map((row) => frame[0].map((_, d) => sum(row.map((r, i) => r * frame[i][d]))));
}

// Players 0 (the easiest) to K - 1 under a rule, in a closed loop. Returns a history:
// { strength, weight, size, output }, each [steps][K].
function play(world, k, imbalance, cosine, weigh) {
  const u = directions(world.frames[k], cosine);
  const scale = u.map((row, i) => {
    const slope = world.slope * imbalance ** (-i / Math.max(1, k - 1));
    return slope / (world.eps * sum(row.map(Math.abs)));
  });
  let d = [...world.start];
  let velocity = d.map(() => 0);
  const history = { strength: [], weight: [], size: [], output: [] };
  for (let step = 0; step < world.steps; step++) {
    const share = u.map((row, i) => sigmoid(scale[i] * dot(row, d) - world.offset));
    const strength = share.map((x) => world.limit * x);
    const slope = share.map((x, i) => strength[i] * (1 - x) * scale[i]);
    const size = u.map((row, i) => mean(row.map((x) => Math.abs(slope[i] * x))));
    const weight = weigh({ strength, size, output: strength });
    const gradient = d.map((_, j) => sum(u.map((row, i) => weight[i] * (slope[i] * row[j]))));
    const magnitude = Math.max(mean(gradient.map(Math.abs)), 1e-300);
    velocity = velocity.map((v, j) => world.momentum * v + gradient[j] / magnitude);
    d = d.map((x, j) => clamp(x + world.step_size * Math.sign(velocity[j]), -world.eps, world.eps));
    history.strength.push(strength);
    history.weight.push(weight);
    history.size.push(size);
    history.output.push(strength);
  }
  return history;
}

// What a rule would have said to a recorded run: an open loop, strengths stay as recorded.
function replay(trace, chosen, weigh) {
  const only = (rows) => rows.map((row) => chosen.map((k) => row[k]));
  const [strength, size, output] = [only(trace.strength), only(trace.size), only(trace.output)];
  const weight = strength.map((s, t) => weigh({ strength: s, size: size[t], output: output[t] }));
  return { strength, weight, size, output };
}

// <w, S> - min S at each step: how far weights sit on generators that are not the worst.
const residuals = ({ strength, weight }) =>
  strength.map((s, t) => dot(weight[t], s) - Math.min(...s));

// Mean over the last quarter of the steps, at least one.
function late(rows) {
  const last = rows.slice(rows.length - Math.max(1, Math.floor(rows.length / 4)));
  return Array.isArray(last[0])
    ? last[0].map((_, k) => mean(last.map((row) => row[k])))
    : mean(last);
}
