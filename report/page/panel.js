// One backend's panel of the block map: its memory over time, and as it is at one moment.
"use strict";

class Panel {
  constructor(cell, place) {
    this.cell = cell;
    this.map = cell.picture.blocks;
    this.depth = this.map.ids.length * this.map.slots;
    this.span = Math.max(1e-6, this.map.end - this.map.begin);
    const box = element("div", undefined, { class: "panel" });
    this.said = element("p");
    this.over = element("canvas", undefined, { role: "img", "aria-label": `${cell.label}: memory over time, a colour for each request` });
    this.now = element("canvas", undefined, { role: "img", "aria-label": `${cell.label}: memory at the chosen time` });
    this.pages = element("ol", undefined, { class: "pages", tabindex: "0", "aria-label": `${cell.label}: page table of the followed request` });
    this.base = document.createElement("canvas");
    const title = element("h4", cell.label);
    if (cell.kind) title.append(element("small", ` ${cell.kind}`));
    const ends = element("div", undefined, { class: "ends" });
    ends.append(element("span", "0 s"), element("span", "time \u2192, memory \u2193"), element("span", secondsText(this.span)));
    this.moment = element("div", undefined, { class: "ends" });
    box.append(title, this.said, this.over, ends, this.now, this.moment, this.pages);
    place.append(box);
  }

  // A request has one colour, in all panels.
  color(request, pale) {
    return requestColor(requestNumber(this.map.requests[request].id, request), pale);
  }

  // How many tokens of a request are stored at time t.
  stored(request, t) {
    const r = this.map.requests[request];
    if (r.prompt === null || r.start === null) return Infinity;
    if (t < r.start) return 0;
    if (!this.map.paged && r.last !== null && t >= r.last) return 0; // its row waits for the batch
    if (r.first === null || t <= r.first || r.last === null || r.last <= r.first) return r.prompt;
    return r.prompt + (r.final - r.prompt) * Math.min(1, (t - r.first) / (r.last - r.first));
  }

  // When a request's stored tokens reach a number; never is the end of time.
  reaches(request, tokens) {
    const r = this.map.requests[request];
    if (r.prompt === null || r.start === null || tokens <= r.prompt) return r.start ?? -Infinity;
    if (r.first === null || r.last === null || tokens > r.final) return Infinity;
    return r.first + ((tokens - r.prompt) / Math.max(1, r.final - r.prompt)) * (r.last - r.first);
  }

  pad(i) {
    return this.map.pad ? this.map.pad[i] : 0;
  }

  // Slots of the row at its begin and end; a block is always as long as a block.
  long(i) {
    return this.map.long ? [this.map.long[0][i], this.map.long[1][i]] : [this.map.slots, this.map.slots];
  }

  // A row grows with the tokens in it: not before its request's first token.
  grows(i) {
    const { from, to, requests, request } = this.map;
    return Math.max(from[i], Math.min(to[i], requests[request[i]].first ?? from[i]));
  }

  longAt(i, t) {
    const [first, last] = this.long(i);
    const since = this.grows(i);
    return first + (last - first) * Math.max(0, Math.min(1, (t - since) / Math.max(1e-9, this.map.to[i] - since)));
  }

  liveIn(i, t) {
    const tokens = this.stored(this.map.request[i], t);
    return Math.max(0, Math.min(this.map.slots, tokens - this.map.place[i] * this.map.slots));
  }

  sized(canvas, height) {
    const ratio = window.devicePixelRatio || 1;
    const width = this.over.clientWidth || 300;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { context, width };
  }

  drawMap(height, depth, followed) {
    this.height = height;
    const { context, width } = this.sized(this.base, height);
    this.sized(this.over, height);
    const { map } = this;
    const perSlot = height / depth;
    const gap = map.slots * perSlot > 4 ? 1 : 0;
    const thin = map.slots * perSlot < 2;
    const at = { x: (t) => ((t - map.begin) / this.span) * width, perSlot, deepest: map.slots * perSlot - gap };
    for (let i = 0; i < map.row.length; i++) {
      const request = map.request[i];
      context.globalAlpha = followed && map.requests[request].id !== followed ? 0.18 : 1;
      const top = map.row[i] * map.slots * perSlot;
      if (thin) {
        this.thinRow(context, i, Math.floor(top), at);
        continue;
      }
      context.fillStyle = this.color(request, true);
      this.heldArea(context, i, top, at);
      context.fillStyle = this.color(request, false);
      this.liveArea(context, i, top, at);
    }
  }

  // A row thinner than the eye can follow is one line of whole pixels: pale, then full.
  thinRow(context, i, top, { x }) {
    const { map } = this;
    const full = this.reaches(map.request[i], (map.place[i] + 0.5) * map.slots);
    const [left, right] = [x(map.from[i]), x(map.to[i])];
    const turn = Math.max(left, Math.min(right, x(full)));
    context.fillStyle = this.color(map.request[i], true);
    context.fillRect(left, top, turn - left, 1);
    context.fillStyle = this.color(map.request[i], false);
    context.fillRect(turn, top, right - turn, 1);
  }

  heldArea(context, i, top, { x, perSlot, deepest }) {
    const [first, last] = this.long(i).map((slots) => Math.min(slots * perSlot, deepest));
    const left = x(this.map.from[i]);
    area(context, [[left, top], [left, top + first], [x(this.grows(i)), top + first], [Math.max(left + 0.5, x(this.map.to[i])), top + last], [Math.max(left + 0.5, x(this.map.to[i])), top]]);
  }

