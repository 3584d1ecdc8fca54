// The block map: time to the right, physical memory down, a colour for each request; below it the
// memory as it is at one moment, every slot with the same area, whatever the backend.
"use strict";

const NOW_HEIGHT = 150; // pixels

// Pixels: more for more rows, fewer where the panels stand below each other.
function mapHeight(rows) {
  return narrow() ? Math.min(280, Math.max(180, rows)) : Math.min(460, Math.max(240, rows));
}

function drawBlocks() {
  const place = document.getElementById("blocks");
  const cells = seen().filter((cell) => cell.picture.blocks);
  if (!cells.length) {
    place.textContent = "No blocks were recorded.";
    return;
  }
  place.style.setProperty("--columns", cells.length < 5 ? cells.length : Math.ceil(cells.length / 2));
  const panels = cells.map((cell) => new Panel(cell, place));
  const controls = new Player(panels);
  page.drawers.push(() => controls.redraw());
  new ResizeObserver(() => controls.redraw()).observe(place);
  controls.redraw();
}

class Player {
  constructor(panels) {
    this.panels = panels;
    this.timer = null;
    this.play = document.getElementById("play");
    this.scrub = document.getElementById("scrub");
    this.follow = document.getElementById("follow");
    this.scale = document.getElementById("same-scale");
    const names = new Map();
    panels.forEach((panel) => panel.map.requests.forEach((r, i) => names.has(r.id) || names.set(r.id, i)));
    [...names.keys()].slice(0, 2000).forEach((id) => this.follow.append(element("option", id, { value: id })));
    this.play.addEventListener("click", () => this.toggle());
    this.scrub.addEventListener("input", () => this.show());
    this.follow.addEventListener("change", () => this.redraw());
    this.scale.addEventListener("change", () => this.redraw());
    panels.forEach((panel) => panel.picked((id, share) => this.pick(id, share)));
    this.scrub.value = "600";
  }

  pick(id, share) {
    this.scrub.value = String(Math.round(share * 1000));
    if (id !== null) this.follow.value = id;
    this.redraw();
  }

  redraw() {
    const deepest = Math.max(...this.panels.map((panel) => panel.depth));
    const rows = Math.max(...this.panels.map((panel) => panel.map.ids.length));
    const height = mapHeight(rows);
    for (const panel of this.panels) {
      panel.shownDepth = this.scale.checked ? deepest : panel.depth;
      panel.drawMap(height, panel.shownDepth, this.follow.value);
    }
    this.show();
  }

  show() {
    const share = Number(this.scrub.value) / 1000;
    this.panels.forEach((panel) => panel.showAt(share, panel.shownDepth, this.follow.value));
    document.getElementById("scrub-time").textContent = `${(share * 100).toFixed(0)} % of each run`;
  }

  toggle() {
    if (this.timer) return this.stop();
    if (Number(this.scrub.value) >= 1000) this.scrub.value = "0";
    this.play.textContent = "Pause";
    const seconds = Number(document.getElementById("pace").value);
    const from = Number(this.scrub.value);
    const begun = performance.now();
    const tick = (now) => {
      this.scrub.value = String(Math.round(from + (Math.max(0, now - begun) / seconds)));
      this.show();
      if (Number(this.scrub.value) >= 1000) this.stop();
      else if (this.timer) this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
  }

  stop() {
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }
}

