// What is looked at: filters, sorting and section, told by the address (#s=heat-map&framework=jax&framework=torch).
const view = { chosen: new Map(), sorts: new Map(), section: "" };
const SECTION = "s";
const SORT = "sort.";

function readAddress() {
  const text = location.hash.slice(1);
  view.chosen.clear();
  view.sorts.clear();
  view.section = "";
  if (!text.includes("=")) {
    view.section = text;
    return;
  }
  for (const [key, value] of new URLSearchParams(text)) {
    if (key === SECTION) view.section = value;
    else if (key.startsWith(SORT)) view.sorts.set(key.slice(SORT.length), value);
    else if (choices.get(key)?.has(value)) view.chosen.set(key, (view.chosen.get(key) ?? new Set()).add(value));
  }
}

function writeAddress() {
  const words = new URLSearchParams();
  if (view.section) words.append(SECTION, view.section);
  for (const [field, values] of view.chosen) for (const value of values) words.append(field, value);
  for (const [table, sort] of view.sorts) words.append(SORT + table, sort);
  const text = words.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}
