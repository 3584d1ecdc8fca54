// Memory over time: all backends in one plot, then each by itself below, on the same two axes.
"use strict";

function drawMemory() {
  const same = document.getElementById("memory-scale");
  const draw = plot("memory", () => {
    const cells = seen().filter((cell) => cell.picture.memory.lines.total.t.length);
    const scale = unitOf(largest(cells.map((c) => largest(c.picture.memory.lines.total.v))));
    const traces = [];
    const rows = cells.length + 1;
    const layout = {
      height: 300 + 150 * cells.length, hovermode: "x", hoversubplots: "axis",
      grid: { rows, columns: 1, pattern: "coupled", roworder: "top to bottom" },
      xaxis: axis({ title: { text: "seconds" }, hoverformat: ".2f" }),
      shapes: [], annotations: [],
    };
    const heights = rowHeights(rows);
    const span = largest(cells.map((c) => largest(c.picture.memory.lines.total.t)));
    const perSecond = Math.max(200, document.getElementById("memory").clientWidth - 76) / span; // pixels
    // Room above the lines for the names of the phases.
    const highest = largest(cells.map((c) => Math.max(largest(c.picture.memory.lines.total.v), poolBytes(c))));
    const range = [0, (highest / scale.size) * 1.2];
    layout.yaxis = yAxis(scale, heights[0], range);
    cells.forEach((cell, i) => {
      traces.push(...overlay(cell, scale));
      const y = `y${i + 2}`;
      const own = [0, (Math.max(largest(cell.picture.memory.lines.total.v), poolBytes(cell)) / scale.size) * 1.25];
      layout[`yaxis${i + 2}`] = yAxis(scale, heights[i + 1], same.checked ? range : own);
      if (same.checked) layout[`yaxis${i + 2}`].matches = "y";
      traces.push(...alone(cell, scale, y));
      layout.shapes.push(...bands(cell, y));
      layout.annotations.push(...names(cell, y, perSecond));
    });
    return { traces, layout };
  });
  same.addEventListener("change", draw);
}

function rowHeights(rows) {
  const gap = 0.035;
  const first = Math.max(0.24, 1.6 / (rows + 0.6));
  const rest = (1 - first) / Math.max(1, rows - 1);
  return Array.from({ length: rows }, (_, i) =>
    i === 0 ? [1 - first + gap / 2, 1] : [1 - first - i * rest, 1 - first - (i - 1) * rest - gap]);
}

function yAxis(scale, domain, range) {
  return axis({ title: { text: scale.unit }, domain, range, nticks: 5 });
}

// What an engine took in advance: a contiguous cache has no pool beyond what is held.
function poolBytes(cell) {
  const { kv } = cell.picture;
  return cell.layout === "paged" && kv && kv.bytes_per_slot ? kv.pool * kv.bytes_per_slot : 0;
}

function overlay(cell, scale) {
  const { total, ...devices } = cell.picture.memory.lines;
  const line = { color: cellColor(cell), width: 2, dash: cell.dash };
  const all = {
    type: "scatter", mode: "lines", name: cell.label, x: total.t, y: total.v.map((v) => v / scale.size),
    line, hovertemplate: `%{y:.2f} ${scale.unit}`,
  };
  const parts = Object.entries(devices).map(([uuid, one]) => ({
    ...all, name: `${cell.label} ${uuid.slice(0, 12)}`, x: one.t, y: one.v.map((v) => v / scale.size),
    line: { ...line, width: 1, dash: "dot" }, visible: "legendonly",
  }));
  return [all, ...parts];
}

function alone(cell, scale, yaxis) {
  const { total } = cell.picture.memory.lines;
  const hue = cellColor(cell);
  const shared = { type: "scatter", mode: "lines", yaxis, showlegend: false, hovertemplate: `%{y:.3f} ${scale.unit}` };
  const traces = [{
    ...shared, name: `${cell.label}: total`, x: total.t, y: total.v.map((v) => v / scale.size),
    line: { color: hue, width: 1.5 }, fill: "tozeroy", fillcolor: faded(hue, 0.12),
  }];
  const kv = cell.picture.kv;
  if (kv && kv.bytes_per_slot) {
    const factor = kv.bytes_per_slot / scale.size;
    const steps = { ...shared, x: kv.t, line: { color: hue, width: 1, shape: "hv" }, fill: "tozeroy" };
    traces.push({ ...steps, name: `${cell.label}: KV held`, y: kv.held.map((v) => v * factor), fillcolor: faded(hue, 0.35) });
    traces.push({ ...steps, name: `${cell.label}: KV live`, y: kv.live.map((v) => v * factor), fillcolor: faded(hue, 0.8) });
    if (poolBytes(cell)) {
      const load = cell.picture.phases.find(([name]) => name === "load");
      const pool = poolBytes(cell) / scale.size;
      traces.push({
        ...shared, name: `${cell.label}: KV pool`, x: [load ? load[2] : kv.t[0], kv.t[kv.t.length - 1]], y: [pool, pool],
        line: { color: hue, width: 1.5, dash: "dash" },
      });
    }
  }
  return traces;
}

function bands(cell, y) {
  return cell.picture.phases.map(([, from, to], i) => ({
    type: "rect", xref: "x", yref: `${y} domain`, x0: from, x1: to, y0: 0, y1: 1, layer: "below",
    line: { width: 0 }, fillcolor: i % 2 ? "rgba(128,128,128,0.14)" : "rgba(128,128,128,0.05)",
  }));
}

// The names of the phases stand where there is room for them.
function names(cell, y, perSecond) {
  const title = {
    xref: "x domain", yref: `${y} domain`, x: 1, y: 1.02, xanchor: "right", yanchor: "bottom", showarrow: false,
    text: `<b>${escaped(cell.label)}</b>`, font: { color: cellColor(cell) },
  };
  const phases = cell.picture.phases.filter(([name, from, to]) => (to - from) * perSecond > name.length * 7).map(([name, from, to]) => ({
    xref: "x", yref: `${y} domain`, x: (from + to) / 2, y: 1, yanchor: "top", showarrow: false,
    text: escaped(name), font: { size: 11, color: color("soft") },
  }));
  return [title, ...phases];
}

// Plotly reads a little markup in its texts: names from outside must not use it.
function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
