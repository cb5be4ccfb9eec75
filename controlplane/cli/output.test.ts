import { describe, expect, test } from "vitest";
import { ago, clean, duration, show, type Terminal, table } from "./output.ts";

function recorder(rich: boolean): Terminal & { text: string } {
  return {
    text: "",
    rich,
    columns: 80,
    out(text) {
      this.text += text;
    },
    error(text) {
      this.text += text;
    },
  };
}

describe("tables", () => {
  const rows = [
    ["ingress", { text: "synced", tone: "good" as const }],
    ["egress-long", { text: "refused", tone: "bad" as const }],
  ];
  test("in a pipe: plain, aligned, no trailing blanks", () => {
    expect(table(recorder(false), ["POOL", "STATE"], rows)).toBe(
      "POOL         STATE\ningress      synced\negress-long  refused\n",
    );
  });
  test("on a terminal: coloured, with the same alignment", () => {
    const text = table(recorder(true), ["POOL", "STATE"], rows);
    expect(text).toContain("\u001b[32msynced\u001b[39m");
    expect(text.replace(/\u001b\[\d+m/g, "")).toBe(table(recorder(false), ["POOL", "STATE"], rows));
  });
  test("text from outside cannot drive the terminal", () => {
    expect(clean("a\u001b[2Jb\rc")).toBe("a\\x1b[2Jb\\x0dc");
    expect(table(recorder(false), ["X"], [["\u001b]0;title\u0007"]])).toBe("X\n\\x1b]0;title\\x07\n");
  });
});

test("one set of data, three formats", () => {
  const formats = (["json", "yaml", "table"] as const).map((format) => {
    const terminal = recorder(false);
    show(terminal, format, { a: [1] }, () => "A\n1\n");
    return terminal.text;
  });
  expect(formats).toEqual(['{\n  "a": [\n    1\n  ]\n}\n', "a:\n  - 1\n", "A\n1\n"]);
});

test("ages are short", () => {
  expect([0, 59_000, 60_000, 7_200_000, 172_800_000, -5].map((ms) => ago(0, ms))).toEqual(["0s", "59s", "1m", "2h", "2d", "0s"]);
  expect(ago(undefined, 5)).toBe("-");
});

test("durations are told as configuration spells them", () => {
  expect([0, 250, 1500, 10_000, 90_000, 300_000, 3_600_000, 86_400_000].map(duration)).toEqual([
    "0ms",
    "250ms",
    "1500ms",
    "10s",
    "90s",
    "5m",
    "1h",
    "1d",
  ]);
});
