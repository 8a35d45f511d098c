// The reader for answers: a list with filters and search next to one conversation. One module with two uses: as a
// widget while a kernel lives (`render`), and in a self-contained sandboxed page (`show`).
//
// Text by models or users becomes text nodes, never markup.

const ROW = 98; // px, two lines of prompt and two of answer
const STATUSES = ["ok", "failed", "cancelled", "skipped", "pending"];

// ---------------------------------------------------------------------------------------------------------------- DOM

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

// Markdown as DOM nodes, as far as answers use it. Links and images stay text, since an answer must not lead away.
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+/;
const DEEPEST = 20; // lists, quotes and emphasis in each other; what is deeper stays text

function markdown(text, depth = 0) {
  const out = document.createDocumentFragment();
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; ) {
    const line = lines[i];
    const fence = line.match(/^\s*(`{3,99}(?!`|.*`)|~{3,99})/);
    const heading = line.match(/^(#{1,6})\s+(.*)/);
    const item = line.match(ITEM);
    const take = (test) => { const from = i; while (i < lines.length && test(lines[i])) i++; return lines.slice(from, i); };
    if (depth > DEEPEST) {
      out.append(h("p", {}, lines.slice(i).join("\n")));
      break;
    } else if (fence) {
      const ends = new RegExp(`^\\s*${fence[1]}${fence[1][0]}*\\s*$`);
      i++;
      out.append(h("pre", {}, h("code", {}, take((l) => !ends.test(l)).join("\n"))));
      i++;
    } else if (heading) {
      i++;
      out.append(h("p", { class: "heading" }, inline(heading[2])));
    } else if (item) {
      const list = h(item[2] ? "ol" : "ul", { start: item[2] });
      const indent = item[1].length;
      for (let next = item; next && !next[2] === !item[2] && next[1].length <= indent + 1; next = lines[i]?.match(ITEM)) {
        const own = [lines[i++].slice(next[0].length)];
        own.push(...take((l) => !l.trim() || l.search(/\S/) > indent + 1).map((l) => l.slice(Math.min(l.search(/\S|$/), next[0].length))));
        list.append(h("li", {}, markdown(own.join("\n"), depth + 1)));
      }
      out.append(list);
    } else if (/^\s*>/.test(line)) {
      out.append(h("blockquote", {}, markdown(take((l) => /^\s*>/.test(l)).map((l) => l.replace(/^\s*>\s?/, "")).join("\n"), depth + 1)));
    } else if (/^\s*\|.*\|\s*$/.test(line)) {
      const rows = take((l) => /^\s*\|.*\|\s*$/.test(l)).filter((l) => !/^[\s|:-]+$/.test(l));
      out.append(h("table", {}, h("tbody", {}, rows.map((row, n) =>
        h("tr", {}, row.trim().slice(1, -1).split(/(?<!\\)\|/).map((cell) => h(n ? "td" : "th", {}, inline(cell.trim().replaceAll("\\|", "|")))))))));
    } else if (!line.trim()) {
      i++;
    } else {
      const words = take((l) => l.trim() && !/^\s*(```|~~~|>|#{1,6}\s|[-*+]\s|\d+[.)]\s|\|)/.test(l));
      if (!words.length) words.push(lines[i++]);
      out.append(h("p", {}, inline(words.join("\n"))));
    }
  }
  return out;
}

function inline(text, depth = 0) {
  if (depth > DEEPEST) return text;
  const out = document.createDocumentFragment();
  // Bounded where the end is looked for anew from each beginning, which takes hours in an answer that repeats itself.
  const pattern = /\\([*_`])|`([^`]+)`|\*\*((?:`[^`]+`|[^`])+?)\*\*|(?<!\w)__(.{1,2000}?)__(?!\w)|\*(?![*\s])((?:`[^`]+`|[^*`])+?)(?<!\\)\*|!?\[([^\]]{0,500})\]\(([^)\s]{0,2000})(?:\s[^)]{0,2000})?\)/gs;
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    out.append(text.slice(end, match.index));
    const [all, escaped, code, bold, strong, emphasis, label, url] = match;
    if (escaped) out.append(escaped);
    else if (code) out.append(h("code", {}, code));
    else if (bold ?? strong) out.append(h("strong", {}, inline(bold ?? strong, depth + 1)));
    else if (emphasis) out.append(h("em", {}, inline(emphasis, depth + 1)));
    else out.append(label || "", h("span", { class: "quiet" }, ` (${url})`));
    end = match.index + all.length;
  }
  out.append(text.slice(end));
  return out;
}

