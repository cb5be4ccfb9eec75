import { type Command, Option } from "commander";
import type { JoinTokenResponse, RevokeResponse } from "../../api/index.ts";
import { DEFAULT_STATE, statePaths } from "../../layout.ts";
import { DEFAULT_KEY_PLAN, initKeys, type KeyRing, loadKeys, rotateKeys } from "../../snapshot/index.ts";
import type { CliContext } from "../context.ts";
import { type ApiFlags, durationMs, type OutputFlags, wholeNumber, withApi, withOutput } from "../options.ts";
import { CliError, show, type Terminal, table } from "../output.ts";

interface InitFlags extends OutputFlags {
  readonly state: string;
  readonly trustDomain: string;
  readonly alg: "EdDSA" | "ES256";
  readonly rootKeys: number;
  readonly rootThreshold: number;
  readonly onlineKeys: number;
  readonly threshold: number;
  readonly wideningThreshold: number;
  readonly separateRoles?: boolean;
  readonly validity: number;
}

interface RotateFlags extends OutputFlags {
  readonly state: string;
  readonly replace: "online" | "root" | "all" | "none";
  readonly validity: number;
  readonly raiseEpoch?: boolean;
}

const YEAR_MS = 365 * 86_400_000;

export function registerKeys(program: Command, context: CliContext): void {
  const keys = program.command("keys").description("signing keys, the trust root, and join tokens");
  const withState = (command: Command) =>
    withOutput(command).option("--state <dir>", "the control plane's state directory", DEFAULT_STATE);

  withState(keys.command("init").description("make keys and the first trust root"))
    .option("--trust-domain <name>", "the mesh that the keys speak for", "cluster.local")
    .addOption(new Option("--alg <alg>", "signature algorithm").choices(["EdDSA", "ES256"]).default("EdDSA"))
    .option("--root-keys <n>", "offline keys that sign trust roots", wholeNumber, DEFAULT_KEY_PLAN.rootKeys)
    .option("--root-threshold <n>", "how many of them a trust root takes", wholeNumber, DEFAULT_KEY_PLAN.rootThreshold)
    .option("--online-keys <n>", "keys that sign snapshots", wholeNumber, DEFAULT_KEY_PLAN.onlineKeys)
    .option("--threshold <n>", "how many of them a snapshot takes", wholeNumber, DEFAULT_KEY_PLAN.threshold)
    .option(
      "--widening-threshold <n>",
      "how many a change takes that may let more out",
      wholeNumber,
      DEFAULT_KEY_PLAN.wideningThreshold,
    )
    .option("--separate-roles", "keys of their own for routes, egress and quota")
    .option("--validity <duration>", "until the trust root has to be signed anew", durationMs, YEAR_MS)
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate keys init --root-keys 3 --root-threshold 2\n\nMove <state>/keys/offline to a safe place afterwards; only `keys rotate` needs it.",
    )
    .action(async (flags: InitFlags) => {
      const { trustDomain, alg, rootKeys, rootThreshold, onlineKeys, threshold, wideningThreshold } = flags;
      const plan = { iss: trustDomain, alg, rootKeys, rootThreshold, onlineKeys, threshold, wideningThreshold };
      const separateRoles = flags.separateRoles === true;
      const made = await initKeys(
        statePaths(flags.state).keys,
        { ...plan, separateRoles, validityS: Math.floor(flags.validity / 1000) },
        Math.floor(context.now() / 1000),
      );
      showRing(context.terminal, flags, ring(made));
    });

  withState(keys.command("rotate").description("replace keys by a new trust root, signed by the old and the new"))
    .addOption(new Option("--replace <keys>", "which keys").choices(["online", "root", "all", "none"]).default("online"))
    .option("--validity <duration>", "until the new trust root has to be signed anew", durationMs, YEAR_MS)
    .option("--raise-epoch", "start versions anew, for readers that were led to too high a one")
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate keys rotate --replace online\n\nA running control plane notices and signs anew; gateways follow by themselves.",
    )
    .action(async (flags: RotateFlags) => {
      const rotated = await rotateKeys(statePaths(flags.state).keys, {
        replace: flags.replace,
        nowS: Math.floor(context.now() / 1000),
        validityS: Math.floor(flags.validity / 1000),
        raiseEpoch: flags.raiseEpoch === true,
      });
      showRing(context.terminal, flags, ring(rotated));
    });

  withState(keys.command("show").description("the trust root: keys, roles, thresholds, expiry"))
    .addHelpText("after", "\nExample:\n  npx tidegate keys show -o json")
    .action(async (flags: OutputFlags & { readonly state: string }) => {
      showRing(context.terminal, flags, ring(await loadKeys(statePaths(flags.state).keys)));
    });

  withOutput(withApi(keys.command("join-token").description("a token by which gateways enrol in a pool; it is a secret")))
    .requiredOption("--pool <pool>", "pool that the gateways will belong to")
    .option("--ttl <duration>", "how long it can be used (default 1h)", durationMs)
    .option("--uses <n>", "how many gateways may use it (default 1)", wholeNumber)
    .addHelpText("after", "\nExample:\n  npx tidegate keys join-token --pool ingress > join.token")
    .action(async (flags: ApiFlags & OutputFlags & { readonly pool: string; readonly ttl?: number; readonly uses?: number }) => {
      const { pool, ttl, uses } = flags;
      const request = { pool, ...(ttl !== undefined && { ttlMs: ttl }), ...(uses !== undefined && { uses }) };
      const answer = await context.api(flags).post<JoinTokenResponse>("/join-tokens", request);
      show(context.terminal, flags.output, answer, () => `${answer.token}\n`);
    });

  withOutput(withApi(keys.command("revoke").description("take a gateway's credential away and end its stream")))
    .argument("<gateway>", "id, as `status` shows it")
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate keys revoke ingress-1\n\nIt keeps what it has in force until that expires; stop it, too.",
    )
    .action(async (gateway: string, flags: ApiFlags & OutputFlags) => {
      const answer = await context.api(flags).post<RevokeResponse>(`/gateways/${encodeURIComponent(gateway)}/revoke`, {});
      show(context.terminal, flags.output, answer, () => `${answer.gateway}: needs a new join token to come back\n`);
    });
}

