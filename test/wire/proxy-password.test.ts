/** What the command line writes down for a password is what the egress proxy lets in: neither side knows the other's code. */
import { expect, test } from "vitest";
import { parseProxyUsers, proxyUserLine } from "../../controlplane/proxy-users.ts";
import { ScryptChecker } from "../../gateway/node/egress-auth.ts";

test("a line from `egress password` lets its password in, and no other", async () => {
  const { users, problems } = parseProxyUsers(await proxyUserLine("payments", "pä$$ word"), "users");
  expect(problems).toEqual([]);
  const [known] = users;
  if (known === undefined) throw new Error("no user");
  const checker = new ScryptChecker({ clock: { now: () => 0, unixMs: () => 0 } });
  const attempt = (password: string) => checker.check({ user: "payments", password, known, peer: "127.0.0.1" });
  expect(await attempt("pä$$ word")).toBe("valid");
  expect(await attempt("pä$$ worD")).toBe("wrong");
});
