// Puts the page together: clock, camera, worker, renderer and the controls.

const byId = (id) => document.getElementById(id);
const header = JSON.parse(byId("header").textContent);

function showMessage(text) {
  byId("message").textContent = text;
  byId("message").hidden = false;
}

class Player {
  constructor(gl) {
    this.gl = gl;
    this.canvas = gl.canvas;
    this.stage = gl.canvas.parentElement;
    this.pace = new Pace();
    this.drawnAt = null; // when the picture was begun that the device has not yet finished
    this.clock = new Clock(header.frames, header.fps);
    this.camera = new OrbitCamera(header.home);
    this.makeRenderer();
    this.frames = new Frames(header, byId("worker").textContent, {
      onSorted: (sorted) => this.receive(sorted),
      onFailed: (message) => showMessage(`This animation cannot be shown: ${message}`),
    });
    this.setBackground(header.background);
    this.shown = -1; // the frame in the picture
    this.sortedFor = ""; // the view that the drawing order was made for
    this.pending = "";
    this.dirty = true;
    this.waiting = []; // functions to call when the wanted frame is ready to be drawn
    this.lastTick = performance.now();
    this.video = byId("video");
    this.controls = new Controls(this);
    new ResizeObserver(() => (this.dirty = true)).observe(this.canvas);
    requestAnimationFrame((now) => this.tick(now));
  }

  makeRenderer() {
    const sources = {};
    for (const name of ["splat.vert", "splat.frag", "screen.vert", "screen.frag"]) {
      sources[name] = byId(name).textContent;
    }
    this.renderer = new Renderer(this.gl, sources, header);
  }

  /** The graphics device was reset: all that was on it is gone. */
  loseContext() {
    this.shown = -1;
    showMessage("The graphics device was reset. If the picture does not come back, load the page " +
                "again.");
  }

  restoreContext() {
    this.makeRenderer();
    this.frames.forgetUploaded();
    this.sortedFor = "";
    byId("message").hidden = true;
  }

  /** What the drawing order depends on. */
  key() {
    const { azimuth, elevation } = this.camera;
    return `${this.clock.frame} ${azimuth} ${elevation}`;
  }

  tick(now) {
    // After a pause of the tab, go on where it was rather than jump.
    this.clock.advance(Math.min(0.5, (now - this.lastTick) / 1000));
    this.lastTick = now;
    const key = this.key();
    if (!this.frames.busy && key !== this.sortedFor) {
      this.pending = key;
      this.frames.sort(this.clock.frame, this.camera.axes().forward);
    }
    this.drawIfDue(now);
    this.syncVideo();
    this.controls.update();
    requestAnimationFrame((time) => this.tick(time));
  }

  receive({ index, order, count, texels }) {
    if (!texels && this.shown !== index) return; // asked for before the device was reset
    if (texels) this.renderer.setFrame(texels);
    this.renderer.setOrder(order, count);
    this.shown = index;
    this.stage.classList.add("ready");
    this.sortedFor = this.pending;
    this.dirty = true;
    if (this.sortedFor !== this.key()) return;
    for (const done of this.waiting.splice(0)) done();
  }

  /** Draws when something changed and the graphics device is done with the last picture. */
  drawIfDue(now) {
    if (this.shown < 0 || !this.renderer.finished()) return;
    if (this.drawnAt !== null) this.pace.learn(now - this.drawnAt);
    this.drawnAt = null;
    const scale = this.pace.scale(now, this.dirty);
    if (scale === 0) return;
    this.draw(scale);
    this.drawnAt = now;
  }

  draw(scale) {
    const canvas = this.canvas;
    const ratio = scale * Math.min(2, window.devicePixelRatio || 1);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    this.renderer.draw(this.camera, width, height, this.background);
    this.dirty = false;
  }

  setBackground(hex) {
    this.background = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
    this.dirty = true;
  }

  /** Keeps the input video beside the animation: it plays by itself and is corrected on drift. */
  syncVideo() {
    const { video, clock } = this;
    if (!video || !(video.duration > 0)) return;
    const wanted = Math.min(clock.seconds, video.duration - 0.001);
    const tolerance = clock.playing ? 0.2 : 0.4 / clock.fps;
    if (!video.seeking && Math.abs(video.currentTime - wanted) > tolerance) {
      video.currentTime = wanted;
    }
    video.playbackRate = clock.speed;
    if (clock.playing && video.paused && !video.ended) video.play().catch(() => {});
    if (!clock.playing && !video.paused) video.pause();
  }

  /** Resolves when the wanted frame is sorted for the camera as it now is. */
  settled() {
    if (this.sortedFor === this.key() && !this.frames.busy) return Promise.resolve();
    return new Promise((done) => this.waiting.push(done));
  }
}

/** What tests and other pages may call. */
function publicSurface(player) {
  return {
    header,
    player,
    get frame() {
      return player.shown;
    },
    get playing() {
      return player.clock.playing;
    },
    get camera() {
      const { azimuth, elevation, radius, target, fovY } = player.camera;
      return { azimuth, elevation, radius, target: [...target], fovY };
    },
    play: () => player.clock.playing || player.clock.toggle(),
    pause: () => (player.clock.playing = false),
    async seek(frame) {
      player.clock.playing = false;
      player.clock.seek(frame);
      await player.settled();
    },
    async setCamera(pose) {
      player.camera.set(pose);
      player.dirty = true;
      await player.settled();
    },
    setBackground: (hex) => player.setBackground(hex),
    /** Base64 of width * height RGBA bytes, top row first, of the frame and camera as they are. */
    async capture(width, height) {
      await player.settled();
      const pixels = player.renderer.capture(player.camera, width, height, player.background);
      let binary = "";
      for (let i = 0; i < pixels.length; i += 4096) {
        binary += String.fromCharCode(...pixels.subarray(i, i + 4096));
      }
      return btoa(binary);
    },
  };
}

function start() {
  const canvas = byId("canvas");
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false });
  if (!gl) {
    showMessage("This page draws with WebGL 2, which this browser does not offer. Open it in a " +
                "current Chrome, Edge, Firefox or Safari with hardware acceleration switched on.");
    return { ready: Promise.resolve(false) };
  }
  if (typeof DecompressionStream === "undefined") {
    showMessage("This browser is too old to unpack the animation (no DecompressionStream). Open " +
                "the page in a current Chrome, Edge, Firefox or Safari.");
    return { ready: Promise.resolve(false) };
  }
  const player = new Player(gl);
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault(); // asks for it back
    player.loseContext();
  });
  canvas.addEventListener("webglcontextrestored", () => player.restoreContext());
  const surface = publicSurface(player);
  surface.ready = player.settled().then(() => {
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches && header.autoplay) {
      surface.play();
    }
    return true;
  });
  return surface;
}

window.l4gm = start();
