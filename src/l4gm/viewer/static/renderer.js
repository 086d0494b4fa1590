// Draws one sorted frame with WebGL 2. Splats are blended, farthest first, into a half-float
// picture (8 bits would round at each of many thin layers), then laid over the background.

const TEXTURE_WIDTH = 1024;
const BATCH = 128; // quads in one instance: drivers are slow at many instances of four vertices

class Renderer {
  /** `sources`: the four shaders' texts by file name; `header`: the page's, with the quantisation. */
  constructor(gl, sources, { ranges, steps }) {
    this.gl = gl;
    this.ranges = ranges;
    this.steps = steps;
    this.splat = new Program(gl, sources["splat.vert"], sources["splat.frag"]);
    this.screen = new Program(gl, sources["screen.vert"], sources["screen.frag"]);
    this.half = Boolean(gl.getExtension("EXT_color_buffer_float") ||
                        gl.getExtension("EXT_color_buffer_half_float"));
    this.texels = dataTexture(gl);
    this.order = dataTexture(gl);
    this.quads = quadArray(gl);
    this.emptyArray = gl.createVertexArray();
    this.layers = gl.createFramebuffer();
    this.layersTexture = dataTexture(gl);
    this.layersSize = "";
    this.count = 0;
    this.fence = null;
  }

  /** Uploads a frame's Gaussians, see packFrame. */
  setFrame(texels) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, this.texels);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32UI, TEXTURE_WIDTH, texels.length / 4 / TEXTURE_WIDTH,
                  0, gl.RGBA_INTEGER, gl.UNSIGNED_INT, texels);
  }

  /** Uploads the order in which to draw them: `count` indices, padded to whole rows. */
  setOrder(order, count) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, this.order);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32UI, TEXTURE_WIDTH, order.length / TEXTURE_WIDTH, 0,
                  gl.RED_INTEGER, gl.UNSIGNED_INT, order);
    this.count = count;
  }

  /** Draws into a framebuffer (null: the canvas); `background` is [red, green, blue] in 0..1. */
  draw(camera, width, height, background, framebuffer = null) {
    const gl = this.gl;
    this.resizeLayers(width, height);
    gl.viewport(0, 0, width, height);

    gl.bindFramebuffer(gl.FRAMEBUFFER, this.layers);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.drawSplats(camera, width, height);
    gl.disable(gl.BLEND);

    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.useProgram(this.screen.program);
    gl.bindVertexArray(this.emptyArray);
    bindTexture(gl, 0, this.layersTexture);
    gl.uniform1i(this.screen.uniform("splats"), 0);
    gl.uniform3fv(this.screen.uniform("background"), background);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  /** Whether the graphics device is done with what was last drawn. */
  finished() {
    const gl = this.gl;
    if (this.fence && gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false;
    gl.deleteSync(this.fence);
    this.fence = null;
    return true;
  }

  drawSplats(camera, width, height) {
    const { gl, splat, ranges, steps } = this;
    gl.useProgram(splat.program);
    gl.bindVertexArray(this.quads);
    bindTexture(gl, 0, this.texels);
    gl.uniform1i(splat.uniform("texels"), 0);
    bindTexture(gl, 1, this.order);
    gl.uniform1i(splat.uniform("order"), 1);
    gl.uniform1i(splat.uniform("count"), this.count);
    gl.uniform1i(splat.uniform("batch"), BATCH);
    gl.uniformMatrix4fv(splat.uniform("camera_from_world"), false, camera.cameraFromWorld());
    gl.uniform4fv(splat.uniform("intrinsics"), camera.intrinsics(width, height));
    gl.uniform2f(splat.uniform("size_px"), width, height);
    gl.uniform2f(splat.uniform("depth_range"), camera.near, camera.far);
    gl.uniform3fv(splat.uniform("mean_lower"), ranges.lower);
    gl.uniform3fv(splat.uniform("mean_step"),
                  ranges.lower.map((lower, i) => (ranges.upper[i] - lower) / steps.means));
    gl.uniform2f(splat.uniform("log_scale"), ranges.logScaleLower,
                 (ranges.logScaleUpper - ranges.logScaleLower) / steps.logScales);
    gl.uniform4fv(splat.uniform("reference"), ranges.reference);
    gl.uniform1f(splat.uniform("turn_step"), 2 / steps.turns);
    gl.uniform4f(splat.uniform("color_step"), 1 / steps.colors, 1 / steps.colors,
                 1 / steps.colors, 1 / steps.opacities);
    gl.drawElementsInstanced(gl.TRIANGLES, 6 * BATCH, gl.UNSIGNED_SHORT, 0,
                             Math.ceil(this.count / BATCH));
  }

  /** The picture as RGBA bytes, top row first, drawn at a size of its own. */
  capture(camera, width, height, background) {
    const gl = this.gl;
    const framebuffer = gl.createFramebuffer();
    const picture = gl.createRenderbuffer();
    gl.bindRenderbuffer(gl.RENDERBUFFER, picture);
    gl.renderbufferStorage(gl.RENDERBUFFER, gl.RGBA8, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, picture);
    this.draw(camera, width, height, background, framebuffer);
    const upward = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, upward);
    gl.deleteFramebuffer(framebuffer);
    gl.deleteRenderbuffer(picture);
    const pixels = new Uint8Array(upward.length);
    for (let row = 0; row < height; row++) {
      const from = (height - 1 - row) * width * 4;
      pixels.set(upward.subarray(from, from + width * 4), row * width * 4);
    }
    return pixels;
  }

  resizeLayers(width, height) {
    const gl = this.gl;
    if (this.layersSize === `${width}x${height}`) return;
    this.layersSize = `${width}x${height}`;
    gl.bindTexture(gl.TEXTURE_2D, this.layersTexture);
    if (this.half) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    } else {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.layers);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D,
                            this.layersTexture, 0);
  }
}

/** A linked pair of shaders. */
class Program {
  constructor(gl, vertexSource, fragmentSource) {
    this.gl = gl;
    this.program = gl.createProgram();
    this.locations = new Map();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertexSource],
                                  [gl.FRAGMENT_SHADER, fragmentSource]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source.trim());
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
        throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
      }
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`shaders: ${gl.getProgramInfoLog(this.program)}`);
    }
  }

  uniform(name) {
    if (!this.locations.has(name)) {
      this.locations.set(name, this.gl.getUniformLocation(this.program, name));
    }
    return this.locations.get(name);
  }
}

/** The element indices of BATCH quads; the vertex shader makes their corners. */
function quadArray(gl) {
  const indices = new Uint16Array(6 * BATCH);
  for (let quad = 0; quad < BATCH; quad++) {
    indices.set([0, 1, 2, 2, 1, 3].map((corner) => 4 * quad + corner), 6 * quad);
  }
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
  gl.bindVertexArray(null);
  return array;
}

/** A texture that is read texel by texel. */
function dataTexture(gl) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  return texture;
}

function bindTexture(gl, unit, texture) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
}
