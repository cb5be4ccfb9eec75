import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ControlPlaneSettings, readSettings } from "./settings.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-settings-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function settings(args: readonly string[], env: Record<string, string> = {}): ControlPlaneSettings {
  const outcome = readSettings(args, env);
  if (outcome.kind !== "run") throw new Error(JSON.stringify(outcome));
  return outcome.settings;
}

function problems(args: readonly string[], env: Record<string, string> = {}): readonly string[] {
  const outcome = readSettings(args, env);
  return outcome.kind === "refused" ? outcome.problems : [];
}

function file(content: unknown): string {
  const path = join(directory, "settings.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

describe("where a value comes from", () => {
  test("defaults: loopback, the usual ports, state below the working directory", () => {
    expect(settings([])).toEqual({
      state: join(".tidegate", "control"),
      secrets: join(".tidegate", "control", "secrets"),
      config: [],
      apiHost: "127.0.0.1",
      apiPort: 15080,
      grpcHost: "127.0.0.1",
      grpcPort: 15012,
      grpcNames: ["localhost", "127.0.0.1"],
      logFormat: "auto",
    });
  });

  test("secrets are below the state directory unless a setting says otherwise", () => {
    expect(settings(["--state", "here"]).secrets).toBe(join("here", "secrets"));
    expect(settings(["--state", "here"], { TIDEGATE_SECRETS: "there" }).secrets).toBe("there");
    expect(settings(["--secrets", "elsewhere"], { TIDEGATE_SECRETS: "there" }).secrets).toBe("elsewhere");
    expect(problems(["--secrets", ""])).toEqual(["--secrets: : must not be empty"]);
  });

  test("the file, then the environment, then flags", () => {
    const path = file({ apiPort: 1, grpcPort: 1, state: "from-file", config: ["a", "b"] });
    const env = { TIDEGATE_SETTINGS: path, TIDEGATE_GRPC_PORT: "2", TIDEGATE_STATE: "from-env" };
    expect(settings(["--state", "from-flag"], env)).toMatchObject({
      apiPort: 1,
      grpcPort: 2,
      state: "from-flag",
      config: ["a", "b"],
    });
    expect(settings(["--settings", path])).toMatchObject({ apiPort: 1, state: "from-file" });
  });

  test("what may be repeated, is: as flags, and with commas in the environment", () => {
    expect(settings(["--config", "a", "--config=b"]).config).toEqual(["a", "b"]);
    expect(settings([], { TIDEGATE_CONFIG: "a,b" }).config).toEqual(["a", "b"]);
  });

  test("help names every flag, its variable and its default", () => {
    for (const args of [["--help"], ["-h"]]) {
      const outcome = readSettings(args, {});
      expect(outcome.kind).toBe("help");
      const text = outcome.kind === "help" ? outcome.text : "";
      for (const word of ["--state", "--grpc-name", "TIDEGATE_API_PORT", "default 15012", "TIDEGATE_SETTINGS", "Example:"])
        expect(text).toContain(word);
    }
  });
});

describe("what is refused", () => {
  test("everything at once, with where it came from", () => {
    const path = file({ apiPort: 70000, colour: "red" });
    const found = problems(["--grpc-port", "x", "--nothing", "--state=", "stray"], {
      TIDEGATE_SETTINGS: path,
      TIDEGATE_LOG_FORMAT: "xml",
    });
    expect(found).toEqual([
      "--nothing: unknown flag; --help lists what there is",
      "stray: no argument is expected here; settings are flags (--help lists them)",
      expect.stringContaining(`${path}: colour: unknown setting; known: state, secrets, config`),
      "--state: : must not be empty",
      "settings file: apiPort: 70000: a port is a whole number from 0 (any free one) to 65535",
      "--grpc-port: x: a port is a whole number from 0 (any free one) to 65535",
      "TIDEGATE_LOG_FORMAT: xml: must be json, readable or auto",
    ]);
  });

  test.each([
    [["--api-port", "1", "--api-port", "2"], "--api-port: given more than once; keep one"],
    [["--state"], "--state: a value is missing"],
    [["--sate", "x"], "--sate: unknown flag; --help lists what there is"],
  ])("%j", (args, problem) => {
    expect(problems(args)).toEqual([problem]);
  });

  test.each([["[]"], ["{"], ["3"]])("a settings file that holds %s", (content) => {
    const path = file(content);
    expect(problems(["--settings", path])[0]).toContain(`${path}: `);
  });

  test("a settings file that is not there", () => {
    expect(problems(["--settings", "/nowhere/x.json"])[0]).toMatch(/^\/nowhere\/x\.json: .*no such file/);
  });
});
