// Throughput, latencies, engine steps, and each request's way through the run.
"use strict";

function drawSpeed() {
  const cells = page.data.cells.filter((cell) => cell.timing && cell.throughput);
  const labels = () => cells.map((cell) => escaped(cell.label));
  plot("throughput", () => ({
    traces: cells.length ? [
      {
        type: "bar", x: labels(), y: cells.map((cell) => cell.throughput.mean), marker: barLook(cells),
        text: cells.map((cell) => numberText(cell.throughput.mean)), textposition: "outside", cliponaxis: false, showlegend: false, hovertemplate: "%{y:,.4g} tok/s<extra></extra>",
        error_y: interval(cells),
      },
      cells.some((cell) => cell.throughput.values.length > 1) && {
        type: "scatter", mode: "markers", showlegend: false, hovertemplate: "%{y:,.4g} tok/s<extra>a repeat</extra>",
        x: cells.flatMap((cell) => cell.throughput.values.map(() => escaped(cell.label))),
        y: cells.flatMap((cell) => cell.throughput.values), marker: { color: color("ink"), size: 6 },
      },
    ].filter(Boolean) : [],
    layout: { height: 320, xaxis: axis({ type: "category" }), yaxis: axis({ title: { text: "tok/s" }, rangemode: "tozero" }) },
  }));
  // Times are the load's: beside each other stand only those of a run that did as many requests, and all.
  const most = (cell) => largest(cells.filter((other) => other.dash === cell.dash && !other.ended).map((other) => other.rows.length));
  const whole = cells.filter((cell) => cells.length === 1 || (!cell.ended && cell.rows.length === most(cell)));
  const boxes = (pick, shown = cells) => () => {
    const drawn = shown.map((cell) => ({ cell, values: cell.rows.map(pick).filter((v) => v !== null) })).filter(({ values }) => values.length);
    const { unit, short, size } = timeUnit(largest(drawn.flatMap(({ values }) => values)));
    return {
      traces: drawn.map(({ cell, values }) => ({
        type: "box", name: escaped(cell.label), y: values.map((v) => v / size), marker: { color: cellColor(cell), size: 4 }, line: { width: 1.5 },
        boxpoints: values.length <= 200 ? "all" : "outliers", jitter: 0.4, pointpos: 0, showlegend: false, hovertemplate: `%{y:.4g} ${short}<extra></extra>`,
      })),
      layout: { height: 320, xaxis: axis({ type: "category" }), yaxis: axis({ title: { text: unit }, rangemode: "tozero" }) },
    };
  };
  plot("ttft", boxes((row) => (row.first === null ? null : row.first - row.arrive), whole));
  plot("tpot", boxes((row) => (row.first === null || row.last === null || row.output < 2 ? null : (row.last - row.first) / (row.output - 1)), whole));
  plot("itl", () => {
    const drawn = seen().filter((cell) => cell.picture.gaps);
    return {
      traces: drawn.map((cell) => {
        const { edges, shares, counted, requests, how, p50, p90, p99 } = cell.picture.gaps;
        return {
          type: "scatter", mode: "lines", name: escaped(cell.label), x: edges, y: [...shares, 0],
          line: { color: cellColor(cell), shape: "hv", dash: cell.dash, width: 1.5 }, fill: "tozeroy", fillcolor: faded(cellColor(cell), 0.15),
          hovertemplate: `from %{x:.3g} s: %{y:.1%} of the gaps<br>median ${secondsText(p50)}, p90 ${secondsText(p90)}, p99 ${secondsText(p99)}<br>of ${counted} of ${requests} requests, ${how}`,
        };
      }),
      layout: { height: 320, xaxis: axis({ type: "log", ...secondTicks(drawn.flatMap((cell) => cell.picture.gaps.edges)) }), yaxis: axis({ tickformat: ".0%", title: { text: "of the gaps" } }) },
    };
  });
}

