/**
 * `npm test`: all tests, then one table of what was skipped and why, then one line with the counts of the report.
 * In CI a skipped test is a failure: everything that a test needs is installed there.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numFailedTestSuites: number;
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

const directory = mkdtempSync(join(tmpdir(), "tidegate-test-"));
const file = join(directory, "report.json");
const run = spawnSync(
  "vitest",
  ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${file}`, ...process.argv.slice(2)],
  {
    stdio: "inherit",
  },
);
let report: Report;
try {
  report = JSON.parse(readFileSync(file, "utf8")) as Report;
} catch {
  process.stdout.write("\nthe tests did not run to the end: there is no report\n");
  process.exit(run.status || 1);
} finally {
  rmSync(directory, { recursive: true });
}

const skipped = report.testResults.flatMap((suite) =>
  suite.assertionResults
    .filter((test) => test.status !== "passed" && test.status !== "failed")
    .map((test) => ({
      name: test.fullName.replace(/ \[needs:.*\]$/, ""),
      reason: / \[needs: (.*)\]$/.exec(test.fullName)?.[1] ?? "no reason given",
    })),
);
if (skipped.length > 0) {
  const width = Math.min(80, Math.max(...skipped.map((test) => test.name.length)));
  process.stdout.write(
    `\nSkipped, and why:\n${skipped.map((test) => `  ${test.name.padEnd(width)}  ${test.reason}`).join("\n")}\n`,
  );
}
// A file that could not even be loaded has no tests to count; it is a failure all the same.
const broken = report.testResults.filter((suite) => suite.status === "failed" && suite.assertionResults.length === 0);
for (const suite of broken) process.stdout.write(`\n${suite.name} could not be run: ${suite.message}\n`);
const failed = report.numFailedTests + broken.length;
const skips = report.numPendingTests + report.numTodoTests;
process.stdout.write(`\n${report.numPassedTests} passed, ${failed} failed, ${skips} skipped\n`);
const skipIsFailure = process.env["CI"] !== undefined && skips > 0;
if (skipIsFailure) process.stdout.write("in CI a skipped test is a failure\n");
process.exit(failed > 0 || skipIsFailure || report.numPassedTests === 0 || run.status !== 0 ? 1 : 0);
