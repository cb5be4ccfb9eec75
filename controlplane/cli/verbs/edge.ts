import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import {
  ENVIRONMENT_FILE,
  environmentFile,
  loopbackPort,
  makeSiteSecrets,
  type SiteRuntime,
  siteReadme,
  writePrivate,
  writeSiteConfig,
} from "../../edge/index.ts";
import { childEnv, followChildren } from "../children.ts";
import type { CliContext } from "../context.ts";
import { copyTls, listenAddress, network, TLS, tlsFiles } from "../edge-config.ts";
import { deploySite } from "../edge-deploy.ts";
import { guestWorker, localSiteChild, siteReady } from "../edge-dev.ts";
import {
  findSite,
  readSecrets,
  requireRuntime,
  type SiteFlags,
  secretsFolder,
  siteCredentials,
  siteFolder,
  siteTrust,
  upstreamsOf,
  withSite,
} from "../edge-site.ts";
import { until, untilSignal } from "../ending.ts";
import { collect, type OutputFlags, wholeNumber, withOutput } from "../options.ts";
import { CliError, show, table, tinted } from "../output.ts";
import { nearPath } from "../problems.ts";
import { Supervisor } from "../supervisor.ts";
import { portTaken } from "../up-ports.ts";

interface KeysFlags extends SiteFlags, OutputFlags {
  readonly proxyUser?: readonly string[];
  readonly rotate?: boolean;
}

interface ConfigFlags extends SiteFlags, OutputFlags {
  readonly out: string;
  readonly listen: string;
  readonly egressListen?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly allowNetwork?: readonly string[];
}

interface DevFlags extends SiteFlags {
  readonly port?: number;
  readonly worker?: readonly string[];
}

interface DeployFlags extends SiteFlags, OutputFlags {
  readonly host?: readonly string[];
  readonly dryRun?: boolean;
}

export function registerEdge(program: Command, context: CliContext): void {
  const edge = program.command("edge").description("edge sites: their secrets, and workerd or Cloudflare to run them");

  withOutput(withSite(edge.command("keys").description("make a site's tokens and the key that signs its passports")))
    .option("--rotate", "replace those that are there")
    .option("--proxy-user <name>", "a token for a caller of the egress over HTTPS; may be repeated", proxyUser)
    .addHelpText("after", KEYS_HELP)
    .action(async (site: string, flags: KeysFlags) => await keys(site, flags, context));

  withOutput(withSite(edge.command("config").description("a folder from which the site runs on a workerd of your own")))
    .requiredOption("--out <dir>", "folder to write; what is in it under the same names is replaced")
    .option("--listen <host:port>", "where the ingress listens", "127.0.0.1:8787")
    .option("--egress-listen <host:port>", "where the egress listens for callers over HTTPS (default: it does not)")
    .option("--tls-cert <file>", "certificate chain, PEM; without it the site speaks plain HTTP")
    .option("--tls-key <file>", "its private key, PEM")
    .option("--allow-network <cidr>", "network that may be reached besides public addresses; may be repeated", collect)
    .addHelpText("after", CONFIG_HELP)
    .action(async (site: string, flags: ConfigFlags) => await config(site, flags, context));

  withSite(edge.command("dev").description("run the site on this machine, against the running control plane"))
    .option("--port <n>", "listen here instead of at the port of the site's url", wholeNumber)
    .option("--worker <name=file>", "a Worker of yours beside it that calls out through the egress; may be repeated", collect)
    .addHelpText("after", DEV_HELP)
    .action(async (site: string, flags: DevFlags) => await dev(site, flags, context));

  withOutput(withSite(edge.command("deploy").description("put the site on Cloudflare, or on what is there of it")))
    .option("--host <name>", "host name besides the site's own that leads to the ingress; may be repeated", collect)
    .option("--dry-run", "bundle and check, upload nothing; needs no account")
    .addHelpText("after", DEPLOY_HELP)
    .action(async (site: string, flags: DeployFlags) => await deploy(site, flags, context));
}