function ring(outcome: Awaited<ReturnType<typeof loadKeys>>): KeyRing {
  if (outcome.ok) return outcome.value;
  throw new CliError(outcome.error.map(({ path, problem }) => `${path}: ${problem}`).join("\n"));
}

function showRing(terminal: Terminal, flags: OutputFlags, { root, pin, signers }: KeyRing): void {
  const { document, hash } = root;
  const here = new Set(signers.map((signer) => signer.kid));
  show(terminal, flags.output, { ...document, hash, pin, signers: [...here] }, () => {
    const rows = document.keys.map(({ kid, alg }) => {
      const roles = Object.entries(document.roles).flatMap(([name, role]) => (role.kids.includes(kid) ? [name] : []));
      return [kid, alg, roles.join(", "), here.has(kid) ? "here" : roles.includes("root") ? "offline" : "elsewhere"];
    });
    const thresholds = Object.entries(document.roles).map(([name, role]) => `${name} ${role.threshold}/${role.kids.length}`);
    const facts = [
      `trust root ${document.version} of ${document.iss}, epoch ${document.epoch}`,
      `expires ${new Date(document.expires * 1000).toISOString()}`,
      `thresholds: ${thresholds.join(", ")}; widening egress ${document.roles.egress.wideningThreshold}`,
      `pin ${pin}`,
    ];
    return `${facts.join("\n")}\n\n${table(terminal, ["KEY", "ALG", "ROLES", "PRIVATE KEY"], rows)}`;
  });
}
