/**
 * What the frames of streams say (RFC 9113 5.1, 8.1): opens streams, reads heads and trailers, holds content against its length and its windows.
 */
import type { RequestHead, ResponseHead } from "../../core/http/message.ts";
import { mayTrail } from "../http1/chunked.ts";
import { dropExpectation, hasContent } from "../http1/expectation.ts";
import { type ConnectionProblemCode, type StreamProblemCode, streamProblem } from "./errors.ts";
import type { Http2Event } from "./events.ts";
import { DEFAULT_WINDOW_BYTES } from "./frame/settings.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { RequestReader } from "./message/request.ts";
import { hasNoContent, readResponse } from "./message/response.ts";
import { Section, type SectionKind } from "./message/section.ts";
import type { Sender } from "./sender.ts";
import type { ConnectionState } from "./state.ts";
import { ANY_LENGTH, afterRemoteEnd, CLOSED, Http2Stream } from "./stream.ts";

/** What the caller is to be told, or the rule by which the connection ends, or nothing. */
export type Outcome<Owner> = Http2Event<Owner> | ConnectionProblemCode | undefined;

export class Messages<Owner> {
  nowMs = 0;
  /** The peer has acknowledged our SETTINGS: what they limit holds from here on. */
  isAnnounced = false;
  /** After the last GOAWAY of ours: streams beyond this id are not looked at. */
  lastTaken = Number.POSITIVE_INFINITY;
  readonly decoder: HpackDecoder;
  readonly #state: ConnectionState<Owner>;
  readonly #sender: Sender<Owner>;
  readonly #isServer: boolean;
  readonly #section: Section;
  readonly #requests: RequestReader;
  /** The stream whose DATA frame is being read; undefined: nobody wants its content. */
  #receiver: Http2Stream<Owner> | undefined;
  #isLastFrame = false;

  constructor(state: ConnectionState<Owner>, sender: Sender<Owner>) {
    const { settings } = state;
    this.#state = state;
    this.#sender = sender;
    this.#isServer = settings.isServer;
    this.decoder = new HpackDecoder(settings.hpack, Math.max(settings.limits.maxDecoderTableBytes, DEFAULT_TABLE_BYTES));
    this.#section = new Section(settings.limits);
    this.#requests = new RequestReader(settings.rules);
  }

