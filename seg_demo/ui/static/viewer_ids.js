// The id map of a result: which segment lies at which pixel, and what is drawn for it in the part that is on the screen.

// An opaque RGB PNG whose pixels mean id = R + 256 * G. Colour management would change them, so it is off, and
// the pixels are read in strips, so that the decoded copy never exists twice.
async function loadIds(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error("id map: HTTP " + answer.status);
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(await answer.blob(), options);
  const { width, height } = bitmap;
  const ids = new Uint16Array(width * height);
  const rows = Math.max(1, Math.min(height, Math.floor(1000000 / width)));
  const strip = document.createElement("canvas");
  strip.width = width;
  strip.height = rows;
  const context = strip.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.imageSmoothingEnabled = false;
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    const data = context.getImageData(0, 0, width, count).data;
    for (let i = 0, o = top * width; i < data.length; i += 4, o++) ids[o] = data[i] | (data[i + 1] << 8);
  }
  bitmap.close();
  return { ids, width, height };
}

// The ids seen through the window: nearest sampling of the map at each device pixel; 65535 lies outside the image.
// Only this is ever drawn, so time and memory follow the screen and not the upload.
const OUTSIDE = 65535;

function sampleIds(map, view, width, height, density) {
  const seen = new Uint16Array(width * height).fill(OUTSIDE);
  const perPixelX = map.width / (view.imageWidth * view.scale * density);
  const perPixelY = map.height / (view.imageHeight * view.scale * density);
  const columns = new Int32Array(width);
  for (let x = 0; x < width; x++) {
    const column = Math.floor((x + 0.5 - view.x * density) * perPixelX);
    columns[x] = column >= 0 && column < map.width ? column : -1;
  }
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y + 0.5 - view.y * density) * perPixelY);
    if (row < 0 || row >= map.height) continue;
    const from = row * map.width;
    for (let x = 0, o = y * width; x < width; x++, o++) if (columns[x] >= 0) seen[o] = map.ids[from + columns[x]];
  }
  return seen;
}

// Canvas pixels as 32-bit words. Every browser that runs this is little-endian: red is the lowest byte.
const rgba = (color, alpha) => ((alpha << 24) | (color[2] << 16) | (color[1] << 8) | color[0]) >>> 0;

function putPixels(canvas, width, height, words) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(words.buffer), width, height), 0, 0);
}

function fillPixels(seen, colors) {
  const words = new Uint32Array(seen.length);
  for (let i = 0; i < seen.length; i++) words[i] = colors[seen[i]];
  return words;
}

// A pixel is on an outline if one of its four neighbours has another id; `colors` says with which word it is drawn.
function outlinePixels(seen, width, height, colors) {
  const words = new Uint32Array(seen.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0, i = y * width; x < width; x++, i++) {
      const id = seen[i];
      const word = colors[id];
      if (word === 0) continue;
      const left = x > 0 ? seen[i - 1] : id;
      const right = x < width - 1 ? seen[i + 1] : id;
      const above = y > 0 ? seen[i - width] : id;
      const below = y < height - 1 ? seen[i + width] : id;
      if (left !== id || right !== id || above !== id || below !== id) words[i] = word;
    }
  }
  return words;
}

// Ids in `lit` glow with a white rim, everything else falls back.
function glowPixels(seen, width, height, lit) {
  const words = new Uint32Array(seen.length);
  const light = rgba([255, 255, 255], 60);
  const rim = rgba([255, 255, 255], 255);
  const shade = rgba([8, 10, 14], 105);
  for (let y = 0; y < height; y++) {
    for (let x = 0, i = y * width; x < width; x++, i++) {
      if (seen[i] === OUTSIDE) continue;
      if (!lit[seen[i]]) {
        words[i] = shade;
        continue;
      }
      const edge =
        (x > 0 && !lit[seen[i - 1]]) || (x < width - 1 && !lit[seen[i + 1]]) ||
        (y > 0 && !lit[seen[i - width]]) || (y < height - 1 && !lit[seen[i + width]]);
      words[i] = edge ? rim : light;
    }
  }
  return words;
}
