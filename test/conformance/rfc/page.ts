/** docs/http-rules.md, made from the lists. */
import { type Must, type Specification, TEST_FILES } from "./must.ts";

export function rulesPage(specifications: readonly Specification[]): string {
  const parts = specifications.map(
    (one) => `## ${one.name}: ${one.title}\n\n${sum(one)}\n\n${table(one.musts)}\n\n### Not this gateway's\n\n${others(one)}\n`,
  );
  return `# Rules of HTTP

Every MUST, MUST NOT, REQUIRED and SHALL of the HTTP specifications that binds a gateway or proxy, in our words, with the tests that hold it. Where a rule leaves
a choice between mending a message and refusing it, it is refused: 400 for a request, 502 for a response, and the connection ends.

Made from \`test/conformance/rfc\`; a rule without a test, or a statement without a rule, fails the suite.

${parts.join("\n")}`;
}

function sum({ musts, others: rest, statements }: Specification): string {
  const count = (list: readonly { readonly statements: number }[]) => list.reduce((all, one) => all + one.statements, 0);
  const all = Object.values(statements).reduce((total, one) => total + one, 0);
  return `${all} statements: ${count(musts)} bind this gateway and are held, ${count(rest)} bind somebody else.`;
}

function table(musts: readonly Must[]): string {
  const rows = musts.map(
    ({ section, role, rule, held }) => `| ${section} | ${role} | ${cell(rule)} | ${held.map(reference).join("; ")} |`,
  );
  return ["| Section | As | Rule | Held by |", "|---|---|---|---|", ...rows].join("\n");
}

function others({ others: rest }: Specification): string {
  return ["| Section | Whose |", "|---|---|", ...rest.map(({ section, why }) => `| ${section} | ${cell(why)} |`)].join("\n");
}

/** `file: title`, the file as a link. */
function reference(text: string): string {
  const colon = text.indexOf(": ");
  const name = text.slice(0, colon);
  return `[${name}](../${TEST_FILES[name]}): ${cell(text.slice(colon + 2))}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
