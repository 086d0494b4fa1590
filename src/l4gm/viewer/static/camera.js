// The orbit camera. World: y up; camera: x right, y down, z forward (OpenCV), as in l4gm.
// Azimuth 0 looks from +z, 90 from +x; elevation > 0 is above. Angles in degrees.

const RADIANS = Math.PI / 180;

function clamp(value, lower, upper) {
  return Math.min(upper, Math.max(lower, value));
}

class OrbitCamera {
  /** `home`: { azimuth, elevation, radius, target: [x, y, z], fovY }. */
  constructor(home) {
    this.home = home;
    this.reset();
  }

  reset() {
    this.set(this.home);
  }

  /** Sets any of azimuth, elevation, radius, target, fovY, near, far. */
  set({ near = 0.01, far = 1e9, ...pose }) {
    Object.assign(this, pose, { near, far });
    this.target = [...this.target];
  }

  /** Turns by angles in degrees. */
  orbit(azimuth, elevation) {
    this.azimuth = (this.azimuth + azimuth) % 360;
    this.elevation = clamp(this.elevation + elevation, -90, 90);
  }

  /** Comes nearer (factor < 1) or goes away. */
  zoom(factor) {
    this.radius = clamp(this.radius * factor, this.home.radius / 50, this.home.radius * 20);
  }

  /** Moves the view by pixels of a picture that is `size` pixels wide or high, whichever is less. */
  pan(right, down, size) {
    const perPixel = (2 * this.radius * Math.tan((this.fovY * RADIANS) / 2)) / size;
    const axes = this.axes();
    for (let i = 0; i < 3; i++) {
      this.target[i] -= perPixel * (right * axes.right[i] + down * axes.down[i]);
    }
  }

  /** The camera's axes in the world. */
  axes() {
    const [sinA, cosA] = [Math.sin(this.azimuth * RADIANS), Math.cos(this.azimuth * RADIANS)];
    const [sinE, cosE] = [Math.sin(this.elevation * RADIANS), Math.cos(this.elevation * RADIANS)];
    return {
      right: [cosA, 0, -sinA],
      down: [sinE * sinA, -cosE, sinE * cosA],
      forward: [-cosE * sinA, -sinE, -cosE * cosA],
    };
  }

  /** cameraFromWorld as a column-major 4 x 4 matrix. */
  cameraFromWorld() {
    const { right, down, forward } = this.axes();
    const eye = this.target.map((value, i) => value - this.radius * forward[i]);
    const along = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    return new Float32Array([
      right[0], down[0], forward[0], 0,
      right[1], down[1], forward[1], 0,
      right[2], down[2], forward[2], 0,
      along(right), along(down), along(forward), 1,
    ]);
  }

  /** [fx, fy, cx, cy] in pixels; the field of view spans the shorter side. */
  intrinsics(width, height) {
    const focal = Math.min(width, height) / (2 * Math.tan((this.fovY * RADIANS) / 2));
    return [focal, focal, width / 2, height / 2];
  }
}
