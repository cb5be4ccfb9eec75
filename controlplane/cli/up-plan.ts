/** What `tidegate up` starts: read from the folder's `up.json`, or a plain folder of YAML. Pure but for reading that file. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { CliError } from "./output.ts";

const schema = z.strictObject({
  /** Folder of YAML, relative to `up.json`. */
  config: z.string().min(1).default("."),
  /** What to open in a browser. */
  page: z.url().optional(),
  /** Programs that belong to the sample; `node` is the project's own. */
  run: z.array(z.strictObject({ name: z.string().regex(/^[a-z0-9-]{1,32}$/), command: z.array(z.string()).min(1) })).default([]),
  /** What `--edge` adds. */
  edge: z
    .strictObject({
      /** Folder of YAML besides `config`, with the EdgeSite in it. */
      config: z.string().min(1),
      /** Name of the EdgeSite. */
      site: z.string().min(1),
      page: z.url().optional(),
      /** Workers that call out through the site's egress. */
      workers: z
        .array(
          z.strictObject({
            name: z.string().regex(/^[a-z0-9-]{1,32}$/),
            file: z.string().min(1),
            port: z.int().min(1).max(65_535),
          }),
        )
        .default([]),
    })
    .optional(),
});

export interface EdgePlan {
  readonly config: string;
  readonly site: string;
  readonly page: string | undefined;
  readonly workers: readonly { readonly name: string; readonly file: string; readonly port: number }[];
}

export interface UpPlan {
  readonly config: string;
  readonly page: string | undefined;
  readonly programs: readonly { readonly name: string; readonly command: readonly [string, ...string[]]; readonly cwd: string }[];
  readonly edge: EdgePlan | undefined;
}

/** @throws CliError with the place and the remedy. */
export function readPlan(folder: string): UpPlan {
  const root = resolve(folder);
  if (!existsSync(root) || !statSync(root).isDirectory()) {
    throw new CliError(`${folder}: no such folder; give one with YAML files, or none for samples/bookinfo`, 2);
  }
  const file = join(root, "up.json");
  if (!existsSync(file)) return { config: root, page: undefined, programs: [], edge: undefined };
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new CliError(`${file}: ${error instanceof Error ? error.message : String(error)}`, 2);
  }
  const parsed = schema.safeParse(content);
  if (!parsed.success) {
    throw new CliError(
      parsed.error.issues.map((issue) => `${file}: ${issue.path.join(".") || "file"}: ${issue.message}`).join("\n"),
      2,
    );
  }
  const { edge } = parsed.data;
  return {
    config: resolve(root, parsed.data.config),
    page: parsed.data.page,
    edge: edge && {
      config: resolve(root, edge.config),
      site: edge.site,
      page: edge.page,
      workers: edge.workers.map((worker) => ({ ...worker, file: resolve(root, worker.file) })),
    },
    programs: parsed.data.run.map(({ name, command: [program = "", ...args] }) => ({
      name,
      command: [program === "node" ? process.execPath : program, ...args],
      cwd: root,
    })),
  };
}
