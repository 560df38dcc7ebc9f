// Charts as SVG, drawn anew at each change: lines (linear or log) and stacked areas.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 46, right: 104, top: 8, bottom: 20 };

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.textContent = text;
  return made;
}

// Two significant digits, without an exponent where a reader can count the zeros.
function short(x) {
  if (!Number.isFinite(x)) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size < 1e-4 ? x.toExponential(1) : String(Number(x.toPrecision(size >= 10 ? 3 : 2)));
}

function niceTicks(low, high, wanted = 4) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

function logTicks(low, high) {
  const powers = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) powers.push(p);
  const wide = powers.length > 4;
  const all = powers.flatMap((p) => (wide ? [10 ** p] : [1, 3].map((m) => m * 10 ** p)));
  return all.filter((t) => t >= low && t <= high);
}

// The empty chart: scales, grid and axis labels.
function frame(svg, steps, low, high, log) {
  const { width, height } = svg.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  const at = log ? Math.log : (v) => v;
  const x = (t) => left + ((right - left) * t) / Math.max(1, steps - 1);
  const y = (v) => bottom - ((bottom - top) * (at(v) - at(low))) / (at(high) - at(low));
  (log ? logTicks(low, high) : niceTicks(low, high, height > 140 ? 4 : 2)).forEach((tick) => {
    svg.append(element("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    const place = { class: "tick", x: left - 7, y: y(tick) + 4, "text-anchor": "end" };
    svg.append(element("text", place, short(tick)));
  });
  niceTicks(0, steps - 1, width > 420 ? 5 : 3).forEach((tick) => {
    const place = { class: "tick", x: x(tick), y: height - 4, "text-anchor": "middle" };
    svg.append(element("text", place, tick));
  });
  svg.append(element("text", { class: "tick", x: right + 8, y: height - 4 }, "step"));
  return { x, y, left, right, top, bottom };
}

// Names at the right end, moved apart where they would collide.
function labels(svg, place, wanted) {
  const gap = 14;
  const sorted = [...wanted].sort((a, b) => a.y - b.y);
  sorted.forEach((l, i) => {
    l.y = Math.max(l.y, i ? sorted[i - 1].y + gap : place.top + 4);
  });
  for (let i = sorted.length - 1; i >= 0; i--) {
    const floor = i === sorted.length - 1 ? place.bottom : sorted[i + 1].y - gap;
    sorted[i].y = Math.min(sorted[i].y, floor);
  }
  sorted.forEach((l) => {
    const made = element("text", { class: `name tint ${l.kind ?? ""}`, x: place.right + 8, y: l.y + 4 }, l.name);
    made.style.setProperty("--c", l.colour);
    svg.append(made);
  });
}

function path(svg, d, colour, kind) {
  const made = element("path", { d, class: `tint ${kind}` });
  made.style.setProperty("--c", colour);
  svg.append(made);
}

const joined = (points) => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");

function cursor(svg, place, step) {
  const x = place.x(step);
  svg.append(element("line", { class: "cursor", x1: x, x2: x, y1: place.top, y2: place.bottom }));
}

// series: [{ name, colour, values, kind }]
function lineChart(svg, series, step, { log = false } = {}) {
  const floor = 1e-12;
  const values = series.flatMap((s) => s.values).map((v) => (log ? Math.max(v, floor) : v));
  const top = Math.max(...values, log ? 10 * floor : 1e-9);
  const low = log ? Math.min(...values) * 0.8 : Math.min(0, ...values);
  const place = frame(svg, series[0].values.length, low, log ? top * 1.3 : top * 1.08, log);
  const y = (v) => place.y(log ? Math.max(v, floor) : v);
  cursor(svg, place, step);
  series.forEach(({ values: v, colour, kind = "" }) => {
    path(svg, "M" + joined(v.map((value, t) => [place.x(t), y(value)])), colour, `line ${kind}`);
    const dot = element("circle", { class: `tint dot ${kind}`, cx: place.x(step), cy: y(v[step]), r: 3.5 });
    dot.style.setProperty("--c", colour);
    svg.append(dot);
  });
  labels(svg, place, series.map((s) => ({ ...s, y: y(s.values.at(-1)) })));
  return place;
}

function areaChart(svg, series, step) {
  const steps = series[0].values.length;
  const place = frame(svg, steps, 0, 1, false);
  let below = Array(steps).fill(0);
  const ends = series.map(({ name, colour, values }) => {
    const above = values.map((v, t) => below[t] + v);
    const upper = above.map((v, t) => [place.x(t), place.y(v)]);
    const lower = below.map((v, t) => [place.x(t), place.y(v)]).reverse();
    path(svg, `M${joined(upper)}L${joined(lower)}Z`, colour, "area");
    const end = { name, colour, y: place.y((below.at(-1) + above.at(-1)) / 2) };
    below = above;
    return end;
  });
  cursor(svg, place, step);
  labels(svg, place, ends);
  return place;
}
