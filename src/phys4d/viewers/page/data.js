// The page's data: the header as written, and every array of the payload unpacked.

const header = JSON.parse(document.getElementById("header").textContent);

async function unpackPayload() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot unpack the page's data; please use one of 2023 or later");
  }
  const text = atob(document.getElementById("payload").textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  document.getElementById("payload").remove();
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = await new Response(plain).arrayBuffer();
  const arrays = {};
  for (const [name, entry] of Object.entries(header.arrays)) {
    const part = bytes.slice(entry.offset, entry.offset + entry.bytes);
    if (entry.kind === "u8") arrays[name] = new Uint8Array(part);
    else if (entry.kind === "f32") arrays[name] = new Float32Array(part);
    else if (entry.kind === "u16") arrays[name] = joinPlanes(new Uint8Array(part), entry.shape.at(-1));
    else arrays[name] = await decodeImages(part, entry.lengths);
  }
  return arrays;
}

// Row differences, all low bytes and then all high bytes, back to 16-bit values.
function joinPlanes(planes, columns) {
  const count = planes.length / 2;
  const values = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const step = planes[i] | (planes[count + i] << 8);
    values[i] = i % columns ? values[i - 1] + step : step;
  }
  return values;
}

function decodeImages(part, lengths) {
  let start = 0;
  // Colours must reach the canvas as they were stored, whatever the screen's profile.
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return Promise.all(lengths.map((length) => {
    const file = new Blob([part.slice(start, start + length)], { type: "image/webp" });
    start += length;
    return createImageBitmap(file, options);
  }));
}

// Metres at a 16-bit logarithmic code; 0 is no surface.
function metres(code) {
  const { low, high } = header.depth;
  return code ? low * Math.exp(Math.log(high / low) * (code - 1) / 65534) : 0;
}

// Pixels at an 8-bit flow code.
function flowPixels(code) {
  const share = (code - 128) / 127;
  return header.flow.max * share * Math.abs(share);
}

// The colour of a direction [rad] from x towards y (down), each channel 0..1.
function wheelColour(angle) {
  return [0, 1, 2].map((third) => Math.pow(0.5 + 0.5 * Math.cos(angle - third * 2 * Math.PI / 3), 0.7));
}

function flowColour(u, v) {
  const strength = Math.pow(Math.min(1, Math.hypot(u, v) / header.flow.max), header.flowGamma);
  return wheelColour(Math.atan2(v, u)).map((c, i) => header.dark[i] + strength * (255 * c - header.dark[i]));
}
