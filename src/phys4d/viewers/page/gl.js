// WebGL2: points lifted from depth in the vertex shader, and lines of any width with round ends.

const POINT_VERTEX = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D depthCodes, ids;
uniform sampler2D colour, turbo, instances;
uniform ivec2 grid;
uniform vec2 pictureSize, depthScale, turboScale;
uniform vec2 canvasSize;
uniform float stride, pointScale, footprint, slope;
uniform bool hasColour, byInstance, hasBackground;
uniform mat3 rayFromPixel;
uniform mat4 worldFromCamera, clipFromWorld;
out vec3 tint;

// A cell stands for the middle pixel of its square, and every pixel has its centre at half integers.
vec2 pixelOf(ivec2 cell) { return vec2(cell) * stride + floor(stride / 2.0) + 0.5; }

float depthAt(ivec2 cell) {
  if (any(lessThan(cell, ivec2(0))) || any(greaterThanEqual(cell, grid))) return 0.0;
  uint code = texelFetch(depthCodes, cell, 0).r;
  return code == 0u ? 0.0 : exp(depthScale.x + depthScale.y * float(code - 1u));
}

vec4 clipAt(ivec2 cell, float z) {
  return clipFromWorld * worldFromCamera * vec4(z * (rayFromPixel * vec3(pixelOf(cell), 1.0)), 1.0);
}

// How far the next cell of the same surface lies on screen, along a grid direction; 0 at the surface's edge.
float gap(ivec2 cell, ivec2 way, float z, vec2 here) {
  ivec2 next = cell + way;
  float other = depthAt(next);
  if (other == 0.0 || abs(other - z) > slope * z) { next = cell - way; other = depthAt(next); }
  if (other == 0.0 || abs(other - z) > slope * z) return 0.0;
  vec4 clip = clipAt(next, other);
  vec2 apart = abs(clip.xy / max(clip.w, 1e-6) - here) * 0.5 * canvasSize;
  return max(apart.x, apart.y);
}

void main() {
  ivec2 cell = ivec2(gl_VertexID % grid.x, gl_VertexID / grid.x);
  float z = depthAt(cell);
  gl_PointSize = 1.0;
  if (z == 0.0) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  vec2 pixel = pixelOf(cell);
  gl_Position = clipAt(cell, z);
  float w = max(gl_Position.w, 1e-6);
  vec2 here = gl_Position.xy / w;
  // Large enough to close a surface seen from here, and never much larger than its own pixel.
  float own = footprint * z / w;
  float size = clamp(max(gap(cell, ivec2(1, 0), z, here), gap(cell, ivec2(0, 1), z, here)), own, 4.0 * own);
  gl_PointSize = clamp(pointScale * size, 1.0, 96.0);
  if (byInstance) {
    uint id = texelFetch(ids, cell, 0).r;
    tint = texelFetch(instances, ivec2(id, 0), 0).rgb;
    vec3 seen = hasColour ? texture(colour, pixel / pictureSize).rgb : vec3(0.5);
    float light = dot(seen, vec3(0.3, 0.6, 0.1));
    // Instance colours carry the light of the picture; the background keeps only a trace of it.
    tint = id == 0u && hasBackground ? vec3(0.05 + 0.28 * light) : tint * (0.45 + 0.75 * light);
  } else if (hasColour) {
    tint = texture(colour, pixel / pictureSize).rgb;
  } else {
    float place = clamp((log(z) - turboScale.x) * turboScale.y, 0.0, 1.0);
    tint = texelFetch(turbo, ivec2(int(place * 255.0 + 0.5), 0), 0).rgb;
  }
}`;

const POINT_FRAGMENT = `#version 300 es
precision mediump float;
in vec3 tint;
out vec4 fragment;
void main() { fragment = vec4(tint, 1.0); }`;

const LINE_VERTEX = `#version 300 es
precision highp float;
uniform mat4 clipFromWorld;
uniform vec2 canvasSize;
uniform float nearer;
layout(location = 0) in vec3 from;
layout(location = 1) in vec3 to;
layout(location = 2) in vec4 fromColour;
layout(location = 3) in vec4 toColour;
layout(location = 4) in vec2 widthLift;
out vec4 ink;
out vec3 place;
out float halfWidth;
void main() {
  vec4 a = clipFromWorld * vec4(from, 1.0), b = clipFromWorld * vec4(to, 1.0);
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  float nearest = 1e-4;
  if (a.z < -a.w && b.z < -b.w) return;
  // The part behind the near plane is cut off before the division by w.
  float da = a.z + a.w, db = b.z + b.w;
  if (da < 0.0) a = mix(a, b, (da - nearest) / (da - db));
  if (db < 0.0) b = mix(b, a, (db - nearest) / (db - da));
  vec2 pa = a.xy / a.w * canvasSize * 0.5, pb = b.xy / b.w * canvasSize * 0.5;
  float span = distance(pa, pb);
  vec2 along = span > 1e-3 ? (pb - pa) / span : vec2(1.0, 0.0);
  vec2 across = vec2(-along.y, along.x);
  float width = widthLift.x;
  float reach = 0.5 * width + 1.0;
  bool end = (gl_VertexID & 1) == 1, left = (gl_VertexID & 2) == 2;
  vec2 corner = (end ? pb + along * reach : pa - along * reach) + across * (left ? reach : -reach);
  vec4 clip = end ? b : a;
  gl_Position = vec4(corner / (canvasSize * 0.5) * clip.w, clip.z - nearer * widthLift.y, clip.w);
  ink = end ? toColour : fromColour;
  place = vec3(end ? span + reach : -reach, left ? reach : -reach, span);
  halfWidth = 0.5 * width;
}`;

const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec4 ink;
in vec3 place;
in float halfWidth;
out vec4 fragment;
void main() {
  float beyond = max(max(-place.x, place.x - place.z), 0.0);
  float cover = clamp(halfWidth + 0.5 - length(vec2(beyond, place.y)), 0.0, 1.0);
  fragment = vec4(ink.rgb, 1.0) * ink.a * cover;
}`;

