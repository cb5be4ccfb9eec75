import type { Command } from "commander";
import {
  acceptSnapshot,
  DEFAULT_SNAPSHOT_LIMITS,
  decodeSnapshotFile,
  type SnapshotFile,
  snapshotVersion,
} from "../../../gateway/core/ir/index.ts";
import type { RollbackResponse, SnapshotListResponse } from "../../api/index.ts";
import { diskFiles } from "../../disk-files.ts";
import { DEFAULT_STATE, statePaths } from "../../layout.ts";
import { buildSnapshots } from "../../offline.ts";
import { diffSnapshots, loadKeys, readSnapshotFile, writeSnapshotFile } from "../../snapshot/index.ts";
import type { CliContext } from "../context.ts";
import { readDocuments } from "../files.ts";
import { type ApiFlags, collect, durationMs, type OutputFlags, withApi, withOutput } from "../options.ts";
import { ago, type Cell, CliError, show, type Terminal, table, tinted } from "../output.ts";
import { countErrors, problemLines } from "../problems.ts";
import { waitOf } from "./apply.ts";

const MARKS = { added: "+", removed: "-", changed: "~" } as const;
const MARK_TONES = { added: "good", removed: "bad", changed: "warn" } as const;

export function registerSnapshot(program: Command, context: CliContext): void {
  const snapshot = program.command("snapshot").description("build, verify, look at, compare and roll back signed snapshots");
  registerBuild(snapshot, context);
  registerVerify(snapshot, context);
  registerShow(snapshot, context);
  registerDiff(snapshot, context);
  registerRollback(snapshot, context);
}

function registerBuild(snapshot: Command, context: CliContext): void {
  snapshot
    .command("build")
    .description("translate, sign and write the snapshot of one pool to a file, without a control plane")
    .requiredOption("-f, --file <path>", "configuration: file, folder or -; may be repeated", collect)
    .requiredOption("--pool <pool>", "which pool")
    .requiredOption("--out <file>", "where to write it")
    .option("--state <dir>", "keys and history to use; no control plane may run on it at the same time", DEFAULT_STATE)
    .option("--secrets <dir>", "secrets of EdgeSite objects (default: secrets, below the state directory)")
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate keys init --state /tmp/mesh\n  npx tidegate snapshot build -f samples/bookinfo/mesh --pool ingress --state /tmp/mesh --out ingress.snapshot",
    )
    .action(
      async (flags: {
        readonly file: readonly string[];
        readonly pool: string;
        readonly out: string;
        readonly state: string;
        readonly secrets?: string;
      }) => {
        const documents = await readDocuments(flags.file, context);
        const built = await buildSnapshots({
          documents,
          state: flags.state,
          secrets: flags.secrets,
          files: diskFiles,
          unixMs: context.now,
          pools: [flags.pool],
        });
        context.terminal.error(problemLines(context.terminal, built.problems));
        const [published] = built.published;
        if (built.failure !== undefined || published === undefined) {
          throw new CliError(built.failure ?? `there is no pool ${flags.pool}; pools: ${built.pools.join(", ")}`);
        }
        await writeSnapshotFile(flags.out, published);
        context.terminal.out(
          `${flags.out}: snapshot ${published.id} of pool ${published.pool}, ${published.chunks.size} chunks\n`,
        );
        if (countErrors(built.problems) > 0) throw new CliError("some objects were refused; the snapshot holds the rest", 1);
      },
    );
}

function registerVerify(snapshot: Command, context: CliContext): void {
  withOutput(snapshot.command("verify").description("judge a snapshot file as a gateway without memory would"))
    .argument("<file>", "snapshot file")
    .requiredOption("--pool <pool>", "pool it has to be for")
    .option("--state <dir>", "state directory with the trust root", DEFAULT_STATE)
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate snapshot verify ingress.snapshot --pool ingress\n\nExit codes: 0 a gateway would take it, 1 it would be refused.",
    )
    .action(async (file: string, flags: OutputFlags & { readonly pool: string; readonly state: string }) => {
      const read = value(await readSnapshotFile(file));
      const { root } = value(await loadKeys(statePaths(flags.state).keys));
      const outcome = await acceptSnapshot(read.jws, read.chunks, {
        root,
        audience: flags.pool,
        accepted: undefined,
        floor: undefined,
        nowS: Math.floor(context.now() / 1000),
        clockSkewS: 30,
        limits: DEFAULT_SNAPSHOT_LIMITS,
        purpose: "update",
        gatewayId: undefined,
        held: undefined,
      });
      const good = outcome.kind === "accepted";
      const refusal = outcome.kind === "refused" ? outcome.refusal : undefined;
      const version = snapshotVersion(read.manifest);
      show(
        context.terminal,
        flags.output,
        { accepted: good, version, pool: read.manifest.aud, signatures: read.kids, refusal },
        () =>
          good
            ? tinted(
                context.terminal,
                `accepted: snapshot ${version} of pool ${read.manifest.aud}, signed by ${read.kids.join(", ")}\n`,
                "good",
              )
            : tinted(context.terminal, `refused (${refusal?.code ?? outcome.kind}): ${refusal?.detail ?? outcome.kind}\n`, "bad"),
      );
      if (!good) throw new CliError("", 1);
    });
}

