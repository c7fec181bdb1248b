// The pictures beside the view: colour, depth and flow of the same frame, their legends, and their values under
// the pointer.

class Pictures {
  constructor(arrays) {
    this.arrays = arrays;
    this.frame = 0;
    this.pointer = null;
    const { rows, columns, width, height } = header;
    for (const name of ["rgb", "depth", "flow"]) {
      const canvas = document.getElementById(name);
      if (!arrays[name]) {
        document.getElementById(`${name}Figure`).remove();
        continue;
      }
      const picture = name === "rgb" ? arrays.rgb[0] : { width: columns, height: rows };
      canvas.width = picture.width;
      canvas.height = picture.height;
      // The last rows of a thinned grid may be cut off; the picture keeps the shape of the world.
      canvas.style.aspectRatio = `${width} / ${height}`;
      canvas.addEventListener("pointermove", (event) => this.point(event, canvas));
      canvas.addEventListener("pointerleave", () => { this.pointer = null; this.readOut(); });
    }
    if (arrays.depth) this.drawDepthLegend();
    if (arrays.flow) this.drawFlowLegend();
  }

  draw(frame) {
    this.frame = frame;
    const { arrays } = this;
    if (arrays.rgb) document.getElementById("rgb").getContext("2d").drawImage(arrays.rgb[frame], 0, 0);
    if (arrays.depth) this.fill("depth", (cell) => this.depthColour(this.depthCode(frame, cell)));
    if (arrays.flow) {
      const known = frame < header.flow.frames;
      this.fill("flow", (cell) => (known ? flowColour(...this.flowAt(frame, cell)) : header.dark));
    }
    this.readOut();
  }

  fill(name, colourOf) {
    const { rows, columns } = header;
    const context = document.getElementById(name).getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let cell = 0; cell < rows * columns; cell++) {
      const colour = colourOf(cell);
      image.data[4 * cell] = colour[0];
      image.data[4 * cell + 1] = colour[1];
      image.data[4 * cell + 2] = colour[2];
      image.data[4 * cell + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  depthCode(frame, cell) { return this.arrays.depth[frame * header.rows * header.columns + cell]; }

  depthColour(code) {
    if (!code) return header.dark;
    const { low, high, near, far } = header.depth;
    const logDepth = Math.log(low) + Math.log(high / low) * (code - 1) / 65534;
    const place = (logDepth - Math.log(near)) / Math.log(far / near);
    const entry = 3 * Math.round(255 * Math.min(1, Math.max(0, place)));
    return this.arrays.turbo.subarray(entry, entry + 3);
  }

  flowAt(frame, cell) {
    const cells = header.rows * header.columns;
    const code = (axis) => this.arrays.flow[(2 * frame + axis) * cells + cell];
    return [flowPixels(code(0)), flowPixels(code(1))];
  }

  point(event, canvas) {
    const box = canvas.getBoundingClientRect();
    this.pointer = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    this.readOut();
  }

  // What the pixel under the pointer holds, in every picture at once.
  readOut() {
    const { arrays, pointer, frame } = this;
    const say = (name, text) => { if (arrays[name]) document.getElementById(`${name}Value`).textContent = text; };
    if (!pointer) {
      for (const name of ["rgb", "depth"]) say(name, "");
      say("flow", header.flow && frame >= header.flow.frames ? "last frame: no next one" : "");
      return;
    }
    const index = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const x = pointer[0] * header.width, y = pointer[1] * header.height;
    const cell = index(pointer[1], header.rows) * header.columns + index(pointer[0], header.columns);
    say("rgb", `x ${Math.floor(x)}, y ${Math.floor(y)}`);
    if (arrays.depth) {
      const depth = metres(this.depthCode(frame, cell));
      say("depth", depth ? `${depth.toPrecision(3)} m` : "no surface");
    }
    if (arrays.flow && frame < header.flow.frames) {
      const [u, v] = this.flowAt(frame, cell);
      say("flow", `${u.toFixed(1)}, ${v.toFixed(1)} px`);
    }
  }

  drawDepthLegend() {
    const { near, far } = header.depth;
    const context = document.getElementById("depthScale").getContext("2d");
    const image = context.createImageData(256, 1);
    for (let i = 0; i < 256; i++) image.data.set([...this.arrays.turbo.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    context.putImageData(image, 0, 0);
    document.getElementById("depthNear").textContent = near.toPrecision(2);
    document.getElementById("depthFar").textContent = `${far.toPrecision(2)} m`;
  }

  // The wheel itself: the colour at a place is the colour of moving that way.
  drawFlowLegend() {
    const context = document.getElementById("flowWheel").getContext("2d");
    const image = context.createImageData(64, 64);
    for (let i = 0; i < 64; i++) for (let j = 0; j < 64; j++) {
      const u = (j - 31.5) / 31, v = (i - 31.5) / 31;
      const edge = Math.min(1, Math.max(0, (1 - Math.hypot(u, v)) * 31 + 0.5));
      image.data.set([...flowColour(u * header.flow.max, v * header.flow.max), 255 * edge], 4 * (64 * i + j));
    }
    context.putImageData(image, 0, 0);
    document.getElementById("flowMax").textContent = `${header.flow.max.toPrecision(2)} px`;
  }
}
