/**
 * The workerd program itself, of the version that the project pins. The command of the npm package is a script around it that does not pass
 * signals on: ended through that script, the runtime would be left behind.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fail, ok, type Result } from "../../gateway/core/result.ts";

export function workerdBinary(): Result<string, string> {
  try {
    const { default: binary } = createRequire(import.meta.url)("workerd") as { readonly default: string };
    if (existsSync(binary)) return ok(binary);
    return fail(`workerd is not at ${binary}: install it with npm ci`);
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    return fail(
      `workerd, the runtime of edge sites, is not there for this machine (${reason}): install it with npm ci, without --omit=optional; it exists for Linux, macOS and Windows on x64 and for Linux and macOS on arm64`,
    );
  }
}