  // The full part of a row: it grows while the request's tokens pass through it.
  liveArea(context, i, top, { x, perSlot, deepest }) {
    const { map } = this;
    const r = map.requests[map.request[i]];
    const before = map.place[i] * map.slots;
    const right = map.paged || r.last === null ? map.to[i] : Math.min(map.to[i], r.last);
    const left = Math.min(right, Math.max(map.from[i], this.reaches(map.request[i], before)));
    const full = Math.min(right, Math.max(left, this.reaches(map.request[i], Math.min(before + map.slots, r.final ?? Infinity))));
    const still = Math.min(full, Math.max(left, r.first ?? left));
    const level = (t) => Math.min(deepest, this.liveIn(i, t) * perSlot);
    const begin = top + this.pad(i) * perSlot;
    const low = begin + level(left);
    const high = begin + level(full - (full - left) * 1e-6);
    area(context, [[x(left), begin], [x(left), low], [x(still), low], [x(full), high], [x(right), high], [x(right), begin]]);
  }

  // The intervals that hold at time t.
  at(t) {
    const found = [];
    for (let i = 0; i < this.map.row.length && this.map.from[i] <= t; i++) {
      if (this.map.to[i] > t) found.push(i);
    }
    return found;
  }

  showAt(share, depth, followed) {
    const t = this.map.begin + share * this.span * 0.99999;
    const held = this.at(t);
    this.cursor(share);
    this.drawNow(t, held, depth, followed);
    this.say(t, held);
    this.table(t, held, followed);
  }

  cursor(share) {
    const { context, width } = this.sized(this.over, this.height);
    context.drawImage(this.base, 0, 0, width, this.height);
    context.fillStyle = color("ink");
    context.fillRect(Math.min(share * width, width - 2), 0, 1.5, this.height);
  }

  // Memory at one moment, line after line like text: a slot has the same area in all panels.
  drawNow(t, held, depth, followed) {
    const { context, width } = this.sized(this.now, NOW_HEIGHT);
    const line = Math.max(2, Math.min(14, Math.sqrt((width * NOW_HEIGHT) / depth) * 2));
    const perSlot = (Math.floor(NOW_HEIGHT / line) * width) / depth;
    const { map } = this;
    const gap = map.slots * perSlot > 5 ? 1 / perSlot : 0;
    const strip = (from, slots) => {
      let begin = from * perSlot;
      const end = (from + Math.max(0, slots)) * perSlot;
      while (begin < end - 1e-6) {
        const row = Math.floor(begin / width + 1e-9);
        const until = Math.min(end, (row + 1) * width);
        context.fillRect(begin - row * width, row * line, until - begin, line > 4 ? line - 1 : line);
        begin = until;
      }
    };
    for (const i of held) {
      const request = map.request[i];
      context.globalAlpha = followed && map.requests[request].id !== followed ? 0.2 : 1;
      const start = map.row[i] * map.slots;
      const slots = Math.min(this.longAt(i, t), map.slots - gap);
      context.fillStyle = this.color(request, true);
      strip(start, slots);
      context.fillStyle = this.color(request, false);
      strip(start + this.pad(i), Math.min(this.liveIn(i, t), slots - this.pad(i)));
    }
  }

  // The counts are the recorded ones, not the drawing's.
  say(t, held) {
    const { map } = this;
    const { kv } = this.cell.picture;
    let i = kv ? kv.t.findIndex((time) => time > t) - 1 : -1;
    if (kv && i < 0) i = kv.t.length - 1;
    const requests = new Set(held.map((one) => map.request[one])).size;
    const blocks = map.paged && kv ? ` (${Math.round(kv.held[i] / map.slots)} of ${map.pool_rows ?? "?"} blocks of ${map.slots})` : "";
    const part = kv && kv.held[i] ? `, ${((kv.live[i] / kv.held[i]) * 100).toFixed(0)}\u00a0% live` : "";
    const slots = kv ? `, ${kv.held[i].toLocaleString("en")} slots held${blocks}${part}` : "";
    const every = map.every > 1 ? ` One block in ${map.every} is drawn.` : "";
    this.moment.textContent = `the same memory after ${secondsText(t - map.begin)}`;
    this.said.textContent = `After ${(t - map.begin).toFixed(2)} s: ${requests} request${requests === 1 ? "" : "s"} in memory${slots}.${every}`;
  }

  table(t, held, followed) {
    const { map } = this;
    const own = followed ? held.filter((i) => map.requests[map.request[i]].id === followed) : [];
    own.sort((a, b) => map.place[a] - map.place[b]);
    const items = own.map((i) => {
      const live = Math.round(this.liveIn(i, t));
      const text = map.paged ? `${map.place[i]} \u2192 block ${map.ids[map.row[i]]}: ${live}/${map.slots}` : `row ${map.ids[map.row[i]]}: ${live}/${Math.round(this.longAt(i, t))} slots`;
      const item = element("li", text);
      item.style.borderColor = this.color(map.request[i], false);
      return item;
    });
    if (followed && !items.length) items.push(element("li", "holds nothing now"));
    this.pages.replaceChildren(...items);
  }

  // A click picks the request under the pointer, and that time.
  picked(pick) {
    this.over.addEventListener("click", (event) => {
      const share = Math.min(1, event.offsetX / this.over.clientWidth);
      const row = Math.floor((event.offsetY / this.height) * (this.shownDepth / this.map.slots));
      const under = this.at(this.map.begin + share * this.span).find((i) => this.map.row[i] === row);
      pick(under === undefined ? null : this.map.requests[this.map.request[under]].id, share);
    });
  }
}

function area(context, corners) {
  context.beginPath();
  corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.fill();
}
