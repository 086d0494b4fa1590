#version 300 es
// Four vertices are one Gaussian, drawn as a quad that just holds its visible part.
// EWA splatting with the same constants as l4gm.splat (as gsplat).

precision highp float;
precision highp int;
precision highp usampler2D;

const float BLUR_PX2 = 0.3;        // added to the diagonal of the projected covariance
const float JACOBIAN_MARGIN = 0.3; // how far outside the picture the Jacobian still follows

uniform usampler2D order;    // indices of Gaussians, farthest first
uniform int count;
uniform int batch;           // Gaussians in one instance
uniform usampler2D texels;   // see packFrame
uniform mat4 camera_from_world;
uniform vec4 intrinsics;     // fx, fy, cx, cy, pixels
uniform vec2 size_px;
uniform vec2 depth_range;    // near, far
uniform vec3 mean_lower;
uniform vec3 mean_step;
uniform vec2 log_scale;      // lower, step
uniform vec4 reference;      // the rotation that others are counted from, w, x, y, z
uniform float turn_step;
uniform vec4 color_step;

out vec2 offset;             // from the mean, in standard deviations along the quad's axes
flat out vec4 color;         // red, green, blue, opacity

mat3 rotation_of(vec4 q) {   // w, x, y, z
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

vec4 product(vec4 a, vec4 b) { // of quaternions
  return vec4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}

vec4 bytes_of(uint word) {
  return vec4(word & 255u, (word >> 8) & 255u, (word >> 16) & 255u, word >> 24);
}

// Covariance in the picture, pixels squared: xx, xy, yy.
vec3 projected_covariance(vec3 mean, vec3 scales, vec4 quat) {
  vec2 focal = intrinsics.xy, centre = intrinsics.zw;
  vec2 margin = JACOBIAN_MARGIN * size_px / (2.0 * focal);
  vec2 slope = clamp(mean.xy / mean.z, -centre / focal - margin,
                     (size_px - centre) / focal + margin);
  vec2 per_depth = focal / mean.z;
  mat3 axes = mat3(camera_from_world) * rotation_of(quat);
  // The rows of J times the Gaussian's scaled axes.
  vec3 depths = vec3(axes[0].z, axes[1].z, axes[2].z);
  vec3 row_x = per_depth.x * (vec3(axes[0].x, axes[1].x, axes[2].x) - slope.x * depths) * scales;
  vec3 row_y = per_depth.y * (vec3(axes[0].y, axes[1].y, axes[2].y) - slope.y * depths) * scales;
  return vec3(dot(row_x, row_x) + BLUR_PX2, dot(row_x, row_y), dot(row_y, row_y) + BLUR_PX2);
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // outside: nothing is drawn
  int rank = gl_InstanceID * batch + (gl_VertexID >> 2);
  if (rank >= count) return;
  int width = textureSize(texels, 0).x;
  int index = int(texelFetch(order, ivec2(rank % width, rank / width), 0).r);
  uvec4 words = texelFetch(texels, ivec2(index % width, index / width), 0);
  color = bytes_of(words.w) * color_step;

  vec3 place = vec3(words.x & 65535u, words.x >> 16, words.y & 65535u);
  vec3 mean = (camera_from_world * vec4(mean_lower + mean_step * place, 1.0)).xyz;
  if (mean.z < depth_range.x || mean.z > depth_range.y || color.a * 255.0 <= 1.0) return;

  vec3 scale_bytes = vec3((words.y >> 16) & 255u, words.y >> 24, words.z & 255u);
  vec3 scales = exp(log_scale.x + log_scale.y * scale_bytes);
  vec3 turns = bytes_of(words.z).yzw * turn_step - 1.0; // axis times tan(angle / 4)
  float square = dot(turns, turns);
  vec4 quat = product(reference, vec4(1.0 - square, 2.0 * turns) / (1.0 + square));
  vec3 covariance = projected_covariance(mean, scales, quat);

  float middle = 0.5 * (covariance.x + covariance.z);
  vec2 turn = vec2(0.5 * (covariance.x - covariance.z), covariance.y);
  float spread = length(turn);
  float angle = spread > 1e-6 * middle ? 0.5 * atan(turn.y, turn.x) : 0.0;
  vec2 axis = vec2(cos(angle), sin(angle));
  float major = sqrt(middle + spread);
  float minor = sqrt(max(middle - spread, BLUR_PX2));

  // Beyond this many standard deviations the alpha is below 1/255.
  float reach = sqrt(2.0 * log(255.0 * color.a));
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  offset = reach * corner;
  vec2 pixel = intrinsics.xy * mean.xy / mean.z + intrinsics.zw
             + offset.x * major * axis + offset.y * minor * vec2(-axis.y, axis.x);
  gl_Position = vec4(2.0 * pixel.x / size_px.x - 1.0, 1.0 - 2.0 * pixel.y / size_px.y, 0.0, 1.0);
}
