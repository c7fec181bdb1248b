// The page: one clock, and everything that follows it.

const element = (id) => document.getElementById(id);

function describe() {
  element("title").textContent = header.title;
  element("prompt").textContent = header.prompt;
  fillList(element("facts"), header.facts);
  fillList(element("meta"), header.meta);
  for (const note of header.notes) {
    const item = document.createElement("li");
    item.textContent = note;
    element("notes").append(item);
  }
  document.body.style.setProperty("--aspect", header.width / header.height);
  if (!header.meta.length) document.querySelector("details").remove();
}

// Text goes in as text and never as markup: titles and prompts are other people's.
function fillList(list, rows) {
  for (const [term, text] of rows) {
    const group = document.createElement("div");
    const name = document.createElement("dt"), value = document.createElement("dd");
    name.textContent = term;
    value.textContent = text;
    group.append(name, value);
    list.append(group);
  }
}

function showMessage(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

class Player {
  constructor(arrays) {
    this.arrays = arrays;
    this.frame = 0;
    this.playing = false;
    this.pictures = new Pictures(arrays);
    this.view = new View(arrays);
    this.painter = this.makePainter();
    this.stale = false;
    this.connect();
    this.setFrame(0);
  }

  makePainter() {
    if (!header.space) {
      document.body.classList.add("flat");
      return null;
    }
    try {
      const painter = new Painter(element("space"), this.arrays);
      const lost = () => showMessage("The 3D view was lost; load the page again.");
      element("space").addEventListener("webglcontextlost", lost);
      return painter;
    } catch (error) {
      showMessage(`No 3D here: ${error.message}. The pictures play all the same.`);
      element("views").hidden = element("layers").hidden = true;
      return null;
    }
  }

  connect() {
    const redraw = () => this.redraw();
    element("time").max = header.frames - 1;
    element("time").addEventListener("input", (event) => {
      this.pause();
      this.setFrame(Number(event.target.value));
    });
    element("play").addEventListener("click", () => this.toggle());
    element("back").addEventListener("click", () => this.step(-1));
    element("forward").addEventListener("click", () => this.step(1));
    element("fromCamera").addEventListener("click", () => this.toggleCamera());
    element("reset").addEventListener("click", () => { this.view.reset(); redraw(); });
    for (const id of ["pointSize", "instances", "tracks", "cameras", "grid"]) {
      element(id).addEventListener("input", redraw);
    }
    steerView(element("space"), this.view, () => this.frame, redraw);
    steerKeys({
      " ": () => this.toggle(),
      arrowleft: () => this.step(-1),
      arrowright: () => this.step(1),
      c: () => this.toggleCamera(),
      r: () => { this.view.reset(); redraw(); },
    });
    new ResizeObserver(redraw).observe(element("stage"));
    element("instances").parentElement.hidden = !this.arrays.ids || !this.arrays.depth;
    element("tracks").parentElement.hidden = !this.arrays.tracks;
    element("pointSizeLabel").hidden = !this.arrays.depth;
    element("scale").textContent = `grid ${header.scene.gridStep} m`;
  }

  // Frame i, at once, in the view and in every picture.
  setFrame(i) {
    this.frame = Math.min(header.frames - 1, Math.max(0, Math.round(i)));
    if (this.painter) this.painter.loadFrame(this.frame);
    this.pictures.draw(this.frame);
    this.drawSpace();
    const original = this.frame * header.frameStep;
    element("time").value = this.frame;
    element("time").style.setProperty("--done", header.frames > 1 ? this.frame / (header.frames - 1) : 0);
    element("clock").textContent = `${(original / header.fps).toFixed(2)} s · frame ${original}`;
  }

  drawSpace() {
    element("fromCamera").setAttribute("aria-pressed", this.view.fromCamera);
    if (!this.painter) return;
    const canvas = element("space");
    const unit = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * unit));
    const height = Math.max(1, Math.round(canvas.clientHeight * unit));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const layers = Object.fromEntries(["tracks", "cameras", "grid"].map((id) => [id, element(id).checked]));
    element("scale").hidden = !layers.grid;
    const segments = sceneSegments(this.arrays, this.frame, layers, this.view.fromCamera, unit);
    const options = { pointSize: Number(element("pointSize").value), instances: element("instances").checked };
    this.painter.draw(this.frame, this.view, segments, options);
  }

  // Many events may ask in one screen frame; one picture answers them.
  redraw() {
    if (this.stale) return;
    this.stale = true;
    requestAnimationFrame(() => { this.stale = false; this.drawSpace(); });
  }

  step(by) {
    this.pause();
    this.setFrame((this.frame + by + header.frames) % header.frames);
  }

  toggleCamera() {
    if (this.view.fromCamera) this.view.leaveCamera(this.frame);
    else this.view.fromCamera = true;
    this.redraw();
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }

  pause() {
    this.playing = false;
    document.body.classList.remove("playing");
    element("play").setAttribute("aria-label", "Play");
  }

  play() {
    if (header.frames < 2 || this.playing) return;
    this.playing = true;
    document.body.classList.add("playing");
    element("play").setAttribute("aria-label", "Pause");
    let last = performance.now(), place = this.frame;
    const tick = (now) => {
      if (!this.playing) return;
      const rate = header.fps / header.frameStep * Number(element("speed").value);
      place = (place + (now - last) / 1000 * rate) % header.frames;
      last = now;
      if (Math.floor(place) !== this.frame) this.setFrame(Math.floor(place));
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }
}

async function start() {
  describe();
  const player = new Player(await unpackPayload());
  if (player.painter) showMessage("");
  window.phys4d = {
    frames: header.frames,
    get frame() { return player.frame; },
    setFrame(i) { player.pause(); player.setFrame(i); },
  };
  window.phys4dReady = true;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.play();
}

start().catch((error) => {
  document.body.classList.add("failed");
  showMessage(`This page could not be shown: ${error.message}.`);
  throw error;
});