const LINE_FLOATS = 16;
const TEXTURES = ["depthCodes", "ids", "colour", "turbo", "instances"];

class Painter {
  constructor(canvas, arrays) {
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("WebGL2 is not available");
    this.gl = gl;
    this.canvas = canvas;
    this.arrays = arrays;
    this.points = arrays.depth ? buildProgram(gl, POINT_VERTEX, POINT_FRAGMENT) : null;
    this.lines = buildProgram(gl, LINE_VERTEX, LINE_FRAGMENT);
    this.empty = gl.createVertexArray();
    this.textures = {};
    for (const name of TEXTURES) this.textures[name] = makeTexture(gl, name);
    this.upload("turbo", gl.RGB8, 256, 1, gl.RGB, gl.UNSIGNED_BYTE, arrays.turbo);
    if (arrays.instances) {
      const count = arrays.instances.length / 3;
      this.upload("instances", gl.RGB8, count, 1, gl.RGB, gl.UNSIGNED_BYTE, arrays.instances);
    }
    this.segments = gl.createVertexArray();
    this.segmentBuffer = gl.createBuffer();
    gl.bindVertexArray(this.segments);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.segmentBuffer);
    [[3, 0], [3, 12], [4, 24], [4, 40], [2, 56]].forEach(([size, offset], location) => {
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, gl.FLOAT, false, 4 * LINE_FLOATS, offset);
      gl.vertexAttribDivisor(location, 1);
    });
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
  }

  upload(name, stored, width, height, format, type, data) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.textures[name]);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, stored, width, height, 0, format, type, data);
  }

  // Bring one frame's depth, ids and colours to the GPU.
  loadFrame(i) {
    const { gl, arrays } = this;
    const { rows, columns } = header;
    const cells = (array) => array.subarray(i * rows * columns, (i + 1) * rows * columns);
    for (const [name, array] of [["depthCodes", arrays.depth], ["ids", arrays.ids]]) {
      if (array) this.upload(name, gl.R16UI, columns, rows, gl.RED_INTEGER, gl.UNSIGNED_SHORT, cells(array));
    }
    if (arrays.rgb) {
      gl.bindTexture(gl.TEXTURE_2D, this.textures.colour);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, gl.RGB, gl.UNSIGNED_BYTE, arrays.rgb[i]);
    }
  }

  // Draw frame i from `view`; `segments` is what lines.js made; `options`: pointSize, instances.
  draw(i, view, segments, options) {
    const { gl, canvas } = this;
    const clipFromWorld = view.clipFromWorld(i, canvas.width, canvas.height);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (this.points) this.drawPoints(i, view, clipFromWorld, options);
    if (!segments.length) return;
    const { program, at } = this.lines;
    gl.useProgram(program);
    gl.uniformMatrix4fv(at("clipFromWorld"), true, clipFromWorld);
    gl.uniform2f(at("canvasSize"), canvas.width, canvas.height);
    gl.uniform1f(at("nearer"), view.lift(i));
    gl.bindVertexArray(this.segments);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.segmentBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, segments, gl.DYNAMIC_DRAW);
    gl.enable(gl.BLEND);
    gl.depthMask(false);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, segments.length / LINE_FLOATS);
    gl.depthMask(true);
    gl.disable(gl.BLEND);
  }

  drawPoints(i, view, clipFromWorld, options) {
    const { gl, canvas, arrays } = this;
    const { program, at } = this.points;
    const { low, high, near, far } = header.depth;
    const camera = cameraAt(arrays, i);
    const [fx, skew, cx, , fy, cy] = camera.k;
    gl.useProgram(program);
    TEXTURES.forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, this.textures[name]);
      gl.uniform1i(at(name), unit);
    });
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform2i(at("grid"), header.columns, header.rows);
    gl.uniform2f(at("pictureSize"), header.width, header.height);
    gl.uniform2f(at("depthScale"), Math.log(low), Math.log(high / low) / 65534);
    gl.uniform2f(at("turboScale"), Math.log(near), 1 / Math.log(far / near));
    gl.uniform2f(at("canvasSize"), canvas.width, canvas.height);
    gl.uniform1f(at("stride"), header.stride);
    gl.uniform1f(at("pointScale"), options.pointSize);
    // A point at depth z covers stride * z / fx metres; seen from elsewhere it keeps that size in space.
    gl.uniform1f(at("footprint"), header.stride * view.focal(i, canvas.width, canvas.height) / fx);
    // Neighbours are one surface where depth changes by less than on a plane seen at five degrees.
    gl.uniform1f(at("slope"), Math.min(0.15, 12 * header.stride / fx));
    gl.uniform1i(at("hasColour"), arrays.rgb ? 1 : 0);
    gl.uniform1i(at("byInstance"), options.instances && arrays.ids ? 1 : 0);
    gl.uniform1i(at("hasBackground"), header.background ? 1 : 0);
    gl.uniformMatrix3fv(at("rayFromPixel"), true, [
      1 / fx, -skew / (fx * fy), (skew * cy - cx * fy) / (fx * fy), 0, 1 / fy, -cy / fy, 0, 0, 1,
    ]);
    gl.uniformMatrix4fv(at("worldFromCamera"), true, camera.pose);
    gl.uniformMatrix4fv(at("clipFromWorld"), true, clipFromWorld);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.POINTS, 0, header.rows * header.columns);
  }
}

function buildProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return { program, at: (name) => gl.getUniformLocation(program, name) };
}

function makeTexture(gl, name) {
  const texture = gl.createTexture();
  const filter = name === "colour" ? gl.LINEAR : gl.NEAREST;
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  const whole = name === "depthCodes" || name === "ids";
  // One texel from the start: a sampler without an image of its own kind is an error in some browsers.
  const [stored, format, type, texel] = whole
    ? [gl.R16UI, gl.RED_INTEGER, gl.UNSIGNED_SHORT, new Uint16Array(1)]
    : [gl.RGB8, gl.RGB, gl.UNSIGNED_BYTE, new Uint8Array(3)];
  gl.texImage2D(gl.TEXTURE_2D, 0, stored, 1, 1, 0, format, type, texel);
  return texture;
}
