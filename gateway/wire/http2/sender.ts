/** The sending half of a connection: heads, content as windows allow, resets. */
import type { ReadonlyFieldList, RequestHead, ResponseHead } from "../../core/http/message.ts";
import { Http2Code } from "./errors.ts";
import { markEnd, writeData } from "./frame/data.ts";
import { FRAME_HEADER_BYTES } from "./frame/header.ts";
import { beginHeaders, endHeaders } from "./frame/headers.ts";
import { writeRstStream } from "./frame/rst-stream.ts";
import { LARGEST_WINDOW_BYTES } from "./frame/settings.ts";
import { writeWindowUpdate } from "./frame/window-update.ts";
import type { ConnectionState } from "./state.ts";
import { afterLocalEnd, CLOSED, HALF_CLOSED_LOCAL, Http2Stream, NOTHING, OWN_WINDOW, SHARED } from "./stream.ts";

export class Sender<Owner> {
  /** Some stream that had to wait may go on: see `nextWritable`. */
  hasWritable = false;
  readonly #state: ConnectionState<Owner>;
  /** Streams that wait for what all share, in the order in which they get their turn. */
  #queue: Http2Stream<Owner>[] = [];
  /** The DATA frame that was written last: its stream, where it begins, and where it ends, or -1 once it has left. */
  #lastStream = 0;
  #lastStart = 0;
  #lastEnd = -1;

  constructor(state: ConnectionState<Owner>) {
    this.#state = state;
  }

  request(
    head: RequestHead,
    end: boolean,
    owner: Owner,
    protocol: string | undefined,
    secret: readonly string[] | undefined,
  ): Http2Stream<Owner> | undefined {
    const state = this.#state;
    if (!state.hasRoom) return undefined;
    const id = state.nextStream;
    const start = beginHeaders(state.out);
    try {
      this.#requestFields(head, protocol, secret);
    } catch (error) {
      this.#abandon(start);
      throw error;
    }
    endHeaders(state.out, start, id, end, state.peer.maxFrameBytes);
    state.nextStream += 2;
    const stream = new Http2Stream<Owner>(id, owner, state.peer.initialWindowBytes, state.settings.limits.streamWindowBytes);
    stream.method = head.method;
    state.streams.set(id, stream);
    if (end) this.#ended(stream);
    return stream;
  }

  respond(stream: Http2Stream<Owner>, head: ResponseHead, end: boolean, secret: readonly string[] | undefined): void {
    if (stream.isLocallyClosed) return;
    const { out, encoder, peer } = this.#state;
    const start = beginHeaders(out);
    try {
      encoder.begin(out);
      encoder.status(out, head.status);
      this.#fields(head.fields, secret);
      if (head.body.kind === "length" && mayHaveLength(head.status, stream.method)) encoder.contentLength(out, head.body.bytes);
    } catch (error) {
      this.#abandon(start);
      throw error;
    }
    endHeaders(out, start, stream.id, end, peer.maxFrameBytes);
    if (end) this.#ended(stream);
  }

  trailers(stream: Http2Stream<Owner>, fields: ReadonlyFieldList): void {
    if (stream.isLocallyClosed) return;
    const { out, encoder, peer } = this.#state;
    const start = beginHeaders(out);
    try {
      encoder.begin(out);
      this.#fields(fields, undefined);
    } catch (error) {
      this.#abandon(start);
      throw error;
    }
    endHeaders(out, start, stream.id, true, peer.maxFrameBytes);
    this.#ended(stream);
  }

