// The form for coding by hand: one answer at a time, a key for each category. Appended to the reader's module, whose
// functions it uses. It receives only texts: neither who answered nor the codes of others.

const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";

// `data`: {categories: [[name, definition]], items: [{turns: [{prompt, response}], category}]}; `live.code(place, category)`.
VIEWS.coding = function (root, data, live) {
  const { categories, items } = data;
  const next = (from) => items.findIndex((item, i) => i > from && !item.category);
  let place = Math.max(0, next(-1)), saving = 0;
  const status = h("span", { class: "quiet", role: "status" });
  const said = h("div", { class: "bad", role: "alert" });
  const body = h("div", { class: "detail" });
  const buttons = categories.map(([name, definition], i) => h("button", { type: "button", title: definition, onclick: () => give(name) },
    KEYS[i] ? h("kbd", {}, KEYS[i]) : null, ` ${name}`, definition ? h("span", { class: "quiet" }, ` ${definition}`) : null));
  const form = h("div", { class: "llmkit-reader llmkit-coding tex2jax_ignore mathjax_ignore", tabindex: "0", role: "group",
    "aria-label": "Coding by hand", onkeydown: key },
    h("div", { class: "bar" }, status, h("span", { class: "quiet" }, "Space: next · Backspace: back · Delete: remove code")), said,
    h("div", { class: "codes", role: "group", "aria-label": "Categories" }, buttons), body);
  root.replaceChildren(h("style", {}, STYLE + CODING_STYLE), form);

  function draw() {
    const item = items[place], coded = items.filter((each) => each.category).length;
    status.textContent = `Answer ${place + 1} of ${items.length}, ${coded} coded` +
      (saving ? `, ${saving} being saved` : coded === items.length ? ": all done" : "");
    body.replaceChildren(...item.turns.flatMap(({ prompt, response }) => [
      h("section", { class: "prompt" }, h("div", { class: "who" }, "Prompt"), markdown(prompt)),
      h("section", { class: "answer" }, h("div", { class: "who" }, "Answer"), markdown(response)),
    ]));
    body.scrollTop = 0;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(categories[i][0] === item.category)));
  }

  function go(to) {
    place = Math.min(Math.max(to, 0), items.length - 1);
    draw();
  }

  // Move on at once; if the code cannot be saved, return to its answer.
  async function give(category) {
    const at = place, item = items[at], before = item.category;
    item.category = category;
    saving++;
    go(category ? at + 1 : at);
    const { error } = await live.code(at, category);
    saving--;
    said.textContent = error ?? "";
    if (error) item.category = before;
    go(error ? at : place);
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const category = categories[KEYS.indexOf(event.key)]?.[0];
    const move = { " ": 1, ArrowRight: 1, Backspace: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Delete") give(null);
    else if (category && event.key.length === 1) give(category);
    else if (move) go(place + move);
    else return;
    event.preventDefault();
  }

  draw();
  if (!document.activeElement?.matches("input, textarea, select, [contenteditable=true]")) form.focus({ preventScroll: true });
  return null;
};

const CODING_STYLE = `
.llmkit-coding { padding: 4px 6px; }
.llmkit-coding .codes { display: flex; flex-wrap: wrap; gap: 6px; padding: 6px 0; }
.llmkit-coding .codes button { max-width: none; text-align: left; } .llmkit-coding kbd { font-weight: 600; }
.llmkit-coding .detail { max-height: 420px; border: 1px solid var(--line); border-radius: 4px; }
`;
