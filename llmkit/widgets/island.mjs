// Replaces the static form of a panel in a notebook's output by the live widget.
//
// An output with a widget view cannot be read without its kernel: the view's renderer wins over every other form. So the
// output holds only HTML, and this module, which runs only while the kernel lives, puts the view in its place.

// ipywidgets has no attributes for screen readers: roles and states are sent as classes such as "role=row".
const SAID = /^(role|tabindex|aria-[a-z]+)=(.+)$/;
const describe = (root) => {
  for (const element of [root, ...root.querySelectorAll('[class*="="]')]) {
    for (const name of element.classList) {
      const [, attribute, value] = SAID.exec(name) ?? [];
      if (attribute && element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
    }
  }
  // ipywidgets typesets labels: "$0.70 → $0.10" would become a formula
  for (const label of root.querySelectorAll("label, label span")) label.classList.add("tex2jax_ignore", "mathjax_ignore");
};

// Code asks for the focus, and to be scrolled to, by a new number in the class "go-to=1". What has just been added to the
// page, such as a view of a page that was loaded again, has its classes from before: nobody asks now.
let added = [];
const add = (...nodes) => {
  if (!added.length) setTimeout(() => { added = []; });
  added.push(...nodes);
};
const goTo = ({ target, oldValue, addedNodes }) => {
  if (addedNodes.length) add(...addedNodes);
  if (added.some((node) => node.contains(target))) return;
  const asked = [...target.classList].find((name) => name.startsWith("go-to="));
  if (!asked || !oldValue || oldValue.split(" ").includes(asked)) return;
  target.focus({ preventScroll: true });
  new ResizeObserver((_, observer) => { // its content may come later
    if (!target.offsetHeight) return;
    observer.disconnect();
    target.scrollIntoView({ block: "nearest" });
  }).observe(target);
};

// JupyterLab treats keys pressed in a list, checkbox or button as commands: x cuts the cell, a adds one.
const isCommand = ({ key, shiftKey, ctrlKey, metaKey, altKey }) =>
  key === "Escape" || (key === "Enter" && shiftKey) || ctrlKey || metaKey || altKey;
const keep = (event) => isCommand(event) || event.stopPropagation();

export default {
  async initialize({ model, signal }) {
    const manager = model.widget_manager;
    const id = model.get("panel");
    const target = await manager.get_model(id);
    const shown = new Map(); // place in a document -> {node, before: what it held, focused}
    // a notebook may have been saved with its widgets, by papermill for one: they have no kernel, and no comm
    const alive = () => !signal?.aborted && target.comm_live !== false && (!("kernel" in manager) || (manager.kernel && !manager.kernel.isDisposed));

    const attach = async (place) => {
      shown.set(place, null); // the observer may run again before the view exists
      const view = await manager.create_view(target);
      if (!place.isConnected) { // redrawn meanwhile: the new place has a view of its own
        shown.delete(place);
        view.remove();
        return;
      }
      const widget = view.luminoWidget;
      widget.processMessage({ type: "before-attach" });
      put(place, { node: widget.node, focused: null });
      widget.processMessage({ type: "after-attach" });
      add(widget.node);
      describe(widget.node);
      new MutationObserver((changes) => changes.forEach((change) => { describe(change.target); goTo(change); }))
        .observe(widget.node, { subtree: true, childList: true, attributeFilter: ["class"], attributeOldValue: true });
      widget.node.addEventListener("keydown", keep);
      widget.node.addEventListener("focusin", (event) => { shown.get(widget.node.parentNode).focused = event.target; });
    };
    const put = (place, entry) => {
      entry.before = [...place.childNodes];
      place.replaceChildren(entry.node);
      shown.set(place, entry);
      if (entry.focused?.isConnected && document.activeElement === document.body) entry.focused.focus({ preventScroll: true });
    };
    const look = () => {
      if (!alive()) return;
      for (const place of document.getElementsByClassName(`llmkit-panel-${id}`)) {
        if (shown.has(place)) continue;
        const gone = [...shown].find(([old, entry]) => entry && !old.isConnected);
        if (gone) { // the output was redrawn: keep what was typed in its view
          shown.delete(gone[0]);
          put(place, gone[1]);
        } else {
          attach(place).catch((error) => { shown.delete(place); console.error("llmkit:", error); });
        }
      }
    };
    const end = () => {
      observer.disconnect();
      for (const [place, entry] of shown) {
        if (!entry) continue;
        const note = Object.assign(document.createElement("div"), { textContent: model.get("ended") });
        note.setAttribute("role", "status");
        place.replaceChildren(note, ...entry.before);
      }
      shown.clear();
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, { childList: true, subtree: true });
    signal?.addEventListener("abort", end);
    target.on("comm_live_update", () => target.comm_live || end()); // the kernel died or was restarted
    look();
  },
};
