// Unpack the data and the plot library, then draw. Nothing is fetched: both are in this page.
"use strict";

const page = { data: null, plots: [], drawers: [], waiting: [] };

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i); // 10 times as fast as from()
  return bytes;
}

function unpacked(id) {
  const packed = bytesOf(document.getElementById(id).textContent.trim());
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function loadPlotly() {
  const text = await unpacked("plotly").text();
  const script = document.createElement("script");
  script.textContent = text;
  document.head.append(script);
}

// Texts and tables are there before any script runs. The first figure comes next, the others one
// by one when the browser is idle, so that one can read and scroll meanwhile.
async function start() {
  const library = loadPlotly();
  page.data = await unpacked("data").json();
  drawAll([drawRequests]);
  await library;
  drawAll([drawMemory]);
  document.documentElement.dataset.opened = `${Math.round(performance.now())}`; // milliseconds since the navigation began
  page.waiting = [drawLedger, drawWaste, drawKv, drawBlocks, drawSpeed, drawEnergy, drawGantt];
  whenIdle(drawNext);
}

function whenIdle(work) {
  (window.requestIdleCallback || setTimeout)(work);
}

function drawNext() {
  drawAll(page.waiting.splice(0, 1));
  if (page.waiting.length) whenIdle(drawNext);
  else document.documentElement.dataset.drawn = `${Math.round(performance.now())}`;
}

function drawAll(drawings) {
  for (const draw of drawings) {
    try {
      draw();
    } catch (error) {
      trouble(error); // the other figures are still worth seeing
    }
  }
}

function trouble(error) {
  const box = document.getElementById("trouble");
  box.textContent = `A figure could not be drawn: ${error.message || error}`;
  box.hidden = false;
  console.error(error);
}

window.addEventListener("DOMContentLoaded", () => {
  startTheme();
  window.addEventListener("beforeprint", () => drawAll(page.waiting.splice(0)));
  start().catch(trouble);
});
