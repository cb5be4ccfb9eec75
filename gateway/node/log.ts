/** The gateway's own log, on standard error: JSON lines, or readable ones on a terminal. */
export type LogLevel = "info" | "warn" | "error";
export type Log = (level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>) => void;

export function createLog(write: (line: string) => void, readable: boolean, unixMs: () => number): Log {
  return (level, message, fields) => {
    const time = new Date(unixMs()).toISOString();
    if (!readable) {
      write(`${JSON.stringify({ time, level, message, ...fields })}\n`);
      return;
    }
    const told = Object.entries(fields).map(
      ([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    write(`${time.slice(11, 23)} ${level.padEnd(5)} ${message}${told.join("")}\n`);
  };
}
