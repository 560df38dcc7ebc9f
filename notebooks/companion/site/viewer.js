// The second half of the page: a face, a forger, an edit, and what each method makes of it.
"use strict";

const shown = data.viewer;
const SAID = {
  undone: ["●", "Edit undone", "the judge no longer sees the edit"],
  changed: ["◐", "Changed", "the picture is disturbed, but the judge still sees the edit"],
  unaffected: ["○", "Unaffected", "the edit is there as if nothing had been done"],
  "never seen": ["–", "Nothing to undo", "the judge does not see the edit even without a pattern"],
  "already there": ["–", "Nothing to edit", "the photo shows already what the edit asks for"],
  "empty mask": ["–", "Nothing changed", "this editor changes nothing on this face"],
};
const models = Object.keys(shown.edits);
const pick = { face: 0, model: models[0], edit: shown.edits[models[0]][0] };
pick.method = shown.methods.includes("AEF") ? "AEF" : shown.methods[0];
const loaded = {};

// The sheet of a face, decoded when it is first looked at.
function sheet(face) {
  loaded[face] ??= new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.src = shown.sheets[face];
  });
  return loaded[face];
}

async function draw(canvas, face, tile) {
  const [size, columns] = [shown.size, shown.columns];
  const image = await sheet(face);
  canvas.width = canvas.height = size;
  const [x, y] = [(tile % columns) * size, Math.floor(tile / columns) * size];
  canvas.getContext("2d").drawImage(image, x, y, size, size, 0, 0, size, size);
}

function picture(face, tile, words) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
  draw(canvas, face, tile);
  return canvas;
}

function radio(group, value, checked, content, changed, colour) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value, checked });
  input.addEventListener("change", changed);
  const face = document.createElement("span");
  face.append(...content);
  if (colour) {
    label.className = "tint";
    label.style.setProperty("--c", colour);
  }
  label.append(input, face);
  return label;
}

const outcome = (method) => {
  const [number, value] = shown.verdicts[method][pick.model][pick.edit][pick.face];
  return { word: shown.outcomes[number], value };
};

function figure(tile, caption, kind = "") {
  const made = Object.assign(document.createElement("figure"), { className: kind });
  const text = Object.assign(document.createElement("figcaption"), { textContent: caption });
  made.append(picture(pick.face, tile, `${caption}, face ${pick.face + 1}`), text);
  return made;
}

function part(heading, ...figures) {
  const made = document.createElement("section");
  made.append(Object.assign(document.createElement("h3"), { textContent: heading }), ...figures);
  return made;
}

function drawStory() {
  const { tiles } = shown;
  const { word, value } = outcome(pick.method);
  const [sign, verdict, meaning] = SAID[word];
  const edit = shown.words[pick.edit];
  const after = tiles.after[pick.method][pick.model][pick.edit];
  $("story").replaceChildren(
    part("Without a pattern", figure(tiles.photo, "photo"),
      figure(tiles.forged[pick.model][pick.edit], `edited: ${edit}`)),
    part(`With the pattern of ${pick.method}`,
      figure(tiles.protected[pick.method][pick.model], "photo with the pattern"),
      figure(after, `edited: ${sign} ${verdict.toLowerCase()}`, "last")),
  );
  const strong = Object.assign(document.createElement("b"), { textContent: `${sign} ${verdict}` });
  const number = value === null ? "" : ` Change where it edits: ${short(value)} (L2_mask).`;
  const all = shown.survival[pick.method][pick.model]?.[pick.edit];
  $("judged").replaceChildren(strong, `: ${meaning} (${pick.model}, ${edit}, ${pick.method}).${number}` +
    (all ? ` Over all judged faces: ${all}.` : ""));
}

function drawMethods() {
  $("methods").replaceChildren(...shown.methods.map((method) => {
    const [sign, verdict] = SAID[outcome(method).word];
    const name = Object.assign(document.createElement("b"), { textContent: method });
    const said = Object.assign(document.createElement("small"), { textContent: `${sign} ${verdict.toLowerCase()}` });
    const tile = shown.tiles.after[method][pick.model][pick.edit];
    const content = [picture(pick.face, tile, `edited after ${method}: ${verdict}`), name, said];
    const label = radio("method", method, method === pick.method, content, () => {
      pick.method = method;
      drawStory();
    });
    if (method === "AEF") label.classList.add("aef");
    return label;
  }));
}

function drawEdits() {
  $("edit-chips").replaceChildren(...shown.edits[pick.model].map((edit) =>
    radio("edit", edit, edit === pick.edit, [shown.words[edit]], () => choose({ edit }))));
}

// One choice made: draw what follows from it, never the control that was used.
function choose(changes) {
  Object.assign(pick, changes);
  const edits = shown.edits[pick.model];
  if (!edits.includes(pick.edit)) [pick.edit] = edits;
  if (!("edit" in changes)) drawEdits();
  drawStory();
  drawMethods();
}

// Begin where the difference shows: an edit that AEF's pattern undoes and random signs do not.
function telling() {
  for (const model of models) for (const edit of shown.edits[model]) {
    for (let face = 0; face < shown.faces.length; face++) {
      const word = (method) => shown.outcomes[shown.verdicts[method]?.[model][edit][face][0]];
      if (word("AEF") === "undone" && word("random signs") === "unaffected") return { model, edit, face };
    }
  }
  return {};
}

Object.assign(pick, telling());
$("faces").replaceChildren(...shown.faces.map((name, face) =>
  radio("face", face, face === pick.face, [picture(face, shown.tiles.photo, `face ${face + 1}`)],
    () => choose({ face }))));
$("editor-chips").replaceChildren(...models.map((model) =>
  radio("editor", model, model === pick.model, [model], () => choose({ model }), data.colours[model])));
choose({});
