/** Where our parsers and a proxy's part ways, and why ours are right. A run fails on everything that is not in here. */
import type { Answer } from "./exchange.ts";
import type { PeerName } from "./peers.ts";

export interface Disagreement {
  readonly peer: PeerName;
  readonly kind: "request" | "response";
  /** `taken`: by the peer, not by ours. `refused`, `silent`: by the peer, what ours takes. `read`: both take it, for different messages. */
  readonly aspect: "taken" | "refused" | "silent" | "read";
  /** What our parser said in the end. */
  readonly ours: string;
  /** Ours took the head of the message, and not all of its content. */
  readonly inContent: boolean;
  readonly mine?:
    | {
        readonly method: string;
        readonly target: string;
        readonly authority: string;
        readonly minor: number;
        readonly form: string;
      }
    | undefined;
  readonly status?: number | undefined;
  readonly theirs: Answer | undefined;
  readonly input: string;
}

export interface Explanation {
  readonly name: string;
  readonly why: string;
  applies(disagreement: Disagreement): boolean;
}

/** Refusals of ours that a proxy does not share. What is behind is one reader's mending, which another reader mends otherwise: the stuff of smuggling. */
const STRICTER: { readonly [code: string]: string } = {
  bad_chunk_extension: "RFC 9112 7.1.1 has a grammar for extensions; what does not fit it may hide a line end",
  bad_chunk_end: "RFC 9112 7.1: CRLF follows a chunk's data",
  bad_chunk_size: "RFC 9112 7.1: a size is hexadecimal digits",
  bad_connection: "RFC 9110 7.6.1: Connection is a list of tokens; whoever reads it otherwise keeps other fields",
  bad_content_length: "RFC 9110 8.6 lets a list of one number be refused, and everything else has to be",
  bad_field_name: "RFC 9110 5.1: names are tokens",
  bad_field_value: "RFC 9110 5.5: control characters have no place in values",
  bad_host: "RFC 9112 3.2: a Host that is no authority is refused",
  bad_method: "RFC 9112 3: one space behind the method",
  bad_request_line: "RFC 9112 3: one space on each side of the target",
  bad_status: "RFC 9110 15: statuses are 100 to 599",
  bad_status_line: "RFC 9112 4: one space on each side of the status",
  bad_target: "RFC 9112 3.2: no fragment, backslash, control or 8-bit character is part of a target",
  bad_target_authority: "RFC 9110 4.2: no http URI without a host that is one",
  bad_target_form: "RFC 9112 3.2: each form has its methods",
  bad_transfer_encoding: "RFC 9112 6.1: chunked is applied once; empty elements are not generated",
  bad_upgrade: "RFC 9110 7.8: Upgrade is a list of protocols",
  bad_version: "RFC 9112 2.3: the version has eight characters and nothing around them",
  bare_cr: "RFC 9112 2.2: a CR without LF is invalid",
  bare_lf: "RFC 9112 2.2 lets a recipient take LF for a line end; readers that do and readers that do not see different messages",
  chunked_not_last: "RFC 9112 6.3: without chunked at the end the length cannot be told",
  content_in_connect: "RFC 9110 9.3.6: CONNECT has no content",
  content_length_with_transfer_encoding: "RFC 9112 6.3: it ought to be handled as an error",
  cut_head: "what the connection cut short is whole for nobody",
  duplicate_content_length: "RFC 9110 8.6 lets equal ones be refused, and others have to be",
  duplicate_host: "RFC 9112 3.2: more than one Host is refused",
  duplicate_transfer_encoding: "RFC 9112 6.1: chunked is applied once",
  host_mismatch: "RFC 9112 3.2.2 lets the target win; whoever looked at Host first was deceived (RFC 9110 15.5.1)",
  missing_host: "RFC 9112 3.2: a request without Host is refused",
  obs_fold: "RFC 9112 5.2: folded lines are refused or mended; mended, they read differently",
  too_many_empty_lines: "RFC 9112 2.2: an empty line is passed over, not any number of them",
  transfer_encoding_in_http10: "RFC 9112 6.1: faulty framing",
  transfer_encoding_without_body: "RFC 9112 6.1: never in 1xx and 204",
  unexpected_response: "RFC 9112 9.2: no response without a request",
  unsupported_expectation: "RFC 9110 10.1.1: 417",
  unsupported_scheme: "RFC 9112 3.2.2: http and https are what a gateway serves",
  unsupported_transfer_coding: "RFC 9112 6.1: a coding that is not understood is 501",
  unsupported_version: "RFC 9110 6.2: no version is answered for that is not spoken",
  userinfo_in_target: "RFC 9110 4.2.4: user information is an error",
  whitespace_before_colon: "RFC 9112 5.1: refused",
};

