// Where the eye is. Vectors are [x, y, z] in the z-up world; the eye has the axes of every camera here: x right,
// y down, z forward. Matrices are 4x4, row after row.

const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const addScaled = (a, b, s) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const normalise = (a) => { const n = Math.hypot(...a) || 1; return a.map((x) => x / n); };

function multiply(a, b) {
  const product = new Float32Array(16);
  for (let r = 0; r < 4; r++) for (let c = 0; c < 4; c++) {
    for (let k = 0; k < 4; k++) product[4 * r + c] += a[4 * r + k] * b[4 * k + c];
  }
  return product;
}

// The recording camera of frame i.
function cameraAt(arrays, i) {
  const pose = arrays.poses.subarray(16 * i, 16 * i + 16);
  const column = (c) => [pose[c], pose[4 + c], pose[8 + c]];
  const k = arrays.intrinsics.subarray(9 * i, 9 * i + 9);
  return { pose, right: column(0), down: column(1), forward: column(2), eye: column(3), k };
}

// Camera axes [m] of a pixel at depth 1.
function pixelRay(k, x, y) {
  const up = (y - k[5]) / k[4];
  return [(x - k[2] - k[1] * up) / k[0], up, 1];
}

function cameraPoint(camera, ray, depth) {
  const axes = [camera.right, camera.down, camera.forward];
  return axes.reduce((point, axis, i) => addScaled(point, axis, ray[i] * depth), camera.eye);
}

class View {
  constructor(arrays) {
    this.arrays = arrays;
    this.fromCamera = false;
    this.reset();
  }

  // Near the recording camera, drawn back, turned and lifted a little: the scene is in front, and reads as space.
  reset() {
    this.standAt(cameraAt(this.arrays, 0));
    this.yaw += 0.3;
    this.pitch = Math.min(Math.max(this.pitch + 0.16, -1.5), 1.5);
    this.distance *= 1.3;
    this.fromCamera = false;
  }

  // At the camera itself, turning about the point on its axis that is level with the scene's centre.
  standAt(camera) {
    const { centre, radius } = header.scene;
    const reach = Math.max(dot(subtract(centre, camera.eye), camera.forward), 0.3 * radius);
    this.target = addScaled(camera.eye, camera.forward, reach);
    const away = subtract(camera.eye, this.target);
    this.distance = Math.hypot(...away);
    this.yaw = Math.atan2(away[1], away[0]);
    this.pitch = Math.asin(Math.max(-1, Math.min(1, away[2] / this.distance)));
  }

  // Leave the recording camera without a jump: orbit from where it stands about what it looks at.
  leaveCamera(frame) {
    if (!this.fromCamera) return;
    this.standAt(cameraAt(this.arrays, frame));
    this.fromCamera = false;
  }

  orbit(dx, dy) {
    this.yaw -= dx;
    this.pitch = Math.min(Math.max(this.pitch + dy, -1.55), 1.55);
  }

  // Move the target along the picture plane by a share of the canvas.
  pan(dx, dy, frame, width, height) {
    const { axes } = this.pose(frame);
    const metresPerPixel = this.distance / this.focal(frame, width, height);
    this.target = addScaled(this.target, axes[0], -dx * metresPerPixel);
    this.target = addScaled(this.target, axes[1], -dy * metresPerPixel);
  }

  zoom(factor) {
    const { radius } = header.scene;
    this.distance = Math.min(Math.max(this.distance * factor, 0.02 * radius), 60 * radius);
  }

  pose(frame) {
    if (this.fromCamera) {
      const camera = cameraAt(this.arrays, frame);
      return { eye: camera.eye, axes: [camera.right, camera.down, camera.forward] };
    }
    const level = Math.cos(this.pitch);
    const away = [level * Math.cos(this.yaw), level * Math.sin(this.yaw), Math.sin(this.pitch)];
    const forward = away.map((x) => -x);
    const right = normalise(cross(forward, [0, 0, 1]));
    return { eye: addScaled(this.target, away, this.distance), axes: [right, cross(forward, right), forward] };
  }

  // The picture is fitted into the canvas; this is how many canvas pixels one picture pixel becomes.
  fit(width, height) {
    return Math.min(width / header.width, height / header.height);
  }

  focal(frame, width, height) {
    return this.fit(width, height) * cameraAt(this.arrays, this.fromCamera ? frame : 0).k[0];
  }

  // Near and far plane [m].
  range() {
    const { radius } = header.scene;
    const nearest = header.depth ? header.depth.low : radius;
    const near = 0.3 * Math.min(nearest, Math.max(0.02 * radius, 0.1 * this.distance));
    return [near, near + 150 * radius];
  }

  // What takes a line that lies on a surface in front of the squares that stand for it: the clip depth of as much
  // of its distance as one square spans, and half as much again.
  lift(frame) {
    const [near, far] = this.range();
    const share = Math.min(0.1, 1.5 * header.stride / cameraAt(this.arrays, frame).k[0]);
    return 2 * far * near / (far - near) * share / (1 - share);
  }

  // Clip coordinates from world coordinates, for a canvas of that many pixels.
  clipFromWorld(frame, width, height) {
    const { eye, axes } = this.pose(frame);
    const k = cameraAt(this.arrays, this.fromCamera ? frame : 0).k;
    const sx = 2 * this.fit(width, height) / width, sy = 2 * this.fit(width, height) / height;
    const offset = this.fromCamera ? [k[2] - header.width / 2, k[5] - header.height / 2] : [0, 0];
    const [near, far] = this.range();
    const clipFromEye = [
      sx * k[0], sx * k[1], sx * offset[0], 0,
      0, -sy * k[4], -sy * offset[1], 0,
      0, 0, (far + near) / (far - near), -2 * far * near / (far - near),
      0, 0, 1, 0,
    ];
    const eyeFromWorld = [
      ...axes[0], -dot(axes[0], eye),
      ...axes[1], -dot(axes[1], eye),
      ...axes[2], -dot(axes[2], eye),
      0, 0, 0, 1,
    ];
    return multiply(clipFromEye, eyeFromWorld);
  }
}
