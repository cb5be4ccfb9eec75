/** The chart of `docs/performance.md`: each row's ratios on one logarithmic axis, as an SVG that is readable on light and on dark. */
import { type ComparedRow, compare, OTHERS, type Other } from "./comparison.ts";
import type { Results } from "./results.ts";

const WIDTH = 800;
/** Labels end here and the axis begins. */
const LEFT = 240;
const RIGHT = WIDTH - 24;
const TOP = 64;
const ROW = 34;
const LANE = 7;
/** Half of a mark's width. */
const SIZE = 3.5;
const TICKS = [0.125, 0.25, 0.5, 1, 2, 4, 8];
const LOWEST = 0.1;
const HIGHEST = 10;
const NAMES: Readonly<Record<Other, string>> = { relay: "bare relay", nginx: "nginx", haproxy: "HAProxy", envoy: "Envoy" };

const STYLE = `
    svg { --ground: #ffffff; --text: #1f2328; --quiet: #59636e; --line: #d1d9e0; --relay: #9a6700; --nginx: #1a7f37; --haproxy: #0969da; --envoy: #a40e26; }
    @media (prefers-color-scheme: dark) {
      svg { --ground: #0d1117; --text: #e6edf3; --quiet: #9198a1; --line: #3d444d; --relay: #d29922; --nginx: #3fb950; --haproxy: #58a6ff; --envoy: #ff7b72; }
    }
    text { font: 12px system-ui, sans-serif; fill: var(--text); }
    .ground { fill: var(--ground); }
    .quiet { fill: var(--quiet); }
    .line { stroke: var(--line); stroke-width: 1; }
    .even { stroke: var(--quiet); stroke-width: 1.5; }
${OTHERS.map((other) => `    .${other} { fill: var(--${other}); stroke: var(--${other}); }`).join("\n")}
    .asked { stroke-width: 2; }
`;

export function chartSvg(results: Results): string {
  const rows = compare(results);
  const bottom = TOP + rows.length * ROW;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 44}" role="img" aria-label="${DESCRIPTION}">`,
    `  <style>${STYLE}  </style>`,
    `  <rect class="ground" width="${WIDTH}" height="${bottom + 44}"/>`,
    ...legend(),
    ...axis(bottom),
    ...rows.flatMap((row, index) => rowMarks(row, TOP + index * ROW)),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

const DESCRIPTION =
  "Tidegate against a bare relay, nginx, HAProxy and Envoy, by workload; the table beside holds the same figures";

function legend(): readonly string[] {
  const entries = OTHERS.map((other, index) => {
    const x = LEFT + index * 100;
    return `  ${mark(other, x, 18)}<text x="${x + 10}" y="22">${NAMES[other]}</text>`;
  });
  return [
    ...entries,
    `  <text class="quiet" x="16" y="22">Tidegate against</text>`,
    `  <line class="asked envoy" x1="${LEFT + 400}" x2="${LEFT + 400}" y1="13" y2="23"/><text x="${LEFT + 408}" y="22">asked for</text>`,
    `  <text class="quiet" x="${xOf(1) - 8}" y="${TOP - 18}" text-anchor="end">← the other is better</text>`,
    `  <text class="quiet" x="${xOf(1) + 8}" y="${TOP - 18}">Tidegate is better →</text>`,
  ];
}

function axis(bottom: number): readonly string[] {
  return TICKS.flatMap((tick) => {
    const x = xOf(tick);
    return [
      `  <line class="${tick === 1 ? "even" : "line"}" x1="${x}" x2="${x}" y1="${TOP - 6}" y2="${bottom}"/>`,
      `  <text class="quiet" x="${x}" y="${bottom + 20}" text-anchor="middle">${tick} ×</text>`,
    ];
  });
}

function rowMarks({ label, own, ratios, asked, refused }: ComparedRow, top: number): readonly string[] {
  const lines = [
    `  <line class="line" x1="16" x2="${RIGHT}" y1="${top}" y2="${top}"/>`,
    `  <text x="16" y="${top + 15}">${escaped(label)}</text>`,
    `  <text class="quiet" x="16" y="${top + 28}">${escaped(refused === undefined ? own : "no figure")}</text>`,
  ];
  const marks = OTHERS.flatMap((other, lane) => {
    const y = top + 6.5 + lane * LANE;
    const [ratio, limit] = [ratios[other], asked[other]];
    return [
      ...(limit === undefined
        ? []
        : [`  <line class="asked ${other}" x1="${xOf(limit)}" x2="${xOf(limit)}" y1="${y - 5}" y2="${y + 5}"/>`]),
      ...(ratio === undefined ? [] : [`  ${mark(other, xOf(ratio), y)}`]),
    ];
  });
  return [...lines, ...marks];
}

/** Each its own shape: colours alone are not told apart by everybody. */
function mark(other: Other, x: number, y: number): string {
  const points = (list: readonly (readonly [number, number])[]) =>
    `<polygon class="${other}" points="${list.map(([dx, dy]) => `${round(x + dx * SIZE)},${round(y + dy * SIZE)}`).join(" ")}"/>`;
  switch (other) {
    case "relay":
      return points([
        [0, -1],
        [1, 1],
        [-1, 1],
      ]);
    case "nginx":
      return `<circle class="${other}" cx="${x}" cy="${y}" r="${SIZE}"/>`;
    case "haproxy":
      return points([
        [-1, -1],
        [1, -1],
        [1, 1],
        [-1, 1],
      ]);
    case "envoy":
      return points([
        [0, -1.3],
        [1.3, 0],
        [0, 1.3],
        [-1.3, 0],
      ]);
  }
}

/** What lies beyond the axis is drawn at its end. */
export function xOf(ratio: number): number {
  const share = Math.log(Math.min(HIGHEST, Math.max(LOWEST, ratio)) / LOWEST) / Math.log(HIGHEST / LOWEST);
  return round(LEFT + share * (RIGHT - LEFT));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
