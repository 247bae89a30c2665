// Numbers with their unit, as the terminal writes them (benchmarks/reports/text.py).
const threeDigits = (x) => (Math.abs(x) >= 99.95 ? x.toFixed(0) : Math.abs(x) >= 9.995 ? x.toFixed(1) : x.toFixed(2));

const small = (x) => (x !== 0 && Math.abs(x) < 0.1 ? String(Number(x.toPrecision(2))) : threeDigits(x));

function seconds(x) {
  for (const [factor, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "us"]]) {
    if (x >= factor * 0.9995) return `${threeDigits(x / factor)} ${unit}`;
  }
  return `${threeDigits(x / 1e-9)} ns`;
}

function bytes(x) {
  if (x >= 999.5e6) return `${threeDigits(x / 1e9)} GB`;
  return x >= 999.5e3 ? `${threeDigits(x / 1e6)} MB` : `${threeDigits(x / 1e3)} kB`;
}

const FORMATS = {
  text: String,
  count: (x) => x.toLocaleString("en"),
  number: small,
  seconds,
  bytes,
  share: (x) => `${threeDigits(100 * x)}%`,
  ratio: (x) => `${threeDigits(x)}×`,
};

const formatted = (value, kind) => (value === null || value === undefined || value === "" ? "" : FORMATS[kind](value));
