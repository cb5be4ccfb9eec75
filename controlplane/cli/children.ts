/** What the programs that a command runs have to say, line by line, and the environment that they get. */
import type { CliContext } from "./context.ts";
import type { Ending } from "./ending.ts";
import { clean, type Terminal, tinted } from "./output.ts";
import type { SupervisorEvents } from "./supervisor.ts";

/** Shows what children say. One that ends before everything is up ends it all: nothing would change by another try. */
export function followChildren(terminal: Terminal, quiet: boolean, ending: Ending): SupervisorEvents {
  const last = new Map<string, string>();
  return {
    line: (name, line) => {
      last.set(name, line);
      if (!quiet || /"level":"(warn|error)"/.test(line)) terminal.error(prefixed(terminal, name, line));
    },
    died: (name, how, restartMs) => {
      if (restartMs === undefined)
        ending.fail(`${name} ended (${how}): ${readable(terminal, last.get(name) ?? "it said nothing")}`);
      else
        terminal.error(prefixed(terminal, name, tinted(terminal, `ended (${how}); starting it again in ${restartMs} ms`, "bad")));
    },
  };
}

/** Children get no `TIDEGATE_*` of this shell: what they need is in their flags. */
export function childEnv(env: CliContext["env"]): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("TIDEGATE_")));
}

function prefixed(terminal: Terminal, name: string, line: string): string {
  return `${tinted(terminal, name.padEnd(8), "dim")} ${readable(terminal, line)}\n`;
}

/** A JSON log line as a person reads it; anything else as it is. */
function readable(terminal: Terminal, line: string): string {
  try {
    const { time: _time, level, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
    if (typeof message !== "string") return clean(line);
    const rest = Object.entries(fields).map(
      ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    const told = clean([message, ...rest].join(" "));
    return level === "error" ? tinted(terminal, told, "bad") : level === "warn" ? tinted(terminal, told, "warn") : told;
  } catch {
    return clean(line);
  }
}
