// Keeps the picture moving on slow machines: while something moves and drawing takes long, it is
// drawn with fewer pixels; when all is still, once more with all of them.

const SLOW_MS = 50;
const FAST_MS = 25;
const LEAST_SCALE = 0.25;
const STILL_MS = 300;

class Pace {
  constructor() {
    this.moving = 1; // pixels per side while something moves, of those that the canvas has
    this.drawn = 1; // of the last picture
    this.lastChange = -Infinity; // when a picture was last due, milliseconds
  }

  /** The scale to draw at now, or 0; `changed`: a new picture is due. */
  scale(now, changed) {
    if (changed) {
      this.lastChange = now;
      this.drawn = this.moving;
      return this.moving;
    }
    if (this.drawn === 1 || now - this.lastChange < STILL_MS) return 0;
    this.drawn = 1;
    return 1;
  }

  /** Learns how long the last picture took, milliseconds. */
  learn(cost) {
    if (cost > SLOW_MS) {
      const factor = Math.max(0.4, Math.sqrt((0.8 * SLOW_MS) / cost));
      this.moving = Math.max(LEAST_SCALE, this.drawn * factor);
    } else if (cost < FAST_MS && this.drawn === this.moving) {
      this.moving = Math.min(1, this.moving * 1.05);
    }
  }
}
