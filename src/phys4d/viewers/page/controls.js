// Hands on the view: mouse and touch turn, move and zoom it. `changed` asks for a new picture.

function steerView(canvas, view, currentFrame, changed) {
  const pointers = new Map();
  const pixelRatio = () => canvas.width / canvas.clientWidth;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.classList.add("held");
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      pointers.delete(event.pointerId);
      if (!pointers.size) canvas.classList.remove("held");
    });
  }
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const dx = now[0] - before[0], dy = now[1] - before[1];
    view.leaveCamera(currentFrame());
    if (pointers.size === 2) {
      const other = [...pointers.entries()].find(([id]) => id !== event.pointerId)[1];
      const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      view.zoom(spread(before) / spread(now));
      // Each of two fingers carries half of the move.
      move(dx / 2, dy / 2);
    } else if (event.shiftKey || event.buttons & 6) {
      move(dx, dy);
    } else {
      view.orbit(4 * dx / canvas.clientHeight, 4 * dy / canvas.clientHeight);
    }
    pointers.set(event.pointerId, now);
    changed();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.leaveCamera(currentFrame());
    // Lines and pages become pixels; one notch of a common wheel is about a tenth of the distance.
    const pixels = event.deltaY * [1, 33, 400][event.deltaMode];
    view.zoom(Math.exp(Math.max(-200, Math.min(200, pixels)) * 0.001));
    changed();
  }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  function move(dx, dy) {
    view.pan(dx * pixelRatio(), dy * pixelRatio(), currentFrame(), canvas.width, canvas.height);
  }
}

// Keys, as in any player; a control that has the focus keeps its own keys.
function steerKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|BUTTON|SUMMARY)$/.test(event.target.tagName)) return;
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  // A clicked button would otherwise swallow the space bar from then on.
  document.addEventListener("click", (event) => {
    const control = event.target.closest("button, input[type=checkbox]");
    if (control && event.detail > 0) control.blur();
  });
}
