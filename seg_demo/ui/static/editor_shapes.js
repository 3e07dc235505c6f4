// Shapes as rows of pixels. A pixel belongs to a shape if its centre does; `emit(y, from, to)` gets pixels [from, to) of a row.

const EDGE = 1e-6; // centres on the rim belong to the brush, whatever the last bit of a square root is

// A disc of radius r swept from a to b ([x, y] in image pixels, a pixel's centre at .5): every row of it is one interval.
function sweep(a, b, r, emit) {
  const reach = r + EDGE;
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = Math.hypot(dx, dy);
  const side = length > 0 ? [(-dy / length) * reach, (dx / length) * reach] : null;
  const corners = side && [
    [a[0] + side[0], a[1] + side[1]], [b[0] + side[0], b[1] + side[1]], [b[0] - side[0], b[1] - side[1]], [a[0] - side[0], a[1] - side[1]],
  ];
  const top = Math.ceil(Math.min(a[1], b[1]) - reach - 0.5);
  const bottom = Math.floor(Math.max(a[1], b[1]) + reach - 0.5);
  for (let y = top; y <= bottom; y++) {
    const middle = y + 0.5;
    let [low, high] = [Infinity, -Infinity];
    for (const end of [a, b]) {
      const half = reach * reach - (middle - end[1]) ** 2;
      if (half < 0) continue;
      low = Math.min(low, end[0] - Math.sqrt(half));
      high = Math.max(high, end[0] + Math.sqrt(half));
    }
    for (let i = 0; corners && i < 4; i++) {
      const [p, q] = [corners[i], corners[(i + 1) % 4]];
      if ((p[1] < middle) === (q[1] < middle)) continue;
      const x = p[0] + ((middle - p[1]) / (q[1] - p[1])) * (q[0] - p[0]);
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    if (low <= high) emit(y, Math.ceil(low - 0.5), Math.floor(high - 0.5) + 1);
  }
}

// The inside of a polygon by the even-odd rule; corners are [x, y] in image pixels.
function fillPolygon(corners, height, emit) {
  const ys = corners.map((corner) => corner[1]);
  const top = Math.max(0, Math.ceil(Math.min(...ys) - 0.5));
  const bottom = Math.min(height - 1, Math.floor(Math.max(...ys) - 0.5));
  for (let y = top; y <= bottom; y++) {
    const middle = y + 0.5;
    const crossings = [];
    corners.forEach((p, i) => {
      const q = corners[(i + 1) % corners.length];
      if ((p[1] <= middle) !== (q[1] <= middle)) crossings.push(p[0] + ((middle - p[1]) / (q[1] - p[1])) * (q[0] - p[0]));
    });
    crossings.sort((left, right) => left - right);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const [from, to] = [Math.ceil(crossings[i] - 0.5), Math.ceil(crossings[i + 1] - 0.5)];
      if (from < to) emit(y, from, to);
    }
  }
}

// All pixels of one id that hang together with (x, y) by their sides. `emit` must change them at once.
function flood(layer, x, y, emit) {
  const { ids, width, height } = layer;
  const old = ids[y * width + x];
  const open = [y * width + x];
  while (open.length) {
    const at = open.pop();
    if (ids[at] !== old) continue;
    const row = Math.floor(at / width);
    let from = at;
    let to = at + 1;
    while (from > row * width && ids[from - 1] === old) from--;
    while (to < (row + 1) * width && ids[to] === old) to++;
    emit(row, from - row * width, to - row * width);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      const shift = (next - row) * width;
      // One seed per run of the neighbouring row.
      for (let i = from; i < to; i++) if (ids[i + shift] === old && (i === from || ids[i + shift - 1] !== old)) open.push(i + shift);
    }
  }
}

// The pixels of one number in another map of the same size, such as a superpixel, within its box.
function sameNumber(map, number, box, emit) {
  for (let y = box[1]; y < box[3]; y++) {
    const row = y * map.width;
    for (let x = box[0]; x < box[2]; x++) {
      if (map.ids[row + x] !== number) continue;
      const from = x;
      while (x < box[2] && map.ids[row + x] === number) x++;
      emit(y, from, x);
    }
  }
}

// The boxes of all numbers of a map, in one pass: Map number → [x0, y0, x1, y1).
function boxesOf(map) {
  const boxes = new Map();
  for (let y = 0, i = 0; y < map.height; y++) {
    for (let x = 0; x < map.width; x++, i++) {
      const number = map.ids[i];
      if (x > 0 && map.ids[i - 1] === number && x + 1 < map.width && map.ids[i + 1] === number) continue;
      const box = boxes.get(number);
      if (!box) boxes.set(number, [x, y, x + 1, y + 1]);
      else {
        box[0] = Math.min(box[0], x);
        box[2] = Math.max(box[2], x + 1);
        box[3] = y + 1;
      }
    }
  }
  return boxes;
}

// Cuts an object along a polyline: the pieces that remain beside the line, largest first, as lists of pixel indices. Pixels
// under the line go to the piece that reaches them first. Fewer than two pieces: the line does not cut.
function cutPieces(layer, id, points) {
  const [x0, y0, x1, y1] = layer.boxOf(id);
  const [wide, tall] = [x1 - x0, y1 - y0];
  const mark = new Int32Array(wide * tall); // 0 not of the object, -1 of it, -2 under the line, else the piece
  for (let y = 0; y < tall; y++) {
    const row = (y0 + y) * layer.width + x0;
    for (let x = 0; x < wide; x++) if (layer.ids[row + x] === id) mark[y * wide + x] = -1;
  }
  for (let i = 0; i + 1 < points.length; i++) {
    sweep(points[i], points[i + 1], 0.5, (y, from, to) => {
      if (y < y0 || y >= y1) return;
      for (let x = Math.max(from, x0); x < Math.min(to, x1); x++) if (mark[(y - y0) * wide + x - x0]) mark[(y - y0) * wide + x - x0] = -2;
    });
  }
  const pieces = [];
  const spread = (queue, wanted) => {
    // `queue` holds marked pixels; their unmarked neighbours of the wanted kind join the same piece.
    for (let head = 0; head < queue.length; head++) {
      const at = queue[head];
      const x = at % wide;
      for (const next of [x > 0 ? at - 1 : -1, x + 1 < wide ? at + 1 : -1, at - wide, at + wide < mark.length ? at + wide : -1]) {
        if (next < 0 || mark[next] !== wanted) continue;
        mark[next] = mark[at];
        pieces[mark[at] - 1].push(next);
        queue.push(next);
      }
    }
  };
  for (let i = 0; i < mark.length; i++) {
    if (mark[i] !== -1) continue;
    pieces.push([i]);
    mark[i] = pieces.length;
    spread([i], -1);
  }
  const count = pieces.length;
  spread(pieces.flat(), -2);
  if (count < 2) return [];
  const indices = (piece) => piece.map((at) => (y0 + Math.floor(at / wide)) * layer.width + x0 + (at % wide));
  return pieces.map(indices).sort((left, right) => right.length - left.length);
}
