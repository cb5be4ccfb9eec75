/**
 * gRPC-Web (PROTOCOL-WEB.md) to gRPC and back, as far as heads go. What happens to the content a step says (`grpcWeb`) and the runtime does: the gRPC
 * messages stay as they are, but trailers become a last message, and the text form is base64.
 */
import { type GrpcKind, grpcKind } from "../http/grpc-status.ts";
import { field, type RequestHead, type ResponseHead, STREAM_BODY } from "../http/message.ts";

/** How the content of one message has to be changed: `text` is base64, `binary` is not; a response's trailers become content in both. */
export type GrpcWebForm = "binary" | "text";

const WEB = "application/grpc-web";
const WEB_TEXT = "application/grpc-web-text";

/** What the request's content is, and what the response's is to be, which a client may ask for by Accept. */
export interface GrpcWeb {
  readonly request: GrpcWebForm;
  readonly response: GrpcWebForm;
}

const FORMS: { readonly [kind in GrpcKind]: GrpcWebForm | undefined } = {
  grpc: undefined,
  "grpc-web": "binary",
  "grpc-web-text": "text",
};

export function grpcWebOf(kind: GrpcKind, head: RequestHead): GrpcWeb | undefined {
  const request = FORMS[kind];
  if (request === undefined) return undefined;
  const accepted = field(head.fields, "accept");
  const asked = accepted === undefined ? undefined : grpcKind(["content-type", accepted]);
  return { request, response: (asked === undefined ? undefined : FORMS[asked]) ?? request };
}

/** Makes the head that goes to the origin one of gRPC. Its fields are our own. */
export function toGrpc(head: RequestHead, { request }: GrpcWeb): void {
  const { fields } = head;
  let takesTrailers = false;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === "content-type") {
      fields[i + 1] = `application/grpc${(fields[i + 1] as string).slice((request === "text" ? WEB_TEXT : WEB).length)}`;
    }
    if (fields[i] === "te") takesTrailers = true;
  }
  // PROTOCOL-HTTP2.md: a gRPC server may refuse who does not say so.
  if (!takesTrailers) fields.push("te", "trailers");
  if (request === "text" && head.body.kind === "length") head.body = STREAM_BODY;
}

/**
 * Makes a response of gRPC one of gRPC-Web; its fields are our own. @returns undefined when it needs no change of content: it is not gRPC (then it is
 * relayed as it is), or has no content (its status is in the head, where a client of gRPC-Web looks, too)
 */
export function fromGrpc(head: ResponseHead, { response }: GrpcWeb): GrpcWebForm | undefined {
  if (grpcKind(head.fields) !== "grpc") return undefined;
  const { fields } = head;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== "content-type") continue;
    const format = (fields[i + 1] as string).slice("application/grpc".length);
    fields[i + 1] = `${response === "text" ? WEB_TEXT : WEB}${format === "" ? "+proto" : format}`;
  }
  const isEmpty = head.body.kind === "none" || (head.body.kind === "length" && head.body.bytes === 0);
  if (isEmpty) return undefined;
  head.body = STREAM_BODY;
  return response;
}
