// Unpack the data and the plot library, then draw. Nothing is fetched: both are in this page.
"use strict";

const page = { data: null, plots: [], drawers: [], took: {} };

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function start() {
  let begun = performance.now();
  const [data, library] = await Promise.all([unpack("data"), unpack("plotly")]);
  page.data = JSON.parse(data);
  page.took.unpack = Math.round(performance.now() - begun);
  begun = performance.now();
  const script = document.createElement("script");
  script.textContent = library;
  document.head.append(script);
  page.took.library = Math.round(performance.now() - begun);
  for (const draw of [
    drawMemory, drawLedger, drawWaste, drawKv, drawBlocks, drawSpeed, drawEnergy, drawGantt, drawRequests,
  ]) {
    const begun = performance.now();
    draw();
    page.took[draw.name] = Math.round(performance.now() - begun);
  }
  document.documentElement.dataset.drawn = "yes";
}

function trouble(error) {
  const box = document.getElementById("trouble");
  box.textContent = `A figure could not be drawn: ${error.message || error}`;
  box.hidden = false;
  console.error(error);
}

window.addEventListener("DOMContentLoaded", () => {
  startTheme();
  start().catch(trouble);
});
