// The views of `inspect attention`: a grid of all heads, and of the chosen one arcs, a matrix, and its neurons.

/** Unpack base64 of zlib into bytes. */
async function unpacked(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let place = 0; place < packed.length; place += 1) bytes[place] = packed.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Read whole numbers of two bytes: all low bytes stand before all high ones. */
function twoBytes(bytes, from, count) {
  const found = new Uint16Array(count);
  for (let place = 0; place < count; place += 1) found[place] = bytes[from + place] | (bytes[from + count + place] << 8);
  return found;
}

/** Return the weights of a head, S · S, and of each query what this page leaves out. */
async function weightsOf(data, layer, head) {
  const count = data.tokens.length;
  const { kept, steps } = data;
  const bytes = await unpacked(data.weights[layer * data.heads + head]);
  const values = twoBytes(bytes, 0, count * kept);
  const weights = new Float32Array(count * count);
  const lost = new Float32Array(count);
  if (kept === count) {
    for (let place = 0; place < values.length; place += 1) weights[place] = values[place] / steps;
    return { weights, lost };
  }
  const jumps = twoBytes(bytes, 2 * count * kept, count * kept);
  const dropped = twoBytes(bytes, 4 * count * kept, count);
  for (let query = 0; query < count; query += 1) {
    let key = 0;
    for (let place = query * kept; place < (query + 1) * kept; place += 1) {
      key += jumps[place];
      weights[query * count + key] = values[place] / steps;
    }
    lost[query] = dropped[query] / 65535;
  }
  return { weights, lost };
}

/** Return numbers that stand around 32768, in steps of `scale`. */
async function numbersOf(text, scale) {
  const bytes = await unpacked(text);
  const found = new Float64Array(bytes.length / 2);
  const values = twoBytes(bytes, 0, found.length);
  for (let place = 0; place < found.length; place += 1) found[place] = (values[place] - 32768) * scale;
  return found;
}

