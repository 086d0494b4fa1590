// The main thread's side of the worker: hands it the frames' texts, and keeps one sort under way
// at a time.

const CACHE_BYTES = 256e6;
const BYTES_PER_GAUSSIAN = 22; // decoded: 6 for sorting, 16 for the texture

class Frames {
  /**
   * `onSorted({ index, order, count, texels? })` receives each result; `onFailed(message)` what
   * went wrong.
   */
  constructor({ frames, gaussians, groupFrames, ranges, steps }, workerSource,
              { onSorted, onFailed }) {
    const { lower, upper } = ranges;
    this.meanSteps = lower.map((low, i) => (upper[i] - low) / steps.means);
    this.onSorted = onSorted;
    this.onFailed = onFailed;
    this.busy = false;
    this.uploaded = -1; // the frame whose data the renderer holds
    const fits = Math.floor(CACHE_BYTES / (BYTES_PER_GAUSSIAN * Math.max(1, gaussians)));
    const capacity = clamp(fits, 2, frames + 1);
    const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => onFailed(event.message || "the worker did not start");
    this.worker.postMessage({
      type: "start", count: gaussians, groupFrames, width: TEXTURE_WIDTH, capacity,
    });
    for (let index = 0; index < frames; index++) {
      const element = byId(`frame-${index}`);
      this.worker.postMessage({ type: "frame", text: element.textContent });
      element.remove(); // the worker's copy is enough
    }
  }

  /** Asks for a frame's drawing order; only when not `busy`. */
  sort(index, forward) {
    this.busy = true;
    const direction = forward.map((value, i) => value * this.meanSteps[i]);
    this.worker.postMessage({
      type: "sort", index, direction, withData: this.uploaded !== index,
    });
  }

  /** The renderer holds no frame any more. */
  forgetUploaded() {
    this.uploaded = -1;
  }

  receive(message) {
    if (message.type === "failed") {
      this.onFailed(message.message);
    } else {
      this.busy = false;
      if (message.texels) this.uploaded = message.index;
      this.onSorted(message);
    }
  }
}
