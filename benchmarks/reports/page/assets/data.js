// The datasets of the page, unpacked once, and which of their rows the filters let through.
const given = JSON.parse(document.getElementById("data").textContent);

function unpack({ rows, columns }) {
  const names = Object.keys(columns);
  const read = names.map((name) => {
    const { values, words, codes } = columns[name];
    return values ? (i) => values[i] : (i) => words[codes[i]];
  });
  return Array.from({ length: rows }, (_, i) => {
    const row = {};
    for (let j = 0; j < names.length; j++) row[names[j]] = read[j](i);
    return row;
  });
}

const datasets = {};
for (const [name, packed] of Object.entries(given.datasets)) datasets[name] = unpack(packed);

// Field -> its values in the order of their first appearance, over all datasets.
const choices = new Map(given.filters.map(({ field }) => [field, new Set()]));
for (const { columns } of Object.values(given.datasets)) {
  for (const [field, values] of choices) for (const word of columns[field]?.words ?? []) if (word !== "") values.add(word);
}

// What belongs to no value of a filter, as the limit of the machine belongs to no framework, passes it.
function passes(row, chosen) {
  for (const [field, values] of chosen) {
    const value = row[field];
    if (value !== undefined && value !== "" && !values.has(value)) return false;
  }
  return true;
}

function rowsOf(block, chosen) {
  const only = Object.entries(block.only);
  return datasets[block.dataset].filter((row) => only.every(([field, value]) => row[field] === value) && passes(row, chosen));
}
