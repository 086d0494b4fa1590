// Which frame is wanted when: play, pause, seek, speed, loop.

class Clock {
  constructor(frameCount, fps) {
    this.frameCount = frameCount;
    this.fps = fps;
    this.position = 0; // in frames, fractional while playing
    this.playing = false;
    this.loop = true;
    this.speed = 1;
  }

  get frame() {
    return clamp(Math.floor(this.position), 0, this.frameCount - 1);
  }

  /** The shown frame's middle in the input video, seconds. */
  get seconds() {
    return (this.frame + 0.5) / this.fps;
  }

  seek(frame) {
    this.position = clamp(Math.round(frame), 0, this.frameCount - 1);
  }

  /** One frame back or on; wraps around when looping. */
  step(by) {
    const next = this.frame + by;
    this.playing = false;
    this.seek(this.loop ? (next + this.frameCount) % this.frameCount : next);
  }

  toggle() {
    this.playing = !this.playing && this.frameCount > 1;
    if (this.playing && !this.loop && this.frame === this.frameCount - 1) this.position = 0;
  }

  /** Moves on by the time passed. */
  advance(seconds) {
    if (!this.playing) return;
    this.position += seconds * this.fps * this.speed;
    if (this.position < this.frameCount) return;
    if (this.loop) {
      this.position %= this.frameCount;
    } else {
      this.position = this.frameCount - 1;
      this.playing = false;
    }
  }
}
