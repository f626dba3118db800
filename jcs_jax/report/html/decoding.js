"use strict";
// The files of the slices: base64 text in script elements that no browser runs, decoded when a slice is asked for.

const KEPT_SLICES = 12; // a 512 x 512 slice takes a megabyte when decoded
const keptSlices = new Map();

function fileBytes(kind, index) {
  const element = document.getElementById(`${kind}-${index}`);
  if (!element) return null;
  const binary = atob(element.textContent);
  const bytes = new Uint8Array(binary.length);
  for (let place = 0; place < binary.length; place += 1) bytes[place] = binary.charCodeAt(place);
  return bytes;
}

async function readPixels(kind, index, type) {
  const bytes = fileBytes(kind, index);
  if (!bytes) return null;
  const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes], { type }), exact);
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// One of four channels of an ImageData, (H * W).
function channel(pixels, offset) {
  const values = new Uint8Array(pixels.width * pixels.height);
  for (let place = 0; place < values.length; place += 1) values[place] = pixels.data[4 * place + offset];
  return values;
}

async function decodeSlice(index) {
  const [greys, regions, activation] = await Promise.all([
    readPixels("greys", index, "image/webp"),
    readPixels("regions", index, "image/png"),
    readPixels("activation", index, "image/png"),
  ]);
  const { width, height } = greys;
  const slice = { width, height, greys: channel(greys, 1), mask: null, labels: null, activation: null };
  if (regions) {
    slice.mask = channel(regions, 0);
    slice.labels = new Uint16Array(width * height);
    for (let place = 0; place < slice.labels.length; place += 1) {
      slice.labels[place] = regions.data[4 * place + 1] + 256 * regions.data[4 * place + 2];
    }
  }
  if (activation) slice.activation = { width: activation.width, height: activation.height, values: channel(activation, 1) };
  return slice;
}

// A promise of the decoded slice; those asked for last are kept.
function loadSlice(index) {
  const loading = keptSlices.get(index) ?? decodeSlice(index);
  keptSlices.delete(index);
  keptSlices.set(index, loading);
  if (keptSlices.size > KEPT_SLICES) keptSlices.delete(keptSlices.keys().next().value);
  return loading;
}
