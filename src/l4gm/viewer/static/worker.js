// The worker: keeps the frames' texts, decodes and sorts the one that is asked for, and decodes
// ahead of it while nothing is asked. It keeps as many decoded frames as fit.
//
// In:  { type: "start", count, groupFrames, width, capacity }  once
//      { type: "frame", text }                       the frames' base64 texts, in order
//      { type: "sort", index, direction, withData }  wants that frame's drawing order
// Out: { type: "sorted", index, order, count, texels? }
//      { type: "failed", message }

const FRAMES_AHEAD = 12;
const texts = [];
const decoded = new Map(); // index -> frame; the least recently used comes first
let settings = null;
let decoder = null;
let request = null; // the sort that was asked for and not yet begun
let working = false;

async function fetchFrame(index) {
  const frame = decoded.get(index) || (await decoder.frame(index));
  decoded.delete(index);
  decoded.set(index, frame);
  if (decoded.size > settings.capacity) decoded.delete(decoded.keys().next().value);
  return frame;
}

async function sort({ index, direction, withData }) {
  const frame = await fetchFrame(index);
  const order = new Uint32Array(frame.texels.length / 4); // as the texels, whole rows
  sortByDepth(frame, direction, order);
  const message = { type: "sorted", index, order, count: frame.count };
  const transfer = [order.buffer];
  if (withData) {
    message.texels = frame.texels.slice();
    transfer.push(message.texels.buffer);
  }
  postMessage(message, transfer);
}

/** The next frame that playing on from `index` will want and that is not decoded, or -1. */
function nextAhead(index) {
  const ahead = Math.min(FRAMES_AHEAD, settings.capacity - 1, texts.length - 1);
  for (let step = 1; step <= ahead; step++) {
    const next = (index + step) % texts.length;
    if (!decoded.has(next)) return next;
  }
  return -1;
}

async function work() {
  working = true;
  let shown = 0; // the frame that was asked for last
  let ahead = -1;
  while (request || ahead >= 0) {
    if (request) {
      const current = request;
      request = null;
      shown = current.index;
      await sort(current);
    } else {
      await fetchFrame(ahead);
    }
    ahead = nextAhead(shown);
  }
  working = false;
}

onmessage = ({ data }) => {
  if (data.type === "start") {
    settings = data;
    decoder = new Decoder(texts, data.count, data.groupFrames, data.width);
  } else if (data.type === "frame") {
    texts.push(data.text);
  } else {
    request = data;
    if (!working) work().catch((error) => postMessage({ type: "failed", message: String(error) }));
  }
};
