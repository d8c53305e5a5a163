// A series is split into its acquisitions, each an even stack, from headers alone.

import { columnOf, dot, norm } from "./grid.js";
import { isLocalizer, nameOf } from "./headers.js";
import { DERIVED, checkSize, derivedKind } from "./hounsfield.js";
import { checkDecodable } from "./pixels.js";
import { SPACING_TOLERANCE_MM, checkWhole, stackOf } from "./stack.js";
import { Refusal, byCodePoint, firstFew, grouped, median, roundTo, seriesRefusal, warning } from "./words.js";

const HOLE_SLICES = 10;
const [MOST_INTERLEAVED, LEAST_INTERLEAVED] = [8, 3];
const [FEWEST_ORDERED, MOST_ODD] = [5, 2];
const KEYS = [
  (s) => s.stackId, (s) => s.acquisitionNumber, (s) => s.temporalPosition, (s) => `${s.acquisitionNumber}/${s.temporalPosition}/${s.stackId}`,
];
const TIMES = [(s) => seconds(s.acquisitionTime), (s) => seconds(s.contentTime), (s) => number(s.triggerTime)];

/** Which slices belong together: positions in `headers`, a list for each acquisition. */
export function splitAcquisitions(headers) {
  const everything = [headers.map((_, index) => index)];
  const kept = withoutCopies(headers).kept.filter((index) => !isLocalizer(headers[index]));
  const pick = (group) => group.map((index) => headers[index]);
  if (isStack(pick(kept))) {
    const interleaved = byNumbers(headers, kept).find((way) => areInterleaved(way.map(pick)));
    return interleaved ? withCopies(headers, interleaved) : everything;
  }
  const ways = candidates(headers, kept).filter((groups) => groups.length > 1);
  for (const good of [allEven, separateRepeats]) {
    for (const groups of ways) if (good(groups.map(pick))) return withCopies(headers, groups);
  }
  return everything;
}

function areInterleaved(stacks) {
  if (stacks.length < 2 || stacks.length > MOST_INTERLEAVED || Math.min(...stacks.map((one) => one.length)) < LEAST_INTERLEAVED) return false;
  if (!stacks.every(isStack)) return false;
  const found = spans(stacks);
  return found.slice(1).some(([start], i) => start < found[i][1]);
}

const allEven = (stacks) => stacks.every(isStack) && !hasHole(stacks);

function separateRepeats(stacks) {
  const each = stacks.map(mostAtOnePlace);
  const alone = each.every((most, i) => most === 1 || most === stacks[i].length);
  return mostAtOnePlace(stacks.flat()) > 1 && alone && Math.min(...stacks.map((one) => one.length)) > 1 && stacks.some(isStack);
}

function withCopies(headers, groups) {
  const home = new Map();
  const key = (index) => headers[index].sopUid + String(headers[index].frame);
  for (const group of groups) for (const index of group) home.set(key(index), group);
  const placed = new Set(groups.flat());
  headers.forEach((_, index) => { if (!placed.has(index)) (home.get(key(index)) ?? groups[0]).push(index); });
  return groups.map((group) => [...group].sort((a, b) => a - b));
}

/** The one even stack of a series, or a refusal. */
export function checkStack(headers, where) {
  const n = splitAcquisitions(headers).length;
  if (n > 1) {
    throw seriesRefusal({
      where,
      expected: "one acquisition",
      found: `${n} acquisitions in one series`,
      remedy: "separate them with `nephroscope import dicom`, or export each as its own series",
    });
  }
  const stack = stackOf(headers, where);
  const slices = stack.order.map((index) => headers[index]);
  checkOneKind(slices, where);
  checkDecodable(headers, where);
  checkSize(headers, where);
  return { ...stack, findings: [...stack.findings, ...checkWhole(slices, where), ...checkPlaces(slices, where)] };
}

function checkPlaces(slices, where) {
  const odd = new Set([...outOfLine(slices), ...outOfOrder(slices)]);
  if (!odd.size) return [];
  const listed = firstFew([...odd].sort((a, b) => a - b).map((index) => nameOf(slices[index])));
  return [warning("slice-place", `the number or Slice Location of ${listed} does not fit its position: slices may be swapped`, where)];
}

function outOfOrder(slices) {
  const known = slices.map((one) => (one.frame === null ? one.instanceNumber : one.frame)).filter((one) => one !== null);
  if (known.length < FEWEST_ORDERED || new Set(known).size < slices.length) return [];
  const [up, down] = [withoutLongestRun(known), withoutLongestRun(known.map((n) => -n))];
  const odd = down.length < up.length ? down : up;
  return odd.length <= MOST_ODD ? odd : [];
}

function withoutLongestRun(values) {
  const [ends, before] = [[], []];
  values.forEach((value, index) => {
    let length = 0;
    while (length < ends.length && values[ends[length]] < value) length += 1;
    before.push(length ? ends[length - 1] : -1);
    ends[length] = index;
  });
  const run = new Set();
  for (let at = ends.at(-1); at >= 0; at = before[at]) run.add(at);
  return values.map((_, index) => index).filter((index) => !run.has(index));
}

