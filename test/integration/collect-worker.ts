/** A thread that waits for the others and then collects its garbage, together with them. */
import { workerData } from "node:worker_threads";
import { collectGarbage } from "../../gateway/node/vitals.ts";

/** How many wait, and whether they may go on. */
const gate = workerData as Int32Array;
Atomics.add(gate, 0, 1);
Atomics.notify(gate, 0);
Atomics.wait(gate, 1, 0);
collectGarbage();
