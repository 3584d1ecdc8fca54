// What all plots share: fonts, grid, units, and drawing again when the colours change.
"use strict";

// Nothing leaves the page: the library would offer to upload each plot.
const CONFIG = {
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "sendDataToCloud", "lasso2d", "select2d", "autoScale2d", "toImage"],
};

// Draw a figure, now and whenever the colours change. One without data says so, or is left out.
function plot(id, build, optional = false) {
  const draw = () => {
    const { traces, layout } = build();
    const target = document.getElementById(id);
    if (!traces.length) {
      target.textContent = "Nothing was recorded for this figure.";
      document.getElementById(`${id}-figure`).hidden = optional;
      return;
    }
    target.style.height = `${layout.height}px`;
    const fixed = document.documentElement.classList.contains("printing") ? { width: target.clientWidth } : { autosize: true };
    Plotly.react(target, traces, { ...base(), ...layout, ...fixed }, CONFIG);
  };
  page.drawers.push(draw);
  page.plots.push(id);
  draw();
  return draw;
}

function base() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    margin: { l: 64, r: 12, t: 12, b: 40 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hoverlabel: { namelength: -1 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("soft"), activecolor: color("link") },
  };
}

function axis(more) {
  return {
    gridcolor: color("grid"), zerolinecolor: color("line"), linecolor: color("line"),
    automargin: true, ...more,
  };
}

function narrow() {
  return window.innerWidth < 640;
}

function unitOf(bytes) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (bytes >= size) return { unit, size };
  }
  return { unit: "B", size: 1 };
}

// Seconds, or milliseconds where all are short.
function timeUnit(most) {
  return most < 1 ? { unit: "milliseconds", short: "ms", size: 1e-3 } : { unit: "seconds", short: "s", size: 1 };
}

// Ticks of a logarithmic axis of seconds that can be read: 2 ms, 5 ms, 10 ms.
function secondTicks(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const wide = high / low > (narrow() ? 30 : 1000);
  const steps = wide ? [1] : high / low < 10 && !narrow() ? [1, 2, 3, 4, 5, 7] : [1, 2, 5];
  const tickvals = [];
  for (let power = -6; power < 5; power++) tickvals.push(...steps.map((n) => n * 10 ** power));
  const text = (t) => (t < 0.9 ? `${Number((t * 1e3).toPrecision(1))} ms` : `${Number(t.toPrecision(1))} s`);
  return { tickvals, ticktext: tickvals.map(text) };
}

// Three digits for people: 1,940 and 13.2, never 1.94e+3.
function numberText(value) {
  return value.toLocaleString("en", value >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
}

function largest(values) {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}

function bytesText(bytes) {
  if (bytes === null || bytes === undefined) return "-";
  const { unit, size } = unitOf(Math.abs(bytes));
  const value = bytes / size;
  return `${size === 1 ? value : value.toFixed(Math.abs(value) < 10 ? 2 : 1)}\u00a0${unit}`;
}

function secondsText(s) {
  if (s === null || s === undefined) return "-";
  if (s >= 100) return `${s.toFixed(0)}\u00a0s`;
  return s < 1 ? `${(s * 1e3).toPrecision(3)}\u00a0ms` : `${s.toPrecision(3)}\u00a0s`;
}

function seen() {
  return page.data.cells.filter((cell) => cell.picture);
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
