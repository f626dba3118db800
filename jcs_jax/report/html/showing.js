// What is shown: the slice on the canvas, the numbers beside it, the mark in the chart.

const view = JSON.parse(document.getElementById("view").textContent);
const part = (id) => document.getElementById(id);
const picture = part("picture");
const LONGER_SIDE = 1024; // pixels of the canvas
const SPOKEN_AFTER = 300; // milliseconds without a change

const shown = {
  index: view.first,
  mask: true,
  map: false,
  opacity: view.mapOpacity,
  window: view.windows[0] ?? null,
  lesion: 0,
  pointedLesion: 0,
};
let drawn = null; // the decoded slice on the canvas
let drawing = false;
let outdated = false; // something changed while a slice was decoded
let spoken = 0; // the timer of the live line

// Draws what is to be shown; while the slider moves fast, slices in between are left out.
async function draw() {
  outdated = true;
  if (drawing) return;
  drawing = true;
  while (outdated) {
    outdated = false;
    await drawOnce(shown.index);
  }
  drawing = false;
  for (const near of [shown.index + 1, shown.index - 1]) if (view.slices[near]) loadSlice(near);
}

async function drawOnce(index) {
  drawn = await loadSlice(index);
  if (index !== shown.index) return;
  const size = canvasSize(drawn);
  if (picture.width !== size.width || picture.height !== size.height) Object.assign(picture, size);
  const source = document.createElement("canvas");
  source.width = drawn.width;
  source.height = drawn.height;
  const table = windowTable(view.greyValues, shown.window);
  source.getContext("2d").putImageData(paintSlice(drawn, table, shown, view), 0, 0);
  const context = picture.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, picture.width, picture.height);
  drawOutlines(context, drawn);
  picture.dataset.slice = String(index + 1);
  if (!performance.getEntriesByName("first-slice").length) performance.mark("first-slice");
}

function canvasSize(slice) {
  const wide = slice.width * view.pixelAspect;
  const factor = LONGER_SIDE / Math.max(wide, slice.height);
  return { width: Math.round(wide * factor), height: Math.round(slice.height * factor) };
}

function drawOutlines(context, slice) {
  if (!shown.mask || !slice.mask) return;
  const scale = { x: picture.width / slice.width, y: picture.height / slice.height };
  const color = `rgb(${view.lesionColor.join(" ")})`;
  slice.border ??= outline(slice, (place) => slice.mask[place] > 0);
  strokeOutline(context, slice.border, scale, [["black", 4.5], [color, 2.5]]);
  for (const number of new Set([shown.lesion, shown.pointedLesion])) {
    if (!number) continue;
    const border = outline(slice, (place) => slice.labels[place] === number);
    strokeOutline(context, border, scale, [["black", 11], ["white", 8], [color, 4]]);
  }
}

function tell() {
  const slice = view.slices[shown.index];
  const name = `Slice ${shown.index + 1} of ${view.slices.length}`;
  const facts = [
    ["Slice", `${shown.index + 1} of ${view.slices.length}`],
    ["Height", slice.z],
    ["Probability of infection", slice.probability],
    ["Lesion area", slice.segmented ? slice.area : "not segmented"],
    ["Lungs on it", slice.lungs === null ? null : slice.lungs ? "yes" : "no"],
    ["File", slice.file],
    ["Notes", slice.notes.length ? slice.notes.join("; ") : null],
  ].filter(([, value]) => value !== null);
  part("facts").replaceChildren(...facts.map(factElement));
  part("slice").value = shown.index + 1;
  part("slice").setAttribute("aria-valuetext", name);
  part("place").textContent = `${shown.index + 1} / ${view.slices.length}`;
  const sides = view.volume ? ". The patient's right is at the left edge, the front at the top." : "";
  picture.setAttribute("aria-label", name + sides);
  markChart();
  clearTimeout(spoken);
  spoken = setTimeout(() => {
    part("live").textContent = facts.slice(0, 4).map(([key, value]) => `${key} ${value}`).join(", ");
  }, SPOKEN_AFTER);
}

function factElement([name, value]) {
  const pair = document.createElement("div");
  for (const [kind, text] of [["dt", name], ["dd", value]]) {
    pair.append(Object.assign(document.createElement(kind), { textContent: text }));
  }
  return pair;
}

function markChart() {
  const chart = part("chart");
  if (!chart) return;
  const x = Number(chart.dataset.left) + (shown.index + 0.5) * Number(chart.dataset.step);
  const marker = part("chart-marker");
  marker.setAttribute("x1", x);
  marker.setAttribute("x2", x);
  marker.setAttribute("visibility", "visible");
}

function goTo(index) {
  const next = Math.min(Math.max(index, 0), view.slices.length - 1);
  if (next === shown.index) return;
  shown.index = next;
  shown.pointedLesion = 0;
  part("pointed").textContent = "";
  tell();
  draw();
}

function selectLesion(number) {
  shown.lesion = number;
  for (const row of document.querySelectorAll("tr[data-lesion]")) {
    row.classList.toggle("chosen", Number(row.dataset.lesion) === number);
  }
  draw();
}

// From a table or the chart to the picture, where the keys then work.
function jumpTo(index) {
  goTo(index);
  picture.focus({ preventScroll: true });
  part("viewer").scrollIntoView({ block: "nearest" });
}
