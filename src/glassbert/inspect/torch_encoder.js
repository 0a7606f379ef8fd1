// One layer on both sides: torch at the left, BERT at the right, with a line for each weight that they share.
apps.torch_encoder = (root, data) => {
  const high = 30, gap = 8, wide = 270, right = 450, top = 30;
  const place = (index) => top + index * (high + gap);
  const note = make("div", { class: "facts-list", "aria-live": "polite" });
  const buttons = [];

  function side(x, index, text) {
    const y = place(index);
    return [
      draw("rect", { class: "side", x, y, width: wide, height: high, rx: 6 }),
      draw("text", { x: x + wide / 2, y: y + 20, "text-anchor": "middle" }, text),
    ];
  }

  function choose(index) {
    buttons.forEach((one, number) => {
      one.element.setAttribute("aria-pressed", String(number === index));
      one.element.setAttribute("tabindex", number === index ? "0" : "-1");
    });
    const said = buttons[index].facts.map((fact) =>
      make("p", {}, make("code", {}, fact.torch), " = ", make("code", {}, fact.bert), ` (${fact.shape}), ${fact.equal}`));
    note.replaceChildren(...said);
  }

  function onKey(event, index) {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -buttons.length, End: buttons.length };
    if (event.key in steps) {
      const next = Math.max(0, Math.min(buttons.length - 1, index + steps[event.key]));
      choose(next);
      buttons[next].element.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      choose(index);
    } else {
      return;
    }
    event.preventDefault();
  }

  function weight(row, index) {
    const number = buttons.length;
    const y = place(index) + high / 2;
    const element = draw("g",
      { class: "weight", role: "button", "aria-label": `${row.torch} is ${row.bert}`,
        click: () => choose(number), keydown: (event) => onKey(event, number) },
      ...side(2, index, row.torch),
      draw("line", { x1: 2 + wide, x2: right, y1: y, y2: y }),
      ...side(right, index, row.bert));
    buttons.push({ element, facts: row.facts });
    return element;
  }

  function step(row, index) {
    if (row.bert) {
      const texts = [[2, row.torch], [right, row.bert]];
      return draw("g", {}, ...texts.map(([x, text]) =>
        draw("text", { x: x + wide / 2, y: place(index) + 20, "text-anchor": "middle" }, text)));
    }
    return draw("g", { class: "extra" }, ...side(2, index, `${row.torch}: in training, torch alone`),
      draw("text", { x: right + wide / 2, y: place(index) + 20, "text-anchor": "middle" }, "nothing here"));
  }

  const shown = data.rows.map((row, index) => (row.facts.length ? weight(row, index) : step(row, index)));
  const joined = draw("rect",
    { class: "joined", x: -2, y: place(0) - 4, width: wide + 8, height: 3 * high + 2 * gap + 8, rx: 9 },
    draw("title", {}, "one parameter, in_proj"));
  const heads = [[2, "torch.nn.TransformerEncoderLayer"], [right, "BertLayer"]].map(([x, text]) =>
    draw("text", { class: "head", x: x + wide / 2, y: 14, "text-anchor": "middle" }, text));
  root.append(
    draw("svg", { viewBox: `-4 0 ${right + wide + 8} ${place(data.rows.length)}`, role: "group",
      "aria-label": "The weights of one layer, torch and BERT" }, ...heads, joined, ...shown),
    note);
  choose(0);
};
