/** Runs code in another process, in its main thread or in a worker: by the inspector protocol, NodeWorker domain. */
import type { Running } from "../tools/processes.ts";

const UNHEARD_MS = 5_000;

export class Inspector {
  readonly #socket: WebSocket;
  /** Of worker threads, in the order in which they were found. */
  readonly sessions: string[] = [];
  #id = 0;
  /** By the ids of what workers were asked. */
  readonly #answered = new Map<number, () => void>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const { method, params } = JSON.parse(String(data));
      if (method === "NodeWorker.attachedToWorker") this.sessions.push(params.sessionId);
      if (method === "NodeWorker.receivedMessageFromWorker") this.#answered.get(JSON.parse(params.message).id)?.();
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

  /** In the worker thread of that session, which hears nothing when it has just begun: again until it says that it has run. */
  async runHeard(session: number, expression: string): Promise<void> {
    const heard = Promise.withResolvers<true>();
    const id = ++this.#id;
    this.#answered.set(id, () => heard.resolve(true));
    const message = JSON.stringify({ id, method: "Runtime.evaluate", params: { expression } });
    do {
      this.#send("NodeWorker.sendMessageToWorker", { sessionId: this.sessions[session], message });
    } while (!(await Promise.race([heard.promise, new Promise<false>((later) => setTimeout(later, UNHEARD_MS, false))])));
    this.#answered.delete(id);
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
