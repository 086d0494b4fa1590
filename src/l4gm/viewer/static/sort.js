// Depth sorting. Runs in the worker.

const BUCKETS = 65536;
const bucketStarts = new Uint32Array(BUCKETS + 1);

/**
 * The order in which to draw a frame: indices, farthest first; `order` is filled to its `count`.
 * `direction` is the camera's view direction in units of the quantised coordinates, so that
 * x * direction[0] + y * direction[1] + z * direction[2] grows with the camera's depth.
 * A counting sort over 65,536 depths: linear time, and equal depths keep their order.
 */
function sortByDepth(frame, direction, order) {
  const { count, x, y, z } = frame;
  const [dx, dy, dz] = direction;
  const depths = new Float32Array(count);
  let nearest = Infinity;
  let farthest = -Infinity;
  for (let i = 0; i < count; i++) {
    const depth = x[i] * dx + y[i] * dy + z[i] * dz;
    depths[i] = depth;
    if (depth < nearest) nearest = depth;
    if (depth > farthest) farthest = depth;
  }
  const perUnit = farthest > nearest ? (BUCKETS - 1) / (farthest - nearest) : 0;
  const buckets = new Uint16Array(count);
  bucketStarts.fill(0);
  for (let i = 0; i < count; i++) {
    buckets[i] = Math.min(BUCKETS - 1, Math.max(0, (farthest - depths[i]) * perUnit));
    bucketStarts[buckets[i] + 1]++;
  }
  for (let i = 0; i < BUCKETS; i++) bucketStarts[i + 1] += bucketStarts[i];
  for (let i = 0; i < count; i++) order[bucketStarts[buckets[i]]++] = i;
}
