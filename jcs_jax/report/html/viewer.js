// What mouse and keys change about what is shown.

const WHEEL_STEP = 40; // of deltaY: a notch is more, a touchpad sends many small ones
const TEN = 10;

// The pixel of the slice under the mouse, null beside it.
function pointedPixel(event) {
  if (!drawn) return null;
  const box = picture.getBoundingClientRect();
  const factor = Math.min(box.width / picture.width, box.height / picture.height);
  const left = box.left + (box.width - picture.width * factor) / 2;
  const top = box.top + (box.height - picture.height * factor) / 2;
  const x = Math.floor(((event.clientX - left) / factor / picture.width) * drawn.width);
  const y = Math.floor(((event.clientY - top) / factor / picture.height) * drawn.height);
  return x >= 0 && y >= 0 && x < drawn.width && y < drawn.height ? { x, y, place: y * drawn.width + x } : null;
}

function tellPixel(event) {
  const pixel = pointedPixel(event);
  const lesion = pixel && drawn.labels ? drawn.labels[pixel.place] : 0;
  const words = [];
  if (pixel) {
    const value = view.greyValues[drawn.greys[pixel.place]];
    words.push(`row ${pixel.y + 1}, column ${pixel.x + 1}`, hasUnits() ? `about ${Math.round(value)} HU` : `grey ${value}`);
    if (lesion) words.push(`lesion ${lesion}`);
    else if (drawn.mask?.[pixel.place]) words.push("in the mask");
  }
  part("pointed").textContent = words.join(", ");
  if (lesion !== shown.pointedLesion) {
    shown.pointedLesion = lesion;
    for (const row of document.querySelectorAll("tr[data-lesion]")) {
      row.classList.toggle("pointed", Number(row.dataset.lesion) === lesion);
    }
    draw();
  }
}

function hasUnits() {
  return view.windows.length > 0;
}

function toggle(layer) {
  const box = part(layer);
  if (box.disabled) return;
  shown[layer] = box.checked;
  draw();
}

function setWindow(place) {
  if (!view.windows[place]) return;
  shown.window = view.windows[place];
  part(`window-${shown.window.name}`).checked = true;
  draw();
}

function setOpacity() {
  shown.opacity = part("opacity").value / 100;
  part("opacity-told").textContent = `${part("opacity").value}%`;
  if (view.activationScale) paintScale(part("scale-colors"), shown.opacity, view);
  draw();
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const last = view.slices.length - 1;
  const moves = {
    ArrowUp: shown.index + 1,
    ArrowRight: shown.index + 1,
    ArrowDown: shown.index - 1,
    ArrowLeft: shown.index - 1,
    PageUp: shown.index + TEN,
    PageDown: shown.index - TEN,
    Home: 0,
    End: last,
  };
  const key = event.key.toLowerCase();
  const layer = { m: "mask", a: "map" }[key];
  if (event.key in moves) {
    if (event.target.id === "opacity" || event.target.type === "radio") return; // these have arrow keys of their own
    goTo(moves[event.key]);
  } else if (layer) {
    if (!part(layer).disabled) part(layer).checked = !part(layer).checked;
    toggle(layer);
  } else if (["1", "2", "3"].includes(key)) {
    setWindow(Number(key) - 1);
  } else {
    return;
  }
  event.preventDefault();
}

let wheeled = 0;
function onWheel(event) {
  if (event.ctrlKey) return; // zooms the page
  event.preventDefault();
  wheeled += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_STEP;
  if (Math.abs(wheeled) < WHEEL_STEP) return;
  goTo(shown.index - Math.sign(wheeled));
  wheeled = 0;
}

function onTableClick(event) {
  const row = event.target.closest("tr[data-slice]");
  if (!row || String(window.getSelection())) return;
  if (row.dataset.lesion) selectLesion(Number(row.dataset.lesion));
  jumpTo(Number(row.dataset.slice) - 1);
}

function onChartClick(event) {
  const chart = part("chart");
  const box = chart.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
  jumpTo(Math.floor((x - chart.dataset.left) / chart.dataset.step));
}

// What this case hasn't got is switched off, with the reason.
function switchOff() {
  const reasons = [];
  if (!view.slices.some((slice) => slice.segmented)) {
    part("mask").disabled = true;
    part("mask").checked = shown.mask = false;
    reasons.push("no slice was segmented: there is no mask");
  }
  if (view.activationScale === null) {
    part("map").disabled = part("opacity").disabled = true;
    reasons.push("no class head: there is no activation map");
  } else if (view.activationScale === 0) {
    reasons.push("the activation map is nowhere above 0");
  }
  part("layers-reason").textContent = reasons.join("; ");
  part("layers-reason").hidden = !reasons.length;
  part("windows").disabled = !hasUnits();
  part("windows-reason").hidden = hasUnits();
  for (const side of document.querySelectorAll(".side")) side.hidden = !view.volume;
}

function start() {
  switchOff();
  if (view.activationScale) {
    part("scale").hidden = false;
    part("scale-middle").textContent = (view.activationScale / 2).toPrecision(3);
    part("scale-top").textContent = view.activationScale.toPrecision(3);
  }
  part("slice").max = view.slices.length;
  part("opacity").value = Math.round(100 * view.mapOpacity);
  part("viewer").hidden = false;
  const sizes = view.slices.map(canvasSize); // the picture's place doesn't move when slices differ in size
  const longest = (side) => Math.max(...sizes.map((size) => size[side]));
  picture.style.aspectRatio = `${longest("width")} / ${longest("height")}`;
  part("slice").addEventListener("input", () => goTo(part("slice").value - 1));
  part("opacity").addEventListener("input", setOpacity);
  for (const layer of ["mask", "map"]) part(layer).addEventListener("change", () => toggle(layer));
  view.windows.forEach(({ name }, place) => part(`window-${name}`).addEventListener("change", () => setWindow(place)));
  part("viewer").addEventListener("keydown", onKey);
  picture.addEventListener("wheel", onWheel, { passive: false });
  picture.addEventListener("pointermove", tellPixel);
  picture.addEventListener("pointerleave", tellPixel);
  picture.addEventListener("click", (event) => {
    const pixel = pointedPixel(event);
    if (pixel) selectLesion(drawn.labels?.[pixel.place] ?? 0);
  });
  for (const table of document.querySelectorAll("table")) table.addEventListener("click", onTableClick);
  part("chart")?.addEventListener("click", onChartClick);
  tell();
  setOpacity();
}

start();
