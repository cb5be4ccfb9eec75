/**
 * Which A-labels (`xn--…`) are names. Only the canonical one is: it decodes (RFC 3492), encodes back to the same bytes, and what it
 * stands for needs no mapping (UTS 46). The test is made of Unicode properties and is stricter than UTS 46 where a table would be
 * needed: joiners and digits of other scripts inside right-to-left labels are refused. Egress rules name A-labels byte for byte, so strictness
 * here never widens anything.
 */
const BASE = 36;
const T_MIN = 1;
const T_MAX = 26;
const SKEW = 38;
const DAMP = 700;
const INITIAL_BIAS = 72;
const INITIAL_N = 128;
const MAX_CODE_POINT = 0x10ffff;

/** Text of a punycode string without its `xn--`, or undefined when it is malformed. */
export function decodePunycode(input: string): string | undefined {
  const delimiter = input.lastIndexOf("-");
  const output: number[] = [];
  for (let i = 0; i < delimiter; i++) output.push(input.charCodeAt(i));
  let n = INITIAL_N;
  let i = 0;
  let bias = INITIAL_BIAS;
  for (let at = delimiter === -1 ? 0 : delimiter + 1; at < input.length; ) {
    const before = i;
    let weight = 1;
    for (let k = BASE; ; k += BASE) {
      const digit = digitValue(input.charCodeAt(at));
      if (at >= input.length || digit < 0) return undefined;
      at += 1;
      i += digit * weight;
      if (i > Number.MAX_SAFE_INTEGER / BASE) return undefined;
      const t = threshold(k, bias);
      if (digit < t) break;
      weight *= BASE - t;
    }
    const length = output.length + 1;
    bias = adapt(i - before, length, before === 0);
    n += Math.floor(i / length);
    if (n > MAX_CODE_POINT) return undefined;
    i %= length;
    output.splice(i, 0, n);
    i += 1;
  }
  return String.fromCodePoint(...output);
}

/** RFC 3492 6.3, for labels of at most 63 characters. */
export function encodePunycode(text: string): string {
  const points = Array.from(text, (char) => char.codePointAt(0) ?? 0);
  const basic = points.filter((point) => point < INITIAL_N);
  let output = basic.map((point) => String.fromCharCode(point)).join("");
  if (basic.length > 0) output += "-";
  let n = INITIAL_N;
  let delta = 0;
  let bias = INITIAL_BIAS;
  for (let handled = basic.length; handled < points.length; ) {
    const next = Math.min(...points.filter((point) => point >= n));
    delta += (next - n) * (handled + 1);
    n = next;
    for (const point of points) {
      if (point < n) delta += 1;
      if (point !== n) continue;
      output += variableLength(delta, bias);
      bias = adapt(delta, handled + 1, handled === basic.length);
      delta = 0;
      handled += 1;
    }
    delta += 1;
    n += 1;
  }
  return output;
}

function variableLength(delta: number, bias: number): string {
  let text = "";
  let rest = delta;
  for (let k = BASE; ; k += BASE) {
    const t = threshold(k, bias);
    if (rest < t) return text + digitChar(rest);
    text += digitChar(t + ((rest - t) % (BASE - t)));
    rest = Math.floor((rest - t) / (BASE - t));
  }
}

function threshold(k: number, bias: number): number {
  return Math.min(T_MAX, Math.max(T_MIN, k - bias));
}

function adapt(delta: number, points: number, first: boolean): number {
  let rest = first ? Math.floor(delta / DAMP) : Math.floor(delta / 2);
  rest += Math.floor(rest / points);
  let k = 0;
  for (; rest > ((BASE - T_MIN) * T_MAX) / 2; k += BASE) rest = Math.floor(rest / (BASE - T_MIN));
  return k + Math.floor(((BASE - T_MIN + 1) * rest) / (rest + SKEW));
}

function digitValue(code: number): number {
  if (code >= 97 && code <= 122) return code - 97;
  return code >= 48 && code <= 57 ? code - 22 : -1;
}

function digitChar(digit: number): string {
  return String.fromCharCode(digit < 26 ? digit + 97 : digit + 22);
}

/** Letters, marks and digits only: symbols, joiners, controls, spaces and unassigned code points are in no name. */
const ALLOWED = /^[\p{L}\p{M}\p{N}-]+$/u;
const IGNORABLE = /\p{Default_Ignorable_Code_Point}/u;
const RTL_SCRIPT =
  /[\p{sc=Hebr}\p{sc=Arab}\p{sc=Syrc}\p{sc=Thaa}\p{sc=Nkoo}\p{sc=Samr}\p{sc=Mand}\p{sc=Adlm}\p{sc=Mend}\p{sc=Rohg}\p{sc=Cprt}\p{sc=Phnx}\p{sc=Armi}\p{sc=Phli}\p{sc=Prti}\p{sc=Sarb}\p{sc=Narb}\p{sc=Hung}\p{sc=Orkh}\p{sc=Yezi}\p{sc=Sogd}\p{sc=Sogo}\p{sc=Hatr}\p{sc=Nbat}\p{sc=Palm}\p{sc=Lydi}\p{sc=Khar}\p{sc=Avst}\p{sc=Merc}\p{sc=Mero}\p{sc=Mani}\p{sc=Phlp}\p{sc=Elym}\p{sc=Chrs}\p{sc=Ougr}]/u;
/** RFC 5893 2, narrowed to labels of Hebrew or Arabic letters, their marks, and European digits. */
const RTL_LABEL =
  /^(?:(?=[\p{sc=Hebr}\p{sc=Arab}])\p{L})(?:(?=[\p{sc=Hebr}\p{sc=Arab}])\p{L}|\p{Mn}|[0-9-])*(?:(?=[\p{sc=Hebr}\p{sc=Arab}])\p{L}|[0-9]|(?<!-)\p{Mn})$/u;
const RTL_ONE_LETTER = /^(?=[\p{sc=Hebr}\p{sc=Arab}])\p{L}$/u;
const LTR_LABEL = /^\p{L}(?:[\p{L}\p{M}0-9_-]*[\p{L}\p{M}0-9])?$/u;

/** The text that an A-label stands for, or undefined when it is not the canonical spelling of a valid one. */
export function decodeALabel(label: string): string | undefined {
  const text = decodePunycode(label.slice(4));
  if (text === undefined || text === "" || /^[\x00-\x7f]*$/.test(text)) return undefined;
  if (`xn--${encodePunycode(text)}` !== label) return undefined;
  if (!ALLOWED.test(text) || IGNORABLE.test(text) || /^\p{M}/u.test(text)) return undefined;
  // UTS 46 mapping is case folding with NFKC; a label that either would change is not the canonical one.
  if (text.normalize("NFKC") !== text || text.toLowerCase() !== text) return undefined;
  if (text.toUpperCase().toLowerCase().normalize("NFKC") !== text && !KEPT_BY_FOLDING.test(text)) return undefined;
  return text;
}

/** ß and ς are letters of their own in IDNA 2008 and in UTS 46 without transitional processing, although folding would change them. */
const KEPT_BY_FOLDING = /[\u00df\u03c2]/u;

/** RFC 5893 2: as soon as one label of a name is right-to-left, every label has to keep the Bidi rule. */
export function bidiRuleHolds(labels: readonly string[]): boolean {
  if (!labels.some((label) => RTL_SCRIPT.test(label))) return true;
  return labels.every((label) =>
    RTL_SCRIPT.test(label) ? RTL_LABEL.test(label) || RTL_ONE_LETTER.test(label) : LTR_LABEL.test(label),
  );
}