  /** The id belongs to a stream that nobody has opened yet. */
  isIdle(id: number): boolean {
    const isPeers = (id & 1) === (this.#isServer ? 1 : 0);
    return isPeers ? id > this.#state.lastPeerStream : id >= this.#state.nextStream;
  }

  /** A whole header block `[start, end)` of HEADERS and what continued it. */
  block(id: number, endsStream: boolean, bytes: Uint8Array, start: number, end: number): Outcome<Owner> {
    const stream = this.#state.streams.get(id);
    if (stream === undefined) {
      if (this.#isServer && this.isIdle(id)) return this.#request(id, endsStream, bytes, start, end);
      return this.stray(id) ?? (this.#decode("trailers", bytes, start, end) ? undefined : "bad_header_block");
    }
    const isTrailers = this.#isServer || stream.isHeadIn;
    if (!this.#decode(isTrailers ? "trailers" : "response", bytes, start, end)) return "bad_header_block";
    if (stream.isRefused) return undefined;
    if (stream.isRemotelyClosed) return this.refuse(stream, "stream_closed");
    return isTrailers ? this.#trailers(stream, endsStream) : this.#response(stream, endsStream);
  }

  /** A frame for a stream that is not there: under way when it was reset, or a mistake. */
  stray(id: number): ConnectionProblemCode | undefined {
    if (this.isIdle(id)) return "frame_on_idle_stream";
    if (!this.#state.wasReset(id) && id <= this.lastTaken) return "frame_on_closed_stream";
    return this.#state.floods.idleFrames.spend(this.nowMs) ? undefined : "idle_frame_flood";
  }

  /** A DATA frame begins: `content` bytes in `length` with padding. What it holds comes by `content`. */
  data(id: number, length: number, content: number, endsStream: boolean): Outcome<Owner> {
    const state = this.#state;
    this.#receiver = undefined;
    if (!state.window.take(length)) return "window_exceeded";
    const stream = state.streams.get(id);
    if (stream === undefined || stream.isRefused) {
      state.credit(length);
      return stream === undefined ? this.stray(id) : undefined;
    }
    const broken = this.#dataProblem(stream, length, content, endsStream);
    if (broken !== undefined) {
      state.credit(length);
      return this.refuse(stream, broken);
    }
    if (content === 0 && !endsStream && !state.floods.emptyFrames.spend(this.nowMs)) return "empty_frame_flood";
    if (length > content) {
      state.credit(length - content);
      if (!endsStream) this.#sender.creditStream(stream, length - content);
    }
    if (stream.contentLeft !== ANY_LENGTH) stream.contentLeft -= content;
    stream.received += content;
    this.#receiver = stream;
    this.#isLastFrame = endsStream;
    return content === 0 && endsStream ? this.content(NOTHING, true) : undefined;
  }

  /** Content of the frame that `data` began; `isRest`: all that was left of it. */
  content(bytes: Uint8Array, isRest: boolean): Outcome<Owner> {
    const stream = this.#receiver;
    if (stream === undefined) return undefined;
    // Its owner may have reset it while the frame was still coming.
    if (stream.isClosed) {
      this.#state.credit(bytes.length);
      return undefined;
    }
    stream.held += bytes.length;
    const end = isRest && this.#isLastFrame;
    if (end) this.#ended(stream);
    return { kind: "data", stream, bytes, end };
  }

  /** The stream is told to its owner as broken. Counts as a reset that the peer brought about. */
  refuse(stream: Http2Stream<Owner>, code: StreamProblemCode): Outcome<Owner> {
    stream.isRefused = true;
    if (this.#isServer && !this.#state.floods.resets.spend(this.nowMs)) return "reset_flood";
    return { kind: "refused", stream, error: streamProblem(code) };
  }

  #dataProblem(stream: Http2Stream<Owner>, length: number, content: number, endsStream: boolean): StreamProblemCode | undefined {
    if (stream.isRemotelyClosed) return "stream_closed";
    if (!stream.isHeadIn) return "data_before_head";
    if (!stream.receiveWindow.take(length)) return "stream_window_exceeded";
    if (content > 0 && stream.hasNoContent) return "content_unexpected";
    const { contentLeft } = stream;
    if (contentLeft !== ANY_LENGTH && (content > contentLeft || (endsStream && content !== contentLeft))) {
      return "content_length_mismatch";
    }
    const { maxRequestBodyBytes } = this.#state.settings.limits;
    const isBounded = this.#isServer && maxRequestBodyBytes > 0 && !stream.isTunnel;
    const isTooLarge = isBounded && stream.received + content > maxRequestBodyBytes;
    return isTooLarge ? "body_too_large" : undefined;
  }

  #decode(kind: SectionKind, bytes: Uint8Array, start: number, end: number): boolean {
    this.#section.begin(kind);
    return this.decoder.decode(bytes, start, end, this.#section);
  }

  /** Server: HEADERS with an id that was not used yet. */
  #request(id: number, endsStream: boolean, bytes: Uint8Array, start: number, end: number): Outcome<Owner> {
    const state = this.#state;
    const { limits } = state.settings;
    // RFC 9113 5.1.1: a client's are odd.
    if ((id & 1) === 0) return "bad_stream_id";
    state.lastPeerStream = id;
    if (!this.#decode("request", bytes, start, end)) return "bad_header_block";
    if (id > this.lastTaken) return this.stray(id);
    if (state.streams.size >= limits.maxConcurrentStreams) {
      this.#sender.refuse(id);
      // Before it has our SETTINGS it cannot know.
      return !this.isAnnounced || state.floods.resets.spend(this.nowMs) ? undefined : "reset_flood";
    }
    const window = this.isAnnounced ? limits.streamWindowBytes : Math.max(limits.streamWindowBytes, DEFAULT_WINDOW_BYTES);
    const stream = new Http2Stream<Owner>(id, undefined, state.peer.initialWindowBytes, window);
    stream.isHeadIn = true;
    state.streams.set(id, stream);
    state.floods.streamOpened();
    const section = this.#section;
    const head = this.#requests.read(section, endsStream);
    if (typeof head === "string") return this.refuse(stream, head);
    stream.method = head.method;
    stream.isTunnel = head.method === "CONNECT";
    const expectContinue = section.expect !== undefined && hasContent(head);
    if (section.expect !== undefined && !expectContinue) dropExpectation(head);
    this.#expect(stream, head);
    if (endsStream) this.#ended(stream);
    return {
      kind: "request",
      stream,
      head,
      end: endsStream,
      protocol: section.protocol,
      expectContinue,
      takesTrailers: section.takesTrailers,
      neverIndexed: section.secret,
    };
  }

  /** Client: a head that answers. */
  #response(stream: Http2Stream<Owner>, endsStream: boolean): Outcome<Owner> {
    const head = readResponse(this.#section, stream.method, endsStream);
    if (typeof head === "string") return this.refuse(stream, head);
    if (head.status < 200) {
      if (endsStream) return this.refuse(stream, "interim_ends_stream");
      if (++stream.interims > this.#state.settings.limits.maxInterimResponses)
        return this.refuse(stream, "too_many_interim_responses");
    } else {
      stream.isHeadIn = true;
      stream.hasNoContent = hasNoContent(head.status, stream.method);
      stream.isTunnel = stream.method === "CONNECT" && head.status < 300;
      if (!stream.hasNoContent) this.#expect(stream, head);
      if (endsStream) this.#ended(stream);
    }
    return { kind: "response", stream, head, end: endsStream, neverIndexed: this.#section.secret };
  }

  #trailers(stream: Http2Stream<Owner>, endsStream: boolean): Outcome<Owner> {
    if (stream.isTunnel) return this.refuse(stream, "fields_in_tunnel");
    const { problem, fields } = this.#section;
    if (problem !== undefined) return this.refuse(stream, problem);
    if (!endsStream) return this.refuse(stream, "trailers_without_end");
    if (stream.contentLeft > 0) return this.refuse(stream, "content_length_mismatch");
    this.#ended(stream);
    return { kind: "trailers", stream, fields: fields.length === 0 ? fields : trailing(fields) };
  }

  #expect(stream: Http2Stream<Owner>, { body }: RequestHead | ResponseHead): void {
    if (body.kind === "length") stream.contentLeft = body.bytes;
  }

  /** END_STREAM was received. */
  #ended(stream: Http2Stream<Owner>): void {
    stream.state = afterRemoteEnd(stream.state);
    if (stream.state !== CLOSED) return;
    this.#state.floods.streamFinished();
    this.#state.close(stream);
  }
}

/** RFC 9110 6.5.1. */
function trailing(fields: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (mayTrail(name)) kept.push(name, fields[i + 1] as string);
  }
  return kept;
}

const DEFAULT_TABLE_BYTES = 4096;
const NOTHING = new Uint8Array(0);
