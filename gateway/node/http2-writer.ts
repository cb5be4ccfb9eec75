/** The output of one HTTP/2 connection on its way into its socket: one write at the end of each turn that had something to say. */
import type { Socket } from "node:net";
import type { TurnEnd, TurnWork } from "./turn-end.ts";

/** The codec's side. */
export interface Http2Output {
  readonly hasOutput: boolean;
  /** Streams can go on that waited for room in the output. */
  readonly hasWritable: boolean;
  /** Valid until the next call. */
  take(): Uint8Array;
}

export class Http2Writer implements TurnWork {
  readonly #socket: Socket;
  readonly #output: Http2Output;
  readonly #turn: TurnEnd;
  readonly #roomMade: () => void;
  readonly #done = (): void => this.#written();
  #isPutOff = false;
  /** The socket has not let go of what it was given last. */
  #isWriting = false;
  #isEnding = false;
  #isHeld: boolean;

  /**
   * @param isHeld nothing is written before `release`
   * @param roomMade told when a write is over, or was at once and there are streams that waited for room
   */
  constructor(socket: Socket, output: Http2Output, turn: TurnEnd, isHeld: boolean, roomMade: () => void) {
    this.#socket = socket;
    this.#output = output;
    this.#turn = turn;
    this.#isHeld = isHeld;
    this.#roomMade = roomMade;
  }

  /** There may be output: it leaves at the end of the turn. */
  later(): void {
    if (this.#isPutOff || this.#isWriting || this.#isHeld) return;
    this.#isPutOff = true;
    this.#turn.add(this);
  }

  release(): void {
    this.#isHeld = false;
    this.later();
  }

  endOfTurn(): void {
    this.#isPutOff = false;
    this.flush();
  }

  /** Writes what there is, unless a write is under way. */
  flush(): void {
    const socket = this.#socket;
    if (this.#isWriting || this.#isHeld || !this.#output.hasOutput || !socket.writable) return;
    socket.write(this.#output.take(), this.#done);
    if (socket.writableLength > 0) {
      this.#isWriting = true;
      return;
    }
    this.#letGo();
    // What was taken at once made room at once.
    if (this.#output.hasWritable) this.#roomMade();
  }

  /** Writes what there is, and ends the socket's writing side. */
  end(): void {
    this.#isEnding = true;
    this.flush();
    this.#endIfDone();
  }

  #written(): void {
    if (!this.#isWriting || this.#socket.writableLength > 0) return;
    this.#isWriting = false;
    if (this.#output.hasOutput) this.flush();
    else this.#letGo();
    this.#endIfDone();
    this.#roomMade();
  }

  #endIfDone(): void {
    if (!this.#isEnding || this.#isWriting) return;
    this.#isHeld = true;
    this.#socket.end();
  }

  /** The codec gets its memory back. */
  #letGo(): void {
    if (!this.#output.hasOutput) this.#output.take();
  }
}
