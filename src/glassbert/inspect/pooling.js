"use strict";
/** Draw labelled texts as dots: one picture for each kind of vector, in two ways; dots are read by mouse or by keys. */
apps.pooling = (root, data) => {
  const wide = 720;
  const high = 440;
  const edge = 22;
  const named = 24;
  const shapes = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", "M-3.6-3.6H3.6V3.6H-3.6Z", "M0-4.8L4.8 0L0 4.8L-4.8 0Z", "M0-4.8L4.4 3.4H-4.4Z"];
  const ways = { components: "Principal components", held_out: "Held-out scores" };
  const state = { picture: 0, way: "components", picked: null, here: null, places: [] };

  const mark = (number) => ({ d: shapes[Math.floor(number / 8) % shapes.length], class: `mark k${number % 8}` });
  const dots = data.classes.map((number) => draw("path", mark(number)));
  const field = draw("svg", {
    viewBox: `0 0 ${wide} ${high}`, class: "field", tabindex: "0", role: "application", keydown: walk,
    "aria-label": "Texts as dots; the arrow keys go from dot to dot, Escape leaves them",
    pointermove: point, pointerdown: point, pointerleave: () => show(null),
  }, ...dots);
  const about = make("p", { class: "note" });
  const said = make("p", { class: "note said", "aria-live": "polite" });
  const tabs = data.pictures.map((one, place) => make("button", {
    role: "tab", type: "button", id: `pooling-tab-${place}`, "aria-controls": "pooling-panel", click: () => choose(place),
    keydown: turn,
  }, `${one.name} · ${one.accuracy}`));
  const switches = Object.entries(ways).map(([way, name]) => make("button", {
    type: "button", "data-way": way, click: () => { state.way = way; redraw(); },
  }, name));
  const legend = data.labels.slice(0, named).map((label, number) => make("button", {
    type: "button", "aria-pressed": "false", title: label, click: () => pick(number),
  }, draw("svg", { viewBox: "-6 -6 12 12", "aria-hidden": "true" }, draw("path", mark(number))), make("bdi", {}, label || "“”")));

  /** Return the place of each dot in the drawing. */
  function fitted(points) {
    const range = (axis) => {
      const values = points.map((point) => point[axis]);
      const low = Math.min(...values);
      return { low, size: Math.max(...values) - low || 1 };
    };
    const [across, up] = [range(0), range(1)];
    let [sx, sy] = [(wide - 2 * edge) / across.size, (high - 2 * edge) / up.size];
    if (state.way === "components") sx = sy = Math.min(sx, sy); // both axes have one unit
    const [left, low] = [(wide - sx * across.size) / 2, (high - sy * up.size) / 2];
    return points.map(([x, y]) => [left + sx * (x - across.low), high - low - sy * (y - up.low)]);
  }

  function redraw() {
    const one = data.pictures[state.picture];
    state.places = fitted(one[state.way]);
    state.places.forEach(([x, y], place) => dots[place].setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`));
    tabs.forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(place === state.picture));
      tab.tabIndex = place === state.picture ? 0 : -1;
    });
    switches.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.way === state.way)));
    panel.setAttribute("aria-labelledby", tabs[state.picture].id);
    about.textContent = state.way === "components"
      ? `The two directions in which these vectors vary most: ${one.shown} of their variance.`
      : data.labels.length === 2
        ? `Across: how far the ridge regression leans from ${data.labels[0]} (left) to ${data.labels[1]} (right), each text told by the folds that it is not in. Up: the first principal component.`
        : "What the ridge regression says of each text, told by the folds that it is not in: the two main components of all classes' scores.";
    show(null);
  }

  function choose(place) {
    state.picture = place;
    redraw();
    tabs[place].focus();
  }

  function turn(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    const last = tabs.length - 1;
    const ends = { Home: 0, End: last };
    if (event.key in steps) choose((state.picture + steps[event.key] + tabs.length) % tabs.length);
    else if (event.key in ends) choose(ends[event.key]);
    else return;
    event.preventDefault();
  }

  function pick(number) {
    state.picked = state.picked === number ? null : number;
    legend.forEach((button, place) => button.setAttribute("aria-pressed", String(place === state.picked)));
    field.classList.toggle("picked", state.picked !== null);
    dots.forEach((dot, place) => dot.classList.toggle("on", data.classes[place] === state.picked));
    show(null);
  }

  const visible = (place) => state.picked === null || data.classes[place] === state.picked;

  /** Say which text a dot is; null says how to find out. */
  function show(place) {
    if (state.here !== null) dots[state.here].classList.remove("here");
    state.here = place;
    said.replaceChildren();
    if (place === null) {
      said.append("Point at a dot to read its text.");
      return;
    }
    dots[place].classList.add("here");
    field.append(dots[place]); // above the others
    said.append(make("strong", {}, make("bdi", {}, data.labels[data.classes[place]])), " ", make("bdi", { dir: "auto" }, data.texts[place]));
  }

  function point(event) {
    const box = field.getBoundingClientRect();
    const x = (event.clientX - box.left) * wide / box.width;
    const y = (event.clientY - box.top) * high / box.height;
    let best = null;
    let nearest = 14 * 14;
    state.places.forEach(([px, py], place) => {
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < nearest && visible(place)) [best, nearest] = [place, far];
    });
    if (best !== state.here) show(best);
  }

  /** Go to the next dot in the direction of a key; from none, to the first on the left. */
  function walk(event) {
    const directions = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Escape") show(null);
    if (!(event.key in directions)) return;
    event.preventDefault();
    const [dx, dy] = directions[event.key];
    let best = null;
    let nearest = Infinity;
    const [hx, hy] = state.here === null ? [dx < 0 ? wide : 0, high / 2] : state.places[state.here];
    state.places.forEach(([x, y], place) => {
      const along = (x - hx) * (state.here === null ? 1 : dx) + (y - hy) * (state.here === null ? 0 : dy);
      const aside = Math.abs((x - hx) * dy) + Math.abs((y - hy) * dx);
      const far = Math.abs(along) + 2 * aside;
      const ahead = state.here === null || along > 0 || (along === 0 && place > state.here);
      if (place !== state.here && visible(place) && ahead && aside <= 2 * Math.abs(along) + 1 && far < nearest) [best, nearest] = [place, far];
    });
    if (best !== null) show(best);
  }

  const panel = make("div", { role: "tabpanel", id: "pooling-panel" }, field, said, about);
  const more = data.labels.length > named ? [make("span", { class: "note" }, `and ${data.labels.length - named} more`)] : [];
  root.append(
    make("div", { class: "controls", role: "tablist", "aria-label": "Vector of a text" }, ...tabs),
    make("div", { class: "controls", role: "group", "aria-label": "Picture" }, ...switches),
    panel,
    make("div", { class: "controls legend", role: "group", "aria-label": "Classes" }, ...legend, ...more),
  );
  redraw();
};
