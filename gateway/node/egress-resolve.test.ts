import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DnsResolver, HostsFile, parseHosts } from "./egress-resolve.ts";

describe("parseHosts", () => {
  it("takes canonical names and addresses, and passes over everything else", () => {
    const names = parseHosts(
      [
        "# a comment",
        "127.0.0.1 localhost db.internal # db.other",
        "::1\tlocalhost",
        "127.0.0.1 localhost",
        "127.1 short",
        "10.0.0.1 UPPER trailing.",
        "nonsense name",
        "",
      ].join("\n"),
    );
    expect(Object.fromEntries(names)).toEqual({ localhost: ["127.0.0.1", "::1"], "db.internal": ["127.0.0.1"] });
  });
});

describe("DnsResolver", () => {
  let folder = "";
  let path = "";

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hosts-"));
    path = join(folder, "hosts");
    writeFileSync(path, "192.0.2.7 written.example.com\n");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("asks the hosts file first, notices when it changes, and lives without one", async () => {
    const asked: string[] = [];
    const lookup = async (name: string): Promise<readonly string[]> => {
      asked.push(name);
      return ["192.0.2.9"];
    };
    const resolver = new DnsResolver({ lookup, hosts: new HostsFile(path) });
    expect(resolver.resolve("written.example.com")).toEqual({ kind: "found", addresses: ["192.0.2.7"] });
    writeFileSync(path, "192.0.2.7 written.example.com\n192.0.2.8 later.example.com\n");
    expect(resolver.resolve("later.example.com")).toEqual({ kind: "found", addresses: ["192.0.2.8"] });
    expect(asked).toEqual([]);
    const bare = new DnsResolver({ lookup, hosts: new HostsFile(join(folder, "none")) });
    expect(await bare.resolve("written.example.com")).toEqual({ kind: "found", addresses: ["192.0.2.9"] });
  });

  it("asks for absolute names, so that no search domain comes in; a single label is left to the system", async () => {
    const asked: string[] = [];
    const lookup = async (name: string): Promise<readonly string[]> => {
      asked.push(name);
      return [];
    };
    const resolver = new DnsResolver({ lookup, hosts: new HostsFile(path) });
    expect(await resolver.resolve("api.example.com")).toEqual({ kind: "none", reason: "no addresses" });
    await resolver.resolve("db");
    expect(asked).toEqual(["api.example.com.", "db"]);
  });

  it("shares a look-up that is under way, forgets it afterwards, and bounds how many there are", async () => {
    const waiting: ((addresses: readonly string[]) => void)[] = [];
    const lookup = (): Promise<readonly string[]> => new Promise((resolve) => waiting.push(resolve));
    const resolver = new DnsResolver({ lookup, hosts: new HostsFile(path), maxInFlight: 1 });
    const first = resolver.resolve("a.example.com");
    expect(resolver.resolve("a.example.com")).toBe(first);
    expect(resolver.resolve("b.example.com")).toEqual({ kind: "failed", reason: "too many names are being resolved" });
    waiting[0]!(["192.0.2.1"]);
    expect(await first).toEqual({ kind: "found", addresses: ["192.0.2.1"] });
    const again = resolver.resolve("a.example.com");
    waiting[1]!(["192.0.2.2"]);
    expect(await again).toEqual({ kind: "found", addresses: ["192.0.2.2"] });
  });

  it.each([
    ["ENOTFOUND", { kind: "none", reason: "no such name" }],
    ["EAI_AGAIN", { kind: "failed", reason: "look-up failed (EAI_AGAIN)" }],
  ])("tells %s apart", async (code, expected) => {
    const lookup = (): Promise<readonly string[]> => Promise.reject(Object.assign(new Error("getaddrinfo"), { code }));
    const resolver = new DnsResolver({ lookup, hosts: new HostsFile(path) });
    expect(await resolver.resolve("a.example.com")).toEqual(expected);
  });
});
