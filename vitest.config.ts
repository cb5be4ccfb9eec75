import { defineConfig } from "vitest/config";

const base = { environment: "node" as const, restoreMocks: true, pool: "threads" as const, setupFiles: ["test/support/seed.ts"] };

export default defineConfig({
  test: {
    projects: [
      // Beside the code: no network, no clock but the test's own.
      { test: { ...base, name: "unit", include: ["{gateway,controlplane,sidecar,k8s,samples}/**/*.test.ts"] } },
      // The house rules.
      { test: { ...base, name: "layout", include: ["test/layout/**/*.test.ts"] } },
      // Golden pairs, conformance cases, the figures that are kept and other tables that cross rooms.
      { test: { ...base, name: "cases", include: ["test/{bench,golden,conformance,wire}/**/*.test.ts"] } },
      // Real processes and sockets on loopback.
      {
        test: {
          ...base,
          name: "integration",
          pool: "forks" as const,
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          include: ["test/{integration,fuzz,edge}/**/*.test.ts"],
        },
      },
    ],
  },
});
