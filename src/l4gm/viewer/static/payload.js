// Decodes the payload. Runs in the worker. The encoder is viewer/payload.py.

const VALUES = 13; // of a Gaussian: means 3, scales 3, turns 3, colors 3, opacity
const WIDE = 3; // the first of them are 16-bit numbers in two planes, the others bytes
const PLANES = VALUES + WIDE;

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

/** Adds a frame's differences to `levels`, an array of `count` numbers for each value. */
function addDifferences(levels, planes, count, isFirstOfGroup) {
  for (let value = 0; value < VALUES; value++) {
    const to = levels[value];
    const wide = value < WIDE;
    const low = planes.subarray((wide ? 2 * value : value + WIDE) * count);
    const high = planes.subarray((2 * value + 1) * count);
    const mask = wide ? 65535 : 255;
    for (let i = 0; i < count; i++) {
      const before = !isFirstOfGroup ? to[i] : i > 0 ? to[i - 1] : 0;
      const zigzag = wide ? low[i] | (high[i] << 8) : low[i] << 1;
      to[i] = (before + ((zigzag >> 1) ^ -(zigzag & 1))) & mask;
    }
  }
}

/**
 * The visible Gaussians of a frame's levels, as the renderer and the sorting take them:
 *   x, y, z   [count] Uint16
 *   texels    [rows * width, 4] Uint32 for an RGBA32UI texture, in whole rows of zeros beyond the
 *             last: x | y << 16, z | scale 0 << 16 | scale 1 << 24, scale 2 | turns << 8,
 *             red | green << 8 | blue << 16 | opacity << 24
 */
function packFrame(levels, width) {
  const [x, y, z, s0, s1, s2, t0, t1, t2, red, green, blue, opacity] = levels;
  let count = 0;
  for (let i = 0; i < opacity.length; i++) if (opacity[i] > 0) count++;
  const frame = {
    count,
    x: new Uint16Array(count),
    y: new Uint16Array(count),
    z: new Uint16Array(count),
    texels: new Uint32Array(Math.max(1, Math.ceil(count / width)) * width * 4),
  };
  for (let i = 0, to = 0; i < opacity.length; i++) {
    if (opacity[i] === 0) continue;
    frame.x[to] = x[i];
    frame.y[to] = y[i];
    frame.z[to] = z[i];
    frame.texels[4 * to] = x[i] | (y[i] << 16);
    frame.texels[4 * to + 1] = z[i] | (s0[i] << 16) | (s1[i] << 24);
    frame.texels[4 * to + 2] = s2[i] | (t0[i] << 8) | (t1[i] << 16) | (t2[i] << 24);
    frame.texels[4 * to + 3] = red[i] | (green[i] << 8) | (blue[i] << 16) | (opacity[i] << 24);
    to++;
  }
  return frame;
}

/** Decodes frames in any order; going on from the last one is the quickest. */
class Decoder {
  /** `texts`: base64 by frame, which may grow; `count`: Gaussians in each. */
  constructor(texts, count, groupFrames, width) {
    Object.assign(this, { texts, count, groupFrames, width });
    this.levels = Array.from({ length: VALUES }, () => new Uint16Array(count));
    this.at = -1; // the frame that `levels` are of
  }

  /** One frame, see packFrame; only one call at a time. */
  async frame(index) {
    const first = index - (index % this.groupFrames);
    const from = this.at >= first && this.at <= index ? this.at + 1 : first;
    for (let next = from; next <= index; next++) {
      const planes = await inflate(bytesFromBase64(this.texts[next]));
      if (planes.length !== PLANES * this.count) {
        throw new Error(`frame ${next} has ${planes.length} bytes, not ${PLANES * this.count}`);
      }
      this.at = -1;
      addDifferences(this.levels, planes, this.count, next === first);
      this.at = next;
    }
    return packFrame(this.levels, this.width);
  }
}
