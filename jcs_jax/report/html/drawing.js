// From a decoded slice to colours: window, activation map, mask, outlines.

const GREY_MIDDLE = 128;

// 256 greys of the screen for the 256 levels that are kept.
function windowTable(levels, chosen) {
  return Uint8ClampedArray.from(levels, (value) =>
    chosen ? 255 * ((value - chosen.level) / chosen.width + 0.5) : value,
  );
}

// For every pixel along a side: the two positions of the map around it, and how far it is from the first to the second.
function mapPositions(size, count) {
  return Array.from({ length: size }, (_, place) => {
    const at = Math.min(Math.max(((place + 0.5) * count) / size - 0.5, 0), count - 1);
    const first = Math.min(Math.floor(at), Math.max(count - 2, 0));
    return { first, second: Math.min(first + 1, count - 1), share: at - first };
  });
}

// An activation map at the slice's size, 0 to 1: bilinear, between the centres of its positions.
function enlargeMap(map, width, height) {
  const columns = mapPositions(width, map.width);
  const values = new Float32Array(width * height);
  const line = new Float32Array(map.width);
  mapPositions(height, map.height).forEach((row, y) => {
    for (let x = 0; x < map.width; x += 1) {
      const above = map.values[row.first * map.width + x];
      line[x] = (above + row.share * (map.values[row.second * map.width + x] - above)) / 255;
    }
    for (let x = 0; x < width; x += 1) {
      const { first, second, share } = columns[x];
      values[y * width + x] = line[first] + share * (line[second] - line[first]);
    }
  });
  return values;
}

// Lays the map's colour for a value from 0 to 1 over a pixel; low values are seen through.
function blendMap(data, place, value, opacity, view) {
  const weight = opacity * Math.min(value / view.mapFullOpacityFrom, 1);
  const color = 3 * Math.round(Math.min(value, 1) * 255);
  for (let part = 0; part < 3; part += 1) {
    data[place + part] = data[place + part] * (1 - weight) + view.colors[color + part] * weight;
  }
}

// The slice's own pixels in colour. Under the map the mask isn't filled, so that the map's colours stay true.
function paintSlice(slice, table, shown, view) {
  const image = new ImageData(slice.width, slice.height);
  const { data } = image;
  const map = shown.map && slice.activation ? enlargeMap(slice.activation, slice.width, slice.height) : null;
  const fill = shown.mask && slice.mask && !map ? view.fillOpacity : 0;
  for (let pixel = 0, place = 0; pixel < slice.greys.length; pixel += 1, place += 4) {
    const grey = table[slice.greys[pixel]];
    data[place] = data[place + 1] = data[place + 2] = grey;
    data[place + 3] = 255;
    if (map) blendMap(data, place, map[pixel], shown.opacity, view);
    if (fill && slice.mask[pixel]) {
      for (let part = 0; part < 3; part += 1) data[place + part] = grey * (1 - fill) + view.lesionColor[part] * fill;
    }
  }
  return image;
}

// A path along the border of the pixels for which `inside` holds, in pixels of the slice.
function outline(slice, inside) {
  const path = new Path2D();
  const { width, height } = slice;
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside(y * width + x);
  const trace = (lines, length, differs, draw) => {
    for (let line = 0; line <= lines; line += 1) {
      let start = -1;
      for (let place = 0; place <= length; place += 1) {
        const border = place < length && differs(line, place);
        if (border && start < 0) start = place;
        if (!border && start >= 0) {
          draw(line, start, place);
          start = -1;
        }
      }
    }
  };
  trace(height, width, (y, x) => at(x, y - 1) !== at(x, y), (y, from, to) => {
    path.moveTo(from, y);
    path.lineTo(to, y);
  });
  trace(width, height, (x, y) => at(x - 1, y) !== at(x, y), (x, from, to) => {
    path.moveTo(x, from);
    path.lineTo(x, to);
  });
  return path;
}

function strokeOutline(context, path, scale, lines) {
  const scaled = new Path2D();
  scaled.addPath(path, new DOMMatrix([scale.x, 0, 0, scale.y, 0, 0]));
  context.lineCap = "square";
  for (const [color, width] of lines) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke(scaled);
  }
}

// The map's colours from 0 to the last one as they look over mid-grey tissue.
function paintScale(canvas, opacity, view) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, 1);
  for (let x = 0; x < canvas.width; x += 1) {
    image.data.set([GREY_MIDDLE, GREY_MIDDLE, GREY_MIDDLE, 255], 4 * x);
    blendMap(image.data, 4 * x, x / (canvas.width - 1), opacity, view);
  }
  context.putImageData(image, 0, 0);
}
