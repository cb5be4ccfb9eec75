import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { isProxyUserName, proxyUserLine } from "../../offline.ts";
import type { CliContext } from "../context.ts";
import { LearnedPolicies } from "../learned.ts";
import { CliError } from "../output.ts";

/** Longest password, characters. */
export const MAX_PASSWORD_CHARS = 1024;

export function registerEgress(program: Command, context: CliContext): void {
  const egress = program.command("egress").description("users of the egress proxy; policies out of what it saw");
  registerLearn(egress, context);
  egress
    .command("password")
    .description("a line for the file of proxy users (MeshConfig proxyUsers.file) from a password that is asked for")
    .argument("<name>", "user, as EgressPolicy's `from: [{ proxyUser }]` names it", userName)
    .addHelpText(
      "after",
      '\nExamples:\n  npx tidegate egress password payments >> proxy-users\n  printf %s "$PASSWORD" | npx tidegate egress password payments >> proxy-users',
    )
    .action(async (name: string) => {
      const password = (await context.readSecret(`password of ${name}: `)).replace(/\r?\n$/, "");
      if (password === "") throw new CliError("the password is empty: type one, or hand it in on standard input", 2);
      if (password.length > MAX_PASSWORD_CHARS) throw new CliError(`a password has at most ${MAX_PASSWORD_CHARS} characters`, 2);
      // RFC 7617 section 2: neither may have control characters.
      if (/[\u0000-\u001f\u007f]/.test(password)) throw new CliError("a password is one line without control characters", 2);
      context.terminal.out(`${await proxyUserLine(name, password)}\n`);
    });
}

function registerLearn(egress: Command, context: CliContext): void {
  egress
    .command("learn")
    .description("EgressPolicy objects that would allow what passed while policies were in mode learn, out of the decision log")
    .argument("<log...>", "files of the egress gateway's log, or - (standard input)")
    .option("-n, --namespace <namespace>", "of the objects", "default")
    .addHelpText("after", "\nExample:\n  npx tidegate egress learn /var/log/tidegate/access.log -n shop > proposed.yaml")
    .action(async (logs: string[], { namespace }: { readonly namespace: string }) => {
      const policies = new LearnedPolicies(namespace);
      for (const log of logs) await readLines(log, context, (line) => policies.add(line));
      if (policies.decisions === 0) {
        throw new CliError(`no decision of a policy in mode learn is in ${logs.join(", ")}`, 1);
      }
      context.terminal.out(policies.toYaml());
    });
}

/** A log can be longer than memory. */
async function readLines(path: string, context: Pick<CliContext, "readStdin">, take: (line: string) => void): Promise<void> {
  if (path === "-") {
    for (const line of (await context.readStdin()).split("\n")) take(line);
    return;
  }
  try {
    for await (const line of createInterface({ input: createReadStream(path, "utf8"), crlfDelay: Number.POSITIVE_INFINITY }))
      take(line);
  } catch (error) {
    throw new CliError(`${path}: ${error instanceof Error ? error.message : String(error)}`, 2);
  }
}

function userName(text: string): string {
  if (isProxyUserName(text)) return text;
  throw new InvalidArgumentError("a user name has 1 to 128 characters, no colon and no white space");
}
