// What other batches and lengths take, by the same formulas as in Python.
apps.parameters = (root, data) => {
  const size = { batch: data.batch, length: data.length };

  /** fixed + text·B + token·B·S + pair·B·S² + square·S², as a whole number. */
  function at([fixed, text, token, pair, square], batch, length) {
    const tokens = batch * length;
    return Math.floor(fixed + text * batch + token * tokens + (pair * tokens * length + square * length * length) + 0.5);
  }

  function highest(moments) {
    return Math.max(...moments.map((moment) => at(moment, size.batch, size.length)));
  }

  function peak(setting, optimizer) {
    const most = highest(setting.moments);
    const bytes = setting.whole.length ? Math.min(most, highest(setting.whole)) : most;
    return bytes + (setting.training ? data.states[optimizer] - data.states[data.optimizer] : 0);
  }

  function stack(setting, optimizer) {
    if (!setting.training) return [["weights", data.weights], ["activations", peak(setting, optimizer) - data.weights]];
    return [
      ["weights", data.weights],
      ["optimizer", data.states[optimizer]],
      ["gradients", data.gradients],
      ["activations", at(setting.kept, size.batch, size.length)],
    ];
  }

  function megabytes(bytes) {
    const value = bytes / 1e6;
    if (value >= 100) return Math.round(value).toLocaleString("en-US");
    return value >= 10 ? value.toFixed(1) : String(Number(value.toPrecision(3)));
  }

  /** The last part of a stack, as the table of Python says it. */
  function activations(setting, optimizer) {
    const [, value] = stack(setting, optimizer).at(-1);
    return value ? megabytes(value) : "–";
  }

  function numbered(name, most) {
    const id = `parameters-${name}`;
    const field = make("input", { type: "number", id, min: 1, max: most, step: 1, value: size[name] });
    // A batch may be of any size; on the slider only some are in reach.
    const top = Math.min(most, Math.max(256, size[name]));
    const slider = make("input", { type: "range", min: 1, max: top, value: size[name], "aria-label": `${name}, slider` });
    const take = (from, other) => {
      const value = Number(from.value);
      const right = from.value !== "" && Number.isInteger(value) && value >= 1 && value <= most;
      wrong.textContent = right ? "" : `${name}: a whole number from 1 to ${most.toLocaleString("en-US")}`;
      from.setAttribute("aria-invalid", String(!right));
      if (!right) return;
      field.setAttribute("aria-invalid", "false");
      size[name] = value;
      other.value = String(value);
      show();
    };
    field.addEventListener("input", () => take(field, slider));
    slider.addEventListener("input", () => take(slider, field));
    return make("div", { class: "controls" }, make("label", { for: id }, name, field), slider);
  }

  const wrong = make("p", { class: "wrong", role: "alert" });
  const choice = make(
    "select",
    { id: "parameters-optimizer", change: () => show() },
    ...Object.keys(data.states).map((name) => make("option", { value: name }, name)),
  );
  choice.value = data.optimizer;
  const sum = make("p", { class: "sum", "aria-live": "polite" });
  const bars = draw("svg", { class: "memory", role: "img" });
  const rows = make("tbody");
  const heads = ["setting", "activations, MB", "peak, MB"];
  const table = make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...heads.map((name, n) => make("th", { scope: "col", class: n ? "number" : null }, name)))),
    rows,
  );

  function show() {
    const optimizer = choice.value;
    const forward = at(data.forward, size.batch, size.length);
    const training = at(data.training, size.batch, size.length);
    const grouped = (count) => count.toLocaleString("en-US");
    sum.textContent = `${grouped(forward)} operations forward, ${grouped(training)} forward and back.`;
    const stacks = data.settings.map((setting) => stack(setting, optimizer));
    const peaks = data.settings.map((setting) => peak(setting, optimizer));
    const most = Math.max(...peaks, ...stacks.map((parts) => parts.reduce((total, [, value]) => total + value, 0)));
    const drawn = [draw("title", {}, "Memory of each setting at this size")];
    data.settings.forEach((setting, row) => {
      let left = 2;
      const top = row * 46;
      drawn.push(draw("text", { class: "in", x: 2, y: top + 14 }, setting.name));
      drawn.push(draw("text", { x: 620, y: top + 14, "text-anchor": "end" }, `${megabytes(peaks[row])} MB`));
      for (const [name, value] of stacks[row]) {
        const width = (value / most) * 618;
        const said = draw("title", {}, `${name}: ${megabytes(value)} MB`);
        drawn.push(draw("rect", { class: `part ${name}`, x: left, y: top + 20, width, height: 14 }, said));
        left += width;
      }
      const line = 2 + (peaks[row] / most) * 618;
      drawn.push(draw("path", { class: "peak", d: `M${line} ${top + 17}V${top + 37}` }));
    });
    bars.setAttribute("viewBox", `0 0 622 ${data.settings.length * 46}`);
    bars.replaceChildren(...drawn);
    rows.replaceChildren(
      ...data.settings.map((setting, row) =>
        make(
          "tr",
          { "data-peak": peaks[row], "data-kept": at(setting.kept, size.batch, size.length) },
          make("td", {}, setting.name),
          make("td", { class: "number" }, activations(setting, optimizer)),
          make("td", { class: "number" }, megabytes(peaks[row])),
        ),
      ),
    );
  }

  root.append(
    numbered("batch", data.largest),
    numbered("length", data.positions),
    make("div", { class: "controls" }, make("label", { for: "parameters-optimizer" }, "optimizer", choice)),
    wrong,
    sum,
    bars,
    table,
  );
  show();
};