  data(stream: Http2Stream<Owner>, bytes: Uint8Array, end: boolean): number {
    if (stream.isLocallyClosed) return bytes.length;
    const state = this.#state;
    if (bytes.length === 0 && end && this.#lastStream === stream.id && this.#lastEnd === state.out.end) {
      markEnd(state.out, this.#lastStart);
      this.#ended(stream);
      return 0;
    }
    const shared = this.#sharedRoom();
    const allowed = Math.max(0, Math.min(bytes.length, stream.sendWindow, shared));
    const isWhole = allowed === bytes.length;
    if (allowed > 0 || (isWhole && end)) {
      stream.sendWindow -= allowed;
      state.sendWindow -= allowed;
      const { maxFrameBytes } = state.peer;
      const frames = writeData(state.out, stream.id, bytes, allowed, end && isWhole, maxFrameBytes);
      state.floods.dataSent(frames);
      this.#lastStream = stream.id;
      this.#lastEnd = state.out.end;
      this.#lastStart = state.out.end - FRAME_HEADER_BYTES - (allowed - (frames - 1) * maxFrameBytes);
    }
    if (!isWhole) this.#wait(stream, allowed < shared);
    else if (end) this.#ended(stream);
    return allowed;
  }

  reset(stream: Http2Stream<Owner>, code: number): void {
    if (stream.isClosed) return;
    const state = this.#state;
    if (!stream.isRemotelyClosed) state.rememberReset(stream.id);
    // What has been answered whole cost no more than it should.
    if (stream.isLocallyClosed && !stream.isRefused) state.floods.streamFinished();
    writeRstStream(state.out, stream.id, code);
    state.close(stream);
  }

  consumed(stream: Http2Stream<Owner>, bytes: number): void {
    // What a stream held when it ended was given back then.
    if (stream.state === CLOSED) return;
    const state = this.#state;
    const given = Math.min(bytes, stream.held);
    stream.held -= given;
    state.credit(given);
    if (!stream.isRemotelyClosed) this.creditStream(stream, given);
  }

  creditStream(stream: Http2Stream<Owner>, bytes: number): void {
    const increment = stream.receiveWindow.give(bytes);
    if (increment > 0) writeWindowUpdate(this.#state.out, stream.id, increment);
  }

  /** A stream may not be opened: the request has not been looked at. */
  refuse(id: number): void {
    this.#state.rememberReset(id);
    writeRstStream(this.#state.out, id, Http2Code.refusedStream);
  }

  /** @returns false when the window becomes larger than it can be */
  widen(stream: Http2Stream<Owner>, increment: number): boolean {
    stream.sendWindow += increment;
    if (stream.sendWindow > LARGEST_WINDOW_BYTES) return false;
    if (stream.waitsFor === OWN_WINDOW && stream.sendWindow > 0) this.#enqueue(stream);
    return true;
  }

  /** The same for the connection. */
  widenAll(increment: number): boolean {
    const state = this.#state;
    state.sendWindow += increment;
    if (state.sendWindow > LARGEST_WINDOW_BYTES) return false;
    this.roomMade();
    return true;
  }

  /** The output has been taken. */
  taken(): void {
    this.#lastEnd = -1;
    this.roomMade();
  }

  /** What streams share, or the output's room, has grown. */
  roomMade(): void {
    this.hasWritable = this.#queue.length > 0;
  }

  /** The stream whose turn it is; undefined when none can go on. */
  nextWritable(): Http2Stream<Owner> | undefined {
    while (this.#queue.length > 0 && this.#sharedRoom() > 0) {
      const stream = this.#queue.shift();
      if (stream === undefined || stream.isLocallyClosed || stream.waitsFor !== SHARED) continue;
      stream.waitsFor = NOTHING;
      if (stream.sendWindow > 0) return stream;
      stream.waitsFor = OWN_WINDOW;
    }
    this.hasWritable = false;
    return undefined;
  }

  #sharedRoom(): number {
    const { sendWindow, settings, out } = this.#state;
    return Math.min(sendWindow, settings.limits.maxBufferedBytes - out.end);
  }

  #wait(stream: Http2Stream<Owner>, isOwn: boolean): void {
    if (isOwn) stream.waitsFor = OWN_WINDOW;
    else if (stream.waitsFor !== SHARED) this.#enqueue(stream);
  }

  #enqueue(stream: Http2Stream<Owner>): void {
    stream.waitsFor = SHARED;
    // Streams that were reset while they waited: while nothing moves nobody takes them out of the queue.
    if (this.#queue.length > 2 * this.#state.streams.size)
      this.#queue = this.#queue.filter((waiting) => !waiting.isLocallyClosed);
    this.#queue.push(stream);
    this.hasWritable = this.#sharedRoom() > 0;
  }

  #requestFields(head: RequestHead, protocol: string | undefined, secret: readonly string[] | undefined): void {
    const { out, encoder } = this.#state;
    encoder.begin(out);
    encoder.pseudo(out, ":method", head.method);
    // RFC 9113 8.5: CONNECT has neither; RFC 8441 4: the extended one has both.
    const isTunnel = head.method === "CONNECT" && protocol === undefined;
    if (!isTunnel) encoder.pseudo(out, ":scheme", head.scheme);
    if (head.authority !== "") encoder.pseudo(out, ":authority", head.authority);
    if (!isTunnel) encoder.pseudo(out, ":path", head.target);
    if (protocol !== undefined) encoder.pseudo(out, ":protocol", protocol);
    this.#fields(head.fields, secret);
    if (head.body.kind === "length") encoder.contentLength(out, head.body.bytes);
  }

  #fields(fields: ReadonlyFieldList, secret: readonly string[] | undefined): void {
    const { out, encoder } = this.#state;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string;
      encoder.field(out, name, fields[i + 1] as string, secret?.includes(name) === true);
    }
  }

  #abandon(start: number): void {
    this.#state.out.end = start;
    this.#state.encoder.abandon();
  }

  /** END_STREAM was sent. */
  #ended(stream: Http2Stream<Owner>): void {
    stream.waitsFor = NOTHING;
    // Its owner was told to reset it, and is about to.
    stream.state = stream.isRefused ? HALF_CLOSED_LOCAL : afterLocalEnd(stream.state);
    if (stream.state !== CLOSED) return;
    this.#state.floods.streamFinished();
    this.#state.close(stream);
  }
}

/** RFC 9110 8.6: not in 1xx, 204 or a 2xx to CONNECT. */
function mayHaveLength(status: number, method: string): boolean {
  return status >= 200 && status !== 204 && !(method === "CONNECT" && status < 300);
}
