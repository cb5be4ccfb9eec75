import { expect, test } from "vitest";
import { isProxyUserName, MAX_PROXY_USERS, parseProxyUsers, proxyUserLine, readProxyUsers } from "./proxy-users.ts";

const HASH = "scrypt$16384$8$1$c2FsdHNhbHRzYWx0c2FsdA==$aGFzaGhhc2hoYXNoaGFzaA==";

test("users, comments and empty lines", () => {
  const text = `# payments team\n\npayments:${HASH}\r\n  shop:${HASH}  \n`;
  expect(parseProxyUsers(text, "users")).toEqual({
    users: [
      { name: "payments", passwordHash: HASH },
      { name: "shop", passwordHash: HASH },
    ],
    problems: [],
  });
});

test("every bad line is named with file and line, and no hash is repeated", () => {
  const { users, problems } = parseProxyUsers(`a:plain-secret\nb:${HASH}\nb:${HASH}\n:${HASH}\nno colon\n`, "users");
  expect(users.map(({ name }) => name)).toEqual(["b"]);
  expect(problems.map((problem) => problem.split(": ")[0])).toEqual(["users:1", "users:3", "users:4", "users:5"]);
  expect(problems[0]).toContain("tidegate egress password <name>");
  expect(problems[1]).toContain("the user b is there already");
  expect(problems.join()).not.toMatch(/secret|scrypt\$\d/);
});

test("MAX_PROXY_USERS is read, one more is a problem", () => {
  const lines = Array.from({ length: MAX_PROXY_USERS + 1 }, (_, i) => `u${i}:${HASH}`).join("\n");
  const { users, problems } = parseProxyUsers(lines, "users");
  expect(users.length).toBe(MAX_PROXY_USERS);
  expect(problems).toEqual([`users:${MAX_PROXY_USERS + 1}: more than ${MAX_PROXY_USERS} users`]);
});

test("no file is no user; a file that is not there says what that means", () => {
  expect(readProxyUsers(undefined)).toEqual({ users: [], problems: [] });
  const { users, problems } = readProxyUsers("/nowhere/users");
  expect(users).toEqual([]);
  expect(problems[0]).toMatch(/^\/nowhere\/users: .*; no proxy user can sign in$/);
});

test("a line that was made is a line that is read; the same password never looks the same", async () => {
  const [one, two] = [await proxyUserLine("payments", "s3cret"), await proxyUserLine("payments", "s3cret")];
  expect(one).not.toBe(two);
  expect(one).not.toContain("s3cret");
  expect(parseProxyUsers(one, "x")).toMatchObject({ users: [{ name: "payments" }], problems: [] });
});

test("names that cannot stand in the file", () => {
  expect(["a", "team.pay-1", "ü"].map(isProxyUserName)).toEqual([true, true, true]);
  expect(["", "a:b", "a b", "a\n", "a".repeat(129), "\u0007"].map(isProxyUserName)).toEqual(Array(6).fill(false));
});
