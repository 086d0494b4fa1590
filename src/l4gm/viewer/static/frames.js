// The main thread's side of the worker: hands it frames when they are wanted, keeps one sort under
// way at a time, and decodes ahead of the playhead while it would otherwise be idle.

const CACHE_BYTES = 256e6;
const BYTES_PER_GAUSSIAN = 26; // decoded: 6 for sorting, 20 for the textures
const FRAMES_AHEAD = 12;

class Frames {
  /**
   * `onSorted({ index, order, count, geometry?, colors? })` receives each result; `onFailed(message)` what
   * went wrong.
   */
  constructor(counts, ranges, workerSource, { onSorted, onFailed }) {
    this.counts = counts;
    this.ranges = ranges;
    this.onSorted = onSorted;
    this.onFailed = onFailed;
    this.busy = false;
    this.uploaded = -1; // the frame whose data the renderer holds
    this.held = new Set(); // frames that the worker has or is decoding
    this.loading = 0;
    const largest = Math.max(1, ...counts);
    const fits = Math.floor(CACHE_BYTES / (BYTES_PER_GAUSSIAN * largest));
    this.capacity = clamp(fits, 2, counts.length + 1);
    const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => onFailed(event.message || "the worker did not start");
    this.worker.postMessage({
      type: "start", counts, width: TEXTURE_WIDTH, capacity: this.capacity,
    });
  }

  /** Asks for a frame's drawing order; only when not `busy`. */
  sort(index, forward) {
    this.busy = true;
    this.load(index);
    const { lower, upper } = this.ranges;
    const direction = forward.map((value, i) => value * (upper[i] - lower[i]));
    this.worker.postMessage({
      type: "sort", index, direction, withData: this.uploaded !== index,
    });
  }

  load(index) {
    if (this.held.has(index)) return;
    this.held.add(index);
    this.loading++;
    const text = document.getElementById(`frame-${index}`).textContent;
    this.worker.postMessage({ type: "load", index, text });
  }

  /** Decodes the next frame that will be wanted, if the worker has nothing else to do. */
  loadAhead(index) {
    if (this.busy || this.loading) return;
    const ahead = Math.min(FRAMES_AHEAD, this.capacity - 1, this.counts.length - 1);
    for (let step = 1; step <= ahead; step++) {
      const next = (index + step) % this.counts.length;
      if (!this.held.has(next)) return this.load(next);
    }
  }

  receive(message) {
    if (message.type === "failed") {
      this.onFailed(message.message);
    } else if (message.type === "loaded") {
      this.loading--;
      for (const index of message.evicted) this.held.delete(index);
    } else {
      this.busy = false;
      this.uploaded = message.index;
      this.onSorted(message);
    }
  }
}
