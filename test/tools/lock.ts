/**
 * Makes package-lock.json whole for every platform.
 *
 * npm leaves an optional platform package out of the lock when the registry at hand cannot serve it, and `npm ci`
 * then refuses that lock. Run as `npm run lock` after changing a dependency: it writes the lock afresh and adds
 * the left-out packages by name and version, so that platforms other than this one still resolve them.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";

interface LockEntry {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const platforms: Record<string, string> = { windows: "win32", win: "win32" };
const cpus = ["x64", "arm64", "arm", "armv7", "ia32", "ppc64", "riscv64", "s390x", "loong64", "mips64el"];

/** `@scope/name-linux-arm64-musl` → what npm needs to know to pass it over elsewhere. */
function platformOf(name: string): Pick<LockEntry, "os" | "cpu" | "libc"> {
  const words =
    name
      .split("/")
      .at(-1)
      ?.replace(/^(cli|buf|binding)-/, "")
      .split("-") ?? [];
  const known = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "aix", "win32"];
  const os = words.map((word) => platforms[word] ?? word).find((word) => known.includes(word));
  const cpu = words.find((word) => cpus.includes(word));
  const libc = words.some((w) => w.startsWith("musl"))
    ? ["musl"]
    : words.some((w) => w.startsWith("gnu"))
      ? ["glibc"]
      : undefined;
  return { ...(os && { os: [os] }), ...(cpu && { cpu: [cpu === "armv7" ? "arm" : cpu] }), ...(libc && { libc }) };
}

rmSync("node_modules", { recursive: true, force: true });
rmSync("package-lock.json", { force: true });
execFileSync("npm", ["install", "--package-lock-only", "--ignore-scripts"], { stdio: "inherit" });
const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, LockEntry> };
let added = 0;
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    const platform = platformOf(name);
    if (lock.packages[path] !== undefined || platform.os === undefined) continue;
    // The lowest version of a range is one that it takes.
    lock.packages[path] = {
      version: version.replace(/^[\^~]/, ""),
      ...(entry.dev && { dev: true }),
      optional: true,
      ...platform,
    };
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`package-lock.json: ${added} platform packages added; now run npm ci\n`);
