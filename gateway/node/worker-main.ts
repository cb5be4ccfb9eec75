/** A worker thread: one data plane, driven by the main thread's messages. */
import { parentPort, workerData } from "node:worker_threads";
import { DataPlane } from "./data-plane.ts";
import { beat } from "./hang-watch.ts";
import type { FromWorker, ToWorker, WorkerInput } from "./lane.ts";

const port = parentPort;
if (port === null) throw new Error("this file is started as a worker thread by the gateway");

const tell = (message: FromWorker): void => port.postMessage(message);

const { beats, ...input } = workerData as WorkerInput;
const plane = new DataPlane({
  ...input,
  problemsChanged: (problems) => tell({ kind: "problems", problems }),
  announce: (notice) => tell({ kind: "series", notice }),
  ejected: (news) => tell({ kind: "ejected", news }),
  log: (level, message, fields) => tell({ kind: "log", level, message, fields }),
});

beat(beats);
port.on("message", async (message: ToWorker) => {
  switch (message.kind) {
    case "prepare":
      tell({ kind: "answer", id: message.id, value: plane.prepare(message.snapshot, message.version) });
      return;
    case "commit":
      tell({ kind: "answer", id: message.id, value: await plane.commit(message.busy) });
      return;
    case "discard":
      plane.discard();
      return;
    case "close":
      plane.close(message.closed);
      return;
    case "sample":
      plane.sample();
      tell({ kind: "answer", id: message.id, value: plane.listeners() });
      return;
    case "endpoints":
      tell({ kind: "answer", id: message.id, value: plane.endpoints() });
      return;
    case "hear":
      plane.hear(message.news);
      return;
    case "reopenLogs":
      plane.reopenLogs();
      return;
    case "letGo":
      await plane.letGo(message.withinMs, message.succeeded);
      tell({ kind: "answer", id: message.id, value: [] });
      return;
    case "drain":
      await plane.drain(message.withinMs);
      tell({ kind: "answer", id: message.id, value: [] });
      return;
  }
});
