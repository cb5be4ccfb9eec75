/** What every verb is handed: the terminal, the environment, and the way to the API. Verbs reach nothing else of the process. */
import type { ApiClient } from "./client.ts";
import type { Terminal } from "./output.ts";

export interface CliContext {
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Unix ms. */
  readonly now: () => number;
  /** The client for the API address and token in force (flags, then TIDEGATE_API and TIDEGATE_TOKEN, then `.tidegate/`). */
  readonly api: (options: ApiOptions) => ApiClient;
  readonly readStdin: () => Promise<string>;
  /** Asks on the terminal without showing what is typed; where there is none, standard input. */
  readonly readSecret: (prompt: string) => Promise<string>;
}

export interface ApiOptions {
  readonly api?: string;
  readonly tokenFile?: string;
}
