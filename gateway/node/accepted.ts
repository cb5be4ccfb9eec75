/** A client's connection as it was accepted. Our end of it is asked of the socket when somebody wants to know, which is hardly ever. */
import type { Socket } from "node:net";
import type { PeerInfo } from "../core/index.ts";
import type { ConnectionInfo } from "./exchange.ts";
import { type Ends, localOf } from "./front.ts";

export class AcceptedConnection implements ConnectionInfo {
  readonly listener: string;
  readonly peer: PeerInfo;
  readonly scheme: "http" | "https";
  readonly surplus: boolean;
  readonly #socket: Socket;
  #local: Ends["local"];

  /** @param socket the one that is read from */
  constructor(listener: string, socket: Socket, { peer, local }: Ends, surplus: boolean) {
    this.listener = listener;
    this.peer = peer;
    this.scheme = peer.tls === undefined ? "http" : "https";
    this.surplus = surplus;
    this.#socket = socket;
    this.#local = local;
  }

  get local(): ConnectionInfo["local"] {
    this.#local ??= localOf(this.#socket);
    return this.#local;
  }
}
