// Unpack the data and the plot library, then draw. Nothing is fetched: both are in this page.
"use strict";

const page = { data: null, plots: [], drawers: [] };

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// The figures of our own first: the plot library takes a moment to be ready.
async function start() {
  const packed = unpack("plotly");
  page.data = JSON.parse(await unpack("data"));
  drawAll([drawBlocks, drawRequests]);
  const script = document.createElement("script");
  script.textContent = await packed;
  document.head.append(script);
  drawAll([drawMemory, drawLedger, drawWaste, drawKv, drawSpeed, drawEnergy, drawGantt]);
  document.documentElement.dataset.drawn = "yes";
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
  start().catch(trouble);
});
