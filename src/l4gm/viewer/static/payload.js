// Decodes one frame of the payload. Runs in the worker. The encoder is viewer/payload.py.

const PLANES = 17;

/** Base64 text -> bytes. */
function bytesFromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** zlib data -> bytes, by the browser's own decompressor. */
async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undoes the differences of one 16-bit coordinate: [count] integers 0..65535. */
function decodeCoordinate(low, high) {
  const out = new Uint16Array(low.length);
  let value = 0;
  for (let i = 0; i < out.length; i++) {
    const zigzag = low[i] | (high[i] << 8);
    value = (value + ((zigzag >> 1) ^ -(zigzag & 1))) & 65535;
    out[i] = value;
  }
  return out;
}

/** Undoes the differences of one 8-bit plane, writing every `stride`-th byte of `out`. */
function decodeBytes(plane, out, offset, stride) {
  let value = 0;
  for (let i = 0, to = offset; i < plane.length; i++, to += stride) {
    value = (value + plane[i]) & 255;
    out[to] = value;
  }
}

/**
 * One frame from its base64 text.
 *   x, y, z   [count] Uint16, for sorting
 *   geometry  [rows * width, 4] Uint32, for an RGBA32UI texture: x | y << 16,
 *             z | scale 0 << 16 | scale 1 << 24, scale 2, the four bytes of the quaternion
 *   colors    [rows * width, 4] Uint8: red, green, blue, opacity
 * The arrays are padded with zeros to whole texture rows.
 */
async function decodeFrame(text, count, width) {
  const planes = await inflate(bytesFromBase64(text));
  if (planes.length !== PLANES * count) {
    throw new Error(`a frame of ${count} Gaussians has ${planes.length} bytes`);
  }
  const plane = (index) => planes.subarray(index * count, (index + 1) * count);
  const x = decodeCoordinate(plane(0), plane(1));
  const y = decodeCoordinate(plane(2), plane(3));
  const z = decodeCoordinate(plane(4), plane(5));
  const rows = Math.max(1, Math.ceil(count / width));
  const geometry = new Uint32Array(rows * width * 4);
  const colors = new Uint8Array(rows * width * 4);
  const shorts = new Uint16Array(geometry.buffer); // little-endian, as every machine with WebGL is
  const bytes = new Uint8Array(geometry.buffer);
  for (let i = 0; i < count; i++) {
    shorts[8 * i] = x[i];
    shorts[8 * i + 1] = y[i];
    shorts[8 * i + 2] = z[i];
  }
  decodeBytes(plane(6), bytes, 6, 16);
  decodeBytes(plane(7), bytes, 7, 16);
  decodeBytes(plane(8), bytes, 8, 16);
  for (let part = 0; part < 4; part++) {
    decodeBytes(plane(9 + part), bytes, 12 + part, 16);
    decodeBytes(plane(13 + part), colors, part, 4);
  }
  return { count, x, y, z, geometry, colors };
}