export const EXPLANATIONS: readonly Explanation[] = [
  {
    name: "stricter",
    why: `Ours refuses what the proxy mends: ${Object.entries(STRICTER)
      .map(([code, why]) => `${code} (${why})`)
      .join("; ")}`,
    applies: (d) => d.aspect === "taken" && d.ours in STRICTER,
  },
  {
    name: "answered-early",
    why: "nginx answers here before it has read the content, so it has not seen yet that the content is not whole.",
    applies: (d) => d.peer === "nginx" && d.kind === "request" && d.aspect === "taken" && d.ours === "need" && d.inContent,
  },
  {
    name: "methods-of-capitals",
    why: "nginx takes methods of capital letters, `_` and `-` only; RFC 9110 9.1 makes any token one.",
    applies: (d) => d.peer === "nginx" && d.aspect === "refused" && d.mine !== undefined && !/^[A-Z_-]+$/.test(d.mine.method),
  },
  {
    name: "no-connect",
    why: "nginx knows no CONNECT, and HAProxy answers it as a tunnel; ours hands it to whoever may decide about tunnels.",
    applies: (d) => d.mine?.method === "CONNECT",
  },
  {
    name: "no-asterisk",
    why: "nginx refuses `*`, and reads the absolute form of it as `/`; RFC 9112 3.2.4 has both go on as `*`.",
    applies: (d) => d.peer === "nginx" && d.mine?.target === "*",
  },
  {
    name: "targets-nginx-decodes",
    why: "nginx decodes the path as it reads it, and refuses an escape that is none and a path above the root. Ours hands the target to routing, which has its own canonical form.",
    applies: (d) =>
      d.peer === "nginx" && d.aspect === "refused" && /%(?![0-9a-f]{2})|%00|\/\.\.(\/|$|\?)/i.test(d.mine?.target ?? ""),
  },
  {
    name: "empty-labels",
    why: "nginx refuses a host with two dots in a row; RFC 3986 3.2.2 has such names, and no route has.",
    applies: (d) => d.peer === "nginx" && d.aspect === "refused" && (d.mine?.authority.includes("..") ?? false),
  },
  {
    name: "hosts-in-targets",
    why: "In an absolute form nginx takes letters, digits, `-` and `.` of a host, which RFC 3986 3.2.2 has more of; in Host it takes them.",
    applies: (d) =>
      d.peer === "nginx" && d.aspect === "refused" && d.mine?.form === "absolute" && /[^a-z0-9.:[\]-]/.test(d.mine.authority),
  },
  {
    name: "tabs-around-values",
    why: "RFC 9110 5.5: white space around a value, tabs included, is not part of it. nginx takes tabs for part of it, and a length with one for none.",
    applies: (d) =>
      d.peer === "nginx" && d.aspect !== "taken" && /(content-length|transfer-encoding|host):(?=[^\r\n]*\t)/i.test(d.input),
  },
  {
    name: "expectations-twice",
    why: "nginx takes one line of a field that it knows. Ours drops an expectation that asks for nothing, however often it is said.",
    applies: (d) => d.peer === "nginx" && d.aspect === "refused" && /expect:[\s\S]*expect:/i.test(d.input),
  },
  {
    name: "close-within-an-option",
    why: "nginx looks for `close` anywhere in Connection and ends there; RFC 9110 7.6.1 has options as whole tokens.",
    applies: (d) =>
      d.peer === "nginx" && d.kind === "request" && d.aspect === "silent" && /connection:[^\r\n]*close/i.test(d.input),
  },
  {
    name: "length-of-an-interim-response",
    why: "nginx believes a Content-Length in a 1xx response, which has no content (RFC 9110 8.6), and waits for it.",
    applies: (d) => d.peer === "nginx" && d.kind === "response" && (d.theirs === undefined || d.theirs.status < 200),
  },
  {
    name: "end-of-writing",
    why: "HAProxy lets pipelined requests go once it has seen the end of the client's writing; ours answers what came before it.",
    applies: (d) => d.peer === "haproxy" && d.kind === "request" && d.aspect === "silent",
  },
  {
    name: "absolute-form-without-path",
    why: "HAProxy refuses a query behind an authority without a path; RFC 3986 3 has such URIs, and ours writes the `/`.",
    applies: (d) =>
      d.peer === "haproxy" && d.aspect === "refused" && d.mine?.form === "absolute" && d.mine.target.startsWith("/?"),
  },
  {
    name: "framing-fields-in-trailers",
    why: "RFC 9110 6.5.1: such fields mean nothing after the content. HAProxy refuses the message, ours drops them unread.",
    applies: (d) =>
      d.peer === "haproxy" && d.aspect === "refused" && /\n0+(;[^\n]*)?\n(.*\n)*?[\w-]+:/i.test(d.input.replaceAll("\r\n", "\n")),
  },
  {
    name: "upgrade-without-key",
    why: "HAProxy wants a WebSocket's key where Upgrade says websocket; ours leaves that to the origin.",
    applies: (d) => d.peer === "haproxy" && d.aspect === "refused" && /upgrade:[^\n]*websocket/i.test(d.input),
  },
  {
    name: "content-in-1.0",
    why: "HAProxy takes content in HTTP/1.0 for POST alone; RFC 9112 6.3 has it for any method.",
    applies: (d) => d.peer === "haproxy" && d.theirs?.status === 413 && d.mine?.minor === 0,
  },
  {
    name: "unasked-101",
    why: "nginx passes on a switch that nobody asked for (RFC 9110 7.8 forbids it); ours is the origin's failure.",
    applies: (d) => d.kind === "response" && d.peer === "nginx" && d.theirs?.status === 101,
  },
  {
    name: "cut-behind-interim",
    why: "Behind an interim response HAProxy ends chunks that were cut as if they were whole (RFC 9112 8); ours never does.",
    applies: (d) => d.kind === "response" && d.peer === "haproxy" && d.ours === "cut_body" && /HTTP\/1\.[01] 1\d\d/.test(d.input),
  },
];

export function explanationOf(disagreement: Disagreement): Explanation | undefined {
  return EXPLANATIONS.find((candidate) => candidate.applies(disagreement));
}
