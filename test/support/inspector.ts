/** Runs code in another process, in its main thread or in a worker: by the inspector protocol, NodeWorker domain. */
import type { Running } from "../tools/processes.ts";

export class Inspector {
  readonly #socket: WebSocket;
  /** Of worker threads, in the order in which they were found. */
  readonly sessions: string[] = [];
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const { method, params } = JSON.parse(String(data));
      if (method === "NodeWorker.attachedToWorker") this.sessions.push(params.sessionId);
    });
  }

  /** @param process a Node that was started with `--inspect=127.0.0.1:0` and has said where */
  static async of(process: Running): Promise<Inspector> {
    const socket = new WebSocket(/ws:\/\/\S+/.exec(process.output())?.[0] ?? "");
    const inspector = new Inspector(socket);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    inspector.#send("NodeWorker.enable", { waitForDebuggerOnStart: false });
    return inspector;
  }

  /** In the worker thread of that session. */
  run(session: number, expression: string): void {
    const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression } });
    this.#send("NodeWorker.sendMessageToWorker", { sessionId: this.sessions[session], message });
  }

  /** In the main thread. */
  runHere(expression: string): void {
    this.#send("Runtime.evaluate", { expression });
  }

  close(): void {
    this.#socket.close();
  }

  #send(method: string, params: object): void {
    this.#socket.send(JSON.stringify({ id: ++this.#id, method, params }));
  }
}
