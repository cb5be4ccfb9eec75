/** The file of proxy users that MeshConfig names: `name:scrypt$N$r$p$salt$hash` a line, `#` starts a comment. */
import { randomBytes, scrypt } from "node:crypto";
import { readFileSync } from "node:fs";
import type { EgressUser } from "../gateway/core/ir/index.ts";

/** Users in one file. */
export const MAX_PROXY_USERS = 10_000;

export interface ProxyUsers {
  readonly users: readonly EgressUser[];
  /** One sentence each, with file and line; hashes are never repeated. */
  readonly problems: readonly string[];
}

/** Cost of a hash: 16 MiB and some tens of milliseconds for each guess (RFC 7914). */
const SCRYPT = { N: 2 ** 14, r: 8, p: 1 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const NAME = /^[^:\s\u0000-\u001f\u007f]{1,128}$/;

export function isProxyUserName(text: string): boolean {
  return NAME.test(text);
}

/** The line that lets `name` in with `password`. */
export async function proxyUserLine(name: string, password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await new Promise<Buffer>((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, SCRYPT, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
  const { N, r, p } = SCRYPT;
  return `${name}:scrypt$${N}$${r}$${p}$${salt.toString("base64")}$${hash.toString("base64")}`;
}

export function readProxyUsers(file: string | undefined): ProxyUsers {
  if (file === undefined) return { users: [], problems: [] };
  try {
    return parseProxyUsers(readFileSync(file, "utf8"), file);
  } catch (error) {
    return {
      users: [],
      problems: [`${file}: ${error instanceof Error ? error.message : String(error)}; no proxy user can sign in`],
    };
  }
}

export function parseProxyUsers(text: string, file: string): ProxyUsers {
  const users = new Map<string, EgressUser>();
  const problems: string[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const place = `${file}:${index + 1}`;
    const match = /^([^:\s]{1,128}):(scrypt\$\d+\$\d+\$\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+)$/.exec(line);
    const name = match?.[1] ?? "";
    if (match === null)
      problems.push(`${place}: a line is name:scrypt$N$r$p$salt$hash; make one with: tidegate egress password <name>`);
    else if (users.has(name)) problems.push(`${place}: the user ${name} is there already; keep one line`);
    else if (users.size >= MAX_PROXY_USERS) problems.push(`${place}: more than ${MAX_PROXY_USERS} users`);
    else users.set(name, { name, passwordHash: match[2] ?? "" });
  }
  return { users: [...users.values()], problems };
}
