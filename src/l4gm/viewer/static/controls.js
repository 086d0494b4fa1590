// The bar under the picture, and the keyboard.

class Controls {
  constructor(player) {
    this.player = player;
    this.clock = player.clock;
    this.scrubber = byId("scrubber");
    this.scrubber.max = String(this.clock.frameCount - 1);
    this.scrubber.addEventListener("input", () => this.goTo(Number(this.scrubber.value)));
    byId("play").addEventListener("click", () => this.clock.toggle());
    byId("back").addEventListener("click", () => this.clock.step(-1));
    byId("forth").addEventListener("click", () => this.clock.step(1));
    byId("loop").addEventListener("click", () => (this.clock.loop = !this.clock.loop));
    byId("speed").addEventListener("change", ({ target }) => {
      this.clock.speed = Number(target.value);
      target.blur();
    });
    byId("background").addEventListener("input", ({ target }) => player.setBackground(target.value));
    byId("beside").addEventListener("click", () => this.toggleVideo());
    byId("home").addEventListener("click", () => this.goHome());
    byId("fullscreen").addEventListener("click", () => this.toggleFullscreen());
    byId("fullscreen").hidden = !document.fullscreenEnabled; // iPhones have none
    new Gestures(player.canvas, player.camera, () => {
      player.dirty = true;
      player.stage.classList.add("touched"); // the hint has done its work
    });
    window.addEventListener("keydown", (event) => this.key(event));
    // A button clicked with the mouse gives the space bar back to play and pause.
    document.addEventListener("click", ({ target, detail }) => {
      if (detail > 0 && target.closest("button")) target.closest("button").blur();
    });
    this.text = "";
  }

  goTo(frame) {
    this.clock.playing = false;
    this.clock.seek(frame);
  }

  goHome() {
    this.player.camera.reset();
    this.player.dirty = true;
  }

  toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {});
  }

  toggleVideo() {
    const hidden = document.body.classList.toggle("no-video");
    byId("beside").setAttribute("aria-pressed", String(!hidden));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    if (event.key === " " && event.target.tagName === "BUTTON") return; // presses that button
    const action = event.shiftKey ? this.turningKeys()[event.key] : this.keys()[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    this.player.dirty = true;
  }

  keys() {
    const { clock, player } = this;
    return {
      " ": () => clock.toggle(),
      ArrowLeft: () => clock.step(-1),
      ArrowRight: () => clock.step(1),
      ArrowUp: () => player.camera.zoom(0.9),
      ArrowDown: () => player.camera.zoom(1 / 0.9),
      ",": () => this.goTo(0),
      ".": () => this.goTo(clock.frameCount - 1),
      Home: () => this.goHome(),
      l: () => (clock.loop = !clock.loop),
      v: () => this.toggleVideo(),
      f: () => this.toggleFullscreen(),
    };
  }

  turningKeys() {
    const { camera } = this.player;
    return {
      ArrowLeft: () => camera.orbit(-5, 0),
      ArrowRight: () => camera.orbit(5, 0),
      ArrowUp: () => camera.orbit(0, 5),
      ArrowDown: () => camera.orbit(0, -5),
    };
  }

  /** Shows the clock's state; touches the page only when something changed. */
  update() {
    const { clock, player } = this;
    const frame = Math.max(0, player.shown);
    const text = `${frame + 1} / ${clock.frameCount}`;
    const state = `${text} ${clock.playing} ${clock.loop}`;
    if (state === this.text) return;
    this.text = state;
    byId("counter").textContent = text;
    this.scrubber.value = String(frame);
    document.documentElement.classList.toggle("playing", clock.playing);
    byId("play").setAttribute("aria-label", clock.playing ? "Pause" : "Play");
    byId("loop").setAttribute("aria-pressed", String(clock.loop));
  }
}
