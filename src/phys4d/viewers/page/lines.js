// Everything that is drawn as lines: trails of tracks, cameras and the ground. One segment is two ends, two
// colours with opacity, a width [px], and whether it is lifted off the surface it lies on: 16 floats.

class Segments {
  constructor() { this.values = []; }

  add(from, to, fromColour, toColour, width, lifted = 0) {
    this.values.push(...from, ...to, ...fromColour, ...toColour, width, lifted);
  }

  line(from, to, colour, width) { this.add(from, to, colour, colour, width); }

  dot(point, colour, width) { this.add(point, point, colour, colour, width, 1); }
}

const TRAIL_SECONDS = 1.2;
const CAMERA_COLOUR = [1.0, 0.72, 0.36];
const GRID_COLOUR = [0.72, 0.78, 0.88];

// `layers`: which of tracks, cameras and grid to draw. `unit`: canvas pixels to one pixel of the page.
function sceneSegments(arrays, frame, layers, fromCamera, unit) {
  const segments = new Segments();
  if (layers.grid) addGrid(segments, unit);
  // From inside the camera its own lines would only stand in the way.
  if (layers.cameras && !fromCamera) addCameras(segments, arrays, frame, unit);
  if (layers.tracks && arrays.tracks) addTracks(segments, arrays, frame, unit);
  return new Float32Array(segments.values);
}

// A square mesh on the ground that fades away from the scene's centre.
function addGrid(segments, unit) {
  const { centre, ground, gridStep, radius } = header.scene;
  const half = Math.min(24, Math.max(8, Math.ceil(2.5 * radius / gridStep)));
  const middle = [0, 1].map((i) => Math.round(centre[i] / gridStep));
  // A little under the floor: on it, the two would flicker through each other.
  const level = ground - 0.03 * radius;
  const vertex = (i, j) => [(middle[0] + i) * gridStep, (middle[1] + j) * gridStep, level];
  const fade = (i, j) => {
    const away = Math.hypot(i, j) / half;
    return away < 1 ? 0.3 * (1 - away) * (1 - away) : 0;
  };
  for (let i = -half; i <= half; i++) for (let j = -half; j < half; j++) {
    for (const swap of [false, true]) {
      const [a, b] = swap ? [[j, i], [j + 1, i]] : [[i, j], [i, j + 1]];
      const inks = [a, b].map((cell) => [...GRID_COLOUR, fade(...cell)]);
      if (inks[0][3] + inks[1][3] > 0) segments.add(vertex(...a), vertex(...b), ...inks, unit);
    }
  }
}

// The path of the recording camera, and its frustum at this frame with a mark at the upper side of the picture.
function addCameras(segments, arrays, frame, unit) {
  const size = 0.09 * header.scene.radius;
  for (let i = 1; i < header.frames; i++) {
    const strength = i <= frame ? 0.75 : 0.25;
    segments.line(cameraAt(arrays, i - 1).eye, cameraAt(arrays, i).eye, [...CAMERA_COLOUR, strength], 1.5 * unit);
  }
  const camera = cameraAt(arrays, frame);
  const { width, height } = header;
  const corner = (x, y) => cameraPoint(camera, pixelRay(camera.k, x, y), size);
  const corners = [corner(0, 0), corner(width, 0), corner(width, height), corner(0, height)];
  const ink = [...CAMERA_COLOUR, 0.95];
  corners.forEach((point, i) => {
    segments.line(camera.eye, point, ink, 1.4 * unit);
    segments.line(point, corners[(i + 1) % 4], ink, 1.8 * unit);
  });
  const roof = corner(width / 2, -0.18 * height);
  segments.line(corner(0.38 * width, 0), roof, ink, 1.4 * unit);
  segments.line(roof, corner(0.62 * width, 0), ink, 1.4 * unit);
}

// Each track's recent way, fading with age, and a dot where it is now; faint where the camera does not see it.
function addTracks(segments, arrays, frame, unit) {
  const { frames } = header;
  const count = arrays.trackHue.length;
  const length = Math.max(3, Math.round(TRAIL_SECONDS * header.fps / header.frameStep));
  const first = Math.max(0, frame - length);
  const at = (n, t) => arrays.tracks.subarray(3 * (n * frames + t), 3 * (n * frames + t) + 3);
  for (let n = 0; n < count; n++) {
    const colour = wheelColour(arrays.trackHue[n] / 255 * 5.2).map((c) => 0.2 + 0.8 * c);
    const still = Math.hypot(...subtract(at(n, frame), at(n, first))) < 0.004 * header.scene.radius;
    const opacity = (t) => (arrays.trackVisible[n * frames + t] ? 1 : 0.18) * (1 - (frame - t) / (length + 1));
    if (!still) {
      for (let t = first; t < frame; t++) {
        segments.add(at(n, t), at(n, t + 1), [...colour, opacity(t)], [...colour, opacity(t + 1)], 1.8 * unit, 1);
      }
    }
    segments.dot(at(n, frame), [...colour, opacity(frame) * (still ? 0.55 : 1)], (still ? 2.6 : 4.6) * unit);
  }
}
