import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LogFile, MAX_PENDING_BYTES } from "./log-file.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-log-file-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("LogFile", () => {
  it("writes lines in order, and into the new file after a rotation", async () => {
    const path = join(directory, "a.log");
    const log = new LogFile(() => undefined);
    log.target(path);
    for (let i = 0; i < 3000; i++) log.add(`line ${i} ${"x".repeat(40)}\n`);
    await log.flush();
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    expect(lines).toHaveLength(3000);
    expect(lines.every((line, i) => line.startsWith(`line ${i} `))).toBe(true);
    renameSync(path, `${path}.1`);
    log.reopen();
    log.add("after\n");
    await log.flush();
    expect(readFileSync(path, "utf8")).toBe("after\n");
    expect(log.dropped).toBe(0);
  });

  it("writes lines that come in pieces, whatever is in them and however long they are", async () => {
    const path = join(directory, "pieces.log");
    const log = new LogFile(() => undefined);
    log.target(path);
    const texts = [
      "plain",
      '"',
      "\\",
      "\n",
      "\0",
      "\x7f",
      "\u00e9\u00ff",
      "x".repeat(70_000),
      "y".repeat(200_000),
      "\n".repeat(40_000),
      "",
    ];
    for (let i = 0; i < 500; i++) texts.push(`${i}${"z".repeat(400)}`);
    for (const text of texts) {
      if (!log.begin()) continue;
      log.json('{"text":');
      log.string(text);
      log.json("}\n");
      log.end();
    }
    await log.flush();
    const lines = readFileSync(path, "latin1").trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { text: string }).text)).toEqual(texts);
    expect(lines.every((line) => /^[\x20-\x7e]*$/.test(line))).toBe(true);
  });

  it("drops and counts what is more than it may hold", async () => {
    const path = join(directory, "b.log");
    const log = new LogFile(() => undefined);
    log.target(path);
    const line = `${"x".repeat(1023)}\n`;
    // Nothing is written before the file is open, which takes a turn.
    for (let i = 0; i < MAX_PENDING_BYTES / 1024 + 10; i++) log.add(line);
    expect(log.dropped).toBe(10);
    await log.flush();
    expect(readFileSync(path).length).toBe(MAX_PENDING_BYTES);
  });

  it("says that a file cannot be opened, and drops its lines", async () => {
    const problems: string[] = [];
    const log = new LogFile((message) => problems.push(message));
    log.target(join(directory, "no", "such", "folder.log"));
    log.add("lost\n");
    await log.flush();
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("ENOENT");
    expect(log.dropped).toBe(1);
  });
});
