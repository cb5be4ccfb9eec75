/** One stream as its owner sees it: a handle for the connection's methods, with a place for what the owner keeps about it. */
export declare class Http2Stream<Owner> {
  readonly id: number;
  /** The owner's own; the codec never looks. A server sets it at the `request` event. */
  owner: Owner | undefined;
  /** Over in both directions. Every method of the connection does nothing for such a stream. */
  readonly isClosed: boolean;
}
