/** Bytes to a peer and what came back, many at a time. */
import { connect } from "node:net";
import { ResponseParser, ResponseParserSettings } from "../../../gateway/wire/index.ts";

const settings = new ResponseParserSettings();
/** A peer that says nothing for this long is not going to. */
const QUIET_MS = 6000;

/**
 * Sends the bytes and resolves with everything that came back until the peer closed.
 *
 * @param ends whether the writing side is ended behind them; some take that for a client that has gone
 */
export function tell(port: number, bytes: Uint8Array, ends: boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.setTimeout(QUIET_MS, () => socket.destroy());
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.on("end", () => socket.destroy());
    socket.on("close", () => resolve(Buffer.concat(chunks)));
    if (ends) socket.end(bytes);
    else socket.write(bytes);
  });
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  /** Whole. */
  readonly ended: boolean;
}

/** The final answers in what a peer sent until it closed. @param methods of the requests, as far as they are known */
export function answersIn(bytes: Uint8Array, methods: readonly string[]): readonly Answer[] {
  const answers: Answer[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    const parser = new ResponseParser(settings);
    parser.expect(methods[answers.length] ?? "GET");
    parser.feed(rest);
    const answer = firstAnswer(parser);
    if (answer === undefined) break;
    answers.push(answer);
    rest = parser.rest();
  }
  return answers;
}

function firstAnswer(parser: ResponseParser): Answer | undefined {
  let status = 0;
  let body = "";
  for (;;) {
    let event = parser.next();
    if (event.kind === "need") event = parser.eof();
    switch (event.kind) {
      case "head":
        status = event.head.status;
        break;
      case "body":
        body += Buffer.from(event.bytes).toString("latin1");
        break;
      case "end":
        return { status, body, ended: true };
      default:
        return status === 0 ? undefined : { status, body, ended: false };
    }
  }
}

/** Runs `each` over the items, `width` at a time. */
export async function manyAtATime<T>(
  items: readonly T[],
  width: number,
  each: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      await each(items[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
}
