import { readFileSync } from "node:fs";
import type { FileReader } from "./config/index.ts";

/** Certificate and key files as objects name them. */
export const diskFiles: FileReader = {
  read(path) {
    try {
      return { ok: true, text: readFileSync(path, "utf8") };
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error) };
    }
  },
};
