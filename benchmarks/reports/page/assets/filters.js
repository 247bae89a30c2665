// A fold of checkboxes for each filter; any number of values of each, none meaning all.
const MOST_CHOICES = 200;
const folds = new Map();

function setUpFilters(changed) {
  const form = document.getElementById("filters");
  if (!form) return;
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const { field, label } of given.filters) {
    if (choices.get(field).size < 2) continue;
    const fold = new FilterFold(field, label, changed);
    folds.set(field, fold);
    form.append(fold.root);
  }
  const reset = element("button", { type: "button", class: "reset" }, "Show all");
  reset.addEventListener("click", () => {
    view.chosen.clear();
    changed();
  });
  form.append(reset);
  form.hidden = !folds.size;
  document.addEventListener("click", (event) => {
    for (const { root } of folds.values()) if (!root.contains(event.target)) root.open = false;
  });
  form.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && event.target.closest("details[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}

class FilterFold {
  constructor(field, label, changed) {
    this.field = field;
    this.label = label;
    this.changed = changed;
    this.values = [...choices.get(field)];
    this.summary = element("summary");
    this.list = element("ul");
    const parts = [this.list];
    if (this.values.length > 12) {
      this.search = element("input", { type: "search", placeholder: "find", "aria-label": `find a ${label}` });
      this.search.addEventListener("input", () => this.fill());
      parts.unshift(this.search);
    }
    this.root = element("details", { class: "filter", "data-filter": field }, this.summary, element("div", { class: "choices" }, ...parts));
    this.root.addEventListener("toggle", () => this.root.open && this.fill());
  }

  fill() {
    const sought = (this.search?.value ?? "").toLowerCase();
    const found = this.values.filter((value) => value.toLowerCase().includes(sought));
    this.list.replaceChildren(...found.slice(0, MOST_CHOICES).map((value) => this.choice(value)));
    if (found.length > MOST_CHOICES) this.list.append(element("li", { class: "soft" }, `and ${found.length - MOST_CHOICES} more`));
  }

  choice(value) {
    const box = element("input", { type: "checkbox" });
    box.value = value;
    box.checked = view.chosen.get(this.field)?.has(value) ?? false;
    box.addEventListener("change", () => {
      const values = view.chosen.get(this.field) ?? new Set();
      if (box.checked) values.add(value);
      else values.delete(value);
      if (values.size) view.chosen.set(this.field, values);
      else view.chosen.delete(this.field);
      this.changed();
    });
    return element("li", {}, element("label", {}, box, element("span", {}, value)));
  }

  update() {
    const values = [...(view.chosen.get(this.field) ?? [])];
    const told = values.length === 0 ? "all" : values.length === 1 ? values[0] : `${values.length} of ${this.values.length}`;
    this.summary.replaceChildren(element("span", { class: "soft" }, `${this.label} `), element("b", {}, told));
    this.root.classList.toggle("is-set", values.length > 0);
    if (this.root.open && !this.list.contains(document.activeElement)) this.fill();
  }
}

function tellFilters() {
  for (const fold of folds.values()) fold.update();
  const told = document.getElementById("told");
  if (!told) return;
  const counts = Object.keys(datasets).slice(0, 1).map((name) => {
    const all = datasets[name].length;
    const shown = datasets[name].filter((row) => passes(row, view.chosen)).length;
    return view.chosen.size ? `${shown.toLocaleString("en")} of ${all.toLocaleString("en")} cells are shown.` : "";
  });
  told.textContent = counts.join(" ");
}