const KEYS_HELP = `
Examples:
  npx tidegate edge keys europe
  npx tidegate edge keys europe --proxy-user payments
  npx tidegate edge keys europe --rotate && npx tidegate edge deploy europe

Run it where the control plane runs: it reads the same folder. Values are written into files of mode 0600 and never shown.
After --rotate, deploy or configure the site anew at once: until then it is refused by the new tokens.`;
const CONFIG_HELP = `
Examples:
  npx tidegate edge config europe --out /srv/edge --listen 0.0.0.0:443 --tls-cert edge.pem --tls-key edge-key.pem
  npx tidegate edge config europe --out /srv/edge --allow-network 10.20.0.0/16

The folder's README.md says how to start it. Secrets stand in edge.env (mode 0600) and nowhere else.`;
const DEV_HELP = `
Examples:
  npx tidegate edge dev local
  npx tidegate edge dev local --worker checkout=src/checkout.ts

The site's url has to name this machine, such as http://127.0.0.1:8787: the control plane dials it. A Worker of yours listens on the
port after the site's. Ctrl-C ends it all.`;
const DEPLOY_HELP = `
Examples:
  npx tidegate edge deploy europe --dry-run
  CLOUDFLARE_API_TOKEN=... npx tidegate edge deploy europe --host shop.example.com

Deploys the ingress Worker with the site's Durable Objects, then the egress Worker; secrets go in through standard input.`;

async function keys(name: string, flags: KeysFlags, context: CliContext): Promise<void> {
  const { terminal, cwd } = context;
  const site = await findSite(context.api(flags), name, flags.namespace);
  const options = { rotate: flags.rotate === true, proxyUsers: flags.proxyUser ?? [] };
  const files = await makeSiteSecrets(secretsFolder(flags), site.credentials, options);
  const answer = { site: name, secret: site.credentials, files };
  show(terminal, flags.output, answer, () => {
    const rows = files.map(({ file, outcome, kid }) => [nearPath(resolve(file), cwd), outcome, kid ?? "-"]);
    return table(terminal, ["FILE", "OUTCOME", "KEY ID"], rows);
  });
}

/** The name becomes part of a file's name. */
function proxyUser(text: string, before: readonly string[] | undefined): readonly string[] {
  if (/^[A-Za-z0-9][\w.-]{0,62}$/.test(text)) return collect(text, before);
  throw new InvalidArgumentError("a caller's name has 1 to 63 letters, digits, dots, - and _");
}

async function config(name: string, flags: ConfigFlags, context: CliContext): Promise<void> {
  const api = context.api(flags);
  const site = await findSite(api, name, flags.namespace);
  requireRuntime(site, "workerd", "`edge config`");
  const credentials = await siteCredentials(api);
  const secrets = readSecrets(flags, site, credentials);
  const trust = await siteTrust(api, site.audience);
  const { out, egressListen } = flags;
  const tls = tlsFiles(flags.tlsCert, flags.tlsKey);
  mkdirSync(out, { recursive: true });
  const runtime: SiteRuntime = {
    ...{
      site,
      trust,
      guests: [],
      upstreams: await upstreamsOf(api, site.audience, trust.floor),
      storage: "storage",
      credentials: Object.keys(secrets.credentials),
    },
    address: listenAddress("--listen", flags.listen),
    allowNetworks: (flags.allowNetwork ?? []).map(network),
    ...(egressListen !== undefined && { egressAddress: listenAddress("--egress-listen", egressListen) }),
    ...(tls !== undefined && { tls: TLS }),
  };
  const written = [...(await writeSiteConfig(out, runtime)), ENVIRONMENT_FILE, "README.md", ...(tls ? copyTls(tls, out) : [])];
  writePrivate(join(out, ENVIRONMENT_FILE), environmentFile({ ...secrets.site, ...secrets.credentials }));
  writeFileSync(join(out, "README.md"), siteReadme(runtime));
  show(context.terminal, flags.output, { site: name, folder: resolve(out), files: written }, () => {
    const start = `cd ${out} && set -a && . ./${ENVIRONMENT_FILE} && set +a && npx workerd serve workerd.capnp`;
    return `${written.map((file) => `${join(out, file)}\n`).join("")}\nstart it: ${start}\n`;
  });
}

