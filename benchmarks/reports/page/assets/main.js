// The theme, the address, and the order in which everything starts.
const root = document.documentElement;
const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function setUpTheme() {
  const button = document.getElementById("theme");
  const set = (theme) => {
    root.dataset.theme = theme;
    button.textContent = THEMES[theme];
  };
  let kept = "auto";
  try {
    kept = localStorage.getItem("attnbench-theme") ?? "auto";
  } catch {} // a browser may keep nothing for a file
  set(kept in THEMES ? kept : "auto");
  button.hidden = false;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    set(names[(names.indexOf(root.dataset.theme) + 1) % names.length]);
    recolour();
    try {
      localStorage.setItem("attnbench-theme", root.dataset.theme);
    } catch {}
  });
}

// However many boxes change before the next frame, everything is drawn once.
let waiting = false;
function changed() {
  writeAddress();
  tellFilters();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawTables();
    drawCharts();
    root.dataset.renders = Number(root.dataset.renders ?? 0) + 1;
  });
}

function goTo(section) {
  const target = section && document.getElementById(section);
  if (target) target.scrollIntoView();
}

function setUpSections() {
  document.querySelector("nav").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    view.section = link.hash.slice(1);
    writeAddress();
    goTo(view.section);
    const heading = document.getElementById(`title-${view.section}`);
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  });
  addEventListener("hashchange", () => {
    readAddress();
    changed();
    goTo(view.section);
  });
}

setUpTheme();
readAddress();
setUpFilters(changed);
tellFilters();
setUpTables();
setUpCharts();
setUpSections();
drawTheRest();
goTo(view.section);
root.dataset.ready = "yes";
