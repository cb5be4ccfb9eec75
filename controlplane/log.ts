/** The control plane's log: JSON lines, or readable on a terminal. Values are told as they are: nobody hands a secret in. */
import pc from "picocolors";

export type LogLevel = "info" | "warn" | "error";
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

const TONE = { info: pc.cyan, warn: pc.yellow, error: pc.red } as const;

export function makeLog(write: (line: string) => void, readable: boolean, now: () => number): Log {
  return (level, message, fields = {}) => {
    const time = new Date(now()).toISOString();
    if (!readable) {
      write(`${JSON.stringify({ time, level, message, ...fields })}\n`);
      return;
    }
    const rest = Object.entries(fields)
      .filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0))
      .map(([name, value]) => `${pc.dim(`${name}=`)}${typeof value === "string" ? value : JSON.stringify(value)}`);
    write(
      `${pc.dim(time.slice(11, 23))} ${TONE[level](level.padEnd(5))} ${message}${rest.length === 0 ? "" : ` ${rest.join(" ")}`}\n`,
    );
  };
}