function outOfLine(slices) {
  const known = slices.map((one) => one.location).filter((one) => one !== null);
  if (known.length < Math.max(slices.length, FEWEST_ORDERED)) return [];
  const spacing = median(known.slice(1).map((mm, i) => mm - known[i]));
  const rest = known.map((mm, i) => mm - i * spacing);
  const middle = median(rest);
  const odd = rest.map((_, i) => i).filter((i) => Math.abs(rest[i] - middle) > Math.max(SPACING_TOLERANCE_MM, Math.abs(spacing) / 4));
  return odd.length <= MOST_ODD && spacing ? odd : [];
}

function checkOneKind(slices, where) {
  const kinds = [...new Set(slices.filter((one) => !isLocalizer(one)).map((one) => derivedKind(one)))].sort(byCodePoint).filter((kind) => kind !== "not-hu");
  if (kinds.length < 2) return;
  const odd = slices.find((one) => derivedKind(one) !== derivedKind(slices[0]));
  throw seriesRefusal({
    where,
    expected: "slices of one kind in a series",
    found: `${kinds.map((kind) => DERIVED[kind] ?? "plain CT").join(" and ")}, first in ${nameOf(odd)}`,
    remedy: "export each kind as its own series",
  });
}

/** Which slices are new, and which claim to be copies: [copy, the slice it repeats]. */
export function withoutCopies(headers) {
  const seen = new Map();
  const [kept, copies] = [[], []];
  headers.forEach((one, index) => {
    const key = [one.sopUid || index, one.frame, one.position, one.orientation, one.slope, one.intercept].map(String).join("|");
    if (seen.has(key)) {
      copies.push([index, seen.get(key)]);
    } else {
      seen.set(key, index);
      kept.push(index);
    }
  });
  return { kept, copies };
}

function candidates(headers, kept) {
  const ways = byNumbers(headers, kept);
  const repeats = mostAtOnePlace(kept.map((index) => headers[index]));
  if (repeats > 1) ways.push(...TIMES.map((time) => byTime(headers, kept, time, repeats)));
  return ways;
}

function byNumbers(headers, kept) {
  return KEYS.map((key) => {
    const groups = grouped(kept, (index) => key(headers[index]));
    const rank = (text) => { const value = number(text); return Number.isNaN(value) ? Infinity : value; };
    const names = [...groups.keys()].sort((a, b) => (rank(a) === rank(b) ? byCodePoint(a, b) : rank(a) - rank(b)));
    return names.map((name) => groups.get(name));
  });
}

const number = (text) => (/^\d+$/.test(text.replace(".", "")) ? Number(text) : NaN);

function byTime(headers, kept, time, n) {
  const moments = kept.map((index) => time(headers[index]));
  if (!moments.every(Number.isFinite)) return [];
  const order = moments.map((_, i) => i).sort((a, b) => moments[a] - moments[b] || a - b);
  const pauses = order.slice(1).map((i, at) => moments[i] - moments[order[at]]);
  const cuts = pauses.map((_, i) => i).sort((a, b) => pauses[b] - pauses[a] || a - b).slice(0, n - 1).sort((a, b) => a - b).map((i) => i + 1);
  return [0, ...cuts].map((start, i) => order.slice(start, cuts[i] ?? order.length).map((at) => kept[at]));
}

/** A DICOM time, or date and time, in seconds from some midnight; NaN for anything else. */
function seconds(text) {
  let [whole, fraction = ""] = [text.split(".")[0], text.includes(".") ? text.slice(text.indexOf(".") + 1) : ""];
  [fraction] = fraction.split("+")[0].split("-");
  if (!/^\d+$/.test(whole) || (fraction && !/^\d+$/.test(fraction))) return NaN;
  let days = 0;
  if (whole.length === 8 || whole.length === 14) {
    days = Number(whole.slice(0, 4)) * 372 + Number(whole.slice(4, 6)) * 31 + Number(whole.slice(6, 8));
    whole = whole.slice(8);
  }
  const clock = whole.padEnd(6, "0");
  if (clock.length !== 6) return NaN;
  return days * 86400 + Number(clock.slice(0, 2)) * 3600 + Number(clock.slice(2, 4)) * 60 + Number(clock.slice(4)) + Number(`0.${fraction || 0}`);
}

function mostAtOnePlace(slices) {
  const counts = grouped(slices.filter((one) => one.position !== null), (one) => String(one.position.map((mm) => roundTo(mm, 2))));
  return Math.max(0, ...[...counts.values()].map((one) => one.length));
}

function isStack(slices) {
  if (slices.length < 2) return false;
  try {
    stackOf(slices, "");
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function hasHole(stacks) {
  const found = spans(stacks);
  return found.slice(1).some(([start, , other], i) => {
    const [, end, spacing] = found[i];
    return Math.abs(spacing - other) <= SPACING_TOLERANCE_MM && spacing / 2 < start - end && start - end < HOLE_SLICES * spacing;
  });
}

function spans(stacks) {
  return stacks.map((slices) => {
    const { affine } = stackOf(slices, "");
    const [step, first] = [columnOf(affine, 0), columnOf(affine, 3)];
    const spacing = norm(step);
    const last = first.map((mm, i) => mm + (slices.length - 1) * step[i]);
    return [dot(first, step) / spacing, dot(last, step) / spacing, spacing];
  }).sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
}