/** Return a colour of the page, such as "47 93 155", as three numbers. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim().split(/\s+/).map(Number);
}

/** Paint cells, one pixel each; `cell(place)` gives a number from -1, orange, to 1, blue. */
function paint(canvas, columns, rows, cell) {
  canvas.width = columns;
  canvas.height = rows;
  if (!columns || !rows) return;
  const [blue, orange] = [colour("--blues"), colour("--oranges")];
  const image = new ImageData(columns, rows);
  const { data } = image;
  for (let place = 0; place < columns * rows; place += 1) {
    const value = cell(place);
    const [at, ink] = [4 * place, value < 0 ? orange : blue];
    data[at] = ink[0];
    data[at + 1] = ink[1];
    data[at + 2] = ink[2];
    data[at + 3] = 255 * Math.abs(value) + 0.5;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Give a canvas a size on the page, sharp on fine screens unless that is too large; return its context. */
function sized(canvas, width, height) {
  const most = Math.sqrt(8e6 / Math.max(1, width * height));
  const fine = Math.min(window.devicePixelRatio || 1, Math.max(1, most));
  canvas.width = Math.max(1, Math.round(width * fine));
  canvas.height = Math.max(1, Math.round(height * fine));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(fine, 0, 0, fine, 0, 0);
  return pen;
}

/** Write a text where it is another: to write what stands there already costs time in a long list. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Move the focus among elements of which one can be reached with Tab. */
function focusOne(elements, chosen) {
  for (const one of elements) one.tabIndex = one === chosen ? 0 : -1;
  chosen.focus();
}

const NUMBER = (value, digits = 3) => (Object.is(value, -0) ? 0 : value).toFixed(digits).replace("-", "−");
// Pixels of lines that are drawn at once, and from which on lines are thin: a click is to be answered at once.
const MOST = 600000;
const THIN = 150000;
const VIEWS = [["arcs", "Arcs"], ["matrix", "Matrix"], ["neurons", "Neurons"]];
const PARTS = [["all", "all"], ["00", "A → A"], ["01", "A → B"], ["10", "B → A"], ["11", "B → B"]];

const STRIPS = "Blue is above zero and orange below; the strongest colour is the largest of its strip. Point at a strip to read its numbers.";

class AttentionViews {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.count = data.tokens.length;
    [this.layer, this.head] = data.chosen;
    this.view = "arcs";
    this.hidden = false;
    this.part = "all";
    this.kind = null;
    this.pin = null; // {side: "query" or "key", token}
    this.over = null; // the same, as long as the pointer or the focus is there
    this.pair = [Math.min(1, this.count - 1), 0]; // query and key of the matrix and the neurons
    this.turn = 0;
    this.build();
    this.choose(this.layer, this.head);
    // Paper is light, whatever the screen is, and what is painted takes its colours when it is.
    for (const media of ["(prefers-color-scheme: dark)", "print"]) {
      window.matchMedia(media).addEventListener("change", () => { this.paintThumbs(); this.show(); });
    }
    let wide = window.innerWidth;
    window.addEventListener("resize", () => {
      if (window.innerWidth !== wide) this.show();
      wide = window.innerWidth;
    });
  }

  // -- what stands there from the beginning ------------------------------------------------------------------

  build() {
    this.name = make("h3", { "aria-live": "polite" });
    this.facts = make("p", { class: "facts-line" });
    this.said = make("p", { class: "said", role: "status" });
    this.panels = Object.fromEntries(VIEWS.map(([id]) => [
      id, make("div", { role: "tabpanel", id: `attention-${id}`, "aria-labelledby": `attention-tab-${id}` }),
    ]));
    const right = make("div", { class: "head" }, this.name, this.facts, this.makeTabs(), this.makeFilters(), this.said,
      ...Object.values(this.panels), make("p", { class: "note" }, this.rounding()));
    const left = make("div", { class: "all" }, this.makeGrid(), this.makeKinds());
    this.root.append(make("div", { class: "split" }, left, right));
    this.buildArcs();
    this.buildMatrix();
    this.paintThumbs();
  }

  rounding() {
    const { kept, steps } = this.data;
    const error = (0.5 / steps).toFixed(6);
    if (kept === this.count) return `Every weight is in this file, rounded to 1/${steps} (an error of at most ${error}).`;
    return `Of each query the ${kept} largest of its ${this.count} weights are in this file, rounded to 1/${steps} (an error `
      + `of at most ${error}); the others are shown as 0, and what they sum to is said as left out.`;
  }

  scores(layer, head) {
    return Object.fromEntries(this.data.names.map((name, place) => [name, this.data.scores[layer * this.data.heads + head][place]]));
  }

  told(layer, head) {
    const { kind, score } = this.scores(layer, head);
    return this.data.signs[kind][1] + (score === null || kind === "mixed" ? "" : ` ${NUMBER(score, 2)}`);
  }

  makeGrid() {
    const { layers, heads } = this.data;
    const grid = make("div", {
      class: "grid", role: "grid", "aria-label": "All heads: rows are layers, columns are heads",
      style: `--heads:${heads}`, keydown: (event) => this.onGridKey(event),
    });
    const top = make("div", { role: "row" }, make("span", { role: "columnheader", class: "corner" }, ""));
    for (let head = 0; head < heads; head += 1) top.append(make("span", { role: "columnheader" }, String(head)));
    grid.append(top);
    this.cells = [];
    for (let layer = 0; layer < layers; layer += 1) {
      const row = make("div", { role: "row" }, make("span", { role: "rowheader" }, String(layer)));
      for (let head = 0; head < heads; head += 1) {
        const { kind } = this.scores(layer, head);
        const said = `layer ${layer}, head ${head}: ${this.told(layer, head)}`;
        const cell = make("button", {
          role: "gridcell", type: "button", class: `k-${kind}`, title: said, "aria-label": said, tabindex: -1,
          "aria-disabled": kind === "pruned" ? "true" : null, click: () => this.choose(layer, head),
        }, make("canvas", { "aria-hidden": "true" }));
        this.cells.push(cell);
        row.append(cell);
      }
      grid.append(row);
    }
    return make("div", {}, make("p", { class: "axes" }, "rows: layers · columns: heads · stronger colour: more weight"), grid);
  }

  makeKinds() {
    const counts = new Map();
    for (const [kind] of this.data.scores) counts.set(kind, (counts.get(kind) || 0) + 1);
    const list = make("div", { class: "kinds", role: "group", "aria-label": "Show the heads of one kind" });
    for (const [kind, [sign, says]] of Object.entries(this.data.signs)) {
      if (!counts.has(kind)) continue;
      list.append(make("button", {
        type: "button", class: `k-${kind}`, "aria-pressed": "false", "data-kind": kind, click: () => this.mark(kind),
      }, make("span", { class: "sign", "aria-hidden": "true" }, sign), says, make("span", { class: "many" }, String(counts.get(kind)))));
    }
    this.kinds = list;
    return list;
  }

  makeTabs() {
    this.tabs = VIEWS.map(([id, says]) => make("button", {
      type: "button", role: "tab", id: `attention-tab-${id}`, "aria-controls": `attention-${id}`,
      click: () => this.turnTo(id),
    }, says));
    return make("div", { class: "tabs", role: "tablist", "aria-label": "Views of the head", keydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const place = (this.tabs.findIndex((one) => one === event.target) + step + VIEWS.length) % VIEWS.length;
      this.turnTo(VIEWS[place][0]);
      this.tabs[place].focus();
    } }, ...this.tabs);
  }

  makeFilters() {
    const hide = make("input", { type: "checkbox", change: (event) => { this.hidden = event.target.checked; this.show(); } });
    this.filters = make("div", { class: "controls" }, make("label", {}, hide, " hide [CLS] and [SEP]"));
    if (this.data.segments.includes(1)) {
      const chosen = make("select", { change: (event) => { this.part = event.target.value; this.show(); } },
        ...PARTS.map(([id, says]) => make("option", { value: id }, says)));
      this.filters.append(make("label", {}, "from text to text ", chosen));
    }
    return this.filters;
  }

  paintThumbs() {
    const { thumb } = this.data;
    unpacked(this.data.thumbs).then((bytes) => {
      for (const [place, cell] of this.cells.entries()) {
        if (this.data.weights[place] === null) continue;
        paint(cell.firstChild, thumb, thumb, (at) => bytes[place * thumb * thumb + at] / 255);
      }
    });
  }

  // -- choosing ------------------------------------------------------------------------------------------------

  onGridKey(event) {
    const { layers, heads } = this.data;
    const place = this.cells.indexOf(event.target);
    if (place < 0) return;
    const layer = Math.floor(place / heads);
    const head = place % heads;
    const moves = {
      ArrowLeft: [layer, head - 1], ArrowRight: [layer, head + 1], ArrowUp: [layer - 1, head], ArrowDown: [layer + 1, head],
      Home: [layer, 0], End: [layer, heads - 1],
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [toLayer, toHead] = moves[event.key];
    if (toLayer < 0 || toLayer >= layers || toHead < 0 || toHead >= heads) return;
    focusOne(this.cells, this.cells[toLayer * heads + toHead]);
  }

  mark(kind) {
    this.kind = this.kind === kind ? null : kind;
    for (const button of this.kinds.children) button.setAttribute("aria-pressed", String(button.dataset.kind === this.kind));
    for (const [place, cell] of this.cells.entries()) {
      cell.classList.toggle("dim", this.kind !== null && this.data.scores[place][0] !== this.kind);
    }
  }

  /** Show a head; a later choice that comes while this one is unpacked wins. */
  async choose(layer, head) {
    if (this.data.weights[layer * this.data.heads + head] === null) {
      this.say(`Head ${head} of layer ${layer} was pruned: it is not in the model.`);
      return;
    }
    this.turn += 1;
    const { turn } = this;
    this.root.setAttribute("aria-busy", "true");
    const found = await weightsOf(this.data, layer, head);
    if (turn !== this.turn) return;
    Object.assign(this, found, { layer, head });
    for (const [place, cell] of this.cells.entries()) {
      const chosen = place === layer * this.data.heads + head;
      cell.setAttribute("aria-selected", String(chosen));
      cell.tabIndex = chosen ? 0 : -1;
    }
    const { sep, cls, previous, next, same, rest, entropy } = this.scores(layer, head);
    this.name.replaceChildren(`Layer ${layer}, head ${head} `, make("small", {}, this.told(layer, head)));
    const shares = { "[SEP]": sep, "[CLS]": cls, previous, next, same, rest };
    this.facts.replaceChildren(
      ...Object.entries(shares).map(([name, value]) => make("span", {}, `${name} `, make("b", {}, NUMBER(value, 2)))),
      make("span", {}, "entropy ", make("b", {}, NUMBER(entropy, 2)), " nats"),
    );
    if (this.data.kept < this.count) {
      const mean = this.lost.reduce((sum, one) => sum + one, 0) / this.count;
      this.facts.append(make("span", {}, "left out of this file ", make("b", {}, NUMBER(mean, 2))));
    }
    await this.show();
    if (turn === this.turn) this.root.setAttribute("aria-busy", "false");
  }

  async turnTo(view) {
    this.view = view;
    await this.show();
  }

  say(...said) {
    this.said.replaceChildren(...said);
  }

  // -- what all views ask ----------------------------------------------------------------------------------------

  /** Return the tokens of one side that are shown. */
  side(side) {
    const text = this.part === "all" ? null : Number(this.part[side === "query" ? 0 : 1]);
    return [...this.data.tokens.keys()].filter((token) =>
      !(this.hidden && this.data.special[token]) && (text === null || this.data.segments[token] === text));
  }

  weight(query, key) {
    return this.weights[query * this.count + key];
  }

  token(place) {
    return make("bdi", { dir: "auto" }, this.data.tokens[place]);
  }

  /** Name a token with its place. */
  named(place) {
    return make("b", {}, `${place} `, this.token(place));
  }

  async show() {
    for (const [place, [id]] of VIEWS.entries()) {
      const chosen = id === this.view;
      this.tabs[place].setAttribute("aria-selected", String(chosen));
      this.tabs[place].tabIndex = chosen ? 0 : -1;
      this.panels[id].hidden = !chosen;
    }
    this.filters.hidden = this.view === "neurons"; // a softmax is over all keys
    if (!this.weights) return;
    this.queries = this.side("query");
    this.keys = this.side("key");
    this.say();
    if (this.view === "arcs") this.showArcs();
    if (this.view === "matrix") this.showMatrix();
    if (this.view === "neurons") await this.showNeurons();
  }

  // -- arcs --------------------------------------------------------------------------------------------------------

  buildArcs() {
    this.lists = {};
    this.marks = { query: [], key: [] }; // what stands at each token, so that only what changes is written
    this.arcs = make("canvas", { "aria-hidden": "true" });
    for (const [side, says] of [["query", "Queries: tokens that look"], ["key", "Keys: tokens that are looked at"]]) {
      const list = make("div", { role: "listbox", class: side, "aria-label": says, keydown: (event) => this.onTokenKey(event, side) });
      const at = (event) => event.target.closest("[data-token]");
      list.addEventListener("pointerover", (event) => at(event) && this.point({ side, token: Number(at(event).dataset.token) }));
      list.addEventListener("pointerleave", () => this.point(null));
      list.addEventListener("focusin", (event) => at(event) && this.point({ side, token: Number(at(event).dataset.token) }));
      list.addEventListener("focusout", () => this.point(null));
      list.addEventListener("click", (event) => at(event) && this.hold({ side, token: Number(at(event).dataset.token) }));
      this.lists[side] = list;
    }
    const heads = ["query", "", "key"].map((name) => make("span", { class: "top", "aria-hidden": "true" }, name));
    this.panels.arcs.append(make("div", { class: "arcs" }, ...heads, this.lists.query, make("div", { class: "lines" }, this.arcs), this.lists.key));
  }

  /** Make a side's tokens once, then show those that are asked for: to make many anew takes too long for a click. */
  fillList(side) {
    const list = this.lists[side];
    if (!list.firstChild) {
      list.append(...[...this.data.tokens.keys()].map((token) => make("div", {
        role: "option", "data-token": token, "aria-selected": "false", class: this.data.segments[token] ? "second" : null,
      }, make("span", { class: "weight" }), this.token(token))));
    }
    const shown = new Set(this[side === "query" ? "queries" : "keys"]);
    for (const [token, option] of [...list.children].entries()) {
      if (option.hidden === shown.has(token)) option.hidden = !shown.has(token);
    }
    const options = this.options(side);
    if (!options.some((option) => option.tabIndex === 0)) for (const option of options.slice(0, 1)) option.tabIndex = 0;
  }

  options(side) {
    return [...this.lists[side].children].filter((option) => !option.hidden);
  }

  showArcs() {
    this.fillList("query");
    this.fillList("key");
    const gone = (one) => one && !(one.side === "query" ? this.queries : this.keys).includes(one.token);
    if (gone(this.pin)) this.pin = null;
    if (gone(this.over)) this.over = null;
    this.drawArcs();
  }

  onTokenKey(event, side) {
    const options = this.options(side);
    const place = options.indexOf(event.target);
    const steps = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: options.length - 1 };
    if (event.key in steps) {
      event.preventDefault();
      const next = options[steps[event.key]];
      if (next) focusOne(options, next);
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      event.preventDefault();
      const others = this.options(event.key === "ArrowRight" ? "key" : "query");
      if (others.length) focusOne(others, others[Math.min(place, others.length - 1)]);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.hold({ side, token: Number(event.target.dataset.token) });
    } else if (event.key === "Escape") {
      this.pin = null;
      this.over = null;
      this.drawArcs();
    }
  }

  point(one) {
    this.over = one;
    this.drawArcs();
  }

  /** Keep a token chosen, or let it go. */
  hold(one) {
    const same = this.pin && this.pin.side === one.side && this.pin.token === one.token;
    this.pin = same ? null : one;
    if (one.side === "query") this.pair = [one.token, this.strongest(one.token)];
    this.drawArcs();
  }

  strongest(query) {
    let best = 0;
    for (let key = 1; key < this.count; key += 1) if (this.weight(query, key) > this.weight(query, best)) best = key;
    return best;
  }

  drawArcs() {
    const alone = this.over || this.pin;
    const [first] = [...this.options("query"), ...this.options("key")];
    const high = first ? first.offsetHeight : 1;
    const wide = this.arcs.parentElement.clientWidth;
    const pen = sized(this.arcs, wide, high * Math.max(this.queries.length, this.keys.length));
    const { links, all } = this.links(alone, wide, high);
    const length = links.reduce((sum, link) => sum + link.length, 0);
    const colours = [colour("--blues").join(" "), colour("--oranges").join(" ")];
    for (const { weight, row, column, across } of links) {
      const [from, to] = [(row + 0.5) * high, (column + 0.5) * high];
      pen.strokeStyle = `rgb(${colours[Number(across)]} / ${weight})`;
      // One pixel of the screen is what browsers draw fast.
      pen.lineWidth = length > THIN ? 1 / pen.getTransform().a : alone ? 1 + 2.5 * weight : 1.6;
      pen.beginPath();
      pen.moveTo(0, from);
      pen.bezierCurveTo(wide * 0.45, from, wide * 0.55, to, wide, to);
      pen.stroke();
    }
    this.markTokens(alone, links.length, all);
  }

  /** Return the links that are drawn, strongest first where not all are, and how many can be seen. */
  links(alone, wide, high) {
    const found = [];
    for (const [row, query] of this.queries.entries()) {
      if (alone && alone.side === "query" && alone.token !== query) continue;
      for (const [column, key] of this.keys.entries()) {
        if (alone && alone.side === "key" && alone.token !== key) continue;
        const weight = this.weight(query, key);
        if (weight < 1 / 510) continue; // no screen shows so little
        const across = this.data.segments[query] !== this.data.segments[key];
        found.push({ weight, row, column, across, length: wide + Math.abs(row - column) * high });
      }
    }
    let room = MOST;
    if (alone || found.reduce((sum, link) => sum + link.length, 0) <= room) return { links: found, all: found.length };
    found.sort((one, other) => other.weight - one.weight);
    const cut = found.findIndex((link) => { room -= link.length; return room < 0; });
    return { links: found.slice(0, cut), all: found.length };
  }

  markTokens(alone, drawn, all) {
    for (const side of ["query", "key"]) {
      for (const option of this.options(side)) {
        const token = Number(option.dataset.token);
        const own = alone !== null && alone.side === side;
        const weight = alone === null || own ? null : side === "key" ? this.weight(alone.token, token) : this.weight(token, alone.token);
        const held = this.pin && this.pin.side === side && this.pin.token === token;
        const text = weight === null ? "" : NUMBER(weight);
        const state = [text, own && alone.token === token, own && alone.token !== token, Boolean(held)];
        if (this.marks[side][token] === state.join()) continue;
        this.marks[side][token] = state.join();
        write(option.firstChild, text);
        option.style.setProperty("--w", weight === null ? 0 : weight.toFixed(3));
        option.classList.toggle("own", state[1]);
        option.classList.toggle("other", state[2]);
        option.setAttribute("aria-selected", String(state[3]));
      }
    }
    if (alone === null) {
      const across = this.data.segments.includes(1) ? " Orange goes from one text to the other." : "";
      const cut = drawn < all ? `The ${drawn} strongest of ${all} links are drawn. ` : "";
      this.say(`${cut}The opacity of a line is the weight. Point at a token to see all its weights; a click keeps it.${across}`);
    } else if (alone.side === "query") this.sayRow(alone.token);
    else {
      const sum = this.queries.reduce((total, query) => total + this.weight(query, alone.token), 0);
      this.say("How much each query looks at ", this.named(alone.token), `; together ${NUMBER(sum, 2)}.`);
    }
  }

  /** Say where the weight of a query goes: to what is shown, to what is hidden, and to what is not in this file. */
  sayRow(query, ...more) {
    let all = 0;
    for (let key = 0; key < this.count; key += 1) all += this.weight(query, key);
    const shown = this.keys.reduce((total, key) => total + this.weight(query, key), 0);
    const said = [more.length ? "The weights of this row" : "Query ", ...(more.length ? [] : [this.named(query), ": its weights"]),
      ` that are shown sum to ${NUMBER(shown)}`];
    if (this.keys.length < this.count) said.push(`, hidden ones to ${NUMBER(Math.max(0, all - shown))}`);
    if (this.data.kept < this.count) said.push(`, those left out of this file to ${NUMBER(this.lost[query])}`);
    this.say(...more, ...said, ".");
  }

  // -- matrix --------------------------------------------------------------------------------------------------------

  buildMatrix() {
    this.matrix = make("canvas", { "aria-hidden": "true" });
    this.row = make("div", { class: "band" });
    this.column = make("div", { class: "band" });
    this.field = make("div", {
      class: "field", role: "application", tabindex: 0, "aria-roledescription": "heat map",
      "aria-label": "Matrix of weights, rows are queries and columns are keys. Arrow keys move, Enter shows how a weight comes about.",
      keydown: (event) => this.onMatrixKey(event),
      focus: () => this.sayPair(),
      pointermove: (event) => this.onMatrixPointer(event),
      click: (event) => this.onMatrixPointer(event),
    }, this.matrix, this.row, this.column);
    this.panels.matrix.append(make("div", { class: "scroll" }, this.field));
  }

  showMatrix() {
    const [rows, columns] = [this.queries.length, this.keys.length];
    const room = this.panels.matrix.clientWidth;
    const style = getComputedStyle(document.documentElement);
    const font = "12px ui-sans-serif, system-ui, sans-serif";
    const pen = this.matrix.getContext("2d");
    pen.font = font;
    const longest = Math.max(20, ...[...this.queries, ...this.keys].map((token) => pen.measureText(this.data.tokens[token].slice(0, 20)).width));
    const edge = Math.ceil(Math.min(longest + 12, room < 500 ? 84 : 130));
    const cell = Math.max(this.count > 128 ? 3 : 4, Math.min(34, Math.floor((room - edge - 2) / Math.max(1, columns))));
    Object.assign(this, { edge, cell });
    const inner = sized(this.matrix, edge + columns * cell + 1, edge + rows * cell + 1);
    const pixels = make("canvas");
    paint(pixels, columns, rows, (at) => Math.sqrt(this.weight(this.queries[Math.floor(at / columns)], this.keys[at % columns])));
    inner.imageSmoothingEnabled = false;
    if (rows && columns) inner.drawImage(pixels, edge, edge, columns * cell, rows * cell);
    inner.strokeStyle = style.getPropertyValue("--line");
    inner.strokeRect(edge - 0.5, edge - 0.5, columns * cell + 1, rows * cell + 1);
    inner.font = font;
    inner.fillStyle = style.getPropertyValue("--ink");
    inner.textBaseline = "middle";
    const every = Math.ceil(14 / cell);
    for (let row = 0; row < rows; row += every) {
      this.label(inner, this.queries[row], edge - 6, edge + (row + 0.5) * cell, 0);
    }
    for (let column = 0; column < columns; column += every) {
      this.label(inner, this.keys[column], edge + (column + 0.5) * cell, edge - 6, -Math.PI / 2);
    }
    this.sayPair();
  }

  label(pen, token, x, y, turned) {
    let text = this.data.tokens[token];
    while (text.length > 1 && pen.measureText(text).width > this.edge - 10) text = `${[...text].slice(0, -2).join("")}…`;
    pen.save();
    pen.translate(x, y);
    pen.rotate(turned);
    pen.textAlign = turned ? "left" : "right";
    pen.fillText(text, 0, 0);
    pen.restore();
  }

  onMatrixPointer(event) {
    const box = this.field.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - this.edge) / this.cell);
    const row = Math.floor((event.clientY - box.top - this.edge) / this.cell);
    if (row < 0 || column < 0 || row >= this.queries.length || column >= this.keys.length) return;
    this.pair = [this.queries[row], this.keys[column]];
    this.sayPair();
  }

  onMatrixKey(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Enter") this.turnTo("neurons").then(() => this.tabs[2].focus());
    if (!move || !this.queries.length || !this.keys.length) return;
    event.preventDefault();
    const near = (tokens, token, step) => tokens[Math.max(0, Math.min(tokens.length - 1, Math.max(0, tokens.indexOf(token)) + step))];
    this.pair = [near(this.queries, this.pair[0], move[0]), near(this.keys, this.pair[1], move[1])];
    this.sayPair();
    this.row.scrollIntoView({ block: "nearest" });
  }

  /** Mark a row and a column of the matrix, and say the weight where they meet. */
  sayPair() {
    const [query, key] = this.pair;
    const [row, column] = [this.queries.indexOf(query), this.keys.indexOf(key)];
    const there = row >= 0 && column >= 0;
    this.row.hidden = !there;
    this.column.hidden = !there;
    if (!there) {
      this.say("Point at a cell, or move with the arrow keys. The colour is the square root of the weight.");
      return;
    }
    const { edge, cell } = this;
    this.row.style.cssText = `left:0;top:${edge + row * cell}px;width:${edge + this.keys.length * cell}px;height:${cell}px`;
    this.column.style.cssText = `left:${edge + column * cell}px;top:0;width:${cell}px;height:${edge + this.queries.length * cell}px`;
    this.sayRow(query, "Query ", this.named(query), " looks at key ", this.named(key), " with ",
      make("b", {}, this.weightText(query, key)), ". ");
  }

  weightText(query, key, digits = 4) {
    const weight = this.weight(query, key);
    const left = this.data.kept < this.count && weight === 0 && !(this.data.causal && key > query);
    return left ? "a weight that is left out of this file" : NUMBER(weight, digits);
  }

  // -- neurons --------------------------------------------------------------------------------------------------------

  async showNeurons() {
    const panel = this.panels.neurons;
    const layer = this.data.vectors[this.layer];
    if (layer === null) {
      const there = [...this.data.vectors.keys()].filter((place) => this.data.vectors[place] !== null);
      panel.replaceChildren(make("p", {}, `Queries and keys of layer ${this.layer} are not in this file, which would be too long. `
        + (there.length ? `Those of layer ${there.join(", ")} are. ` : "")
        + `Write it with --layer ${this.layer} to have them.`));
      this.grown = null;
      return;
    }
    const { turn } = this;
    const both = await numbersOf(layer.heads[this.head], layer.scales[this.head]);
    this.near = layer.distances === null ? null : await numbersOf(layer.distances, layer.scale);
    if (turn !== this.turn || this.view !== "neurons") return;
    this.vectors = { q: both.subarray(0, both.length / 2), k: both.subarray(both.length / 2) };
    if (!this.grown) this.buildNeurons();
    this.fillNeurons();
  }

  buildNeurons() {
    const spread = this.near !== undefined && this.near !== null;
    const heads = ["key", "k", "q × k", "q·k", ...(spread ? ["+ distance"] : []), "score", "weight"];
    const choice = make("select", { change: (event) => { this.pair[0] = Number(event.target.value); this.fillNeurons(); } },
      ...this.data.tokens.map((token, place) => make("option", { value: place }, `${place} ${token}`)));
    const strips = ["q", "k", "product"].map((name) => make("canvas", { "aria-hidden": "true", class: `strip ${name}` }));
    const rows = this.data.tokens.map((_, place) => make("div", {
      role: "option", class: "line", tabindex: -1, "aria-selected": "false", "data-token": place,
    }, make("span", { class: "label" }, this.token(place)), ...heads.slice(3).map(() => make("span", { class: "value" }))));
    const list = make("div", {
      class: "keys", role: "listbox", "aria-label": "Keys with their score and weight",
      keydown: (event) => this.onKeyKey(event),
      click: (event) => { const row = event.target.closest("[data-token]"); if (row) this.chooseKey(Number(row.dataset.token)); },
    }, ...rows);
    // The strips of all keys are one picture each, over the rows.
    const over = make("div", { class: "line over", "aria-hidden": "true" }, strips[1], strips[2]);
    const table = make("div", { class: "neurons", style: `--values:${heads.length - 3}`, pointermove: (event) => this.onStrip(event) },
      make("div", { class: "line top" }, ...heads.map((name, place) => make("span", { class: place > 2 ? "number" : null }, name))),
      make("div", { class: "line" }, make("span", { class: "label" }, "q"), strips[0]),
      make("div", { class: "rows" }, list, over));
    this.sum = make("div", { class: "sum", role: "status" });
    this.grown = { choice, strips, rows, spread };
    this.panels.neurons.replaceChildren(
      make("div", { class: "controls" }, make("label", {}, "query ", choice)), this.sum, make("div", { class: "scroll" }, table),
    );
  }

  /** Compute what the chosen query makes of every key. */
  rowOfScores() {
    const [query] = this.pair;
    const { size, causal, positions } = this.data;
    const { q, k } = this.vectors;
    const found = [];
    for (let key = 0; key < this.count; key += 1) {
      if (causal && key > query) { found.push(null); continue; }
      let [dot, byQuery, byKey] = [0, 0, 0];
      for (let at = 0; at < size; at += 1) {
        dot += q[query * size + at] * k[key * size + at];
        if (this.near) {
          const step = this.near[(query - key + this.count - 1) * size + at];
          byQuery += q[query * size + at] * step;
          if (positions === "relative_key_query") byKey += k[key * size + at] * step;
        }
      }
      found.push({ dot, byQuery, byKey, score: (dot + byQuery + byKey) / Math.sqrt(size) });
    }
    const most = Math.max(...found.map((one) => (one ? one.score : -Infinity)));
    const total = found.reduce((sum, one) => sum + (one ? Math.exp(one.score - most) : 0), 0);
    for (const one of found) if (one) one.weight = Math.exp(one.score - most) / total;
    return { found, most, total };
  }

  fillNeurons() {
    const [query] = this.pair;
    const { choice, strips, rows, spread } = this.grown;
    const { size } = this.data;
    const { q, k } = this.vectors;
    choice.value = String(query);
    this.results = this.rowOfScores();
    const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    const own = q.subarray(query * size, (query + 1) * size);
    const products = k.map((value, place) => value * own[place % size]);
    for (const [place, values] of [own, k, products].entries()) {
      const most = largest(values);
      paint(strips[place], size, values.length / size, (at) => values[at] / most);
    }
    for (const [key, row] of rows.entries()) {
      const one = this.results.found[key];
      const values = one === null ? ["not seen", ...(spread ? [""] : []), "", "0"]
        : [NUMBER(one.dot, 2), ...(spread ? [NUMBER(one.byQuery + one.byKey, 2)] : []), NUMBER(one.score, 3), NUMBER(one.weight, 4)];
      for (const [place, value] of values.entries()) write(row.children[place + 1], value);
      row.style.setProperty("--w", one === null ? 0 : one.weight.toFixed(3));
    }
    this.chooseKey(this.pair[1]);
  }

  chooseKey(key) {
    this.pair[1] = key;
    const row = this.grown.rows[key];
    if (this.grown.chosen) this.grown.chosen.setAttribute("aria-selected", "false");
    if (this.grown.chosen) this.grown.chosen.tabIndex = -1;
    row.setAttribute("aria-selected", "true");
    row.tabIndex = 0;
    this.grown.chosen = row;
    this.say(STRIPS);
    this.sum.replaceChildren(...this.checked().map((line) => make("p", {}, ...line)));
  }

  /** Write out how the chosen weight comes about, and hold it against the run. */
  checked() {
    const [query, key] = this.pair;
    const { found, most, total } = this.results;
    const one = found[key];
    const head = ["Query ", this.named(query), ", key ", this.named(key)];
    if (one === null) return [[...head, ": a decoder's token does not see those after it."]];
    const { size, kept, causal, positions } = this.data;
    const terms = [`q·k, the sum of the ${size} products: ${NUMBER(one.dot, 4)}`];
    if (this.near) terms.push(`q·r of the distance ${NUMBER(query - key, 0)}: ${NUMBER(one.byQuery, 4)}`);
    if (this.near && positions === "relative_key_query") terms.push(`k·r: ${NUMBER(one.byKey, 4)}`);
    const seen = causal ? query + 1 : this.count;
    let [off, sum] = [0, 0];
    for (const [place, each] of found.entries()) {
      if (!each) continue;
      sum += each.weight;
      const there = kept === this.count || this.weight(query, place) > 0;
      if (there) off = Math.max(off, Math.abs(each.weight - this.weight(query, place)));
    }
    return [
      head,
      [terms.join(" + ")],
      [`score, ${this.near ? "all of that" : "that"} ÷ √${size}: `, make("b", {}, NUMBER(one.score, 4))],
      [`weight, e^(${NUMBER(one.score, 3)} − ${NUMBER(most, 3)}) ÷ ${NUMBER(total, 3)}, the sum of that over ${seen} keys: `,
        make("b", {}, NUMBER(one.weight, 5))],
      [`In the run it was ${this.weightText(query, key, 5)}. Over all ${kept < this.count ? "weights of this row in the file" : "keys"} the two differ by `
        + `at most ${off.toFixed(5)} (q and k are rounded here, to the largest ÷ ${this.data.vector_steps}), and the weights of the row sum to ${NUMBER(sum, 5)}.`],
    ];
  }

  onKeyKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const key = Math.max(0, Math.min(this.count - 1, this.pair[1] + steps[event.key]));
    this.chooseKey(key);
    this.grown.rows[key].focus();
  }

  /** Say the numbers of the cell of a strip that the pointer is at. */
  onStrip(event) {
    const strip = this.grown.strips.find((one) => {
      const box = one.getBoundingClientRect();
      return event.clientX >= box.left && event.clientX < box.right && event.clientY >= box.top && event.clientY < box.bottom;
    });
    if (!strip) { this.say(STRIPS); return; }
    const box = strip.getBoundingClientRect();
    const { size } = this.data;
    const at = Math.floor(((event.clientX - box.left) / box.width) * size);
    const q = this.vectors.q[this.pair[0] * size + at];
    if (strip === this.grown.strips[0]) { this.say(`Number ${at} of q: ${NUMBER(q, 4)}`); return; }
    const key = Math.floor(((event.clientY - box.top) / box.height) * this.count);
    const k = this.vectors.k[key * size + at];
    this.say("Key ", this.named(key), `, number ${at}: q × k = ${NUMBER(q)} × ${NUMBER(k)} = ${NUMBER(q * k, 4)}`);
  }
}

apps.attention = (root, data) => {
  if (typeof DecompressionStream === "undefined") {
    root.append(make("p", {}, "This page needs a browser of 2023 or later; the tables below say the same of the kinds of heads."));
    return;
  }
  new AttentionViews(root, data);
};
