// The requests: a table that is searched as one types. Everything in it is text.
"use strict";

const SHOWN = 200;

function drawRequests() {
  const table = document.getElementById("requests");
  const search = document.getElementById("search");
  const cells = page.data.cells.filter((cell) => cell.rows.length);
  const head = table.createTHead().insertRow();
  const texts = page.data.requests.some((request) => request.text !== null); // without any, no column
  head.append(element("th", "request", { scope: "col" }));
  if (texts) head.append(element("th", "prompt", { scope: "col", class: "prompt" }));
  for (const title of ["prompt tokens", "output tokens"]) head.append(element("th", title, { scope: "col" }));
  for (const cell of cells) head.append(element("th", `${cell.label}: first token / last`, { scope: "col", class: "times" }));
  const body = table.createTBody();
  const byCell = cells.map((cell) => new Map(cell.rows.map((row) => [row.id, row])));
  const wanted = () => {
    const words = search.value.trim().toLowerCase();
    return page.data.requests.filter((r) => !words || r.id.toLowerCase().includes(words) || (r.text || "").toLowerCase().includes(words));
  };
  const fill = () => {
    const found = wanted();
    body.replaceChildren(...found.slice(0, SHOWN).map((request) => requestRow(request, byCell, texts)));
    const rest = found.length > SHOWN ? `, the first ${SHOWN} shown` : "";
    document.getElementById("found").textContent = `${found.length} of ${page.data.requests.length}${rest}`;
  };
  search.addEventListener("input", fill);
  fill();
}

function requestRow(request, byCell, texts) {
  const row = element("tr");
  const cut = request.cut ? ` … (${request.cut.toLocaleString("en")} characters in all)` : "";
  row.append(element("td", request.id));
  if (texts) row.append(element("td", request.text === null ? "(token ids only)" : request.text + cut, { class: "prompt", dir: "auto" }));
  row.append(
    element("td", countText(request.prompt_tokens)),
    element("td", countText(request.output_tokens)),
  );
  for (const rows of byCell) {
    const found = rows.get(request.id);
    row.append(found ? element("td", `${secondsText(found.first)} / ${secondsText(found.last)}`) : element("td", "not run", { class: "none" }));
  }
  return row;
}

function countText(count) {
  return count === null || count === undefined ? "-" : count.toLocaleString("en");
}
