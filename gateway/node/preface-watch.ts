/** Tells by a connection's first bytes whether it is one of HTTP/2 by prior knowledge (RFC 9113 3.3), however they come. */

/** What begins the preface, and no request of HTTP/1.1: no method is called so (RFC 9113 3.4). */
const MARK = Buffer.from("PRI ");
const NOTHING = new Uint8Array(0);

export class PrefaceWatch {
  /** Bytes that were fed and not told apart yet; with `http2` all of them, with `http1` those before the last ones that were fed. */
  held: Uint8Array = NOTHING;

  /** @param bytes valid during this call */
  feed(bytes: Uint8Array): "more" | "http1" | "http2" {
    const all = this.held.length === 0 ? bytes : Buffer.concat([this.held, bytes]);
    const length = Math.min(all.length, MARK.length);
    for (let i = 0; i < length; i++) if (all[i] !== MARK[i]) return "http1";
    this.held = Uint8Array.prototype.slice.call(all);
    return length < MARK.length ? "more" : "http2";
  }
}
