/**
 * What the HTTP specifications demand, as data: every MUST, MUST NOT, REQUIRED and SHALL of a document is either a `Must` that binds this gateway and names the
 * tests that hold it, or `Other`: somebody else's, with the reason. `rfc.test.ts` checks that the count is complete and that the named tests are there.
 *
 * The rules are in our own words and shorter than the document's; who wants the exact text follows the section.
 */

/** In which of its roles the rule binds the gateway. */
export type Role = "recipient" | "sender" | "server" | "client" | "proxy" | "gateway" | "intermediary" | "endpoint";

export interface Must {
  readonly section: string;
  readonly role: Role;
  readonly rule: string;
  /** `file: title of a test`, or of a row of a table that a test runs through. A file by its short name in `TEST_FILES`; `…` stands for a part that varies. */
  readonly held: readonly string[];
  /** Statements of the document that this is about. */
  readonly statements: number;
}

/** Statements that do not bind this gateway. */
export interface Other {
  readonly section: string;
  readonly why: string;
  readonly statements: number;
}

export interface Specification {
  readonly name: string;
  readonly title: string;
  /** Statements by section, the one that defines the key words left out. */
  readonly statements: { readonly [section: string]: number };
  readonly musts: readonly Must[];
  readonly others: readonly Other[];
}

export function must(section: string, role: Role, rule: string, held: readonly string[] | string, statements = 1): Must {
  return { section, role, rule, held: typeof held === "string" ? [held] : held, statements };
}

export function other(section: string, why: string, statements = 1): Other {
  return { section, why, statements };
}

/** Where tests are, by the names that the lists use. Tables are run by the test beside them. */
export const TEST_FILES: { readonly [name: string]: string } = {
  requests: "test/wire/requests.ts",
  responses: "test/wire/responses.ts",
  parser: "gateway/wire/http1/parser.test.ts",
  limits: "gateway/wire/http1/limits.test.ts",
  write: "gateway/wire/http1/write.test.ts",
  authority: "gateway/core/http/authority.test.ts",
  fields: "gateway/core/http/http.test.ts",
  rules: "test/integration/http1-rules.test.ts",
  secure: "test/integration/http1-tls.test.ts",
  wire: "test/integration/http1-requests.test.ts",
  tunnel: "test/integration/http1-tunnel.test.ts",
  slow: "test/integration/slow-clients.test.ts",
  upstream: "test/integration/http1-upstream.test.ts",
  egress: "gateway/core/egress/exchange.test.ts",
  "egress-wire": "test/integration/egress.test.ts",
  "egress-h2": "test/integration/egress-http2.test.ts",
  originate: "gateway/core/egress/originate.test.ts",
  tls: "gateway/node/upstream/tls.test.ts",
  proxy: "gateway/core/proxy.test.ts",
  forwarding: "test/conformance/cases/forwarding.ts",
  hops: "test/conformance/cases/hops.ts",
  messages: "test/conformance/cases/messages.ts",
  "response-cases": "test/conformance/cases/responses.ts",
  paths: "test/conformance/cases/paths.ts",
  hosts: "test/conformance/cases/hosts.ts",
  cors: "test/conformance/cases/cors.ts",
  retries: "test/conformance/cases/retries.ts",
  h2: "gateway/wire/http2/connection.test.ts",
  websocket: "test/integration/websocket.test.ts",
  "h2-wire": "test/integration/http2.test.ts",
  "h2-strict": "gateway/wire/http2/strictness.test.ts",
  "h2-floods": "gateway/wire/http2/floods.test.ts",
  "h2-cases": "test/wire/http2-cases.ts",
  hpack: "gateway/wire/http2/hpack/hpack.test.ts",
};
