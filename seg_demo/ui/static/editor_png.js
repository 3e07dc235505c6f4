// A grey PNG of 8 or 16 bits, without loss and without a canvas (whose channels have 8 bits); read by any program.

const CRC = new Uint32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function pngChunk(kind, data) {
  const chunk = new Uint8Array(12 + data.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) chunk[4 + i] = kind.charCodeAt(i);
  chunk.set(data, 8);
  view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
  return chunk;
}

// `value(id)` says which number is written for an id; `bits` is 8 or 16. Rows are filtered by their difference to the row
// above, which is nearly all zeros in a mask.
async function encodePng(ids, width, height, bits, value) {
  const bytes = bits / 8;
  const table = Uint16Array.from({ length: 65536 }, (_, id) => value(id));
  const strip = Math.max(1, Math.floor(2e6 / (width * bytes + 1)));
  const zlib = new CompressionStream("deflate");
  const writer = zlib.writable.getWriter();
  const packed = new Response(zlib.readable).arrayBuffer();
  packed.catch(() => {}); // reported below
  for (let top = 0; top < height; top += strip) {
    const rows = Math.min(strip, height - top);
    const data = new Uint8Array(rows * (width * bytes + 1));
    for (let y = 0, o = 0; y < rows; y++) {
      const at = (top + y) * width;
      data[o++] = 2;
      for (let x = 0; x < width; x++) {
        const now = table[ids[at + x]];
        const above = top + y > 0 ? table[ids[at + x - width]] : 0;
        if (bytes === 2) data[o++] = (now >> 8) - (above >> 8);
        data[o++] = (now & 255) - (above & 255);
      }
    }
    await writer.write(data);
  }
  await writer.close();
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = bits;
  const start = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const body = pngChunk("IDAT", new Uint8Array(await packed));
  return new Blob([start, pngChunk("IHDR", header), body, pngChunk("IEND", new Uint8Array(0))], { type: "image/png" });
}
