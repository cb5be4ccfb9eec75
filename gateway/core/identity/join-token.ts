/**
 * What a new gateway is given to find its control plane and to know that it is the right one.
 *
 * Text form: `tg1.` and base64url of a JSON object. It holds a secret: treat it as one. It pins the control plane's
 * certificate authority and the first trust root, so that nothing on the way can stand in for either, and a floor below
 * which a snapshot is a replay even for a gateway without memory.
 */
import { fail, type Issue, ok, type Result } from "../result.ts";

export interface JoinToken {
  readonly id: string;
  readonly secret: string;
  /** Pool that the enrolled gateway will belong to. */
  readonly pool: string;
  /** PEM of the authority that signs the control plane's TLS certificate. */
  readonly ca: string;
  /** SHA-256 (base64url) of the first trust root's bytes. */
  readonly rootHash: string;
  readonly floor: { readonly epoch: number; readonly version: number };
  /** Unix seconds. */
  readonly expires: number;
}

/**
 * DNS name that every control plane's certificate carries and every gateway asks for, whatever address it dials: the join token pins
 * the authority, so the name only has to be the same on both sides, and a TLS server name cannot be an IP address (RFC 6066 section 3).
 */
export const CONTROL_PLANE_NAME = "control-plane.tidegate.internal";

const PREFIX = "tg1.";
/** Longest text that is read as a token, characters. */
export const MAX_JOIN_TOKEN_CHARS = 8 * 1024;

export function formatJoinToken(token: JoinToken): string {
  const bytes = new TextEncoder().encode(JSON.stringify(token));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return PREFIX + btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Problems never repeat the token: it holds a secret. */
export function parseJoinToken(text: string): Result<JoinToken> {
  const trimmed = text.trim();
  if (trimmed.length > MAX_JOIN_TOKEN_CHARS) return refuse(`longer than ${MAX_JOIN_TOKEN_CHARS} characters`);
  if (!trimmed.startsWith(PREFIX))
    return refuse(`a join token starts with "${PREFIX}"; make one with: tidegate keys join-token --pool <pool>`);
  let value: unknown;
  try {
    const binary = atob(trimmed.slice(PREFIX.length).replaceAll("-", "+").replaceAll("_", "/"));
    value = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(Uint8Array.from(binary, (c) => c.charCodeAt(0))),
    );
  } catch {
    return refuse("damaged: copy the whole token, it is one line");
  }
  return readToken(value);
}

function readToken(value: unknown): Result<JoinToken> {
  if (typeof value !== "object" || value === null) return refuse("not an object");
  const record = value as Record<string, unknown>;
  const issues: Issue[] = [];
  const text = (name: string): string => {
    const found = record[name];
    if (typeof found === "string" && found !== "") return found;
    issues.push({ path: `joinToken.${name}`, problem: "missing: make a new token" });
    return "";
  };
  const count = (source: unknown, path: string): number => {
    if (typeof source === "number" && Number.isSafeInteger(source) && source >= 0) return source;
    issues.push({ path: `joinToken.${path}`, problem: "not a whole number: make a new token" });
    return 0;
  };
  const floor = (typeof record["floor"] === "object" && record["floor"] !== null ? record["floor"] : {}) as Record<
    string,
    unknown
  >;
  const token: JoinToken = {
    id: text("id"),
    secret: text("secret"),
    pool: text("pool"),
    ca: text("ca"),
    rootHash: text("rootHash"),
    floor: { epoch: count(floor["epoch"], "floor.epoch"), version: count(floor["version"], "floor.version") },
    expires: count(record["expires"], "expires"),
  };
  return issues.length > 0 ? fail(issues) : ok(token);
}

function refuse(problem: string): Result<JoinToken> {
  return fail([{ path: "joinToken", problem }]);
}