async function dev(name: string, flags: DevFlags, context: CliContext): Promise<void> {
  const { terminal } = context;
  const api = context.api(flags);
  const site = await findSite(api, name, flags.namespace);
  requireRuntime(site, "workerd", "`edge dev`");
  const ownPort = loopbackPort(site);
  const port = flags.port ?? ownPort;
  if (port === undefined) {
    throw new CliError(
      `EdgeSite ${name}: spec.url ${site.url} names another machine, and the control plane dials it; give a site of this machine the url http://127.0.0.1:8787, or say with --port where ${site.url} leads to`,
    );
  }
  const credentials = await siteCredentials(api);
  const secrets = readSecrets(flags, site, credentials);
  const folder = siteFolder(flags.state, name);
  const guests = (flags.worker ?? []).map((text, index) => guestWorker(text, port + 1 + index));
  const ports = [port, ...guests.map((_, i) => port + 1 + i)];
  const taken = await Promise.all(ports.map((one) => portTaken(`edge site ${name}`, one, "choose another with --port")));
  if (taken.some((one) => one !== undefined)) throw new CliError(taken.filter((one) => one !== undefined).join("\n"));
  const local = { site, secrets, port, guests, folder, outputFile: join(folder, "workerd.log") };
  const trust = await siteTrust(api, site.audience);
  const upstreams = await upstreamsOf(api, site.audience, trust.floor);
  const spec = await localSiteChild({ ...local, trust, upstreams }, childEnv(context.env));
  const ending = untilSignal();
  const supervisor = new Supervisor(followChildren(terminal, false, ending));
  try {
    supervisor.start(spec);
    await until(`edge site ${name}`, ending, () => siteReady(port, site));
    supervisor.steady();
    const shown = flags.port === undefined ? site.url : `http://127.0.0.1:${port}`;
    const rows = [[name, shown], ...guests.map((one) => [one.name, `http://${one.address}`])];
    const lines = rows.map(([what = "", url = ""]) => `  ${what.padEnd(14)} ${tinted(terminal, url, "bold")}\n`).join("");
    terminal.out(
      `\n${tinted(terminal, `Edge site ${name} is up`, "good")}\n${lines}\n  try: curl -si ${shown}/; npx tidegate status; Ctrl-C ends it\n\n`,
    );
    await ending.promise;
    if (ending.failure() !== undefined) throw new CliError(ending.failure() ?? "");
  } finally {
    ending.whenUrged(() => supervisor.kill());
    await supervisor.stop();
  }
}

async function deploy(name: string, flags: DeployFlags, context: CliContext): Promise<void> {
  const { terminal } = context;
  const api = context.api(flags);
  const site = await findSite(api, name, flags.namespace);
  requireRuntime(site, "cloudflare", "`edge deploy`");
  if (!site.url.startsWith("https:")) {
    throw new CliError(
      `EdgeSite ${name}: spec.url ${site.url}: a site on Cloudflare is reached by https; write its host like https://edge.example.com`,
    );
  }
  const secrets = readSecrets(flags, site, await siteCredentials(api));
  const trust = await siteTrust(api, site.audience);
  const folder = mkdtempSync(join(tmpdir(), "tidegate-deploy-"));
  try {
    const dryRun = flags.dryRun === true;
    const workers = await deploySite({ site, trust, secrets, hosts: flags.host ?? [], folder, dryRun }, context);
    show(terminal, flags.output, { site: name, dryRun, workers }, () =>
      table(
        terminal,
        ["ENVIRONMENT", "WORKER", dryRun ? "SECRETS IT WOULD GET" : "SECRETS"],
        workers.map(({ environment, worker, secrets: names }) => [environment, worker, names.join(", ") || "-"]),
      ),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
