// Refusals and findings, and numbers written as Python writes them, so that both programs say the same.

/** Input was refused; `code` is series, roi or bundle. */
export class Refusal extends Error {
  constructor(code, { where, expected, found, remedy }) {
    super(`${where}: expected ${expected}, found ${found}; ${remedy}`);
    Object.assign(this, { code, where, expected, found, remedy });
  }

  /** The same refusal as another kind of error, of another place. */
  asKind(code, where) {
    return new Refusal(code, { where, expected: this.expected, found: this.found, remedy: this.remedy });
  }
}

export const seriesRefusal = (fields) => new Refusal("series", fields);
export const roiRefusal = (fields) => new Refusal("roi", fields);

/** What is wrong with a file, in words that may be shown. */
export class Damage extends Error {}

/** There is no decoder for a way of storing pixels. */
export class NoDecoder extends Error {}

export function damageWords(error) {
  if (error instanceof Damage) return error.message;
  if (error instanceof RangeError) return "it is cut short";
  return "its content is damaged";
}

export function note(code, message, where = "", caseId = "") {
  return { code, severity: "note", message, case_id: caseId, where };
}

export function warning(code, message, where = "", caseId = "") {
  return { code, severity: "warning", message, case_id: caseId, where };
}

/** Half to even, as rint of C. */
export function rint(x) {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest < 0.5) return low;
  if (rest > 0.5) return low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** numpy.round to some decimals, without a negative zero. */
export function roundTo(x, decimals) {
  const scale = 10 ** decimals;
  return rint(x * scale) / scale + 0;
}

/** `format(x, ".2f")` of Python: exact halves go to the even digit. */
export function fixed(x, decimals) {
  const exact = Math.abs(x).toFixed(Math.min(decimals + 40, 100));
  const cut = exact.length - 40;
  const rest = exact.slice(cut);
  let digits = exact.slice(0, decimals === 0 ? cut - 1 : cut);
  const half = `5${"0".repeat(39)}`;
  const up = rest > half || (rest === half && Number(digits.at(-1)) % 2 === 1);
  if (up) digits = increased(digits);
  return x < 0 || Object.is(x, -0) ? `-${digits}` : digits;
}

function increased(digits) {
  const out = [...digits];
  for (let at = out.length - 1; at >= 0; at -= 1) {
    if (out[at] === ".") continue;
    if (out[at] !== "9") {
      out[at] = String(Number(out[at]) + 1);
      return out.join("");
    }
    out[at] = "0";
  }
  return `1${out.join("")}`;
}

/** `format(x, ".4g")` of Python. */
export function general(x, digits = 6) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  const exponent = Number(x.toExponential(digits - 1).split("e")[1]);
  const strip = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (exponent >= -4 && exponent < digits) return strip(fixed(x, digits - 1 - exponent));
  const [mantissa, power] = x.toExponential(digits - 1).split("e");
  const sign = power[0] === "-" ? "-" : "+";
  return `${strip(mantissa)}e${sign}${power.replace(/[+-]/, "").padStart(2, "0")}`;
}

export const percent = (x, decimals = 0) => `${fixed(x * 100, decimals)}%`;

/** The first items and the number of the others. */
export function firstFew(items, most = 8) {
  const all = [...items].map(String);
  const more = all.length - most;
  return all.slice(0, most).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** A number with its noun: `1 slice`, `2 slices`. */
export function counted(n, noun) {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** `repr` of a text. */
export function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const plain = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  return mark + (mark === "'" ? plain.replaceAll("'", "\\'") : plain) + mark;
}

/** `float` of Python for what headers hold; null for anything else. */
export function parseNumber(text) {
  const plain = text.trim();
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(plain)) return null;
  const value = Number(plain);
  return Number.isFinite(value) ? value : null;
}

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Items by key, keys in the order in which they first came. */
export function grouped(items, key) {
  const found = new Map();
  for (const item of items) {
    const name = key(item);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(item);
  }
  return found;
}

/** Sort as Python sorts texts: by code point. */
export function byCodePoint(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

const USUAL = "ct|mr|pt|sc|im|img|image|i|s|se|ser|series|slice|dicom|dcm|ima|file|frame|scan|export|instance|copy|x|of"
  + "|nii|gz|nrrd|nhdr|mha|mhd|hdr|mgz|mgh|npy|npz|mat|stl|vtk|tiff?|bmp|txt|xml|json|zip|seg|mask";
const USUAL_WORD = new RegExp(`^(?:(?:${USUAL})*|cts|jpe?g|kidneys?|left|lesion|map|organs?|png|reader|right|roi|label(?:s|map)?|rt|rts|rtstruct`
  + "|seg(?:ment|mentation)|struct|tumou?r)$", "i");

function namesNoOne(name, letters = false) {
  return name.split(/[^\p{L}]+/u).every((word) => USUAL_WORD.test(word) || (letters && [...word].length === 1));
}

/** The name of a file if only the case ID, numbers and usual words are in it; otherwise its size and suffix. */
export function safeName(file, caseId = "", letters = true) {
  const shown = caseId ? file.name.replaceAll(caseId, " ") : file.name;
  if (namesNoOne(shown, letters)) return file.name;
  const dot = file.name.lastIndexOf(".");
  const suffix = dot > 0 ? file.name.slice(dot) : "";
  return `a file of ${file.size} bytes${suffix && namesNoOne(suffix) ? ` (${suffix})` : ""}`;
}

export function fileName(file) {
  const name = safeName(file, "", false);
  return name === file.name ? `file ${name}` : name;
}

export function folderName(name) {
  return name && namesNoOne(name) ? `folder ${name}` : "the folder of the series";
}
