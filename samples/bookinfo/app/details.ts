/** Facts about the book. The publisher's record comes from outside, through the egress gateway. */
import { callOutside, type Handler, type MeshAddress } from "./service.ts";

const BOOK = {
  id: 0,
  author: "William Shakespeare",
  year: 1595,
  type: "paperback",
  pages: 200,
  isbn: "9780141439518",
};

export function details(mesh: MeshAddress): Handler {
  return async ({ path, headers }) => {
    if (path !== "/details/0") return { status: 404, body: JSON.stringify({ error: `no book at ${path}` }) };
    const record = await callOutside(mesh, `http://isbn.example.com/books/${BOOK.isbn}`, headers).catch((error: unknown) => ({
      status: 0,
      body: String(error),
    }));
    const publisher = record.status === 200 ? (JSON.parse(record.body) as { publisher: string }).publisher : undefined;
    return { body: JSON.stringify({ ...BOOK, publisher: publisher ?? null, publisherStatus: record.status }) };
  };
}