function drawEnergy() {
  const cells = page.data.cells.filter((cell) => cell.timing && cell.throughput && cell.timing.joules_per_token !== null);
  plot("energy", () => ({
    traces: cells.length ? [{
      type: "bar", x: cells.map((cell) => escaped(cell.label)), y: cells.map((cell) => cell.timing.joules_per_token),
      marker: barLook(cells), showlegend: false, hovertemplate: "%{y:.4g} J per token<extra></extra>",
      text: cells.map((cell) => numberText(cell.timing.joules_per_token)), textposition: "outside", cliponaxis: false,
    }] : [],
    layout: { height: 320, xaxis: axis({ type: "category" }), yaxis: axis({ title: { text: "joules" }, rangemode: "tozero" }) },
  }), true);
  plot("power", () => ({
    traces: seen().flatMap((cell) => Object.entries(cell.picture.load).filter(([, lines]) => lines.power_w.t.length).map(([uuid, lines], i) => ({
      type: "scatter", mode: "lines", name: escaped(i ? `${cell.label} ${uuid.slice(0, 12)}` : cell.label), x: lines.power_w.t, y: lines.power_w.v,
      line: { color: cellColor(cell), width: 1.5, dash: i ? "dot" : cell.dash }, hovertemplate: "%{y:.0f} W",
    }))),
    layout: { height: 320, xaxis: axis({ title: { text: "seconds" } }), yaxis: axis({ title: { text: "watts" }, rangemode: "tozero" }) },
  }), true);
}

// The second of two runs has hatched bars, as its lines are dotted.
function barLook(cells) {
  return { color: cells.map(cellColor), pattern: { shape: cells.map((cell) => (cell.dash === "dot" ? "/" : "")), fgcolor: color("card") } };
}

function interval(cells) {
  const known = cells.every((cell) => cell.throughput.low !== null);
  return known ? {
    type: "data", symmetric: false, color: color("ink"),
    array: cells.map((cell) => cell.throughput.high - cell.throughput.mean),
    arrayminus: cells.map((cell) => cell.throughput.mean - cell.throughput.low),
  } : { visible: false };
}

function drawGantt() {
  const cells = page.data.cells.filter((cell) => cell.rows.length);
  const choice = document.getElementById("gantt-cell");
  cells.forEach((cell, i) => choice.append(element("option", cell.label, { value: i })));
  const paged = cells.filter((cell) => cell.layout === "paged");
  const shown = paged.find((cell) => cell.backend === "vllm") || paged[0];
  choice.value = String(Math.max(0, cells.indexOf(shown)));
  const draw = plot("gantt", () => {
    const cell = cells[Number(choice.value)];
    const rows = cell ? cell.rows : [];
    const part = (name, from, to, fill) => ({
      type: "bar", orientation: "h", name, y: rows.map((row) => escaped(row.id)), base: rows.map(from),
      x: rows.map((row) => (to(row) === null || from(row) === null ? null : to(row) - from(row))),
      marker: { color: fill }, hovertemplate: `${name}: %{x:.4g} s<extra>%{y}</extra>`,
    });
    return {
      traces: rows.length ? [
        part("waiting", (r) => r.arrive, (r) => r.start, color("wait")),
        part("prefill", (r) => r.start, (r) => r.first, color("c1")),
        part("decode", (r) => r.first, (r) => r.last, color("c0")),
      ] : [],
      layout: {
        barmode: "overlay", bargap: rows.length > 60 ? 0 : 0.25, height: Math.min(900, 110 + Math.max(6, rows.length) * 22),
        xaxis: axis({ title: { text: "seconds of the run" }, range: [0, 1.02 * largest(rows.map((row) => row.last ?? row.first ?? 0))] }),
        yaxis: axis({ autorange: "reversed", type: "category", showticklabels: rows.length <= 60 }),
      },
    };
  });
  choice.addEventListener("change", draw);
}
