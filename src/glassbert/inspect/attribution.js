"use strict";
/** Show a text whose pieces are coloured by what they contribute; one is in the order of keys, and arrows go on. */
apps.attribution = (root, data) => {
  let joined = data.joined;
  let here = 0;
  let spans = [];
  const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
  const text = make("div", { class: "coloured", role: "group", "aria-label": "The text; the arrow keys go from piece to piece", keydown: walk });
  const said = make("p", { class: "note said", "aria-live": "polite" });
  const switches = [["Tokens", false], ["Words", true]].map(([name, value]) => make("button", {
    type: "button", click: () => { joined = value; redraw(); },
  }, name));

  function says(piece) {
    if (piece.of === null) return "stays the same in the baseline";
    const share = piece.share === null ? "" : `, ${(100 * piece.share).toFixed(1)}% of the change`;
    return `${signed(piece.value, 4)}${share}`;
  }

  function show(place) {
    const piece = (joined ? data.words : data.tokens)[place];
    said.replaceChildren(make("bdi", {}, piece.text), `  ${says(piece)}`);
  }

  function redraw() {
    const pieces = joined ? data.words : data.tokens;
    const most = Math.max(...pieces.map((piece) => Math.abs(piece.value))) || 1;
    here = Math.max(0, pieces.findIndex((piece) => piece.of !== null));
    spans = pieces.map((piece, place) => make("span", {
      class: piece.of === null ? "piece frame" : `piece ${piece.value < 0 ? "against" : "for"}`,
      style: `--s:${(Math.abs(piece.value) / most).toFixed(4)}`,
      tabindex: place === here ? "0" : "-1", role: "img", "aria-label": `${piece.text}: ${says(piece)}`,
      pointerenter: () => show(place), focus: () => show(place),
    }, make("bdi", {}, piece.text)));
    text.replaceChildren(...spans.flatMap((span) => [span, " "]));
    switches.forEach((button, place) => button.setAttribute("aria-pressed", String(Boolean(place) === joined)));
    said.textContent = "Point at a piece, or go to it with the keys, to read its number.";
  }

  function walk(event) {
    const places = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: spans.length - 1 };
    if (!(event.key in places)) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(spans.length - 1, places[event.key]));
    spans[here].tabIndex = -1;
    here = next;
    spans[here].tabIndex = 0;
    spans[here].focus();
  }

  root.append(make("div", { class: "controls", role: "group", "aria-label": "Pieces" }, ...switches), text, said);
  redraw();
};
