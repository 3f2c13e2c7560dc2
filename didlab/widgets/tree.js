// A tree of which only the rows in sight exist. A node is known by its row in the kernel's table;
// children come in pages, when they come into sight. Text goes through textContent only.
const ROW = 22, PAGE = 500, MOST = 15000000;

function render({ model, el }) {
  const make = (tag, name, into) => {
    const made = document.createElement(tag);
    made.className = name;
    into.appendChild(made);
    return made;
  };
  const view = make("div", "didlab-tree", el);
  const space = make("div", "didlab-tree-space", view);
  const pane = make("div", "didlab-tree-pane", el);
  const rows = [], wanted = new Map();
  let root, chosen = -1, scheduled = false;
  view.tabIndex = 0;
  view.setAttribute("role", "tree");

  // How many rows are drawn below a node.
  const below = (node) =>
    node.open ? node.count + node.opened.reduce((sum, kid) => sum + below(kid), 0) : 0;

  // The node at a place below another one: [parent, place among its children, its level].
  function at(node, index, level) {
    let before = 0;
    for (const kid of node.opened) {
      const start = kid.place + before;
      if (index <= start) break;
      const inside = below(kid);
      if (index <= start + inside) return at(kid, index - start - 1, level + 1);
      before += inside;
    }
    return [node, index - before, level];
  }

  function want(node, place) {
    const page = Math.floor(place / PAGE), key = node.row + ":" + page;
    if (wanted.has(key)) return;
    wanted.set(key, node);
    model.set("wanted", [...wanted.keys()].map((one) => one.split(":").map(Number)));
    model.save_changes();
  }

  function draw() {
    scheduled = false;
    const all = below(root), shown = Math.ceil(view.clientHeight / ROW) + 1;
    space.style.height = Math.min(all * ROW, MOST) + "px";
    const scale = all * ROW > MOST ? (all * ROW) / MOST : 1;
    const first = Math.floor((view.scrollTop * scale) / ROW);
    while (rows.length < shown) rows.push(line());
    rows.forEach((row, number) => {
      const index = first + number;
      row.el.style.display = index < all && number < shown ? "" : "none";
      if (index >= all || number >= shown) return;
      const [parent, place, level] = at(root, index, 0);
      const kid = parent.kids[place];
      if (!kid) want(parent, place);
      row.index = index;
      row.el.style.top = view.scrollTop - ((view.scrollTop * scale) % ROW) + number * ROW + "px";
      row.el.style.paddingLeft = 8 + level * 16 + "px";
      row.el.setAttribute("aria-level", level + 1);
      row.el.setAttribute("aria-selected", index === chosen);
      row.mark.textContent = kid && kid.folder ? (kid.open ? "▾" : "▸") : "";
      row.name.textContent = kid ? kid.name : "…";
      row.size.textContent = kid ? kid.size : "";
    });
  }

  const later = () => {
    if (!scheduled) requestAnimationFrame(draw);
    scheduled = true;
  };

  function line() {
    const el = make("div", "didlab-tree-row", space);
    const row = { el, index: 0 };
    row.mark = make("span", "didlab-tree-mark", el);
    row.name = make("span", "didlab-tree-name", el);
    row.size = make("span", "didlab-tree-size", el);
    el.setAttribute("role", "treeitem");
    el.addEventListener("click", () => choose(row.index, true));
    return row;
  }

  function toggle(kid, parent) {
    kid.open = !kid.open;
    if (kid.open) {
      parent.opened.push(kid);
      parent.opened.sort((a, b) => a.place - b.place);
    } else parent.opened.splice(parent.opened.indexOf(kid), 1);
  }

  function choose(index, act) {
    const all = below(root);
    if (!all) return;
    chosen = Math.max(0, Math.min(index, all - 1));
    const [parent, place] = at(root, chosen, 0);
    const kid = parent.kids[place];
    if (kid && act && kid.folder) toggle(kid, parent);
    if (kid) {
      model.set("selected", kid.row);
      model.save_changes();
    }
    later();
  }

  view.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key];
    const [parent, place] = chosen < 0 ? [] : at(root, chosen, 0);
    const kid = parent && parent.kids[place];
    if (step) choose(chosen + step, false);
    else if (event.key === "Enter" || event.key === " ") choose(chosen, true);
    else if (event.key === "ArrowRight" && kid && kid.folder && !kid.open) choose(chosen, true);
    else if (event.key === "ArrowLeft" && kid && kid.open) choose(chosen, true);
    else return;
    event.preventDefault();
    event.stopPropagation();
    const top = chosen * ROW;
    if (top < view.scrollTop) view.scrollTop = top;
    if (top + ROW > view.scrollTop + view.clientHeight)
      view.scrollTop = top + ROW - view.clientHeight;
  });
  view.addEventListener("scroll", later);

  function begin() {
    wanted.clear();
    chosen = -1;
    root = { row: -1, open: true, count: model.get("count"), kids: [], opened: [] };
    later();
  }

  function answer() {
    for (const [row, page, kids] of model.get("pages")) {
      const node = wanted.get(row + ":" + page);
      if (!node) continue;
      wanted.delete(row + ":" + page);
      kids.forEach(([own, name, size, count], number) => {
        const place = page * PAGE + number, folder = count >= 0;
        node.kids[place] = { row: own, name, size, folder, count, place, kids: [], opened: [] };
      });
    }
    later();
  }

  function preview() {
    const found = model.get("preview");
    pane.style.display = found.kind ? "" : "none";
    pane.replaceChildren();
    if (!found.kind) return;
    make("b", "", pane).textContent = found.title;
    if (found.kind === "picture") make("img", "", pane).src = found.text;
    else make("pre", "", pane).textContent = found.text;
    make("div", "didlab-tree-note", pane).textContent = found.note;
  }

  model.on("change:generation", begin);
  model.on("change:pages", answer);
  model.on("change:preview", preview);
  const watcher = new ResizeObserver(later);
  watcher.observe(view);
  begin();
  preview();
  return () => watcher.disconnect();
}

export default { render };
