/** The command line for tests: an API that answers by path, and all that was printed. */
import type { Command } from "commander";
import { ApiClient } from "./client.ts";
import type { CliContext } from "./context.ts";
import { makeProgram, runProgram } from "./program.ts";

export const NOW = 1_800_000_000_000;

/** Answers by path; remembers what was asked. */
class FakeApi extends ApiClient {
  readonly asked: { readonly method: string; readonly path: string; readonly body: unknown }[] = [];
  readonly #answers: Readonly<Record<string, unknown>>;

  constructor(answers: Readonly<Record<string, unknown>>) {
    super("http://127.0.0.1:1", undefined);
    this.#answers = answers;
  }
  override async get<T>(path: string): Promise<T> {
    return this.#answer("GET", path, undefined) as T;
  }
  override async post<T>(path: string, body: unknown): Promise<T> {
    return this.#answer("POST", path, body) as T;
  }
  #answer(method: string, path: string, body: unknown): unknown {
    this.asked.push({ method, path, body });
    const key = path.split("?")[0] ?? "";
    if (!(key in this.#answers)) throw new Error(`unexpected ${method} ${path}`);
    return this.#answers[key];
  }
}

export interface TestCommand {
  readonly api: FakeApi;
  readonly program: Command;
  run(...args: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }>;
}

/** @param directory the working directory */
export function testCommand(directory: string, answers: Readonly<Record<string, unknown>> = {}, stdin = ""): TestCommand {
  const api = new FakeApi(answers);
  const told = { out: "", err: "" };
  const context: CliContext = {
    terminal: {
      rich: false,
      columns: 80,
      out: (text) => {
        told.out += text;
      },
      error: (text) => {
        told.err += text;
      },
    },
    env: {},
    cwd: directory,
    now: () => NOW,
    api: () => api,
    readStdin: async () => stdin,
    readSecret: async () => stdin,
  };
  const run = async (...args: string[]) => {
    told.out = "";
    told.err = "";
    const code = await runProgram(makeProgram(context, "1.2.3"), args, context);
    return { code, ...told };
  };
  return { api, run, program: makeProgram(context, "1.2.3") };
}
