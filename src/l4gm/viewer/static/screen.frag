#version 300 es
// Lays the accumulated splats over the background.

precision highp float;

uniform sampler2D splats; // premultiplied
uniform vec3 background;
out vec4 color;

void main() {
  vec4 splat = texelFetch(splats, ivec2(gl_FragCoord.xy), 0);
  color = vec4(splat.rgb + (1.0 - splat.a) * background, 1.0);
}
