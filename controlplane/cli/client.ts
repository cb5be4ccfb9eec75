/** The operator's API over HTTP, as the verbs use it. Failures are told with what was asked, what came back, and what to do. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiOptions, CliContext } from "./context.ts";
import { CliError } from "./output.ts";

export const DEFAULT_API = "http://127.0.0.1:15080";
/** Where `tidegate up` and the control plane keep the API's token, relative to the working directory. */
export const DEFAULT_TOKEN_FILE = join(".tidegate", "control", "api.token");

export class ApiClient {
  readonly base: URL;
  readonly #token: string | undefined;

  constructor(base: string, token: string | undefined) {
    this.base = new URL(base);
    this.#token = token;
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#request("GET", path, undefined)) as T;
  }

  async post<T>(path: string, body: unknown): Promise<T> {
    return (await this.#request("POST", path, body)) as T;
  }

  async #request(method: string, path: string, body: unknown): Promise<unknown> {
    const url = new URL(`/api/v1${path}`, this.base);
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: {
          accept: "application/json",
          ...(body !== undefined && { "content-type": "application/json" }),
          ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new CliError(
        `no control plane at ${this.base.origin} (${cause}); start one with: npx tidegate up, or say where it is with --api or TIDEGATE_API`,
      );
    }
    const text = await response.text();
    if (response.status === 401) {
      throw new CliError(
        `the control plane at ${this.base.origin} refused the token; run in the folder where it was started, or give its token with --token-file or TIDEGATE_TOKEN`,
      );
    }
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new CliError(
        `${method} ${url.href} answered ${response.status} with something that is no JSON; is this Tidegate's API?`,
      );
    }
    if (!response.ok) {
      const told = (answer as { detail?: unknown }).detail;
      throw new CliError(typeof told === "string" ? told : `${method} ${url.href} answered ${response.status}`);
    }
    return answer;
  }
}

/** Flags, then the environment, then what `tidegate up` left in the working directory. */
export function connectApi(options: ApiOptions, env: CliContext["env"], cwd: string): ApiClient {
  const base = options.api ?? env["TIDEGATE_API"] ?? DEFAULT_API;
  if (!URL.canParse(base)) throw new CliError(`--api ${base}: not a URL; write it like ${DEFAULT_API}`, 2);
  return new ApiClient(base, readToken(options, env, cwd));
}

function readToken(options: ApiOptions, env: CliContext["env"], cwd: string): string | undefined {
  if (options.tokenFile === undefined && env["TIDEGATE_TOKEN"] !== undefined) return env["TIDEGATE_TOKEN"];
  const file = options.tokenFile ?? join(cwd, DEFAULT_TOKEN_FILE);
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if (options.tokenFile === undefined) return undefined;
    throw new CliError(`--token-file ${file}: ${error instanceof Error ? error.message : String(error)}`, 2);
  }
}
