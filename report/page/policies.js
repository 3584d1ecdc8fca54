// The first section's picture: one engine reserving the maximum, and paged, on the same axes; and the
// physical blocks of both at the same moment.
"use strict";

function drawPolicies() {
  const cells = page.data.policies.map((label) => seen().find((cell) => cell.label === label));
  const figure = document.getElementById("policies-figure");
  if (!figure) return;
  if (!cells.length || !cells.every((cell) => cell && cell.picture.kv)) {
    figure.hidden = true;
    return;
  }
  plot("policies", () => policiesPlot(cells));
  if (cells.every((cell) => cell.picture.blocks)) new Moment(cells);
}

function policiesPlot(cells) {
  const unit = unitOf(largest(cells.flatMap((cell) => cell.picture.kv.held)) * (cells[0].picture.kv.bytes_per_slot || 1));
  const size = (cell) => (cell.picture.kv.bytes_per_slot || 1) / unit.size;
  const seconds = largest(cells.map((cell) => cell.picture.kv.t.at(-1) - cell.picture.kv.t[0]));
  const stacked = narrow();
  const layout = {
    height: stacked ? 430 : 300, annotations: [], margin: { ...base().margin, t: 30 }, hovermode: "x unified",
  };
  const traces = cells.flatMap((cell, i) => {
    const n = i ? 2 : "";
    layout[`xaxis${n}`] = axis({
      title: { text: "seconds of the run" }, range: [0, seconds * 1.01], anchor: `y${n}`, domain: stacked ? [0, 1] : i ? [0.53, 1] : [0, 0.47],
    });
    layout[`yaxis${n}`] = axis({
      title: { text: unit.unit }, rangemode: "tozero", anchor: `x${n}`, domain: stacked ? (i ? [0, 0.37] : [0.63, 1]) : [0, 1], ...(i ? { matches: "y" } : {}),
    });
    layout.annotations.push({
      xref: `x${n} domain`, yref: `y${n} domain`, x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", showarrow: false,
      text: `<b>${escaped(cell.label)}</b>`, font: { color: cellColor(cell) },
    });
    return slotLines(cell, n, "stored", size(cell), `%{y:.3~g} ${unit.unit}`);
  });
  return { traces, layout };
}

// Half of the shorter run: both are at work then, on the same requests.
class Moment {
  constructor(cells) {
    const place = document.getElementById("policies-blocks");
    place.style.setProperty("--columns", 2);
    this.panels = cells.map((cell) => new Panel(cell, place));
    this.after = Math.min(...this.panels.map((panel) => panel.span)) / 2;
    page.drawers.push(() => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(place);
    this.redraw();
  }

  redraw() {
    const depth = Math.max(...this.panels.map((panel) => panel.depth));
    for (const panel of this.panels) {
      panel.drawMap(mapHeight(0), depth, "");
      panel.showAt(this.after / panel.span, depth, "");
    }
  }
}
