// The worker: decodes frames, keeps as many as fit, and sorts them for the camera.
//
// In:  { type: "start", counts, width, capacity }   once
//      { type: "load", index, text }                 a frame's base64 text
//      { type: "sort", index, direction, withData }  wants that frame's drawing order
// Out: { type: "loaded", index, evicted }            `evicted`: frames no longer kept
//      { type: "sorted", index, order, count, geometry?, colors? }
//      { type: "failed", message }

let settings = null;
const decoded = new Map(); // index -> promise of a frame; the least recently used comes first

function keep(index, promise) {
  decoded.delete(index);
  decoded.set(index, promise);
  const evicted = [];
  while (decoded.size > settings.capacity) {
    const oldest = decoded.keys().next().value;
    decoded.delete(oldest);
    evicted.push(oldest);
  }
  return evicted;
}

async function load({ index, text }) {
  const promise = decodeFrame(text, settings.counts[index], settings.width);
  const evicted = keep(index, promise);
  await promise;
  postMessage({ type: "loaded", index, evicted });
}

async function sort({ index, direction, withData }) {
  const promise = decoded.get(index);
  keep(index, promise);
  const frame = await promise;
  const order = new Uint32Array(frame.colors.length / 4); // as the textures, whole rows
  sortByDepth(frame, direction, order);
  const message = { type: "sorted", index, order, count: frame.count };
  const transfer = [order.buffer];
  if (withData) {
    message.geometry = frame.geometry.slice();
    message.colors = frame.colors.slice();
    transfer.push(message.geometry.buffer, message.colors.buffer);
  }
  postMessage(message, transfer);
}

onmessage = async ({ data }) => {
  try {
    if (data.type === "start") settings = data;
    else if (data.type === "load") await load(data);
    else await sort(data);
  } catch (error) {
    postMessage({ type: "failed", message: String(error) });
  }
};
