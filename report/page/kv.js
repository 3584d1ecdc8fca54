// The ledger's bars, what held slots were for, and held against live slots over the run.
"use strict";

const CAUSES = ["live", "reservation", "scheduled_ahead", "internal", "padding"];
// A line of the ledger has one colour on every machine; KV has that of live tokens.
const LINE_COLORS = {
  context: "c0", runtime: "c0", weights: "c1", KV: "c2", activations: "c3", "allocator slack": "c4", code: "c5",
  other: "c6", "CUDA graphs": "c5", workspace: "c7", "attention mask": "c6", "cache copy": "c6",
};

function drawLedger() {
  plot("ledger", () => {
    const cells = page.data.cells.filter((cell) => cell.ledger);
    const total = largest(cells.map((cell) => cell.ledger.total));
    const scale = unitOf(total);
    const farthest = (narrow() ? 1.35 : 1.13) * total; // room for what is written beside the longest bar
    const names = [...new Set(cells.flatMap((cell) => cell.ledger.lines.map((line) => line.name)))];
    const labels = cells.map((cell) => escaped(cell.label));
    const bar = (name, tint, sizes, notes, more) => ({
      type: "bar", orientation: "h", name, y: labels, x: sizes.map((b) => (b === null ? null : b / scale.size)),
      marker: { color: color(tint), ...more }, customdata: notes,
      hovertemplate: `%{x:.3f} ${scale.unit}<br>%{customdata}`,
    });
    const of = (cell, name) => cell.ledger.lines.find((line) => line.name === name);
    const traces = names.map((name, i) => bar(
      name, LINE_COLORS[name] ?? `c${i % 8}`, cells.map((cell) => of(cell, name)?.bytes ?? null),
      cells.map((cell) => escaped(`${of(cell, name)?.how ?? ""}: ${of(cell, name)?.note ?? ""}`)), {},
    ));
    if (cells.length) {
      traces.push(bar("residual", "c6", cells.map((cell) => cell.ledger.residual), cells.map(() => "not explained"), {
        pattern: { shape: "/", fgcolor: color("ink"), bgcolor: color("bg") },
      }));
    }
    return {
      traces,
      layout: {
        barmode: "relative", height: 130 + 46 * cells.length + (narrow() ? 120 : 0),
        annotations: cells.map((cell, i) => ({
          x: cell.ledger.total / scale.size, y: i, xanchor: "left", xshift: 6, showarrow: false, text: bytesText(cell.ledger.total),
        })),
        xaxis: axis({ title: { text: scale.unit }, range: [Math.min(0, 1.1 * least(cells)) / scale.size, farthest / scale.size] }),
        yaxis: axis({ autorange: "reversed", type: "category" }),
      },
    };
  });
  ledgerTables();
}

// How far the bars reach below zero: lines that were set against too much are negative.
function least(cells) {
  const below = (cell) => [...cell.ledger.lines.map((line) => line.bytes ?? 0), cell.ledger.residual ?? 0].reduce((sum, b) => sum + Math.min(0, b), 0);
  return Math.min(0, ...cells.map(below));
}

function ledgerTables() {
  const place = document.getElementById("ledger-tables");
  for (const cell of page.data.cells.filter((c) => c.ledger)) {
    const box = element("details");
    box.append(element("summary", `${cell.label}, line by line: ${bytesText(cell.ledger.total)} in all, by ${cell.ledger.against.toUpperCase()}${cell.ledger.flagged ? " (residual above its limit)" : ""}`));
    const table = element("table", undefined, { class: "text" });
    const lines = [...cell.ledger.lines, { name: "residual", bytes: cell.ledger.residual, how: "derived", note: "what no line explains" }];
    for (const line of lines) {
      const row = table.insertRow();
      row.append(element("th", line.name, { scope: "row" }), element("td", bytesText(line.bytes), { class: "num" }),
        element("td", line.how), element("td", line.note));
    }
    const scroll = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": `Ledger of ${cell.label}` });
    scroll.append(table);
    box.append(scroll);
    if (cell.ledger.edges.length) box.append(edgeTable(cell));
    place.append(box);
  }
}

