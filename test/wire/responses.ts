/** What the response parser makes of well-formed, odd and hostile bytes. The connection ends after them. */
export type ResponseCase = readonly [name: string, method: string, raw: string, lines: readonly string[]];

const OK = "HTTP/1.1 200 OK\r\n";
const CL5 = "Content-Length: 5\r\n";
const TE = "Transfer-Encoding: chunked\r\n";

export const RESPONSES: readonly ResponseCase[] = [
  ["counted", "GET", `${OK}${CL5}\r\nhello`, ["200 5(hello)", "! cut_head"]],
  [
    "chunked with trailers",
    "GET",
    `${OK}${TE}\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n`,
    ["200 stream(hello) trailers(x=y)", "! cut_head"],
  ],
  [
    "trailers that Connection names are dropped",
    "GET",
    `${OK}Connection: close, x-hop\r\n${TE}\r\n0\r\nX-Hop: 1\r\nok: 1\r\n\r\n`,
    ["200 close options=close,x-hop stream() trailers(ok=1)"],
  ],
  ["until close", "GET", `${OK}\r\nhello`, ["200 close stream(hello)"]],
  ["until close, nothing", "GET", `${OK}\r\n`, ["200 close stream()"]],
  ["until close in 1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nhello", ["200 close stream(hello)"]],
  [
    "1.0 kept alive",
    "GET",
    `HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n${CL5}\r\nhello`,
    ["200 options=keep-alive 5(hello)", "! cut_head"],
  ],
  [
    "one after another",
    "GET",
    `${OK}${CL5}\r\nhelloHTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n`,
    ["200 5(hello)", "404 0()", "! cut_head"],
  ],
  ["close", "GET", `${OK}Connection: close\r\n${CL5}\r\nhello`, ["200 close options=close 5(hello)"]],
  [
    "bytes after close are not read",
    "GET",
    `${OK}Connection: close\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200`,
    ["200 close options=close 0()", 'rest "HTTP/1.1 200"'],
  ],
  [
    "fields",
    "GET",
    `${OK}Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
    ["200 set-cookie=a set-cookie=b close options=close 0()"],
  ],
  ["no reason, no space", "GET", "HTTP/1.1 204\r\nConnection: close\r\n\r\n", ["204 close options=close"]],
  ["reason with obs-text", "GET", "HTTP/1.1 204 \xe9t\xe9\r\nConnection: close\r\n\r\n", ["204 close options=close"]],

  // RFC 9112 6.3: no content
  ["HEAD with a length", "HEAD", `${OK}Connection: close\r\n${CL5}\r\n`, ["200 close options=close 5()"]],
  ["HEAD with chunks", "HEAD", `${OK}Connection: close\r\n${TE}\r\n`, ["200 close options=close"]],
  ["HEAD without length", "HEAD", `${OK}Connection: close\r\n\r\n`, ["200 close options=close"]],
  ["304 with a length", "GET", `HTTP/1.1 304 Not Modified\r\nConnection: close\r\n${CL5}\r\n`, ["304 close options=close 5()"]],
  ["204 with a length", "GET", `HTTP/1.1 204 No\r\nConnection: close\r\n${CL5}\r\n`, ["204 close options=close"]],
  ["204 with chunks", "GET", `HTTP/1.1 204 No\r\n${TE}\r\n0\r\n\r\n`, ["! transfer_encoding_without_body"]],
  ["content after a HEAD is another response", "HEAD", `${OK}${CL5}\r\nhello`, ["200 5()", "! bad_version"]],

  // RFC 9110 15.2: interim responses
  [
    "interim",
    "GET",
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n${OK}${CL5}Connection: close\r\n\r\nhello`,
    ["100 …", "103 link=x …", "200 close options=close 5(hello)"],
  ],
  [
    "interim that says close",
    "GET",
    `HTTP/1.1 103 Early\r\nConnection: close\r\n\r\n${OK}${CL5}\r\nhello`,
    ["103 close options=close …", "200 close 5(hello)"],
  ],
  ["interim with chunks", "GET", `HTTP/1.1 100 Continue\r\n${TE}\r\n`, ["! transfer_encoding_without_body"]],
  ["cut after an interim one", "GET", "HTTP/1.1 100 Continue\r\n\r\n", ["100 …", "! cut_head"]],
  [
    "101",
    "GET",
    "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x00",
    ["101 upgrade=WebSocket close options=upgrade upgrade=websocket", 'rest "\x81\\u0000"'],
  ],
  ["2xx to CONNECT", "CONNECT", `${OK}${CL5}\r\ntunnel`, ["200 close", 'rest "tunnel"']],
  ["4xx to CONNECT", "CONNECT", `HTTP/1.1 403 No\r\n${CL5}Connection: close\r\n\r\nhello`, ["403 close options=close 5(hello)"]],

  // RFC 9112 4: status line
  ["empty line first", "GET", `\r\n${OK}\r\n`, ["! bad_version"]],
  ["bare LF", "GET", "HTTP/1.1 200 OK\n\r\n", ["! bare_lf"]],
  ["bare CR", "GET", "HTTP/1.1 200 OK\r\r\n", ["! bare_cr"]],
  ["version", "GET", "HTTP/1.2 200 OK\r\n\r\n", ["! unsupported_version"]],
  ["HTTP/2", "GET", "HTTP/2 200 OK\r\n\r\n", ["! bad_version"]],
  ["other protocol", "GET", "ICY 200 OK\r\n\r\n", ["! bad_version"]],
  ["status 099", "GET", "HTTP/1.1 099 OK\r\n\r\n", ["! bad_status"]],
  ["status 600", "GET", "HTTP/1.1 600 OK\r\n\r\n", ["! bad_status"]],
  ["status with four digits", "GET", "HTTP/1.1 2000 OK\r\n\r\n", ["! bad_status_line"]],
  ["status with two digits", "GET", "HTTP/1.1 20 OK\r\n\r\n", ["! bad_status_line"]],
  ["status with a letter", "GET", "HTTP/1.1 2x0 OK\r\n\r\n", ["! bad_status_line"]],
  ["two spaces", "GET", "HTTP/1.1  200 OK\r\n\r\n", ["! bad_status_line"]],
  ["tab", "GET", "HTTP/1.1\t200 OK\r\n\r\n", ["! bad_status_line"]],
  ["NUL in the reason", "GET", "HTTP/1.1 200 O\0K\r\n\r\n", ["! bad_status_line"]],

  // RFC 9112 5, 6: fields and framing, as for requests
  ["folded", "GET", `${OK}a: b\r\n c\r\n\r\n`, ["! obs_fold"]],
  ["space before the colon", "GET", `${OK}Content-Length : 5\r\n\r\nhello`, ["! whitespace_before_colon"]],
  ["two lengths", "GET", `${OK}${CL5}${CL5}\r\nhello`, ["! duplicate_content_length"]],
  ["list of lengths", "GET", `${OK}Content-Length: 5,5\r\n\r\nhello`, ["! bad_content_length"]],
  ["length and chunks", "GET", `${OK}${CL5}${TE}\r\n0\r\n\r\n`, ["! content_length_with_transfer_encoding"]],
  ["chunks in 1.0", "GET", `HTTP/1.0 200 OK\r\n${TE}\r\n0\r\n\r\n`, ["! transfer_encoding_in_http10"]],
  ["gzip, chunked", "GET", `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, ["! unsupported_transfer_coding"]],
  ["identity", "GET", `${OK}Transfer-Encoding: identity\r\n\r\nhello`, ["! chunked_not_last"]],
  ["bad chunk", "GET", `${OK}${TE}\r\nx\r\n`, ["200 stream() …", "! bad_chunk_size"]],
  ["Connection is no token list", "GET", `${OK}Connection: "close"\r\n\r\n`, ["! bad_connection"]],

  // RFC 9112 8: cut messages are errors, never ends
  ["cut in the status line", "GET", "HTTP/1.1 20", ["! cut_head"]],
  ["cut in the fields", "GET", `${OK}${CL5}`, ["! cut_head"]],
  ["cut before anything", "GET", "", ["! cut_head"]],
  ["cut counted content", "GET", `${OK}${CL5}\r\nhell`, ["200 5(hell) …", "! cut_body"]],
  ["cut chunk", "GET", `${OK}${TE}\r\n5\r\nhell`, ["200 stream(hell) …", "! cut_body"]],
  ["cut before the last chunk", "GET", `${OK}${TE}\r\n5\r\nhello\r\n`, ["200 stream(hello) …", "! cut_body"]],
  ["cut before the end of the trailers", "GET", `${OK}${TE}\r\n5\r\nhello\r\n0\r\n`, ["200 stream(hello) …", "! cut_body"]],
];
