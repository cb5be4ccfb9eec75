import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { isProxyUserName, proxyUserLine } from "../../offline.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../output.ts";

/** Longest password, characters. */
export const MAX_PASSWORD_CHARS = 1024;

export function registerEgress(program: Command, context: CliContext): void {
  const egress = program.command("egress").description("users of the egress proxy");
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

function userName(text: string): string {
  if (isProxyUserName(text)) return text;
  throw new InvalidArgumentError("a user name has 1 to 128 characters, no colon and no white space");
}