function edgeTable(cell) {
  const scroll = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": `${cell.label} at the end of each phase` });
  const table = element("table");
  table.append(element("caption", "At the end of each phase"));
  const head = table.createTHead().insertRow();
  for (const title of ["", "total", "in the allocator", "its slack", "outside of it", "residual"]) head.append(element("th", title, { scope: "col" }));
  const body = table.createTBody();
  for (const edge of cell.ledger.edges) {
    const row = body.insertRow();
    row.append(element("th", edge.phase, { scope: "row" }));
    for (const part of ["total", "allocated", "slack", "outside", "residual"]) row.append(element("td", bytesText(edge[part])));
  }
  scroll.append(table);
  return scroll;
}

function drawWaste() {
  plot("waste", () => {
    const cells = page.data.cells.filter((cell) => cell.kv && cell.kv.efficiency !== null);
    const labels = cells.map((cell) => escaped(cell.label));
    const value = (cell, cause) =>
      cause === "live" ? cell.kv.efficiency : (cell.kv.waste[cause] || {}).value ?? null;
    const tints = { live: color("c2"), reservation: color("c4"), scheduled_ahead: color("c5"), internal: color("c1"), padding: color("c6") };
    const traces = cells.length ? CAUSES.map((cause) => ({
      type: "bar", orientation: "h", name: cause === "live" ? "live tokens" : cause.replace("_", " "), y: labels,
      x: cells.map((cell) => value(cell, cause)), marker: { color: tints[cause] },
      text: cells.map((cell) => (value(cell, cause) > (narrow() ? 0.17 : 0.05) ? `${(value(cell, cause) * 100).toFixed(1)} %` : "")),
      textposition: "inside", insidetextanchor: "middle", textangle: 0, textfont: { color: isDark() ? "#14171b" : "#ffffff" },
      customdata: cells.map((cell) => (cause === "live" ? "measured" : (cell.kv.waste[cause] || {}).how)),
      hovertemplate: "%{x:.2%} (%{customdata})",
    })) : [];
    return {
      traces,
      layout: {
        barmode: "stack", height: 120 + 42 * cells.length + (narrow() ? 60 : 0), margin: { ...base().margin, r: 28 }, legend: { ...base().legend, traceorder: "normal" },
        xaxis: axis({ tickformat: ".0%", range: [0, 1.002], tickvals: [0, 0.2, 0.4, 0.6, 0.8, 1] }), yaxis: axis({ autorange: "reversed", type: "category" }),
      },
    };
  });
}

// What a cell held, and within it what was stored in it, on axes n; a slot is `size` of their unit.
function slotLines(cell, n, stored, size, hovertemplate) {
  const { kv } = cell.picture;
  const hue = cellColor(cell);
  const line = (name, slots, width, opacity) => ({
    type: "scatter", mode: "lines", name, x: kv.t.map((t) => t - kv.t[0]), y: slots.map((one) => (one === null ? null : one * size)), xaxis: `x${n}`, yaxis: `y${n}`,
    line: { color: hue, width, shape: "hv" }, fill: "tozeroy", fillcolor: faded(hue, opacity), showlegend: false, hovertemplate,
  });
  return [line("held", kv.held, 1.5, 0.15), line(stored, kv.live, 0.5, 0.75)];
}

function drawKv() {
  plot("kv", () => {
    const cells = seen().filter((cell) => cell.picture.kv);
    const layout = { height: 60 + 175 * cells.length, annotations: [], margin: { ...base().margin, t: 4 } };
    const traces = cells.flatMap((cell, i) => {
      const n = i ? i + 1 : "";
      const rest = 1 / Math.max(1, cells.length);
      layout[`yaxis${n}`] = axis({ title: { text: "slots" }, rangemode: "tozero", domain: [1 - (i + 1) * rest + 0.14 * rest, 1 - i * rest - 0.16 * rest] });
      layout[`xaxis${n}`] = axis({ anchor: `y${n}`, title: i === cells.length - 1 ? { text: "seconds of the run" } : undefined });
      layout.annotations.push({
        xref: `x${n} domain`, yref: `y${n} domain`, x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", showarrow: false,
        text: `<b>${escaped(cell.label)}</b>`, font: { color: cellColor(cell) },
      });
      return slotLines(cell, n, "live", 1, "%{y:,d}");
    });
    layout.hovermode = "x unified";
    return { traces, layout };
  });
}
