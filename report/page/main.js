// Unpack the data and the plot library, then draw. Nothing is fetched: both are in this page.
"use strict";

// What is drawn, in this order, by scripts that come before; `waiting` is still to be drawn.
const page = {
  data: null, plots: [], drawers: [],
  waiting: [drawRequests, drawPolicies, drawMemory, drawLedger, drawWaste, drawKv, drawBlocks, drawSpeed, drawEnergy, drawGantt],
};

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
  drawAll(page.waiting.splice(0, 1));
  await library;
  drawAll(page.waiting.splice(0, 1));
  document.documentElement.dataset.opened = `${Math.round(performance.now())}`; // milliseconds since the navigation began
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
  notice(`A figure could not be drawn: ${error.message || error}`);
  console.error(error);
}

function notice(text) {
  const box = document.getElementById("trouble");
  box.textContent = text;
  box.hidden = !text;
}

// Paper does not wait: what can be drawn is drawn now, and before that can be the page says so.
function drawForPaper() {
  if (page.data && window.Plotly) {
    drawAll(page.waiting.splice(0));
  } else if (document.getElementById("trouble").hidden) {
    notice("Printed before the figures were ready: print it again for the figures.");
    window.addEventListener("afterprint", () => notice(""), { once: true });
  }
}

window.addEventListener("DOMContentLoaded", () => {
  startTheme();
  window.addEventListener("beforeprint", drawForPaper);
  start().catch(trouble);
});
