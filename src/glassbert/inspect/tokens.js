/** The text with its pieces; of the piece that one points at, or that has the focus, all that is known. */
apps.tokens = (root, { tokens, texts, vocabulary }) => {
  const HUES = 4;
  const marks = []; // in the order of reading: what can have the focus, each for one token or several
  const panel = make("dl", { class: "panel", "aria-live": "polite" });
  const text = make("div", { class: "text", role: "group", "aria-label": "The text, piece by piece" });
  let current = 0;

  /** Numbers of characters stand by themselves, or right-to-left text would part them. */
  function signs(shown) {
    return shown.split(/(‹U\+[0-9A-F]{4,6}›)/).map((part, place) => (place % 2 ? make("bdi", {}, part) : part));
  }

  function kindOf(token) {
    if (token.unknown) return "unknown word";
    return { frame: "special token, round the texts", special: "special token, in the text", added: "added token", kept: "word of never_split", word: "piece of a word" }[token.kind];
  }

  function facts(token) {
    const rows = [
      ["id", `${token.id} of ${vocabulary}`],
      ["type", token.type],
      ["what", kindOf(token)],
    ];
    if (token.start !== null) {
      rows.push(["place in the text", `${token.start} to ${token.stop}`], ["there", token.slice], ["word", `${token.word} (number ${token.number})`]);
      for (const [name, cell] of token.steps) rows.push([name, cell || "nothing left"]);
    }
    return rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, ...signs(String(value)))));
  }

  function show(place) {
    const before = marks[current];
    const now = marks[place];
    before.element.removeAttribute("aria-current");
    for (const one of before.word) one.classList.remove("same");
    for (const one of now.word) one.classList.add("same");
    now.element.setAttribute("aria-current", "true");
    before.element.tabIndex = -1;
    now.element.tabIndex = 0;
    current = place;
    panel.replaceChildren(...now.members.flatMap((member) => [make("h3", {}, make("code", { dir: "ltr" }, tokens[member].token)), ...facts(tokens[member])]));
  }

  function mark(shown, members, parent, word) {
    const first = tokens[members[0]];
    const unknown = members.some((member) => tokens[member].unknown);
    const kind = first.kind === "frame" ? "frame" : `piece ${unknown ? "unknown" : `hue${first.number % HUES}`}`;
    const place = marks.length;
    const label = members.map((member) => `${tokens[member].token}, id ${tokens[member].id}`).join("; ");
    const dir = kind === "frame" ? "ltr" : null; // so that the text alone says where a line begins
    const element = make("span", { class: kind, dir, role: "button", tabindex: "-1", "aria-label": label, "data-place": place }, ...signs(shown));
    marks.push({ element, members, word });
    word.push(element);
    parent.append(element);
  }

  let next = 0; // the token that stands after all that is drawn
  function frame(parent) {
    while (next < tokens.length && tokens[next].kind === "frame") {
      mark(tokens[next].token, [next], parent, []);
      next += 1;
    }
  }

  for (const parts of texts) {
    const line = make("p", { dir: "auto" });
    if (!marks.length) frame(line);
    let word = [];
    let number = null;
    for (const [shown, members] of parts) {
      if (!members.length) {
        line.append(...signs(shown));
        continue;
      }
      if (tokens[members[0]].number !== number) {
        word = [];
        number = tokens[members[0]].number;
      }
      mark(shown, members, line, word);
      next = members[members.length - 1] + 1;
    }
    frame(line);
    text.append(line);
  }

  const placeOf = (event) => event.target.closest("[data-place]")?.dataset.place;
  for (const kind of ["mouseover", "focusin", "click"]) {
    text.addEventListener(kind, (event) => {
      const place = placeOf(event);
      if (place !== undefined) show(Number(place));
    });
  }
  text.addEventListener("keydown", (event) => {
    const moved = { ArrowRight: current + 1, ArrowDown: current + 1, ArrowLeft: current - 1, ArrowUp: current - 1, Home: 0, End: marks.length - 1 }[event.key];
    if (moved === undefined) return;
    event.preventDefault();
    marks[Math.max(0, Math.min(marks.length - 1, moved))].element.focus();
  });
  root.append(text, panel);
  if (marks.length) show(Math.min(1, marks.length - 1));
};
