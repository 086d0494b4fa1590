// Mouse, pen, touch and wheel on the picture: drag turns, two fingers or the right button move,
// pinch and wheel zoom, double click goes home.

const DEGREES_PER_PIXEL = 0.4;

class Gestures {
  constructor(element, camera, onChange) {
    this.element = element;
    this.camera = camera;
    this.onChange = onChange;
    this.pointers = new Map();
    element.addEventListener("pointerdown", (event) => this.down(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      element.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("dblclick", () => {
      camera.reset();
      onChange();
    });
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  down(event) {
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const size = Math.min(this.element.clientWidth, this.element.clientHeight);
    if (this.pointers.size === 1) {
      if (event.buttons & 6 || event.shiftKey) this.camera.pan(dx, dy, size);
      else this.camera.orbit(-dx * DEGREES_PER_PIXEL, dy * DEGREES_PER_PIXEL);
    } else {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) + 1;
      this.camera.zoom(apart(before) / apart(now));
      this.camera.pan(dx / 2, dy / 2, size);
    }
    this.pointers.set(event.pointerId, now);
    this.onChange();
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * 30;
    this.camera.zoom(Math.exp(clamp(pixels, -200, 200) * 0.0015));
    this.onChange();
  }
}
