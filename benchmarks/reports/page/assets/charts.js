// Charts: drawn when they come into sight, the rest when the browser has nothing else to do; redrawn once for each filter.
const MOST_MARKS = 6000;
const MOST_ROWS = 400;
const MOST_NODES = 2000; // beyond, a chart is a picture rather than a tree of nodes: three times as fast
const charts = new Map();

// Colours are the style sheet's variables: the theme and the printer change them without a new drawing, but for pictures.
const CONFIG = {
  background: "transparent",
  font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  aria: false, // the figure itself is described, and has a table: thousands of marks are not read out one by one
  view: { stroke: null },
  axis: {
    labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--grid)", domainColor: "var(--line)",
    tickColor: "var(--line)", titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 12, labelLimit: 190,
  },
  header: { labelColor: "var(--text)", titleColor: "var(--soft)" },
  legend: { labelColor: "var(--text)", titleColor: "var(--soft)", titleFontWeight: "normal", labelFontSize: 12, labelLimit: 220, symbolLimit: 40 },
  title: { color: "var(--text)" },
  text: { color: "var(--text)" },
  rule: { color: "var(--line)" },
};

const tip = document.getElementById("tip");

function hideTip() {
  tip.hidden = true;
}

function showTip(block, datum, event) {
  const rows = block.columns
    .map((column) => [column.label, formatted(datum[column.field], column.kind).slice(0, TOO_LONG)])
    .filter(([, text]) => text !== "");
  if (!rows.length) return hideTip();
  tip.replaceChildren(element("table", {}, ...rows.map(([label, text]) => element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, text)))));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const right = event.clientX + 14 + width > innerWidth;
  const below = event.clientY + 14 + height < innerHeight;
  tip.style.left = `${Math.max(4, right ? event.clientX - width - 10 : event.clientX + 14)}px`;
  tip.style.top = `${Math.max(4, below ? event.clientY + 14 : event.clientY - height - 10)}px`;
}

// As many rows as a browser can draw, of those that the filters let through.
function cut(rows, tall) {
  const seen = new Set();
  const end = rows.findIndex((row, i) => i >= MOST_MARKS || seen.add(row[tall]).size > MOST_ROWS);
  return end < 0 ? rows : rows.slice(0, end);
}

// The specification with the colours that the theme has now.
function resolved(spec) {
  const probe = tip.appendChild(element("span"));
  const found = JSON.stringify({ ...spec, datasets: undefined }).replace(/var\((--[\w-]+)\)/g, (words) => {
    probe.style.color = words;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return { ...JSON.parse(found), datasets: spec.datasets };
}

// Pictures are drawn anew in the colours of another theme.
function recolour() {
  for (const chart of charts.values()) if (chart.isLarge) chart.forget();
  if ([...charts.values()].some((chart) => chart.stale)) drawTheRest();
}

class LazyChart {
  constructor(id, figure) {
    this.id = id;
    this.figure = figure;
    this.block = given.blocks[id];
    this.plot = figure.querySelector(".plot");
    this.shown = new Map(); // row -> the copy of it that Vega has
    this.stale = true;
    this.drawn = Promise.resolve();
  }

  rows() {
    const all = rowsOf(this.block, view.chosen);
    const rows = cut(all, this.block.tall);
    this.figure.dataset.rows = rows.length;
    this.figure.querySelector(".cut")?.remove();
    if (rows.length < all.length) {
      const words = `The first ${rows.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} are drawn: filters show the others.`;
      this.figure.prepend(element("p", { class: "cut" }, words));
    }
    return rows;
  }

  // Vega writes into what it is given: copies. It is told what is new and what is gone: all rows anew would take it longer.
  changes(rows) {
    const kept = new Set(rows);
    const gone = [...this.shown].filter(([row]) => !kept.has(row));
    for (const [row] of gone) this.shown.delete(row);
    const come = rows.filter((row) => !this.shown.has(row)).map((row) => [row, { ...row }]);
    for (const [row, copy] of come) this.shown.set(row, copy);
    return [gone, come].map((pairs) => pairs.map(([, copy]) => copy));
  }

  forget() {
    this.view?.finalize();
    this.view = undefined;
    this.shown.clear();
    this.stale = true;
    if (this.isSeen) this.draw();
  }

  draw() {
    if (!this.stale) return this.drawn;
    this.stale = false;
    this.drawn = this.drawn.then(() => this.redraw()).catch((error) => {
      this.plot.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    });
    return this.drawn;
  }

  async redraw() {
    const [gone, come] = this.changes(this.rows());
    if (this.view) {
      const changes = this.view.changeset().remove(gone).insert(come);
      await this.view.change(this.block.dataset, changes).resize().runAsync();
    } else {
      const isLarge = datasets[this.block.dataset].length > MOST_NODES;
      const spec = { ...this.block.spec, datasets: { [this.block.dataset]: come }, config: CONFIG };
      const handler = (_, event, item, value) => (value && item?.datum ? showTip(this.block, item.datum, event) : hideTip());
      // ast: expressions are interpreted, so that the page needs no eval.
      const options = { actions: false, renderer: isLarge ? "canvas" : "svg", ast: true, tooltip: handler, defaultStyle: false, logLevel: 1 };
      this.view = (await vegaEmbed(this.plot, isLarge ? resolved(spec) : spec, options)).view;
      this.isLarge = isLarge;
    }
    this.figure.dataset.drawn = Number(this.figure.dataset.drawn ?? 0) + 1;
  }
}

const whenIdle = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 300 }) : setTimeout(work, 50));

// One stale chart, then the next, between everything else.
let isDrawing = false;
async function drawTheRest() {
  if (isDrawing) return;
  isDrawing = true;
  for (let next; (next = [...charts.values()].find((chart) => chart.stale)); ) {
    await new Promise((resolve) => whenIdle(resolve));
    await next.draw();
  }
  isDrawing = false;
  document.documentElement.dataset.idle = "yes";
}

function setUpCharts() {
  for (const figure of document.querySelectorAll("[data-chart]")) charts.set(figure.dataset.chart, new LazyChart(figure.dataset.chart, figure));
  const seen = new IntersectionObserver(
    (entries) => entries.forEach(({ isIntersecting, target }) => {
      charts.get(target.dataset.chart).isSeen = isIntersecting;
      if (isIntersecting) charts.get(target.dataset.chart).draw();
    }),
    { rootMargin: "200px" },
  );
  for (const { figure } of charts.values()) seen.observe(figure);
  addEventListener("scroll", hideTip, { passive: true });
  addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
}

function drawCharts() {
  document.documentElement.dataset.idle = "no";
  for (const chart of charts.values()) chart.stale = true;
  const seen = [...charts.values()].filter((chart) => chart.isSeen);
  return Promise.all(seen.map((chart) => chart.draw())).then(() => setTimeout(drawTheRest, 0));
}
