// Real tables: headers that sort, a page of rows at a time. Everything is written as text.
const PAGE_ROWS = 50;
const LONG = 36;
const TOO_LONG = 300;
const tables = new Map();

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const isNumber = (kind) => kind !== "text";

function compared(field, downwards) {
  const sign = downwards ? -1 : 1;
  return (a, b) => {
    const x = a[field] ?? "";
    const y = b[field] ?? "";
    if (x === "" || y === "") return (x === "") - (y === ""); // what is not known comes last, both ways
    return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  };
}

class SortedTable {
  constructor(id, holder) {
    this.id = id;
    this.holder = holder;
    this.block = given.blocks[id];
    this.shown = PAGE_ROWS;
    this.body = element("tbody");
    this.caption = element("caption", {}, this.block.caption);
    this.headers = this.block.columns.map((column) => this.header(column));
    const table = element("table", {}, this.caption, element("thead", {}, element("tr", {}, ...this.headers)), this.body);
    this.scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": this.block.caption }, table);
    this.more = element("button", { type: "button", class: "more" });
    this.more.addEventListener("click", () => this.showMore());
    holder.replaceChildren(this.scroll, this.more);
  }

  header(column) {
    const button = element("button", { type: "button", title: column.help || null }, column.label);
    button.addEventListener("click", () => this.sortBy(column));
    return element("th", { scope: "col", class: isNumber(column.kind) ? "number" : null }, button);
  }

  // First up, then down, then as it came.
  sortBy(column) {
    const now = view.sorts.get(this.id) ?? this.block.sort ?? "";
    const next = now === column.field ? `-${column.field}` : now === `-${column.field}` ? "" : column.field;
    view.sorts.set(this.id, next);
    writeAddress();
    this.shown = PAGE_ROWS;
    this.draw();
  }

  draw() {
    const sort = view.sorts.get(this.id) ?? this.block.sort ?? "";
    const field = sort.replace(/^-/, "");
    this.rows = rowsOf(this.block, view.chosen);
    if (this.block.columns.some((column) => column.field === field)) this.rows.sort(compared(field, sort.startsWith("-")));
    this.block.columns.forEach((column, i) => {
      const order = column.field !== field ? "none" : sort.startsWith("-") ? "descending" : "ascending";
      this.headers[i].setAttribute("aria-sort", order);
    });
    this.body.replaceChildren();
    this.append(0);
  }

  append(from) {
    const part = document.createDocumentFragment();
    for (const row of this.rows.slice(from, this.shown)) {
      const cells = this.block.columns.map((column, i) => {
        const text = formatted(row[column.field], column.kind);
        const long = text.length > LONG;
        const shown = text.length > TOO_LONG ? `${text.slice(0, TOO_LONG)}… (${text.length.toLocaleString("en")} letters)` : text;
        const attributes = { class: isNumber(column.kind) ? "number" : long ? "long" : null };
        return i === 0 ? element("th", { scope: "row", ...attributes }, shown) : element("td", attributes, shown);
      });
      part.append(element("tr", { class: row.mark ? `is-${row.mark}` : null }, ...cells));
    }
    if (!this.rows.length) part.append(element("tr", {}, element("td", { colspan: this.headers.length }, "nothing passes the filters")));
    this.body.append(part);
    const left = this.rows.length - this.shown;
    this.more.hidden = left <= 0;
    this.more.textContent = `${Math.min(left, 10 * PAGE_ROWS).toLocaleString("en")} more of ${this.rows.length.toLocaleString("en")} rows`;
  }

  showMore() {
    const from = this.shown;
    this.shown += 10 * PAGE_ROWS;
    this.append(from);
  }
}

// A table inside a closed <details> is made when it is opened.
function setUpTables() {
  for (const holder of document.querySelectorAll("[data-table]")) {
    const id = holder.dataset.table;
    const fold = holder.closest("details");
    const make = () => {
      if (!tables.has(id)) tables.set(id, new SortedTable(id, holder));
      tables.get(id).draw();
    };
    if (!fold) make();
    else fold.addEventListener("toggle", () => fold.open && make());
  }
}

function drawTables() {
  for (const table of tables.values()) {
    table.shown = PAGE_ROWS;
    if (table.holder.closest("details")?.open ?? true) table.draw();
  }
}