function registerShow(snapshot: Command, context: CliContext): void {
  withOutput(withApi(snapshot.command("show").description("list published snapshots, or show one: a file, or <pool>@<version>")))
    .argument("[snapshot]", "snapshot file or <pool>@<version>")
    .addHelpText(
      "after",
      "\nExamples:\n  npx tidegate snapshot show\n  npx tidegate snapshot show ingress@1.2 -o json\n  npx tidegate snapshot show ingress.snapshot",
    )
    .action(async (which: string | undefined, flags: ApiFlags & OutputFlags) => {
      if (which === undefined) {
        const { items } = await context.api(flags).get<SnapshotListResponse>("/snapshots");
        show(context.terminal, flags.output, items, () => listTable(context, items));
        return;
      }
      const { manifest, kids, snapshot: content } = await find(which, flags, context);
      show(context.terminal, flags.output, { manifest, signatures: kids, snapshot: content }, () =>
        oneTable(context.terminal, manifest, kids),
      );
    });
}

function listTable(context: CliContext, items: SnapshotListResponse["items"]): string {
  if (items.length === 0) return "no snapshot was published yet\n";
  const rows = items.map((item): (string | Cell)[] => [
    item.pool,
    { text: item.version, tone: item.current ? "good" : "plain" },
    item.current ? "in force" : "",
    `${ago(item.publishedMs, context.now())} ago`,
    item.policyClass,
    String(item.bytes),
  ]);
  return table(context.terminal, ["POOL", "VERSION", "", "PUBLISHED", "EGRESS", "BYTES"], rows);
}

function oneTable(terminal: Terminal, manifest: SnapshotFile["manifest"], kids: readonly string[]): string {
  const date = (seconds: number) => new Date(seconds * 1000).toISOString();
  const sections = Object.entries(manifest.sections).map(([name, { softExp, exp, failMode, chunks }]) => [
    name,
    String(chunks.length),
    String(chunks.reduce((sum, chunk) => sum + chunk.bytes, 0)),
    date(softExp),
    date(exp),
    failMode,
  ]);
  const facts = [
    `snapshot ${snapshotVersion(manifest)} of pool ${manifest.aud}, mesh ${manifest.iss}`,
    `issued ${date(manifest.iat)}, egress change ${manifest.policyClass}, rollout ${manifest.rollout.percent} %`,
    `signed by ${kids.join(", ")}`,
  ];
  return `${facts.join("\n")}\n\n${table(terminal, ["SECTION", "CHUNKS", "BYTES", "STALE FROM", "EXPIRES", "THEN"], sections)}`;
}

function registerDiff(snapshot: Command, context: CliContext): void {
  withOutput(withApi(snapshot.command("diff").description("what differs between two snapshots, resource by resource")))
    .argument("<before>", "snapshot file or <pool>@<version>")
    .argument("<after>", "snapshot file or <pool>@<version>")
    .addHelpText("after", "\nExample:\n  npx tidegate snapshot diff ingress@1.1 ingress@1.2")
    .action(async (before: string, after: string, flags: ApiFlags & OutputFlags) => {
      const changes = diffSnapshots((await find(before, flags, context)).snapshot, (await find(after, flags, context)).snapshot);
      show(context.terminal, flags.output, changes, () =>
        changes.length === 0
          ? "no difference\n"
          : changes
              .map(({ change, kind, name }) => tinted(context.terminal, `${MARKS[change]} ${kind} ${name}\n`, MARK_TONES[change]))
              .join(""),
      );
    });
}

function registerRollback(snapshot: Command, context: CliContext): void {
  withOutput(
    withApi(snapshot.command("rollback").description("publish the content of an older snapshot again, under a new version")),
  )
    .argument("<snapshot>", "<pool>@<version>, as `snapshot show` lists them")
    .option("--wait [duration]", "return when every connected gateway enforces it (default 10s)", durationMs)
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate snapshot rollback ingress@1.3 --wait\n\nIt holds until the configuration changes next.",
    )
    .action(async (which: string, flags: ApiFlags & OutputFlags & { readonly wait?: number | boolean }) => {
      const { pool, version } = poolAndVersion(which);
      const answer = await context
        .api(flags)
        .post<RollbackResponse>(`/snapshots/${pool}/rollback`, { to: version, ...waitOf(flags.wait) });
      show(
        context.terminal,
        flags.output,
        answer,
        () => `pool ${answer.pool}: snapshot ${answer.version} has the content of ${version}\n`,
      );
      if (answer.enforced?.complete === false) throw new CliError("not every gateway enforces it yet: see tidegate status", 3);
    });
}

async function find(which: string, flags: ApiFlags, context: CliContext): Promise<SnapshotFile> {
  if (!/^[a-z0-9._-]+@\d+\.\d+$/.test(which)) return value(await readSnapshotFile(which));
  const { pool, version } = poolAndVersion(which);
  const file = await context.api(flags).get<unknown>(`/snapshots/${pool}/${version}`);
  return value(await decodeSnapshotFile(new TextEncoder().encode(JSON.stringify(file)), which));
}

function poolAndVersion(which: string): { pool: string; version: string } {
  const match = /^([a-z0-9._-]+)@(\d+\.\d+)$/.exec(which);
  if (match === null) throw new CliError(`${which}: write a snapshot as <pool>@<version>, such as ingress@1.3`, 2);
  return { pool: match[1] ?? "", version: match[2] ?? "" };
}

function value<T>(
  outcome:
    | { readonly ok: true; readonly value: T }
    | { readonly ok: false; readonly error: readonly { path: string; problem: string }[] },
): T {
  if (outcome.ok) return outcome.value;
  throw new CliError(outcome.error.map(({ path, problem }) => `${path}: ${problem}`).join("\n"));
}
