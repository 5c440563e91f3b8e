"use strict";
// The page of electrons: reads the arrays of #data, shows a table to sort and filter, and draws the chosen electron.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SHOWN = 100;                       // rows added to the table at a time
  const count = data.ids.length;

  // Arrays ---------------------------------------------------------------------------------------------------------
  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const numbers = (text, kind) => {
    if (text === null) return null;
    const bytes = bytesOf(text).buffer;
    return kind === "f8" ? new Float64Array(bytes) : kind === "f4" ? new Float32Array(bytes) : new Uint8Array(bytes);
  };
  const targets = data.targets.map((t) => ({ ...t, truth: numbers(t.truth, "f8"), bound: numbers(t.bound, "f8") }));
  const tables = data.tables.map((t) => ({
    ...t, mean: t.mean.map((v) => numbers(v, "f8")), std: t.std.map((v) => numbers(v, "f8")),
    posterior: t.posterior && Object.fromEntries(Object.entries(t.posterior).map(
      ([k, v]) => [k, ["weights", "means", "covariances", "values"].includes(k) ? numbers(v, "f4") : v])),
  }));
  const main = tables[0];
  const score = numbers(data.score, "f8");
  const flags = data.flags.map((f) => ({ ...f, values: numbers(f.values, "u1") }));
  const correlation = numbers(data.correlation, "f4");
  const records = data.records;
  if (records) {
    for (const [name, kind] of [["shown", "u1"], ["carrier", "f8"], ["top", "f4"], ["spectrogram", "u1"], ["peak", "f4"],
                                ["spectrum", "u1"]]) records[name] = numbers(records[name], kind);
    if (records.attention) for (const [name, kind] of [["most", "f4"], ["values", "u1"]])
      records.attention[name] = numbers(records.attention[name], kind);
    if (records.sidebands) records.sidebands.values = numbers(records.sidebands.values, "f4");
  }

  // Columns of the table -------------------------------------------------------------------------------------------
  const columns = [];
  const unit = (t) => (t.unit ? ` (${t.unit === "deg" ? "°" : t.unit})` : "");
  const add = (name, value, far, digits) => columns.push({ name, value, far, digits });
  targets.forEach((t, i) => {
    const std = main.std[i], mean = main.mean[i];
    add(`${t.name}${unit(t)}`, (r) => mean[r], undefined, 2);
    if (std) add(`${t.name} error bar${unit(t)}`, (r) => std[r]);
    if (t.truth) {
      add(`${t.name} residual${unit(t)}`, (r) => mean[r] - t.truth[r]);
      if (std) add(`${t.name} pull`, (r) => (mean[r] - t.truth[r]) / std[r], (v) => !(Math.abs(v) <= data.outlier));
      if (t.bound) add(`${t.name} |residual| / bound`, (r) => Math.abs(mean[r] - t.truth[r]) / t.bound[r]);
    }
    tables.slice(1).forEach((other) => {
      if (other.mean[i]) add(`${other.name}: ${t.name} residual to ${t.truth ? "truth" : main.name}${unit(t)}`,
                             (r) => other.mean[i][r] - (t.truth ? t.truth[r] : mean[r]));
    });
  });
  data.extra.forEach((e) => { const values = numbers(e.values, "f4"); columns.push({ name: e.name, key: e.key, value: (r) => values[r] }); });
  const snr = columns.find((c) => c.key === "sideband_snr");
  // what people look at first stands first: residuals and pulls, then signal, then the rest
  const first = columns.filter((c) => /residual|pull/.test(c.name) && !c.name.includes(": "));
  const ordered = [...first, ...columns.filter((c) => c === snr), ...columns.filter((c) => !first.includes(c) && c !== snr)];

  const shownNumber = (v, digits = 0) => {
    if (!Number.isFinite(v)) return "–";
    const size = Math.abs(v);
    const text = size >= 1000 ? v.toFixed(digits) : size >= 100 ? v.toFixed(Math.max(digits, 1)) : size === 0 ? "0"
      : size >= 1e-4 ? v.toPrecision(3) : v.toExponential(1);
    return text.replace("-", "−");
  };

  // Choosing and sorting -------------------------------------------------------------------------------------------
  const state = { sort: -1, down: true, group: "all", text: "", column: -1, low: "", high: "", chosen: null, rows: [], shown: SHOWN };
  const groups = { all: ["all", () => true] };
  if (main.std.some(Boolean) && targets.some((t) => t.truth)) groups.outliers = [`over ${data.outlier} σ`, (r) => score[r] > data.outlier];
  if (snr) {
    groups.resolved = ["resolved", (r) => snr.value(r) >= data.resolved];
    groups.unresolved = ["not resolved", (r) => !(snr.value(r) >= data.resolved)];
  }
  flags.forEach((f, i) => { if (f.values.some(Boolean)) groups[`flag${i}`] = [f.name, (r) => f.values[r] === 1]; });

  const wanted = () => {
    const inside = groups[state.group][1], low = parseFloat(state.low), high = parseFloat(state.high);
    const limited = state.column >= 0 ? ordered[state.column].value : null;
    const rows = [];
    for (let r = 0; r < count; r++) {
      if (!inside(r) || (state.text && !data.ids[r].includes(state.text))) continue;
      if (limited && ((!Number.isNaN(low) && !(limited(r) >= low)) || (!Number.isNaN(high) && !(limited(r) <= high)))) continue;
      rows.push(r);
    }
    const by = state.sort === -1 ? (r) => score[r] : state.sort === -2 ? null : ordered[state.sort].value;
    const sign = state.down ? -1 : 1;
    const compare = by === null
      ? (a, b) => sign * (data.ids[a].length - data.ids[b].length || (data.ids[a] < data.ids[b] ? -1 : 1))
      : (a, b) => {                         // what is not known stands last, whichever way
          const x = by(a), y = by(b), nx = Number.isNaN(x), ny = Number.isNaN(y);
          return nx || ny ? nx - ny || a - b : sign * (x - y) || a - b;
        };
    return rows.sort(compare);
  };

  // Elements -------------------------------------------------------------------------------------------------------
  const make = (kind, attributes = {}, ...children) => {
    const element = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((c) => c !== null));
    return element;
  };
  const app = document.getElementById("app");
  app.textContent = "";
  const list = make("section", { id: "list", "aria-label": "electrons" });
  const detail = make("section", { id: "detail", "aria-live": "polite" });
  app.append(list, detail);
  if (data.notes.length) document.getElementById("notes").append(
    make("details", data.notes.length < 3 ? { open: "" } : {}, make("summary", {}, "What this page shows, and what not"),
         make("ul", {}, ...data.notes.map((n) => make("li", {}, n)))));

  const buttons = Object.entries(groups).map(([key, [label]]) =>
    make("button", { type: "button", "data-group": key, onclick: () => { state.group = key; refresh(); } }, label));
  const search = make("input", { type: "search", placeholder: "event id", "aria-label": "event id contains", id: "search",
    oninput: (e) => { state.text = e.target.value.trim(); refresh(); } });
  const bound = (side, label) => make("input", { type: "number", step: "any", placeholder: label, "aria-label": label, id: side,
    oninput: (e) => { state[side] = e.target.value; refresh(); } });
  const chooser = make("select", { "aria-label": "column of the limits", id: "column", onchange: (e) => { state.column = Number(e.target.value); refresh(); } },
    make("option", { value: -1 }, "limit a column …"), ...ordered.map((c, i) => make("option", { value: i }, c.name)));
  const counter = make("p", { class: "count", role: "status" });
  const body = make("tbody");
  const heads = [["event", -2], ...ordered.map((c, i) => [c.name, i])].map(([name, key]) => {
    const button = make("button", { type: "button", onclick: () => {
      state.down = state.sort === key ? !state.down : true; state.sort = key; refresh(); } }, name);
    return make("th", { scope: "col", "data-key": key, class: name.length > 32 ? "long" : null }, button);
  });
  const more = make("button", { type: "button", class: "more", onclick: () => { state.shown += SHOWN; fill(); } }, "more");
  list.append(
    make("div", { class: "controls" }, make("button", { type: "button", id: "outliers-first", onclick: () => { state.sort = -1; state.down = true; refresh(); } }, "outliers first"), ...buttons),
    make("div", { class: "controls" }, search, chooser, bound("low", "at least"), bound("high", "at most")),
    counter,
    make("div", { class: "rows", tabindex: "0" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body), more));

  const refresh = () => { state.rows = wanted(); state.shown = SHOWN; fill(); };
  const fill = () => {
    buttons.forEach((b) => b.setAttribute("aria-pressed", b.dataset.group === state.group));
    document.getElementById("outliers-first").setAttribute("aria-pressed", state.sort === -1);
    heads.forEach((h) => {
      const key = Number(h.dataset.key);
      if (key === state.sort) h.setAttribute("aria-sort", state.down ? "descending" : "ascending"); else h.removeAttribute("aria-sort");
      const name = key === -2 ? "event" : ordered[key].name;
      h.firstChild.textContent = key === state.sort ? `${name} ${state.down ? "▾" : "▴"}` : name;
    });
    const how = state.sort === -1 ? `; first: ${data.scoreWords}` : "";
    counter.textContent = `${state.rows.length} of ${count} electrons${how}`;
    body.textContent = "";
    for (const r of state.rows.slice(0, state.shown)) {
      const cells = ordered.map((c) => { const v = c.value(r); return make("td", c.far && c.far(v) ? { class: "far" } : {}, shownNumber(v, c.digits)); });
      body.append(make("tr", { tabindex: "0", "data-row": r, "aria-selected": r === state.chosen,
        onclick: () => choose(r, true), onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(r, true); } } },
        make("td", {}, data.ids[r]), ...cells));
    }
    more.hidden = state.shown >= state.rows.length;
    more.textContent = `${Math.min(SHOWN, state.rows.length - state.shown)} more`;
  };
  const choose = (r, open) => {
    state.chosen = r;
    body.querySelectorAll("tr").forEach((row) => row.setAttribute("aria-selected", Number(row.dataset.row) === r));
    if (open) {
      document.body.classList.add("open");
      try { history.replaceState(null, "", `#event=${data.ids[r]}`); } catch { /* a frame without an address */ }
    }
    show(r);
    if (open && innerWidth <= 860) scrollTo(0, 0);
  };
  const step = (by) => {
    const place = state.rows.indexOf(state.chosen) + by;
    if (place >= 0 && place < state.rows.length) choose(state.rows[place], document.body.classList.contains("open"));
  };
  addEventListener("keydown", (e) => {
    if (/INPUT|SELECT/.test(e.target.tagName)) return;
    if (e.key === "ArrowDown" || e.key === "j") { step(1); e.preventDefault(); }
    if (e.key === "ArrowUp" || e.key === "k") { step(-1); e.preventDefault(); }
    if (e.key === "Escape") document.body.classList.remove("open");
  });

  // Drawing --------------------------------------------------------------------------------------------------------
  const INK = "#1d2733", SOFT = "#5a6675", LINE = "#dfe4ea", TRUTH = "#7b3294", BOUND = "#7b3294"; // apart from the estimators' colours
  const canvas = (parent, label, ratio) => {
    const element = make("canvas", { role: "img", "aria-label": label });
    parent.append(element);
    const width = element.clientWidth || 360, height = Math.round(width * ratio), scale = devicePixelRatio || 1;
    element.width = width * scale; element.height = height * scale; element.style.height = `${height}px`;
    const pen = element.getContext("2d");
    pen.scale(scale, scale); pen.font = "11px system-ui, sans-serif"; pen.lineJoin = "round";
    return { pen, width, height };
  };
  const ticks = (low, high, most) => {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const size = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const found = [];
    for (let i = Math.ceil(low / size); i * size <= high + 1e-9 * size; i++) found.push(i * size);
    return { found, places: Math.max(0, Math.min(8, -Math.floor(Math.log10(size) + 1e-9))) };
  };
  // a frame with ticks; returns the maps from values to pixels
  const frame = ({ pen, width, height }, x, y, xlabel, ylabel, { left = 44, bottom = 34, top = 8, right = 10, yticks = true } = {}) => {
    const px = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (width - left - right);
    const py = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - bottom - top);
    pen.strokeStyle = LINE; pen.fillStyle = INK; pen.lineWidth = 1; pen.textAlign = "center"; pen.textBaseline = "top";
    const across = ticks(x[0], x[1], Math.max(2, (width - left) / 72));
    for (const v of across.found) {
      pen.beginPath(); pen.moveTo(px(v), top); pen.lineTo(px(v), height - bottom); pen.stroke();
      pen.fillText(v.toFixed(across.places).replace("-", "−"), px(v), height - bottom + 4);
    }
    if (yticks) {
      pen.textAlign = "right"; pen.textBaseline = "middle";
      const up = ticks(y[0], y[1], Math.max(2, (height - bottom) / 40));
      for (const v of up.found) {
        pen.beginPath(); pen.moveTo(left, py(v)); pen.lineTo(width - right, py(v)); pen.stroke();
        pen.fillText(v.toFixed(up.places).replace("-", "−"), left - 4, py(v));
      }
    }
    pen.strokeStyle = SOFT; pen.strokeRect(left, top, width - left - right, height - bottom - top);
    pen.fillStyle = SOFT; pen.textAlign = "center"; pen.textBaseline = "bottom";
    pen.fillText(xlabel, (left + width - right) / 2, height - 2);
    if (ylabel) { pen.save(); pen.translate(10, (height - bottom + top) / 2); pen.rotate(-Math.PI / 2); pen.textBaseline = "middle"; pen.fillText(ylabel, 0, 0); pen.restore(); }
    pen.save(); pen.beginPath(); pen.rect(left, top, width - left - right, height - bottom - top); pen.clip();
    return { px, py, done: () => pen.restore() };
  };
  const curve = (pen, points, colour, { dash = [], fill = null, base = 0, width = 1.6 } = {}) => {
    pen.beginPath(); points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (fill && points.length) {
      pen.save(); pen.lineTo(points[points.length - 1][0], base); pen.lineTo(points[0][0], base); pen.closePath();
      pen.globalAlpha = 0.18; pen.fillStyle = fill; pen.fill(); pen.restore();
      pen.beginPath(); points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    }
    pen.setLineDash(dash); pen.strokeStyle = colour; pen.lineWidth = width; pen.stroke(); pen.setLineDash([]);
  };
  const shade = (level) => {               // a dark to bright scale that print keeps in order
    const stops = [[13, 8, 65], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
    const at = (level / 15) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(at)), part = at - i;
    return stops[i].map((v, k) => Math.round(v + part * (stops[i + 1][k] - v)));
  };

  const spectrogram = (parent, r) => {
    const { frames, bins } = records, size = frames * bins, bytes = (size + 1) >> 1, start = r * bytes;
    const spanUs = frames * records.frame * 1e6, halfMHz = (bins * records.bin) / 2e6;
    const image = new ImageData(frames, bins);
    for (let i = 0; i < size; i++) {
      const byte = records.spectrogram[start + (i >> 1)], level = i & 1 ? byte >> 4 : byte & 15;
      const x = Math.floor(i / bins), y = bins - 1 - (i % bins), place = 4 * (y * frames + x);
      image.data.set([...shade(level), 255], place);
    }
    const picture = document.createElement("canvas");
    picture.width = frames; picture.height = bins; picture.getContext("2d").putImageData(image, 0, 0);
    const where = canvas(parent, "spectrogram around the carrier", 0.62);
    const { px, py, done } = frame(where, [0, spanUs], [-halfMHz, halfMHz], "time (µs)", "from the carrier (MHz)");
    where.pen.imageSmoothingEnabled = false;
    where.pen.drawImage(picture, px(0), py(halfMHz), px(spanUs) - px(0), py(-halfMHz) - py(halfMHz));
    done();
    const mhz = (records.carrier[r] / 1e6).toFixed(3).replace("-", "−");
    parent.append(make("p", { class: "key" }, `Carrier at ${mhz} MHz after mixing. Dark is the noise's mean, bright ${records.top[r].toFixed(0)} dB above it.`));
  };

  const spectrum = (parent, r) => {
    const { positions, step } = records, half = (positions * step) / 1e6;
    const values = Array.from({ length: positions }, (_, i) => records.peak[r] * (records.spectrum[r * positions + i] / 255) ** 2);
    const top = Math.sqrt(Math.max(...values)) * 1.08 || 1;
    const where = canvas(parent, "spectrum folded on the carrier, with attention and the sidebands' true place", 0.5);
    const { px, py, done } = frame(where, [0, half], [0, top], "distance from the carrier (MHz)", "amplitude / noise");
    const pen = where.pen;
    let lines = [];
    if (records.sidebands) {
      const n = records.sidebands.count;
      lines = Array.from(records.sidebands.values.slice(r * n, r * n + n)).filter((v) => v / 1e6 <= half);
      for (const hz of lines) curve(pen, [[px(hz / 1e6), py(0)], [px(hz / 1e6), py(top)]], TRUTH, { dash: [5, 4], width: 1.3 });
    }
    const attention = records.attention;
    if (attention) {
      const n = attention.positions;
      const weights = Array.from({ length: n }, (_, i) => (attention.values[r * n + i] / 255) ** 2);
      curve(pen, weights.map((w, i) => [px(((i + 0.5) / n) * half), py(w * top * 0.96)]), main.colour === "#0072B2" ? "#E69F00" : "#0072B2", { fill: "#E69F00", base: py(0), width: 1 });
    }
    curve(pen, values.map((v, i) => [px(((i + 1) * step) / 1e6), py(Math.sqrt(v))]), INK, { width: 1.1 });
    done();
    const said = [make("span", { class: "swatch", style: `background:${INK}` }), "both sides, folded"];
    if (attention) said.push(make("span", { class: "swatch", style: "background:#E69F00" }), `attention, up to ${(100 * attention.most[r]).toPrecision(2)} % in one bin`);
    if (lines.length) said.push(make("span", { class: "swatch", style: `background:${TRUTH}` }), "true place of the sidebands");
    else if (records.sidebands) said.push("; no true sideband within this range");
    parent.append(make("p", { class: "key" }, ...said));
  };

  // the marginal of one target: density and a range that holds it
  const marginal = (table, i, r) => {
    const mean = table.mean[i] && table.mean[i][r], p = table.posterior, n = targets.length;
    if (!Number.isFinite(mean)) return null;
    if (p && p.kind === "mixture") {
      const k = p.components, parts = [];
      for (let c = 0; c < k; c++) {
        const place = (r * k + c) * n, variance = p.covariances[place * n + i * n + i];
        if (variance > 0) parts.push([p.weights[r * k + c], mean + p.means[place + i], Math.sqrt(variance)]);
      }
      return parts.length ? { parts, density: (x) => parts.reduce((sum, [w, m, s]) => sum + (w / s) * Math.exp(-0.5 * ((x - m) / s) ** 2), 0) / Math.sqrt(2 * Math.PI) } : null;
    }
    if (p && p.kind === "quantiles") {
      const q = p.levels.length, place = (r * n + i) * q, at = p.levels.map((_, l) => mean + p.values[place + l]);
      return { parts: [[1, mean, Math.max((at[q - 1] - at[0]) / 4, 1e-12)]], density: (x) => {
        for (let l = 1; l < q; l++) if (x >= at[l - 1] && x < at[l]) return (p.levels[l] - p.levels[l - 1]) / (at[l] - at[l - 1]);
        return 0; } };
    }
    const std = table.std[i] && table.std[i][r];
    if (!(std > 0)) return null;
    return { parts: [[1, mean, std]], density: (x) => Math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI)) };
  };
  // the main mode alone, those that matter and the truth, or every mode
  const LEAST = { near: 1, usual: 0.05, whole: 1e-3 };
  const range = (i, r, view) => {
    const t = targets[i], ends = [];
    const own = marginal(main, i, r), least = own && Math.min(LEAST[view], Math.max(...own.parts.map((p) => p[0])));
    if (own) own.parts.filter(([w]) => w >= least).forEach(([, m, s]) => ends.push(m - 4.5 * s, m + 4.5 * s));
    else if (Number.isFinite(main.mean[i][r])) ends.push(main.mean[i][r]);
    const width = ends.length > 1 ? Math.max(...ends) - Math.min(...ends) : 0;
    const held = (v, slack) => { if (Number.isFinite(v) && (view !== "near" || !width || Math.abs(v - main.mean[i][r]) < 4 * width)) ends.push(v - slack, v + slack); };
    const slack = t.bound && t.bound[r] > 0 ? 3 * t.bound[r] : 0;
    if (t.truth) held(t.truth[r], slack);
    tables.slice(1).forEach((other) => { if (other.mean[i] && !(other.std[i] && other.std[i][r] > width)) held(other.mean[i][r], 0); });
    if (!ends.length) return null;
    let low = Math.min(...ends), high = Math.max(...ends);
    if (!(high > low)) { low -= 1; high += 1; }
    const edge = 0.04 * (high - low);
    return [low - edge, high + edge];
  };
  const offset = (x) => {                  // long numbers are written once, in the label, not at each tick
    const middle = (x[0] + x[1]) / 2, size = 10 ** Math.ceil(Math.log10((x[1] - x[0]) || 1));
    return Math.abs(middle) > 100 * (x[1] - x[0]) ? Math.round(middle / size) * size : 0;
  };
  const posterior = (parent, i, r, view) => {
    const t = targets[i], x = range(i, r, view);
    if (!Number.isFinite(main.mean[i][r])) parent.append(make("p", { class: "missing" }, `No estimate of the ${t.name}: it failed.`));
    if (!x) return;
    const from = offset(x), grid = Array.from({ length: 401 }, (_, g) => x[0] + (g / 400) * (x[1] - x[0]));
    // beside a needle a wide mode has no height: unless looked at from near, a mode is as high as it is probable
    const modes = ({ parts }) => (x) => Math.max(...parts.map(([w, m, s]) => w * Math.exp(-0.5 * ((x - m) / s) ** 2)));
    const shapes = tables.map((table) => {
      const s = marginal(table, i, r);
      return s && view !== "near" && s.parts.length > 1 ? { ...s, density: modes(s) } : s;
    });
    // a narrow mode may lie between the points of the grid: look at the middles too
    const highest = (s) => Math.max(...grid.map(s.density), ...s.parts.map(([, m]) => s.density(m)));
    const heights = shapes.map((s) => (s ? highest(s) : 0));
    const where = canvas(parent, `posterior of the ${t.name}`, 0.6), pen = where.pen;
    const label = `${t.name}${from ? ` − ${from}` : ""}${unit(t)}`;
    const { px, py, done } = frame(where, [x[0] - from, x[1] - from], [0, 1.12], label, "", { left: 12, yticks: false });
    shapes.forEach((s, k) => {
      if (!s || !heights[k] || Math.min(...s.parts.map(([, , width]) => width)) > 3 * (x[1] - x[0])) return;
      const needles = s.parts.flatMap(([, m, w]) => [-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3].map((k) => m + k * w));
      const points = [...grid, ...needles].filter((v) => v >= x[0] && v <= x[1]).sort((a, b) => a - b);
      curve(pen, points.map((v) => [px(v - from), py(s.density(v) / heights[k])]), tables[k].colour, k ? { width: 1.3 } : { fill: tables[k].colour, base: py(0), width: 2 });
    });
    tables.forEach((table, k) => { if (!shapes[k] && table.mean[i] && Number.isFinite(table.mean[i][r]))
      curve(pen, [[px(table.mean[i][r] - from), py(0)], [px(table.mean[i][r] - from), py(1.1)]], table.colour, { width: 1.5 }); });
    if (t.truth && Number.isFinite(t.truth[r])) {
      const truth = t.truth[r];
      if (t.bound && t.bound[r] > 0)
        curve(pen, grid.map((v) => [px(v - from), py(Math.exp(-0.5 * ((v - truth) / t.bound[r]) ** 2))]), BOUND, { dash: [4, 3], width: 1.1 });
      if (truth >= x[0] && truth <= x[1]) curve(pen, [[px(truth - from), py(0)], [px(truth - from), py(1.12)]], TRUTH, { width: 1.6 });
      else { pen.fillStyle = TRUTH; pen.textAlign = truth > x[1] ? "right" : "left"; pen.textBaseline = "top";
             pen.fillText(truth > x[1] ? `truth ${shownNumber(truth - x[1])} further →` : `← truth ${shownNumber(x[0] - truth)} further`, truth > x[1] ? where.width - 14 : 16, 12); }
    }
    done();
  };
  const joint = (parent, r, view) => {
    const p = main.posterior;
    const x = range(0, r, view), y = range(1, r, view), n = targets.length, k = p.components;
    if (!x || !y) return;
    const fx = offset(x), fy = offset(y), where = canvas(parent, "posterior of both", 0.6), pen = where.pen;
    const { px, py, done } = frame(where, [x[0] - fx, x[1] - fx], [y[0] - fy, y[1] - fy],
      `${targets[0].name}${fx ? ` − ${fx}` : ""}${unit(targets[0])}`, `${targets[1].name}${fy ? ` − ${fy}` : ""}${unit(targets[1])}`, { left: 68 });
    const ellipse = (cx, cy, a, b, c, size, colour, options) => {   // covariance [[a, b], [b, c]]
      const l = Math.sqrt(a), m = b / l, q = Math.sqrt(Math.max(c - m * m, 0));
      curve(pen, Array.from({ length: 73 }, (_, g) => { const u = size * Math.cos((g * Math.PI) / 36), v = size * Math.sin((g * Math.PI) / 36);
        return [px(cx + l * u - fx), py(cy + m * u + q * v - fy)]; }), colour, options);
    };
    for (let c = 0; c < k; c++) {
      const place = (r * k + c) * n, cov = p.covariances, weight = p.weights[r * k + c];
      if (!(cov[place * n] > 0) || weight < 1e-3) continue;
      pen.globalAlpha = 0.25 + 0.75 * weight;
      for (const size of [1.515, 2.486]) // 68.27 and 95.45 % of a Gaussian in two dimensions
        ellipse(main.mean[0][r] + p.means[place], main.mean[1][r] + p.means[place + 1], cov[place * n], cov[place * n + 1], cov[(place + 1) * n + 1], size, main.colour, { width: 1.6 });
      pen.globalAlpha = 1;
    }
    const [a, b] = targets;
    if (a.truth && b.truth) {
      const cx = px(a.truth[r] - fx), cy = py(b.truth[r] - fy);
      if (a.bound && b.bound && correlation && Number.isFinite(correlation[r]))
        ellipse(a.truth[r], b.truth[r], a.bound[r] ** 2, correlation[r] * a.bound[r] * b.bound[r], b.bound[r] ** 2, 1.515, BOUND, { dash: [4, 3], width: 1.1 });
      curve(pen, [[cx - 6, cy], [cx + 6, cy]], TRUTH); curve(pen, [[cx, cy - 6], [cx, cy + 6]], TRUTH);
    }
    done();
  };

  let view = "usual";
  const show = (r) => {
    detail.textContent = "";
    const place = state.rows.indexOf(r);
    detail.append(make("div", { class: "bar" },
      make("button", { type: "button", class: "only-narrow", id: "back", onclick: () => document.body.classList.remove("open") }, "← table"),
      make("h2", {}, `Electron ${data.ids[r]}`),
      make("span", {}, make("button", { type: "button", id: "previous", ...(place < 1 ? { disabled: "" } : {}), onclick: () => step(-1) }, "previous"), " ",
        make("button", { type: "button", id: "next", ...(place < 0 || place >= state.rows.length - 1 ? { disabled: "" } : {}), onclick: () => step(1) }, "next"))));
    const facts = targets.map((t, i) => {
      const std = main.std[i] && main.std[i][r], u = t.unit === "deg" ? "°" : ` ${t.unit}`, digits = std > 0 ? Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(std)))) : 4;
      const write = (v) => (Number.isFinite(v) ? v.toFixed(digits).replace("-", "−") : "failed");
      if (!Number.isFinite(main.mean[i][r])) return make("tr", {}, make("th", { scope: "row" }, t.name), make("td", {}, `failed${t.truth ? `; true ${write(t.truth[r])}${u}` : ""}`));
      const truth = t.truth ? `; true ${write(t.truth[r])}${u}, off by ${write(main.mean[i][r] - t.truth[r])}${u}` : "";
      const pull = t.truth && std > 0 ? ` (${shownNumber((main.mean[i][r] - t.truth[r]) / std)} error bars)` : "";
      return make("tr", {}, make("th", { scope: "row" }, t.name), make("td", {}, `${write(main.mean[i][r])}${std > 0 ? ` ± ${write(std)}` : ""}${u}${truth}${pull}`));
    });
    const flagged = flags.filter((f) => f.values[r]).map((f) => f.name);
    const others = data.extra.map((e) => { const c = columns.find((one) => one.key === e.key); return `${c.name} ${shownNumber(c.value(r))}`; });
    detail.append(make("table", { class: "facts" }, ...facts,
      others.length ? make("tr", {}, make("th", { scope: "row" }, "and"), make("td", {}, others.join(", "))) : null,
      flagged.length ? make("tr", {}, make("th", { scope: "row" }, "flags"), make("td", {}, flagged.join(", "))) : null));
    if (records && records.shown[r]) {
      detail.append(make("h3", {}, "Spectrogram")); spectrogram(detail, r);
      detail.append(make("h3", {}, "Aligned spectrum")); spectrum(detail, r);
    } else detail.append(make("p", { class: "missing" }, records ? "The records of this electron were not found." : "No records were given: there is no spectrogram to show."));
    detail.append(make("div", { class: "bar" }, make("h3", {}, main.std.some(Boolean) ? "Posterior" : "Estimates"),
      make("span", {}, ...[["near", "main mode"], ["usual", "and truth"], ["whole", "all modes"]].map(([key, label]) =>
        make("button", { type: "button", id: key, "aria-pressed": view === key, onclick: () => { view = key; show(r); } }, label)))));
    const pair = make("div", { class: "pair" });
    detail.append(pair);
    // all places first: a picture is as wide as its place, and places share the width
    const both = targets.length > 1 && main.posterior && main.posterior.kind === "mixture";
    const boxes = [...targets, ...(both ? [null] : [])].map(() => { const box = make("div"); pair.append(box); return box; });
    targets.forEach((_, i) => posterior(boxes[i], i, r, view));
    if (both) joint(boxes[targets.length], r, view);
    const legend = tables.flatMap((t) => [make("span", { class: "swatch", style: `background:${t.colour}` }), t.name]);
    if (targets.some((t) => t.truth)) legend.push(make("span", { class: "swatch", style: `background:${TRUTH}` }), "truth");
    if (targets.some((t) => t.bound)) legend.push("; dashed: the Cramér–Rao bound about the truth");
    detail.append(make("p", { class: "key" }, ...legend, `. Each curve is drawn to its own height${view === "near" ? "" : ", modes as high as they are probable"}; those much wider than a picture are left out of it.`));
    document.documentElement.dataset.drawn = data.ids[r];
  };

  // #event=ID opens an electron: a link to it can be passed on
  const linked = () => data.ids.indexOf(decodeURIComponent((location.hash.match(/^#event=(.+)$/) || [])[1] || ""));
  addEventListener("hashchange", () => { if (linked() >= 0) choose(linked(), true); });
  refresh();
  if (linked() >= 0) choose(linked(), true);
  else if (state.rows.length) choose(state.rows[0], false);
  let resizing;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => { if (state.chosen !== null) show(state.chosen); }, 150); });
})();
