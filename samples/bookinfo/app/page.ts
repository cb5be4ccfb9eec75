/** The product page's HTML: pure text from data. */
import type { Rating, Reviews } from "./reviews.ts";

export interface Details {
  readonly author: string;
  readonly year: number;
  readonly type: string;
  readonly pages: number;
  readonly isbn: string;
  readonly publisher: string | null;
}

/** A part of the page that another service answers for, or why it is missing. */
export type Part<T> =
  | { readonly ok: true; readonly value: T; readonly ms: number }
  | { readonly ok: false; readonly reason: string; readonly ms: number };

export interface PageData {
  readonly user: string | undefined;
  readonly details: Part<Details>;
  readonly reviews: Part<Reviews>;
}

export function productPage({ user, details, reviews }: PageData): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The Comedy of Errors · Bookinfo</title>
<style>${STYLE}</style>
</head>
<body>
<header><span class="brand">Bookinfo</span><span class="via">served through Tidegate</span>
<span class="user">${user === undefined ? "not signed in" : `signed in as <b>${escapeHtml(user)}</b>`}</span></header>
<main>
<section class="hero"><div class="cover" aria-hidden="true"><span>The<br>Comedy<br>of<br>Errors</span></div>
<div><h1>The Comedy of Errors</h1>
<p class="summary">One of Shakespeare's early plays, and his shortest: two sets of identical twins, separated at birth, happen to be in the same city on
the same day, and nobody is who the others take them for.</p></div></section>
<div class="columns">
${card("Book details", details, (value) => detailsBody(value))}
${card(reviews.ok ? `Reviews <span class="tag">${escapeHtml(reviews.value.version)}</span>` : "Reviews", reviews, (value) => reviewsBody(value))}
</div>
</main>
<footer>Send the header <code>end-user: jason</code> to meet another version of the reviews.
The figures beside the titles say how long each part took to answer, through the gateway.</footer>
</body>
</html>
`;
}

function card<T>(title: string, part: Part<T>, body: (value: T) => string): string {
  const inner = part.ok
    ? body(part.value)
    : `<p class="error">Sorry, this part is not available now: ${escapeHtml(part.reason)}.</p>`;
  return `<section class="card"><h2>${title}${took(part.ms)}</h2>${inner}</section>`;
}

/** A second is where a reader notices. */
const SLOW_MS = 1000;

function took(ms: number): string {
  return ms < SLOW_MS ? `<small>${Math.round(ms)} ms</small>` : `<small class="slow">${(ms / 1000).toFixed(1)} s</small>`;
}

function detailsBody(details: Details): string {
  const rows: [string, string | null][] = [
    ["Author", details.author],
    ["Year", String(details.year)],
    ["Type", details.type],
    ["Pages", String(details.pages)],
    ["ISBN", details.isbn],
    ["Publisher", details.publisher],
  ];
  return `<dl>${rows.map(([name, value]) => `<dt>${name}</dt><dd>${value === null ? UNKNOWN : escapeHtml(value)}</dd>`).join("")}</dl>`;
}

const UNKNOWN = `<i class="unknown">not known: the catalogue outside was not reached</i>`;

function reviewsBody(reviews: Reviews): string {
  return reviews.reviews
    .map(
      ({ reviewer, text, rating }) =>
        `<blockquote><p>${escapeHtml(text)}</p>${rating ? stars(rating) : ""}<cite>${escapeHtml(reviewer)}</cite></blockquote>`,
    )
    .join("");
}

function stars(rating: Rating): string {
  if ("error" in rating) return `<p class="error">${escapeHtml(rating.error)}</p>`;
  return `<p class="stars ${rating.color}" aria-label="${rating.stars} of 5 stars">${"★".repeat(rating.stars)}<i>${"★".repeat(5 - rating.stars)}</i></p>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const STYLE = `
:root{--ink:#1c2733;--soft:#5b6b7a;--line:#dde5ec;--sea:#0b6e8f;--paper:#f6f9fb}
*{box-sizing:border-box}body{margin:0;font:16px/1.55 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:var(--ink);background:var(--paper)}
header{display:flex;gap:1rem;align-items:baseline;padding:.9rem 2rem;background:#0d2b3a;color:#fff}
.brand{font-weight:700;font-size:1.15rem}.via{color:#9cc4d4;font-size:.85rem}.user{margin-left:auto;font-size:.9rem}
main{max-width:1040px;margin:0 auto;padding:2rem}
.hero{display:flex;gap:2rem;align-items:center;margin-bottom:2rem}h1{margin:0 0 .4rem;font-size:2.1rem;line-height:1.15}
.summary{margin:0;color:var(--soft);max-width:38rem}
.cover{flex:none;width:124px;height:170px;border-radius:4px 10px 10px 4px;background:linear-gradient(135deg,#0b6e8f,#0d2b3a);color:#e9f6fb;display:grid;
place-items:center;text-align:center;font:600 1.02rem/1.3 Georgia,"DejaVu Serif",serif;box-shadow:0 8px 22px #0d2b3a40,inset 5px 0 0 #ffffff22}
.columns{display:grid;grid-template-columns:2fr 3fr;gap:1.5rem;align-items:start}@media(max-width:760px){.columns{grid-template-columns:1fr}.hero{flex-direction:column}main{padding:1.2rem}header{padding:.9rem 1.2rem}.via{display:none}}
.card{background:#fff;border:1px solid var(--line);border-radius:10px;padding:1.2rem 1.4rem}
h2{margin:0 0 .8rem;font-size:1.1rem;display:flex;gap:.6rem;align-items:baseline}h2 small{margin-left:auto;font-weight:400;color:var(--soft);font-size:.8rem}
h2 small.slow{color:#8a4b08;background:#fff6e5;border-radius:99px;padding:.05rem .6rem}.unknown{color:#8a4b08;font-style:normal}
.tag{background:#e3f2f7;color:var(--sea);border-radius:99px;padding:.05rem .6rem;font-size:.8rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.2rem;margin:0}dt{color:var(--soft)}dd{margin:0}
blockquote{margin:0 0 1.1rem;padding-left:1rem;border-left:3px solid var(--line)}blockquote:last-child{margin-bottom:0}blockquote p{margin:0 0 .25rem}
cite{color:var(--soft);font-style:normal;font-size:.9rem}.stars{letter-spacing:.12em;font-size:1.15rem}.stars.red{color:#c8102e}.stars.black{color:#1c2733}.stars i{color:#d5dde4;font-style:normal}
.error{color:#8a4b08;background:#fff6e5;border-radius:6px;padding:.5rem .7rem;font-size:.92rem;margin:0}blockquote .error{margin:.3rem 0}
footer{max-width:40rem;margin:0 auto;text-align:center;color:var(--soft);font-size:.88rem;padding:0 2rem 2rem}code{background:#e8eef2;border-radius:4px;padding:.05rem .35rem}
`;
