/** What a request's field section means (RFC 9113 8.3.1, 8.5; RFC 8441), or the rule that it breaks. */
import { parseAuthority, sameAuthority } from "../../../core/http/authority.ts";
import { type BodyKind, NO_BODY, type RequestHead, type Scheme, STREAM_BODY } from "../../../core/http/message.ts";
import { isToken, TARGET } from "../../http1/chars.ts";
import { contentLength } from "../../http1/framing.ts";
import { parseConnectTarget } from "../../http1/target.ts";
import type { StreamProblemCode } from "../errors.ts";
import type { Section } from "./section.ts";

export interface RequestRules {
  /** Of the connection: CONNECT names none. */
  readonly scheme: Scheme;
  readonly extendedConnect: boolean;
  readonly maxTargetBytes: number;
  readonly maxRequestBodyBytes: number;
}

const USUAL_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"]);
const SLASH = 0x2f;

/**
 * Reads the requests of one connection. Clients say the same authority and often the same path again and again, and the table gives the very
 * same text for it: the last one of each is not looked at twice.
 */
export class RequestReader {
  readonly #rules: RequestRules;
  #authorityText = "";
  #authority: string | undefined;
  #path = "/";

  constructor(rules: RequestRules) {
    this.#rules = rules;
  }

  /** `end`: nothing follows the head. */
  read(section: Section, end: boolean): RequestHead | StreamProblemCode {
    if (section.problem !== undefined) return section.problem;
    const { method } = section;
    if (method === undefined) return "missing_pseudo";
    if (!USUAL_METHODS.has(method) && !isToken(method)) return "bad_method";
    const body = requestBody(section.contentLength, end, this.#rules.maxRequestBodyBytes);
    if (typeof body === "string") return body;
    // RFC 9110 10.1.1.
    if (section.expect !== undefined && section.expect.toLowerCase() !== "100-continue") return "unsupported_expectation";
    if (method === "CONNECT" || section.protocol !== undefined) {
      const broken = this.#connect(section, body);
      if (broken !== undefined) return broken;
      if (section.protocol === undefined) return this.#tunnel(section, method);
    }
    return this.#resolve(section, method, body);
  }

  #resolve(section: Section, method: string, body: BodyKind): RequestHead | StreamProblemCode {
    const { scheme, path } = section;
    if (scheme === undefined || path === undefined) return "missing_pseudo";
    if (scheme !== "http" && scheme !== "https") return "bad_scheme";
    const broken = this.#pathProblem(path, method);
    if (broken !== undefined) return broken;
    const text = section.authority ?? section.host;
    if (text === undefined) return "missing_authority";
    const authority = this.#parseAuthority(text);
    if (authority === undefined) return "bad_authority";
    if (section.host !== undefined && section.authority !== undefined && section.host !== section.authority) {
      // RFC 9113 8.3.1 has an intermediary not forward both; which one was meant nobody can say.
      const host = parseAuthority(section.host);
      if (host === undefined || !sameAuthority(host, authority, scheme)) return "host_mismatch";
    }
    return { method, scheme, authority, target: path, fields: section.fields, body };
  }

  /** RFC 9113 8.3.1, of the forms of RFC 9110 7.1: origin form, or `*` for OPTIONS. */
  #pathProblem(path: string, method: string): StreamProblemCode | undefined {
    if (path === this.#path) return undefined;
    if (path === "*") return method === "OPTIONS" ? undefined : "bad_path";
    if (path.length > this.#rules.maxTargetBytes) return "path_too_long";
    if (path.charCodeAt(0) !== SLASH) return "bad_path";
    for (let i = 1; i < path.length; i++) if (TARGET[path.charCodeAt(i)] !== 1) return "bad_path";
    this.#path = path;
    return undefined;
  }

  #parseAuthority(text: string): string | undefined {
    if (text !== this.#authorityText) {
      this.#authorityText = text;
      this.#authority = parseAuthority(text);
    }
    return this.#authority;
  }

  /** What both forms of CONNECT have to be. */
  #connect(section: Section, body: BodyKind): StreamProblemCode | undefined {
    // RFC 9110 9.3.6: no content; what follows belongs to the tunnel, which a length cannot bound.
    if (section.method !== "CONNECT" || body.kind === "length") return "bad_connect";
    if (section.protocol === undefined) {
      // RFC 9113 8.5.
      return section.scheme === undefined && section.path === undefined ? undefined : "bad_connect";
    }
    if (!this.#rules.extendedConnect) return "unsupported_protocol";
    return isToken(section.protocol) ? undefined : "bad_connect";
  }

  #tunnel(section: Section, method: string): RequestHead | StreamProblemCode {
    if (section.authority === undefined) return "missing_authority";
    const authority = parseConnectTarget(section.authority);
    if (authority === undefined) return "bad_authority";
    const host = section.host === undefined ? authority : parseAuthority(section.host);
    if (host !== authority) return "host_mismatch";
    return { method, scheme: this.#rules.scheme, authority, target: "", fields: section.fields, body: NO_BODY };
  }
}

function requestBody(length: string | undefined, end: boolean, maxBytes: number): BodyKind | StreamProblemCode {
  if (length === undefined) return end ? NO_BODY : STREAM_BODY;
  const bytes = contentLength(length);
  if (bytes === -1) return "bad_content_length";
  if (end && bytes > 0) return "content_length_mismatch";
  return maxBytes > 0 && bytes > maxBytes ? "body_too_large" : { kind: "length", bytes };
}
