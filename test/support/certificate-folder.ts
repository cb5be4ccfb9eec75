/** A folder of PEM files for the tests of one file. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Issued } from "./authority.ts";

export class CertificateFolder {
  readonly directory: string;

  /** @param name what it is for */
  constructor(name: string) {
    this.directory = mkdtempSync(join(tmpdir(), `tidegate-${name}-`));
  }

  path(file: string): string {
    return join(this.directory, file);
  }

  /** In one step, as deployments do. @returns where it is */
  save(file: string, text: string): string {
    const [path, fresh] = [this.path(file), this.path(`${file}.new`)];
    writeFileSync(fresh, text);
    renameSync(fresh, path);
    return path;
  }

  /** As `<name>.key` and `<name>.crt`. */
  saveIssued(name: string, { certificate, key }: Issued): void {
    this.save(`${name}.key`, key);
    this.save(`${name}.crt`, certificate);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
