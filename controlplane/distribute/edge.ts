/**
 * Distribution to the edge: the control plane dials every site's relay, keeps one connection to each, and keeps what each one answered. Sites come and
 * go with configuration.
 */
import { type ConnectionOptions, SiteConnection, type SiteStatus, type SiteTarget } from "./edge-connection.ts";

export class EdgeDistribution {
  readonly #options: ConnectionOptions;
  /** By audience, which no two sites share. */
  readonly #sites = new Map<string, SiteConnection>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** From now on these sites and no others. A site whose address, pool or token changed is connected to anew. */
  follow(targets: readonly SiteTarget[]): void {
    const wanted = new Map(targets.map((target) => [target.audience, target]));
    for (const [audience, site] of this.#sites) {
      const target = wanted.get(audience);
      if (target !== undefined && sameTarget(target, site.target)) continue;
      this.#sites.delete(audience);
      void site.close();
    }
    for (const [audience, target] of wanted) {
      if (!this.#sites.has(audience)) this.#sites.set(audience, new SiteConnection(target, this.#options));
    }
  }

  /** A new snapshot of the pool is there: offers it to the pool's site. */
  published(pool: string): void {
    this.#sites.get(pool)?.published();
  }

  status(): readonly SiteStatus[] {
    return [...this.#sites.values()].map((site) => site.status());
  }

  async close(): Promise<void> {
    const sites = [...this.#sites.values()];
    this.#sites.clear();
    await Promise.all(sites.map((site) => site.close()));
  }
}

function sameTarget(a: SiteTarget, b: SiteTarget): boolean {
  return a.name === b.name && a.url === b.url && textOf(a.token) === textOf(b.token);
}

function textOf(token: SiteTarget["token"]): string {
  return token.ok ? `token ${token.value}` : token.error;
}
