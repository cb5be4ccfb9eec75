/** The Worker's own log: one JSON line per event. */
import { asciiJson } from "../core/index.ts";
import type { EdgeLog } from "./isolate.ts";

export const workerLog: EdgeLog = (level, message, fields) => {
  console[level](asciiJson({ level, message, ...fields }));
};