function save(bytes, name) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a sandboxed page has no clipboard access
    const area = h("textarea", {}, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export async function unpack(bytes) {
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

// --------------------------------------------------------------------------------------------------------------- data

const money = (amount) => (amount == null ? "" : ` · ${amount}`); // what was never billed has none
const seconds = (time) => (time == null ? "" : `${time.toFixed(1)} s`);

// A probe with its texts, and with its searchable text computed once.
function prepare(data) {
  for (const probe of data.probes) {
    Object.assign(probe, data.scenarios[probe.s]);
    const question = data.questions[probe.question];
    if (question) probe.prompts = [`${probe.prompts[0]}\n\n${question}`, ...probe.prompts.slice(1)];
    probe.words = [data.systems[probe.system], ...probe.earlier.map((turn) => turn.content), ...probe.prompts, ...probe.turns.map((turn) => turn.response), probe.code,
      probe.message, probe.model, probe.config, ...Object.values(probe.notes).map(String)].filter(Boolean).join("\n").toLowerCase();
  }
  return data;
}

const FILTERS = [
  ["model", "Model", (probe) => probe.model],
  ["config", "Configuration", (probe) => (probe.config === probe.model ? null : probe.config)],
  ["status", "Status", (probe) => probe.status],
  ["code", "Failure", (probe) => probe.code],
  ["run", "Run", (probe) => probe.runName],
  ["mark", "Mark", (probe) => (probe.notes.mark ? "marked" : null)],
];
const SPARSE = ["code", "mark"]; // filters that are useful with a single value

// -------------------------------------------------------------------------------------------------------------- reader

// Shows the data in an element. `live`: {attempts(probe), note(probe, change), csv(probes)} if there is a kernel; without
// it notes are read-only, and requests are not available. Returns {update(rows)} for changes during a run.
export function show(root, data, live = null) {
  prepare(data);
  const state = { filters: {}, text: "", selected: null, side: false, raw: false, matching: [] };
  const own = `llmkit-${Math.random().toString(36).slice(2)}`; // a notebook may show several readers
  const byId = new Map(data.probes.map((probe) => [probe.id, probe]));
  const text = (value) => (value == null ? null : typeof value === "string" ? value : JSON.stringify(value));
  const filters = () => [...FILTERS, ...data.columns.map((name, i) => [`:${name}`, name, (probe) => text(probe.values[i])]),
    ...data.codes.map((name) => [`code.${name}`, `Code ${name}`, (probe) => text(probe.notes[`code.${name}`])])];

  const search = h("input", { type: "search", placeholder: "Search in all turns", "aria-label": "Search in all turns",
    oninput: () => { state.text = search.value.toLowerCase(); filter(); } });
  const count = h("span", { class: "quiet", role: "status" });
  const selects = h("span", { class: "selects", onfocusout: () => setTimeout(offer) });
  const spacer = h("div", { class: "spacer" });
  const list = h("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": "Answers", onscroll: () => draw() }, spacer);
  const detail = h("div", { class: "detail", role: "region", "aria-label": "Conversation", tabindex: "0" });
  const toggle = (name, label, key, title) => {
    const button = h("button", { type: "button", "aria-pressed": "false", title: `${title} (${key})`, onclick: () => {
      state[name] = !state[name];
      button.setAttribute("aria-pressed", String(state[name]));
      read();
    } }, label);
    return button;
  };
  const side = toggle("side", "Side by side", "s", "All models and samples of this prompt side by side");
  const raw = toggle("raw", "Raw", "r", "Answers as plain text, without Markdown");
  const said = h("div", { class: "bad", role: "alert" });
  const csv = live && h("button", { type: "button", title: "Save the matching answers, with all columns (e)", onclick: async () => {
    const { error, bytes } = await live.csv(state.matching);
    said.textContent = error ?? "";
    if (bytes) save(bytes, "answers.csv");
  } }, "Save as CSV");

  root.replaceChildren(h("style", {}, STYLE), h("div", { class: "llmkit-reader tex2jax_ignore mathjax_ignore", onkeydown: key },
    h("div", { class: "bar" }, search, selects, side, raw, csv, count), said,
    data.left_out ? h("div", { class: "quiet" }, data.left_out) : null,
    h("div", { class: "panes" }, list, detail)));

  function values(get) {
    const tally = new Map();
    for (const probe of data.probes) {
      const value = get(probe);
      if (value != null) tally.set(value, (tally.get(value) ?? 0) + 1);
    }
    return tally;
  }

  function offer() {
    if (selects.querySelector(":focus")) return; // it may be open: offer anew when it is left
    selects.replaceChildren();
    for (const [name, label, get] of filters()) {
      const tally = values(get);
      const few = SPARSE.includes(name) || name.startsWith("code.") ? 1 : 2;
      if (name in state.filters) tally.set(state.filters[name], tally.get(state.filters[name]) ?? 0); // or nobody could undo it
      if (!(name in state.filters) && (tally.size < few || tally.size > 200)) continue;
      const select = h("select", { "aria-label": label, onchange: () => {
        if (select.value) state.filters[name] = select.value.slice(1);
        else delete state.filters[name];
        filter();
      } }, h("option", { value: "" }, `${label}: all`));
      const order = name === "status" ? STATUSES.filter((s) => tally.has(s)) : [...tally.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
      for (const value of order) select.append(h("option", { value: "=" + value }, `${value} (${tally.get(value)})`));
      if (name in state.filters) select.value = "=" + state.filters[name];
      selects.append(select);
    }
  }

  function filter() {
    const before = state.selected;
    const tests = filters().filter(([name]) => name in state.filters);
    const words = state.text.split(/\s+/).filter(Boolean);
    state.matching = data.probes.filter((probe) =>
      tests.every(([name, , get]) => get(probe) === state.filters[name]) && words.every((word) => probe.words.includes(word)));
    count.textContent = `${state.matching.length.toLocaleString("en")} of ${data.probes.length.toLocaleString("en")}${data.more ? " …" : ""}`;
    spacer.style.height = `${state.matching.length * ROW}px`;
    if (!state.matching.includes(state.selected)) { state.selected = state.matching[0] ?? null; list.scrollTop = 0; }
    draw(true);
    if (state.selected !== before || !detail.querySelector("input:focus")) read(); // keep what is being typed
  }

  let drawn = "";
  function draw(again = false) {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 3);
    const last = Math.min(state.matching.length, first + Math.ceil((list.clientHeight || 500) / ROW) + 6);
    const range = `${first} ${last}`;
    if (!again && range === drawn) return;
    drawn = range;
    const before = [...spacer.children];
    const rows = state.matching.slice(first, last).map((probe, i) => row(probe, first + i));
    rows.forEach((node, i) => { // a row that is as it was stays: it may be about to be clicked
      if (!before[i]) spacer.append(node);
      else if (!before[i].isEqualNode(node)) before[i].replaceWith(node);
    });
    before.slice(rows.length).forEach((node) => node.remove());
  }

  function row(probe, place) {
    const chosen = probe === state.selected;
    const last = probe.turns.at(-1);
    const chips = probe.values.map(text).filter(Boolean);
    const node = h("div", { class: "row" + (chosen ? " chosen" : ""), role: "option", id: `${own}-${place}`,
      "aria-selected": String(chosen), "aria-posinset": place + 1, "aria-setsize": state.matching.length,
      style: `top: ${place * ROW}px`, onclick: () => select(place) },
      h("div", { class: "line" }, probe.notes.mark ? "★ " : null, short(probe.prompts[0])),
      h("div", { class: "line quiet" }, probe.status === "ok" ? short(last?.response) : `${probe.code ?? probe.status} ${probe.message ?? ""}`),
      h("div", { class: "chips" }, h("bdi", {}, probe.config), ` · ${probe.sample}`, probe.status === "ok" ? "" : ` · ${probe.status}`,
        money(probe.cost), chips.flatMap((chip) => [" · ", h("bdi", {}, chip)])));
    if (chosen) list.setAttribute("aria-activedescendant", node.id);
    return node;
  }

  const short = (words) => (words ?? "").slice(0, 240);

  function select(place) {
    if (!state.matching.length) return;
    const index = Math.min(Math.max(place, 0), state.matching.length - 1);
    state.selected = state.matching[index];
    if (index * ROW < list.scrollTop) list.scrollTop = index * ROW;
    if ((index + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (index + 1) * ROW - list.clientHeight;
    draw(true);
    read();
  }

  function read() {
    const probe = state.selected;
    if (!probe) return detail.replaceChildren(h("p", { class: "quiet" }, data.probes.length ? "No answer matches." : "There are no answers."));
    const shown = state.side ? data.probes.filter((other) => other.s === probe.s && other.run === probe.run) : [probe];
    detail.replaceChildren(h("div", { class: state.side ? "columns" : "" }, shown.map((each) => conversation(each))));
    detail.scrollTop = 0;
  }

  const body = (words) => (state.raw ? h("pre", {}, words) : h("div", { class: "text" }, markdown(words)));

  function conversation(probe) {
    const parts = [h("div", { class: "about" }, h("bdi", { class: "who" }, probe.config), probe.config === probe.model ? "" : ` · ${probe.model}`, ` · sample ${probe.sample} · ${probe.status}${money(probe.cost)}`,
      probe.latency == null ? "" : ` · ${seconds(probe.latency)}`)];
    const { prompts } = probe, system = data.systems[probe.system];
    if (system) parts.push(part("System", body(system)));
    for (const { role, content } of probe.earlier) parts.push(part(role === "assistant" ? "Answer" : "Prompt", body(content), "from the scenario"));
    for (let i = 0; i < Math.max(probe.turns.length, 1) && i < prompts.length; i++) {
      parts.push(part("Prompt", body(prompts[i])));
      const turn = probe.turns[i];
      if (!turn) continue;
      parts.push(part("Answer", body(turn.response), turn.note,
        h("button", { type: "button", title: "Copy this answer", onclick: () => copy(turn.response) }, "Copy")));
    }
    if (probe.code) {
      parts.push(h("p", { class: "bad" }, `${probe.code}: ${probe.message ?? ""} `, h("button", { type: "button",
        title: "Show all probes with this failure", onclick: () => { state.filters.code = probe.code; offer(); filter(); } }, "All like this")));
    }
    parts.push(notes(probe));
    if (live) parts.push(requests(probe));
    return h("article", { class: probe === state.selected ? "read" : "" }, parts);
  }

  function notes(probe) {
    if (!live) return h("dl", { class: "notes" }, Object.entries(probe.notes).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
    const keep = async (name, value, change) => {
      const before = probe.notes[name];
      probe.notes[name] = value;
      again(probe, name);
      const { error } = await live.note(probe, change);
      said.textContent = error ?? "";
      if (!error) return;
      probe.notes[name] = before;
      again(probe, name);
      read();
    };
    const field = (name, label, change) => {
      const input = h("input", { type: "text", "aria-label": label, placeholder: name === "comment" ? label : null, class: name === "comment" ? name : "code",
        onchange: () => keep(name, input.value.trim() || null, change(input.value.trim())) });
      input.value = probe.notes[name] ?? "";
      return input;
    };
    const mark = h("button", { type: "button", class: "mark", "aria-pressed": String(Boolean(probe.notes.mark)), title: "Mark (m)", onclick: () => {
      mark.setAttribute("aria-pressed", String(!probe.notes.mark));
      keep("mark", !probe.notes.mark || null, { mark: !probe.notes.mark });
    } }, "★ Mark");
    const fresh = h("input", { type: "text", class: "code", "aria-label": "New code", placeholder: "New code", onchange: () => {
      const name = fresh.value.trim();
      if (name && !data.codes.includes(name)) data.codes.push(name);
      read();
      [...detail.querySelectorAll(".read .code")].at(-2)?.focus();
    } });
    const codes = data.codes.map((name) => h("label", {}, h("bdi", {}, name), " ", field(`code.${name}`, name, (value) => ({ codes: { [name]: value } }))));
    return h("div", { class: "notes" }, mark, field("comment", "Comment", (comment) => ({ comment })), codes, fresh);
  }

  // Updates the list, search and filters for a changed note; the filters know no comments.
  function again(probe, note) {
    prepare({ ...data, probes: [probe] });
    if (note !== "comment") offer();
    draw(true);
  }

  const part = (who, what, note, ...more) => h("section", { class: who.toLowerCase() }, h("div", { class: "who" }, who,
    note ? h("span", { class: "quiet" }, ` ${note}`) : null, ...more), what);

  function requests(probe) {
    const details = h("details", { ontoggle: async () => {
      if (!details.open || details.dataset.read) return;
      details.dataset.read = "1";
      const { error, attempts } = await live.attempts(probe);
      if (error) { details.append(h("p", { class: "bad" }, error)); return; }
      details.append(...attempts.flatMap((attempt) => [
        h("div", { class: "who" }, `Turn ${attempt.turn}, attempt ${attempt.attempt}: ${attempt.status_code ?? attempt.error_code ?? ""}`),
        h("pre", {}, pretty(attempt.request)), h("pre", {}, pretty(attempt.reply))]));
    } }, h("summary", {}, "HTTP requests and replies"));
    return details;
  }

  function pretty(source) {
    try { return JSON.stringify(JSON.parse(source), null, 2); } catch { return source ?? ""; }
  }

  function key(event) {
    const typing = event.target.matches("input, select, textarea");
    if (typing && (event.key === "Escape" || (event.key === "Enter" && event.target.matches("input")))) {
      event.preventDefault();
      event.target.blur(); // saves what was typed, and may move to another field
      if (document.activeElement === document.body) list.focus();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = state.matching.indexOf(state.selected);
    const actions = {
      j: () => select(place + 1), ArrowDown: () => select(place + 1), k: () => select(place - 1), ArrowUp: () => select(place - 1),
      Home: () => select(0), End: () => select(state.matching.length - 1), PageDown: () => select(place + 5), PageUp: () => select(place - 5),
      "/": () => search.focus(), s: () => side.click(), r: () => raw.click(), e: () => csv?.click(),
      m: () => detail.querySelector(".read .mark")?.click(), c: () => detail.querySelector(".read .comment")?.focus(),
      l: () => detail.querySelector(".read .code")?.focus(),
    };
    if (!actions[event.key] || (event.target.closest(".detail") && event.key.length > 1)) return;
    event.preventDefault();
    actions[event.key]();
  }

  offer();
  filter();
  new ResizeObserver(() => draw(true)).observe(list);
  return {
    isPartial: () => Boolean(data.more),
    update(fresh) {
      Object.assign(data, { scenarios: fresh.scenarios, systems: fresh.systems, questions: fresh.questions, columns: fresh.columns, more: false });
      for (const name of fresh.codes) if (!data.codes.includes(name)) data.codes.push(name);
      for (const probe of prepare({ ...data, probes: fresh.probes }).probes) {
        const known = byId.get(probe.id);
        if (known) Object.assign(known, probe);
        else { byId.set(probe.id, probe); data.probes.push(probe); }
      }
      const { selected } = state, place = list.scrollTop;
      offer();
      filter();
      if (state.selected === selected) list.scrollTop = place;
    },
  };
}

const STYLE = `
.llmkit-reader { --text: var(--jp-ui-font-color1, light-dark(#212121, #e4e4e4)); --quiet: var(--jp-ui-font-color2, light-dark(#5f5f5f, #a9a9a9));
  --line: var(--jp-border-color2, light-dark(#e0e0e0, #444)); --raised: var(--jp-layout-color2, light-dark(#f2f2f2, #2b2b2b));
  --page: var(--jp-layout-color1, light-dark(#fff, #1c1c1c)); --accent: var(--jp-brand-color1, light-dark(#1565c0, #64b5f6));
  --bad: var(--jp-error-color1, light-dark(#c62828, #ef9a9a)); color: var(--text); background: var(--page);
  font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); container-type: inline-size;
  display: flex; flex-direction: column; }
.llmkit-reader * { box-sizing: border-box; }
.llmkit-reader :is(p, li, pre, td, th, .line) { unicode-bidi: plaintext; text-align: start; } /* each paragraph in the direction of its script */
.llmkit-reader .selects { display: contents; } .llmkit-reader .bar, .llmkit-reader div.notes { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; }
.llmkit-reader .bar { padding: 6px 0; }
.llmkit-reader input, .llmkit-reader select, .llmkit-reader button { font: inherit; color: inherit; background: var(--page);
  border: 1px solid var(--quiet); border-radius: 4px; padding: 2px 8px; min-height: 26px; max-width: 220px; }
.llmkit-reader button[aria-pressed=true] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.llmkit-reader :focus-visible { outline: 2px solid var(--accent); outline-offset: -1px; }
.llmkit-reader .quiet { color: var(--quiet); } .llmkit-reader .bad { color: var(--bad); }
.llmkit-reader .panes { display: grid; grid-template: minmax(0, 1fr) / minmax(260px, 38%) 1fr; flex: 1 1 560px; min-height: 0; border: 1px solid var(--line); border-radius: 4px; }
.llmkit-reader .list { overflow: auto; border-right: 1px solid var(--line); position: relative; }
.llmkit-reader .spacer { position: relative; }
.llmkit-reader .row { position: absolute; left: 0; right: 0; height: ${ROW}px; padding: 6px 10px; border-bottom: 1px solid var(--line);
  border-left: 3px solid transparent; cursor: pointer; overflow: hidden; }
.llmkit-reader .row.chosen .quiet, .llmkit-reader .row.chosen .chips, .llmkit-reader .answer .quiet { color: var(--text); }
.llmkit-reader .about .who { display: inline; font-size: 13px; }
.llmkit-reader .row.chosen { background: var(--raised); border-left-color: var(--accent); }
.llmkit-reader .line { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; overflow-wrap: anywhere; max-height: 2.7em; line-height: 1.3; font-size: 12.5px; }
.llmkit-reader .chips { color: var(--quiet); font-size: 11px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.llmkit-reader .detail { overflow: auto; padding: 8px 14px; }
.llmkit-reader .columns { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(280px, 1fr); gap: 16px; }
.llmkit-reader article { min-width: 0; overflow-wrap: anywhere; }
.llmkit-reader section { margin: 8px 0; } .llmkit-reader section.answer { background: var(--raised); border-radius: 4px; padding: 6px 10px; }
.llmkit-reader .who { font-weight: 600; font-size: 12px; display: flex; gap: 8px; align-items: center; } .llmkit-reader .who .quiet { font-weight: normal; flex: 1; }
.llmkit-reader pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 12px/1.5 var(--jp-code-font-family, monospace); margin: 4px 0; color: inherit; background: none; }
.llmkit-reader .notes { border-top: 1px solid var(--line); padding-top: 8px; margin-top: 8px; } .llmkit-reader dl.notes:empty { display: none; }
.llmkit-reader dt { font-weight: 600; font-size: 12px; } .llmkit-reader dd { margin: 0 0 4px; }
.llmkit-reader p { margin: 4px 0; white-space: pre-wrap; } .llmkit-reader .heading { font-weight: 600; } .llmkit-reader :is(td, th) { border: 1px solid var(--line); padding: 2px 6px; }
.llmkit-reader ul, .llmkit-reader ol { margin: 4px 0; padding-left: 22px; } .llmkit-reader li > p { margin: 0; } .llmkit-reader blockquote { margin: 4px 0; padding-left: 10px; border-left: 3px solid var(--line); }
@container (max-width: 700px) { .llmkit-reader .panes { grid-template: minmax(0, 9fr) minmax(0, 11fr) / 1fr; } .llmkit-reader .list { border-right: none; border-bottom: 1px solid var(--line); } }
`;

// -------------------------------------------------------------------------------------------------------------- widget

const VIEWS = { all: show }; // by the type of the first message

export default {
  render({ model, el, signal }) {
    let reader = null;
    const waiting = new Map();
    const ask = (question) => new Promise((resolve) => {
      const number = Math.random(); // other views of the same widget receive the replies too
      waiting.set(number, resolve);
      model.send({ ...question, number });
    });
    const live = {
      attempts: (probe) => ask({ type: "attempts", run: probe.run, probe: probe.id }),
      note: (probe, change) => ask({ type: "note", run: probe.run, probe: probe.id, ...change }),
      code: (place, category) => ask({ type: "code", place, category }),
      csv: (probes) => ask({ type: "export", probes: probes.map((probe) => probe.id) }),
    };
    let queue = Promise.resolve();
    const receive = (message, buffers) => {
      if (message.number) {
        waiting.get(message.number)?.({ ...message, bytes: buffers[0] });
        waiting.delete(message.number);
        return;
      }
      queue = queue.then(async () => {
        const data = await unpack(buffers[0].buffer ?? buffers[0]);
        if (message.type in VIEWS) reader = VIEWS[message.type](el, data, live);
        else reader?.update(data);
      });
    };
    // Ask for the content, unless it comes without asking: what came before this view, or did not because of an interrupt.
    const request = () => queue.then(() => {
      if ((!reader || reader.isPartial()) && !model.get("coming")) model.send({ type: "ready" });
    });
    model.on("msg:custom", receive);
    model.on("change:coming", request);
    const leave = () => { model.off("msg:custom", receive); model.off("change:coming", request); };
    signal?.addEventListener("abort", leave);
    el.textContent = "Reading the answers …";
    request();
    return leave;
  },
};
