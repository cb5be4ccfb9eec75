/** The walks of the documents, executed as they are written: every command, in order, with everything that they say is printed. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../support/command.ts";
import { needs } from "../support/needs.ts";
import { codeBlocks, difference, section, walkSteps } from "../support/walk.ts";
import { pause, WalkRun } from "../support/walk-run.ts";

/** What a person needs at least between two blocks; the gateways follow a changed file in a fraction of it. */
const BETWEEN_STEPS_MS = 1000;
const BEGIN_MS = 110_000;
const PORTS = [3128, 8080, 9080, 15000, 15012, 15080, 15090];

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const tools = needs("curl");

it("is all there is to type: what stands outside the README's walk are the ways to begin", () => {
  const walked = new Set(codeBlocks(section(readme, "The walk")).map(({ line }) => line));
  const outside = codeBlocks(readme).filter(({ language, line }) => language !== "" && !walked.has(line));
  expect(outside.map(({ language, text }) => [language, text.replace(/ *#.*$/gm, "")])).toEqual([
    ["sh", "npm ci && npm start\nnpm ci && npm run edge\nnpm ci && npm test\n"],
  ]);
});

describe.skipIf(tools.missing).each([
  { page: "README.md", heading: "The walk", command: "npm start\n", ports: PORTS },
  { page: "docs/edge.md", heading: "Three minutes", command: "npm run edge\n", ports: [...PORTS, 8787, 8788] },
])(`$page: $heading${tools.note}`, ({ page, heading, command, ports }) => {
  const [first, ...steps] = walkSteps(section(readFileSync(join(ROOT, page), "utf8"), heading));
  const walk = new WalkRun(ports);
  beforeAll(async () => await walk.prepare());
  afterAll(async () => await walk.clear());

  it(`line ${first?.line}: ${command}`, { timeout: BEGIN_MS }, async () => {
    expect(first?.commands).toBe(command);
    await walk.begin(command);
    expect(difference(first?.expected ?? "", walk.printed)).toBeUndefined();
  });

  for (const { commands, expected, line } of steps) {
    it(`line ${line}: ${commands.split("\n")[0]}`, async () => {
      const { output, failed } = await walk.run(commands);
      if (expected === undefined) expect(failed).toBe(false);
      else expect(difference(expected, output), output).toBeUndefined();
      await pause(BETWEEN_STEPS_MS);
    });
  }

  it("ends with Ctrl-C, and leaves nothing behind", async () => {
    await walk.stop();
    expect(walk.signal, walk.printed).not.toBe("SIGKILL");
    expect(await walk.left(), walk.printed).toEqual([]);
    expect(walk.printed).not.toMatch(/by a bug/);
  });

  it("starts again from what it kept, and ends when npm alone is told to", { timeout: BEGIN_MS + 10_000 }, async () => {
    await walk.begin(command);
    expect(difference(first?.expected ?? "", walk.printed)).toBeUndefined();
    await walk.stop("SIGTERM", "npm alone");
    expect(walk.signal, walk.printed).not.toBe("SIGKILL");
    expect(await walk.left(), walk.printed).toEqual([]);
  });
});
