/** What `edge config` is told about where a site listens, read and checked. */
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writePrivate } from "../edge/index.ts";
import { CliError } from "./output.ts";

const TLS_CERTIFICATE = "tls.pem";
const TLS_KEY = "tls-key.pem";
/** As the configuration names them, relative to itself. */
export const TLS = { certificateFile: TLS_CERTIFICATE, privateKeyFile: TLS_KEY } as const;

export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

/** Both or neither; each has to be the PEM that it is said to be. */
export function tlsFiles(certificate: string | undefined, key: string | undefined): TlsFiles | undefined {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined)
    throw new CliError("--tls-cert and --tls-key belong together; give both", 2);
  for (const [flag, file, mark] of [
    ["--tls-cert", certificate, "CERTIFICATE-----"],
    ["--tls-key", key, "PRIVATE KEY-----"],
  ] as const) {
    if (!existsSync(file)) throw new CliError(`${flag} ${file}: no such file`, 2);
    if (!readFileSync(file, "utf8").includes(mark))
      throw new CliError(`${flag} ${file}: not PEM with a line -----BEGIN …${mark}`, 2);
  }
  return { certificate, key };
}

/** @returns their names in the folder */
export function copyTls({ certificate, key }: TlsFiles, folder: string): readonly string[] {
  copyFileSync(certificate, join(folder, TLS_CERTIFICATE));
  writePrivate(join(folder, TLS_KEY), readFileSync(key, "utf8"));
  return [TLS_CERTIFICATE, TLS_KEY];
}

/** `127.0.0.1:8787`, `[::1]:8787`, `*:443`. */
export function listenAddress(flag: string, text: string): string {
  const port = Number(/^(?:[\w.-]+|\[[0-9a-fA-F:.]+\]|\*):(\d{1,5})$/.exec(text)?.[1] ?? 0);
  if (port >= 1 && port <= 65_535) return text;
  throw new CliError(`${flag} ${text}: write HOST:PORT, such as 127.0.0.1:8787 or 0.0.0.0:443`, 2);
}

/** What workerd takes as the name of a network. */
export function network(text: string): string {
  if (/^(private|local|[0-9.]+\/\d{1,2}|[0-9a-fA-F:]+\/\d{1,3})$/.test(text)) return text;
  throw new CliError(`--allow-network ${text}: write a CIDR block such as 10.20.0.0/16, or private`, 2);
}
