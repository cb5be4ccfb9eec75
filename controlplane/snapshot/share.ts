/**
 * The text of one chunk, its equal parts written once (form: `gateway/core/ir/decode/chunk-reader.ts`). Deterministic: only the items and their
 * order count. Equal parts of one type become one node whatever they are part of; a node with several places is shared.
 */
import { Part } from "../../gateway/core/ir/index.ts";
import { canonicalJson } from "./canonical.ts";

interface Node {
  readonly id: number;
  /** The text around the children: a piece before each child and one after the last. */
  readonly pieces: readonly string[];
  readonly children: readonly Node[];
  /** Places in other nodes. */
  places: number;
  /** Its place among the shared parts, once it is written. */
  reference: number | undefined;
}

/** `{"items":[…],"shared":[[…]…]}` */
export function chunkText(items: readonly unknown[]): string {
  const top = new NodeTable().node(new Part(chunkText, items));
  const shared: string[] = [];
  return `{"items":[${inline(top, shared)}],"shared":[${shared.join(",")}]}`;
}

function textOf(node: Node, shared: string[]): string {
  if (node.places <= 1) return inline(node, shared);
  // Its own parts are written before it, so that it refers to earlier ones only.
  node.reference ??= shared.push(`[${inline(node, shared)}]`) - 1;
  return String(-1 - node.reference);
}

function inline({ pieces, children }: Node, shared: string[]): string {
  let text = pieces[0] ?? "";
  for (let i = 0; i < children.length; i++) text += textOf(children[i] as Node, shared) + (pieces[i + 1] ?? "");
  return text;
}

/** One node for each part that there is, told apart by its type, its own JSON and the nodes in it. */
class NodeTable {
  readonly #known = new Map<string, Node>();
  readonly #types = new Map<object, number>();

  node({ type, items }: Part): Node {
    const pieces: string[] = [];
    const children: Node[] = [];
    let key = `${this.#typeId(type)}:`;
    let piece = String(items.length);
    for (let i = 0; i < items.length; i++) {
      piece += ",";
      const item = items[i];
      if (!(item instanceof Part)) {
        piece += canonicalJson(item);
        continue;
      }
      const child = this.node(item);
      // Outside of quotes JSON has no `#`, so it can stand for a child.
      key += `${piece}#${child.id}`;
      children.push(child);
      pieces.push(piece);
      piece = "";
    }
    pieces.push(piece);
    return this.#intern(key + piece, pieces, children);
  }

  #typeId(type: object): number {
    const known = this.#types.get(type) ?? this.#types.size;
    this.#types.set(type, known);
    return known;
  }

  #intern(key: string, pieces: readonly string[], children: readonly Node[]): Node {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const node: Node = { id: this.#known.size, pieces, children, places: 0, reference: undefined };
    for (const child of children) child.places++;
    this.#known.set(key, node);
    return node;
  }
}
